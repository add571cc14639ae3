"""Piece: some pairs of blocks that make one hop, and where their memory is.

What this is
    The unit of work of an executor: `source` blocks go to `target` blocks, all layers or
    some. The kinds of memory are recognised here, and nowhere else.

Interface, as rules of use
    * The ids of a piece were checked before it was made; executors trust them.
    * `addresses(bound)` turns the planner's storages and offsets into addresses.
    * An emulated device is a DEVICE that the host can reach, so it is copied as host memory.

Clauses: KV-INT-05, KV-TIR-09
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, final

import numpy as np

from kvbm.errors import UnsupportedTransfer
from kvbm.layout import BoundLayout, Memory
from kvbm.storage import DiskStorage, StorageKind
from kvbm.transfer.plan import DEFAULT_POLICY, Integers, Plan, PlanPolicy, plan
from kvbm.transfer.strategy import Place

_PLACES: Final = {
    StorageKind.SYSTEM: Place.SYSTEM,
    StorageKind.PINNED: Place.PINNED,
    StorageKind.DEVICE: Place.DEVICE,
    StorageKind.DISK: Place.DISK,
    StorageKind.NIXL: Place.REMOTE,
    StorageKind.NULL: Place.NULL,
}
_DLPACK: Final = {1: Place.SYSTEM, 3: Place.PINNED, 2: Place.DEVICE, 13: Place.DEVICE}
_ON_DEVICE: Final = (2, 13)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Pairs of blocks. `positions` are those in the lists of the call."""

    source: BoundLayout
    source_ids: Integers  # int64[pairs]
    target: BoundLayout
    target_ids: Integers  # int64[pairs]
    layers: range | None
    positions: Integers  # int64[pairs]

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, chosen: slice | Integers) -> Piece:
        """Give a part of the pairs."""
        return replace(
            self,
            source_ids=self.source_ids[chosen],
            target_ids=self.target_ids[chosen],
            positions=self.positions[chosen],
        )

    def plan(self, policy: PlanPolicy = DEFAULT_POLICY) -> Plan:
        """Plan it. Without coalescing, the copies of pair 0 come first, and so on."""
        return plan(
            self.source.layout,
            self.target.layout,
            self.source_ids,
            self.target_ids,
            same_memory=False,  # checked for the whole transfer
            layers=self.layers,
            policy=policy,
        )


def place_of(bound: BoundLayout) -> tuple[Place, int]:
    """Tell the kind of memory of a bound layout, and which device.

    Raises
    ------
    UnsupportedTransfer
        Its layers are in memory of several kinds.
    """
    places = {_place_of(memory) for memory in bound.memories}
    if len(places) > 1:
        named = " and ".join(sorted(f"{place}({number})" for place, number in places))
        raise UnsupportedTransfer(named, "anything", "a layout must be in memory of one kind")
    return places.pop()


def _place_of(memory: Memory) -> tuple[Place, int]:
    storage_type = getattr(memory, "storage_type", None)
    if storage_type is not None:
        place = _PLACES[storage_type.kind]
        return place, (storage_type.id or 0) if place is Place.DEVICE else 0
    kind, number = memory.device()
    return _DLPACK.get(kind, Place.REMOTE), number if kind in _ON_DEVICE else 0


def on_real_device(bound: BoundLayout) -> bool:
    """Whether the host cannot reach the bytes because they are on a GPU."""
    return any(
        not isinstance(memory, DiskStorage) and memory.device()[0] in _ON_DEVICE
        for memory in bound.memories
    )


def addresses(bound: BoundLayout, storages: Integers, offsets: Integers) -> Integers:
    """Turn storages and offsets into addresses; on disk, into offsets in the file."""
    first = zip(bound.memories, bound.base_offsets, strict=True)
    bases = np.array([memory.addr + base for memory, base in first], np.int64)
    return bases[storages] + offsets
