"""Frequency sketch: how often a key was used lately, in four bits.

What this is
    TinyLFU's count-min sketch: rows of sixteen 4-bit counters. Each of four hashes of
    a key picks a row and a counter in it; a key's estimate is the smallest of its four.
    After ten uses per entry of capacity all counters are halved, so old fame fades.

Interface, as rules of use
    * increment() on every use; estimate() changes nothing.
    * Between two decays an estimate is never below min(true count, 15).

Source: Einziger, Friedman, Manes, "TinyLFU", 2017; sizes and decay as in KVBM v2, but
the counter is picked by the high bits of a hash whose low bits pick the row: KVBM v2
takes both from the low bits, so that a table of 16 rows or more uses 1 counter in 16.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from kvbm.blocks.slots import Keys
from kvbm.compiled import compiled
from kvbm.errors import InvalidConfig

_SEEDS: Final = (
    np.uint64(0xC3A5C85C97CB3127),
    np.uint64(0xB492B66FBE98F273),
    np.uint64(0x9AE16A3B2F90404F),
    np.uint64(0xCBF29CE484222325),
)
_LOWEST_BITS: Final = np.uint64(0x1111111111111111)
_LOWER_HALVES: Final = np.uint64(0x7777777777777777)
_LOWER_NIBBLES: Final = np.uint64(0x0F0F0F0F0F0F0F0F)
_EACH_BYTE: Final = np.uint64(0x0101010101010101)
_LIMIT: Final = 15


class FrequencySketch:
    """Counts uses of about `capacity` keys, in 2 bytes a key."""

    def __init__(self, capacity: int = 1 << 21) -> None:
        if capacity < 1:
            raise InvalidConfig("capacity", capacity, "must be at least 1 key")
        self.capacity = capacity
        self.size = 0
        self._rows = np.zeros(max(1, capacity // 4), np.uint64)

    def increment(self, keys: Keys) -> None:
        """Count one use of each key, in order. O(keys), and O(capacity) at a decay."""
        start = 0
        while start < keys.size:
            room = 10 * self.capacity - self.size
            start, grown = _increment(self._rows, keys, start, room)
            self.size += grown
            if self.size >= 10 * self.capacity:
                self._decay()

    def estimate(self, keys: Keys) -> NDArray[np.int64]:
        """Estimate the uses of each key, 0 … 15. O(keys)."""
        estimates = np.empty(keys.size, np.int64)
        _estimate(self._rows, keys, estimates)
        return estimates

    def _decay(self) -> None:
        odd = int(_ones(self._rows & _LOWEST_BITS).sum())
        self._rows = (self._rows >> np.uint64(1)) & _LOWER_HALVES
        self.size = max(0, self.size // 2 - odd // 4)


def _ones(rows: Keys) -> Keys:
    """Count the ones of each row that has them in the lowest bits of its counters only."""
    pairs = (rows + (rows >> np.uint64(4))) & _LOWER_NIBBLES  # a byte each, 0 … 2
    ones: Keys = (pairs * _EACH_BYTE) >> np.uint64(56)
    return ones


@compiled
def _spot(rows: int, key: np.uint64, seed: np.uint64) -> tuple[np.int64, np.uint64]:
    """Give the row, and the shift of the counter in it, for one of the key's hashes."""
    hashed = (key ^ seed) * np.uint64(0x9E3779B97F4A7C15)
    hashed = (hashed ^ (hashed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    hashed ^= hashed >> np.uint64(32)
    row = np.int64((hashed & np.uint64(0xFFFFFFFF)) % np.uint64(rows))
    return row, (hashed >> np.uint64(60)) << np.uint64(2)


@compiled
def _increment(rows: Keys, keys: Keys, start: int, room: int) -> tuple[int, int]:
    """Count keys[start:] until `room` counts were added; tell where it stopped, and how many."""
    grown = 0
    for index in range(start, keys.size):
        if grown >= room:
            return index, grown
        changed = False
        for seed in _SEEDS:
            row, shift = _spot(rows.size, keys[index], seed)
            if (rows[row] >> shift) & np.uint64(15) < _LIMIT:
                rows[row] += np.uint64(1) << shift
                changed = True
        if changed:
            grown += 1
    return keys.size, grown


@compiled
def _estimate(rows: Keys, keys: Keys, estimates: NDArray[np.int64]) -> None:
    for index in range(keys.size):
        lowest = np.uint64(_LIMIT)
        for seed in _SEEDS:
            row, shift = _spot(rows.size, keys[index], seed)
            lowest = min(lowest, (rows[row] >> shift) & np.uint64(15))
        estimates[index] = lowest
