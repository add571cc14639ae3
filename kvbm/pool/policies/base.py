"""What an eviction policy is: an order over the slots that nobody holds.

What this is
    The protocol between a pool and the object that decides which inactive block
    goes first, and the little that such an object may see.

Interface, as rules of use
    * The pool calls bind() once before anything else, and again when it has grown.
    * insert() when slots come to rest, take() when they are held again or cleared.
      A slot is inside at most once.
    * evict(n) removes and returns exactly min(n, len) slots, first victim first.
    * used() tells of every registration and every match, for policies that count.
    * The order is a function of these calls alone: no clock, no random, no id().
    * The pool holds its lock meanwhile: a policy must not call the pool.

Clauses: KV-EVC-01, KV-EVC-02, KV-EVC-06, KV-EVC-08
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kvbm.blocks.slots import Ids, Keys, Slots


@dataclass(frozen=True, slots=True)
class SlotView:
    """What a policy may know of each slot: read-only arrays, indexed by slot id.

    A view stays true while the pool works; a pool that grows binds a new one.
    """

    key: Keys  # uint64[slots]
    parent_key: Keys  # uint64[slots], meaningful where has_parent
    has_parent: NDArray[np.uint8]  # uint8[slots]
    priority: NDArray[np.uint32]  # uint32[slots], lower goes first

    @classmethod
    def of(cls, slots: Slots) -> SlotView:
        """Look at `slots`. O(1): nothing is copied."""
        fields = [slots.records[name] for name in cls.__dataclass_fields__]
        for field in fields:
            field.flags.writeable = False
        return cls(*fields)

    def __len__(self) -> int:
        return len(self.key)


class EvictionPolicy(Protocol):
    """Order of eviction. See the module's rules of use."""

    def bind(self, view: SlotView) -> None:
        """Learn where keys, parents and priorities can be read."""

    def insert(self, ids: Ids) -> None:
        """Add slots that have just come to rest, in this order."""

    def take(self, ids: Ids) -> None:
        """Remove slots that are inside."""

    def evict(self, count: int) -> Ids:
        """Remove and return the first min(count, len) victims, in order."""

    def order(self) -> Ids:
        """List all slots inside, first victim first; nothing changes."""

    def used(self, ids: Ids) -> None:
        """Hear that the keys of these slots were registered or matched, each once."""

    def __len__(self) -> int: ...
