"""The mover that really copies: transfers between the bound layouts of tiers.

What this is
    A tier's place is a `BoundLayout`, and a `TransferEngine` copies between two of them. What
    is added here is memory of what was copied: the checksum of a block is kept beside its
    slot, and compared when the block is read from there again. So bytes that went bad in
    between, on a disk say, are found before anybody sees them.

Interface, as rules of use
    * Checksums are those of the engine: which hops have one is its setting. Where one is
      known it is compared, whatever the setting.
    * A checksum belongs to one tenant of a slot. It is forgotten with the tenant.
    * Whoever moves blocks from inside a turn of their pool waits for the copy with the pool
      locked, and threads of the engine may wait for that pool. So give a second engine,
      `here`, that copies in the calling thread; it is used for those.

Clauses: KV-INT-03, KV-INT-04, KV-TIR-05, KV-TIR-08
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import final

from kvbm.storage import DiskStorage
from kvbm.tiering.tier import Copy, Tier
from kvbm.transfer import Transfer, TransferEngine


@final
class EngineMover:
    """Moves blocks by `engine`, and by `here` what is moved from inside a turn of its pool."""

    def __init__(self, engine: TransferEngine, here: TransferEngine | None = None) -> None:
        self.engine = engine
        self._here = here or engine
        # (tier, slot): (generation of the slot, checksum of its whole block)
        self._sums: dict[tuple[str, int], tuple[int, bytes]] = {}
        self._wholes: dict[tuple[str, tuple[int, ...]], Copy] = {}  # by target, to its last layer
        self._lock = threading.Lock()

    def move(
        self,
        source: Tier,
        source_ids: Sequence[int],
        target: Tier,
        target_ids: Sequence[int],
        layers: range | None = None,
    ) -> Copy:
        """See Mover. Layer by layer no checksum is compared, but from a disk: see `_whole`."""
        # Two engines do not order their copies, and need not: a victim is in no other copy,
        # nor is the room for it.
        engine = self._here if source.pool.in_turn else self.engine
        if layers is not None and _is_on_disk(source):
            return self._whole(source, source_ids, target, target_ids, layers)
        if layers is not None:
            return engine.transfer(source.place, source_ids, target.place, target_ids, layers)
        known = [self.known(source, slot) for slot in source_ids]
        tenants = [(slot, _generation(target, slot)) for slot in target_ids]
        transfer = engine.transfer(
            source.place,
            source_ids,
            target.place,
            target_ids,
            # Without any the engine's setting counts; a list turns checksums on.
            expected=known if any(known) else None,
        )
        # Before those who asked are told: callbacks run in the order of their registration,
        # unless the copy ends in this very moment. Then its block may be gone already.
        transfer.add_done_callback(partial(self._arrived, target, tenants))
        return transfer

    def _whole(
        self,
        source: Tier,
        source_ids: Sequence[int],
        target: Tier,
        target_ids: Sequence[int],
        layers: range,
    ) -> Copy:
        """Copy whole blocks at their first layer; give that copy for the other layers, too.

        A checksum is that of a whole block, and what comes from a disk must be compared.
        """
        key = target.name, tuple(target_ids)  # held until the copy has ended, so they name it
        with self._lock:
            copy = self._wholes.pop(key, None)
        if copy is None or layers.start == 0:
            copy = self.move(source, source_ids, target, target_ids)
        if layers.stop < source.place.config.num_layers:
            with self._lock:
                self._wholes[key] = copy
        return copy

    def known(self, tier: Tier, slot: int) -> bytes | None:
        """Give the checksum of the block in a slot, if it came by a checked copy."""
        generation, checksum = self._sums.get((tier.name, slot), (None, None))
        return checksum if generation == _generation(tier, slot) else None

    def keep(self, tier: Tier, slot: int, checksum: bytes) -> None:
        """Remember the checksum of the block in a slot."""
        self._sums[tier.name, slot] = (_generation(tier, slot), checksum)

    def _arrived(self, target: Tier, tenants: list[tuple[int, int]], transfer: Transfer) -> None:
        future = transfer.future
        if not future.cancelled() and future.exception() is None:
            for (slot, generation), checksum in zip(tenants, future.result() or (), strict=False):
                if generation == _generation(target, slot):
                    self.keep(target, slot, checksum)


def _is_on_disk(tier: Tier) -> bool:
    return any(isinstance(memory, DiskStorage) for memory in tier.place.memories)


def _generation(tier: Tier, slot: int) -> int:
    return int(tier.pool.slots.records["generation"][slot])
