"""Copies: pieces of memory to move, as columns of numbers.

What this is
    Five arrays with one row for each piece, because there may be many thousands of them.

Interface, as rules of use
    * Rows may be executed in any order and at once: no target overlaps another.
    * Offsets count from the base of a storage, as those of layouts do.
    * Pieces are joined only inside one storage. Two allocations that happen to touch are
      still two, and may be registered apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Copies:
    """Pieces to copy, int64[copies] each. Storages by index, the rest in bytes."""

    source_storage: Integers
    source_offset: Integers
    target_storage: Integers
    target_offset: Integers
    size: Integers

    def __len__(self) -> int:
        return len(self.size)

    @property
    def total_bytes(self) -> int:
        """Bytes of all copies."""
        return int(self.size.sum())

    def ascending(self) -> Copies:
        """Give the same copies in the order of their source's addresses."""
        order = np.lexsort((self.source_offset, self.source_storage))
        return self._rows(order, self.size[order])

    def joined(self) -> Copies:
        """Join neighbouring rows that touch on both sides, inside one storage."""
        if len(self) < 2:
            return self
        touch = np.ones(len(self) - 1, bool)
        for storage in (self.source_storage, self.target_storage):
            touch &= storage[1:] == storage[:-1]
        for offset in (self.source_offset, self.target_offset):
            touch &= offset[1:] == offset[:-1] + self.size[:-1]
        starts = np.flatnonzero(np.concatenate([[True], ~touch]))
        return self._rows(starts, np.add.reduceat(self.size, starts))

    def _rows(self, rows: Integers, size: Integers) -> Copies:
        return Copies(
            self.source_storage[rows],
            self.source_offset[rows],
            self.target_storage[rows],
            self.target_offset[rows],
            size,
        )
