"""Registry: which slot answers for a sequence hash, and what that implies.

What this is
    The two steps that need the answer: to publish a block under its hash, and to hold a
    published block, which also keeps its parent active.

    A hash table from 64-bit keys to slot ids, a quarter full at most, linear probing.
    An entry that goes is filled by its successors at once (backward shift), so there
    are no tombstones and a look-up costs the same after a year of evictions.

Interface, as rules of use
    * One slot per key: publish() keeps the first, hold() takes what find() gave.
    * find() answers for every key, find_prefix() stops at the first that is absent.
    * erase() wants slots that answer for their keys.

Clauses: KV-REG-01, KV-REG-02, KV-REG-03, KV-REG-04, KV-LIF-05
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from kvbm.blocks.lifecycle import AFTER, REFUSED, Operation, State
from kvbm.blocks.slots import NO_IDS, NONE, Ids, Keys, Records
from kvbm.compiled import compiled
from kvbm.errors import BlockNotComplete

_BUCKET: Final = np.dtype([("key", "u8"), ("slot", "i8")])
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio, odd


class Published(NamedTuple):
    """What `Registry.publish` did: slot ids, in the order of the input."""

    holders: Ids  # one per input: the slot that now answers for it
    stored: Ids  # slots whose key was new
    woken: Ids  # primaries that were inactive
    emptied: Ids  # slots that were given up for their primary


class Registry:
    """Room for `capacity` keys."""

    def __init__(self, capacity: int) -> None:
        bits = max(3, (4 * capacity - 1).bit_length())
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

    def publish(
        self, records: Records, ids: Ids, allow: bool, unmatched: Ids = NO_IDS
    ) -> Published:
        """Publish Complete blocks under their keys, in order.

        Parameters
        ----------
        records
            The slots.
        ids : int64[blocks]
            Complete, held once each by their owner, whose hold goes on.
        allow
            Whether a second block of one key keeps its slot, as a duplicate that holds its
            primary, or gives it up for the primary.
        unmatched
            Slots among `ids` that must not be found: their key belongs to other content.

        Raises
        ------
        BlockNotComplete
            A slot is not Complete. Nothing has changed.

        Complexity: O(blocks). Clauses: KV-REG-02, KV-REG-04
        """
        rows = np.empty((4, ids.size), np.int64)
        stored, woken, emptied = _publish(
            self._buckets, self._shift, records, AFTER, ids, allow, unmatched, rows
        )
        if stored < 0:
            raise BlockNotComplete(woken, State(records["state"][woken]).block_state)
        self._length += stored
        if stored == ids.size:  # the common case, without cutting four arrays
            return Published(ids, ids, NO_IDS, NO_IDS)
        return Published(rows[0], rows[1, :stored], rows[2, :woken], rows[3, :emptied])

    def hold(self, records: Records, ids: Ids) -> Ids:
        """Add one holder to each registered slot; return those that were inactive.

        A slot that wakes up holds its parent if that is active by then, so give parents
        before children. O(slots). Clauses: KV-LIF-05
        """
        woken = np.empty(ids.size, np.int64)
        return woken[: _hold(self._buckets, self._shift, records, AFTER, ids, woken)]

    def enter(self, records: Records, ids: Ids) -> None:
        """Let slots answer for their keys, which must be new. O(slots). Clauses: KV-REG-04"""
        _enter(self._buckets, self._shift, records, ids)
        self._length += ids.size

    def erase(self, records: Records, ids: Ids) -> None:
        """Forget the keys of registered slots. O(slots). Clauses: KV-REG-03"""
        _erase_all(self._buckets, self._shift, records, ids)
        self._length -= ids.size

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` keys. O(capacity)."""
        entries = self.entries()
        self.__init__(capacity)  # type: ignore[misc]  # a new table, then the old entries
        for key, slot in entries.items():
            bucket = self._buckets[_bucket_of(self._buckets, self._shift, np.uint64(key))]
            bucket["key"], bucket["slot"] = key, slot
        self._length = len(entries)

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
def _find_prefix(buckets: Any, shift: Any, keys: Keys, slots: Ids) -> int:
    for index in range(keys.size):
        slots[index] = buckets[_bucket_of(buckets, shift, keys[index])].slot
        if slots[index] == NONE:
            return index
    return keys.size


@compiled
def _hold_parent(buckets: Any, shift: Any, records: Records, slot: Any) -> None:
    """Let a slot that is about to become active keep its parent active, if that still is.

    About to: so a block that names itself as its parent does not hold itself for ever.
    """
    if slot.has_parent:
        parent = buckets[_bucket_of(buckets, shift, slot.parent_key)].slot
        if parent != NONE and records[parent].state == State.ACTIVE:
            records[parent].refs += 1
            slot.holds = parent


@compiled
def _hold(buckets: Any, shift: Any, records: Records, after: Any, ids: Ids, woken: Ids) -> int:
    n_woken = 0
    for slot_id in ids:
        slot = records[slot_id]
        slot.refs += 1
        if slot.state == State.INACTIVE:
            _hold_parent(buckets, shift, records, slot)
            woken[n_woken] = slot_id
            n_woken += 1
        slot.state = after[Operation.ACQUIRE.value, slot.state]
    return n_woken


@compiled
def _publish(
    buckets: Any,
    shift: Any,
    records: Records,
    after: Any,
    ids: Ids,
    allow: bool,
    unmatched: Ids,
    rows: Ids,
) -> tuple[int, int, int]:
    """Publish all and return counts of `rows`; or none, and return (-1, a wrong slot, 0)."""
    for slot_id in ids:
        if after[Operation.REGISTER.value, records[slot_id].state] == REFUSED:
            return -1, slot_id, 0
    holders, stored, woken, emptied = rows
    n_stored = n_woken = n_emptied = 0
    for index in range(ids.size):
        slot_id = ids[index]
        slot = records[slot_id]
        holders[index] = slot_id
        if slot_id in unmatched:
            slot.state = after[Operation.REGISTER_DUPLICATE.value, slot.state]
            continue
        bucket = buckets[_bucket_of(buckets, shift, slot.key)]
        if bucket.slot == NONE:  # the hash is new
            bucket.key = slot.key
            bucket.slot = slot_id
            _hold_parent(buckets, shift, records, slot)
            slot.state = after[Operation.REGISTER.value, slot.state]
            stored[n_stored] = slot_id
            n_stored += 1
            continue
        primary = records[bucket.slot]
        primary.refs += 1
        if primary.state == State.INACTIVE:
            _hold_parent(buckets, shift, records, primary)
            woken[n_woken] = bucket.slot
            n_woken += 1
        primary.state = after[Operation.ACQUIRE.value, primary.state]
        if allow:
            slot.holds = bucket.slot
            slot.state = after[Operation.REGISTER_DUPLICATE.value, slot.state]
        else:
            holders[index] = bucket.slot
            slot.refs = 0
            slot.state = after[Operation.REGISTER_REJECTED.value, slot.state]
            emptied[n_emptied] = slot_id
            n_emptied += 1
    return n_stored, n_woken, n_emptied


@compiled
def _enter(buckets: Any, shift: Any, records: Records, ids: Ids) -> None:
    for slot_id in ids:
        bucket = buckets[_bucket_of(buckets, shift, records[slot_id].key)]
        if bucket.slot != NONE:
            raise ValueError("KV-REG-04: a slot answers for this key already")
        bucket.key = records[slot_id].key
        bucket.slot = slot_id


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
