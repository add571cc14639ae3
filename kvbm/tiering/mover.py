"""The mover that really copies: transfers between the bound layouts of tiers.

What this is
    A tier's place is a `BoundLayout`, and a `TransferEngine` copies between two of them. What
    is added here is memory of what was copied: the checksum of a block is kept beside its
    slot, and compared when the block is read from there again. So bytes that went bad in
    between, on a disk say, are found before anybody sees them.

Interface, as rules of use
    * Checksums are those of the engine: which hops have one is its setting.
    * A checksum belongs to one tenant of a slot. It is forgotten with the tenant.

Clauses: KV-INT-03, KV-INT-04, KV-TIR-05, KV-TIR-08
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

from kvbm.tiering.tier import Copy, Tier
from kvbm.transfer import Transfer, TransferEngine


@final
class EngineMover:
    """Moves blocks by `engine`."""

    def __init__(self, engine: TransferEngine) -> None:
        self.engine = engine
        # (tier, slot): (generation of the slot, checksum of its whole block)
        self._sums: dict[tuple[str, int], tuple[int, bytes]] = {}

    def move(
        self,
        source: Tier,
        source_ids: Sequence[int],
        target: Tier,
        target_ids: Sequence[int],
        layers: range | None = None,
    ) -> Copy:
        """See Mover. Checksums are compared for whole blocks only."""
        if layers is not None:
            return self.engine.transfer(source.place, source_ids, target.place, target_ids, layers)
        known = [self.known(source, slot) for slot in source_ids]
        transfer = self.engine.transfer(
            source.place, source_ids, target.place, target_ids, expected=known
        )
        # Before those who asked are told: callbacks run in the order of their registration.
        transfer.add_done_callback(partial(self._arrived, target, list(target_ids)))
        return transfer

    def known(self, tier: Tier, slot: int) -> bytes | None:
        """Give the checksum of the block in a slot, if it came by a checked copy."""
        generation, checksum = self._sums.get((tier.name, slot), (None, None))
        return checksum if generation == _generation(tier, slot) else None

    def keep(self, tier: Tier, slot: int, checksum: bytes) -> None:
        """Remember the checksum of the block in a slot."""
        self._sums[tier.name, slot] = (_generation(tier, slot), checksum)

    def _arrived(self, target: Tier, target_ids: list[int], transfer: Transfer) -> None:
        future = transfer.future
        if not future.cancelled() and future.exception() is None:
            for slot, checksum in zip(target_ids, future.result() or (), strict=False):
                self.keep(target, slot, checksum)


def _generation(tier: Tier, slot: int) -> int:
    return int(tier.pool.slots.records["generation"][slot])
