"""Registry: which slot answers for a sequence hash.

What this is
    A hash table from 64-bit keys to slot ids, at most half full, with linear probing.
    An entry that goes is filled by its successors at once (backward shift), so there
    are no tombstones and a look-up costs the same after a year of evictions.

Interface, as rules of use
    * One slot per key: insert() keeps the first and tells it.
    * find() answers for every key, find_prefix() stops at the first that is absent.
    * erase() wants slots that answer for their keys.

Clauses: KV-REG-01, KV-REG-03, KV-REG-04
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kvbm.blocks.slots import NONE, Ids, Keys, Records
from kvbm.compiled import compiled

_BUCKET: Final = np.dtype([("key", "u8"), ("slot", "i8")])
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio, odd


class Registry:
    """Room for `capacity` keys."""

    def __init__(self, capacity: int) -> None:
        bits = max(3, (2 * capacity - 1).bit_length())
        self._buckets = np.zeros(1 << bits, _BUCKET)
        self._buckets["slot"] = NONE
        self._shift = np.uint64(64 - bits)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def find(self, keys: Keys) -> Ids:
        """Look up each key: its slot, or NONE. O(keys)."""
        slots = np.empty(keys.size, np.int64)
        _find_all(self._buckets, self._shift, keys, slots)
        return slots

    def find_prefix(self, keys: Keys) -> Ids:
        """Look up keys until one is absent. O(hits), not O(keys). Clauses: KV-REG-01"""
        slots = np.empty(keys.size, np.int64)
        hits = _find_prefix(self._buckets, self._shift, keys, slots)
        return slots[:hits]

    def insert(self, keys: Keys, slots: Ids) -> Ids:
        """Enter each slot under its key, unless the key is taken; return the slot that has it.

        Complexity: O(keys). Clauses: KV-REG-02, KV-REG-04
        """
        primaries = np.empty(keys.size, np.int64)
        self._length += _insert_all(self._buckets, self._shift, keys, slots, primaries)
        return primaries

    def find_parents(self, records: Records, ids: Ids) -> Ids:
        """Look up the parents of slots: their slots, or NONE where there is none. O(slots)."""
        parents = np.empty(ids.size, np.int64)
        _find_parents(self._buckets, self._shift, records, ids, parents)
        return parents

    def erase(self, records: Records, ids: Ids) -> None:
        """Forget the keys of registered slots. O(slots). Clauses: KV-REG-03"""
        _erase_all(self._buckets, self._shift, records, ids)
        self._length -= ids.size

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` keys. O(capacity)."""
        entries = self._buckets[self._buckets["slot"] != NONE]
        self.__init__(capacity)  # type: ignore[misc]  # a new table, then the old entries
        self.insert(entries["key"].copy(), entries["slot"].copy())

    def entries(self) -> dict[int, int]:
        """List all (key, slot). O(capacity)."""
        used = self._buckets[self._buckets["slot"] != NONE]
        return dict(zip(used["key"].tolist(), used["slot"].tolist(), strict=True))

    def _check(self) -> None:
        """Assert that each entry can be found and that no slot answers for two keys."""
        entries = self.entries()
        assert len(entries) == self._length, f"KV-CAP-04: counter is not length: {entries}"
        assert len(set(entries.values())) == len(entries), f"KV-REG-04: a slot twice: {entries}"
        keys = np.array(list(entries), np.uint64)
        assert self.find(keys).tolist() == list(entries.values()), "KV-REG-01: an entry is lost"


@compiled
def _bucket_of(buckets: Any, shift: Any, key: Any) -> int:
    """Index of the key's bucket, or of the free bucket where it would go."""
    mask = buckets.size - 1
    index = np.int64((key * _SPREAD) >> shift)
    while buckets[index].slot != NONE and buckets[index].key != key:
        index = (index + 1) & mask
    return int(index)


@compiled
def _find_all(buckets: Any, shift: Any, keys: Keys, slots: Ids) -> None:
    for index in range(keys.size):
        slots[index] = buckets[_bucket_of(buckets, shift, keys[index])].slot


@compiled
def _find_parents(buckets: Any, shift: Any, records: Records, ids: Ids, parents: Ids) -> None:
    for index in range(ids.size):
        slot = records[ids[index]]
        parents[index] = NONE
        if slot.has_parent:
            parents[index] = buckets[_bucket_of(buckets, shift, slot.parent_key)].slot


@compiled
def _find_prefix(buckets: Any, shift: Any, keys: Keys, slots: Ids) -> int:
    for index in range(keys.size):
        slots[index] = buckets[_bucket_of(buckets, shift, keys[index])].slot
        if slots[index] == NONE:
            return index
    return keys.size


@compiled
def _insert_all(buckets: Any, shift: Any, keys: Keys, slots: Ids, primaries: Ids) -> int:
    added = 0
    for index in range(keys.size):
        bucket = buckets[_bucket_of(buckets, shift, keys[index])]
        if bucket.slot == NONE:
            bucket.key = keys[index]
            bucket.slot = slots[index]
            added += 1
        primaries[index] = bucket.slot
    return added


@compiled
def _erase_all(buckets: Any, shift: Any, records: Records, ids: Ids) -> None:
    mask = buckets.size - 1
    for slot_id in ids:
        hole = _bucket_of(buckets, shift, records[slot_id].key)
        if buckets[hole].slot != slot_id:
            raise ValueError("KV-REG-04: a slot to erase does not answer for its key")
        index = hole
        while True:
            index = (index + 1) & mask
            if buckets[index].slot == NONE:
                break
            home = np.int64((buckets[index].key * _SPREAD) >> shift)
            # May this entry move into the hole? Only if its home is not between them.
            if ((index - home) & mask) >= ((index - hole) & mask):
                buckets[hole].key = buckets[index].key
                buckets[hole].slot = buckets[index].slot
                hole = index
        buckets[hole].slot = NONE
