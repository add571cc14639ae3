"""The hash table against a dict: colliding keys, holes, growth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.blocks import State
from kvbm.blocks.slots import NONE, Ids, Slots
from kvbm.errors import BlockNotComplete
from kvbm.pool.registry import _SPREAD, Registry

ALL_ONES = (1 << 64) - 1
INVERSE = pow(int(_SPREAD), -1, 1 << 64)


def key_in_bucket(bucket: int, tag: int, buckets: int) -> int:
    """Make a key whose home is `bucket` of a table of that many; `tag` tells such keys apart."""
    bits = (buckets - 1).bit_length()
    return ((bucket << (64 - bits)) + tag) * INVERSE & ALL_ONES


def ids(*slots: int) -> Ids:
    return np.array(slots, np.int64)


class Table:
    """A registry with the slots that it speaks of, and the dict that it must equal."""

    def __init__(self, capacity: int) -> None:
        self.slots = Slots(capacity)
        self.registry = Registry(capacity)
        self.expected: dict[int, int] = {}
        self.free = list(range(capacity))

    def publish(self, key: int) -> None:
        slot = self.free.pop(0)
        self.slots.allocate(ids(slot))
        self.slots.stage(ids(slot), np.array([key], np.uint64), None, 0)
        done = self.registry.publish(self.slots.records, ids(slot), False)
        if key in self.expected:
            assert done.holders.tolist() == [self.expected[key]]
            assert done.emptied.tolist() == [slot]
            self.slots.wipe(done.emptied)
            self.free.append(slot)
        else:
            assert done.holders.tolist() == done.stored.tolist() == [slot]
            self.expected[key] = slot

    def erase(self, key: int) -> None:
        slot = self.expected.pop(key)
        self.registry.erase(self.slots.records, ids(slot))
        self.slots.records[slot]["state"] = State.EMPTY
        self.slots.records[slot]["refs"] = 0
        self.slots.wipe(ids(slot))
        self.free.append(slot)

    def compare(self, keys: list[int]) -> None:
        self.registry._check()
        assert self.registry.entries() == self.expected
        assert len(self.registry) == len(self.expected)
        asked = np.array(keys, np.uint64)
        assert self.registry.find(asked).tolist() == [self.expected.get(k, NONE) for k in keys]
        hits = [k in self.expected for k in keys]
        prefix = hits.index(False) if False in hits else len(hits)
        found = self.registry.find_prefix(asked).tolist()
        assert found == [self.expected[k] for k in keys[:prefix]]


@pytest.mark.clause("KV-REG-01", "KV-REG-03", "KV-REG-04")
@given(
    steps=st.lists(
        st.tuples(st.booleans(), st.sampled_from([0, 1, 62, 63]), st.integers(0, 3)), max_size=60
    ),
    grow_at=st.integers(0, 60),
)
def test_the_table_is_a_dict_however_its_keys_collide(
    steps: list[tuple[bool, int, int]], grow_at: int
) -> None:
    table = Table(16)
    buckets = len(table.registry._buckets)
    assert buckets == 64
    keys = [key_in_bucket(bucket, tag, buckets) for bucket in (0, 1, 62, 63) for tag in range(4)]
    keys += [0, 1, ALL_ONES]
    for index, (publish, bucket, tag) in enumerate(steps):
        key = key_in_bucket(bucket, tag, buckets)
        if index == grow_at:
            table.free += table.slots.grow(8).tolist()
            table.registry.grow(len(table.slots))
        if publish and table.free:
            table.publish(key)
        elif key in table.expected:
            table.erase(key)
        table.compare(keys)


def test_keys_are_where_the_test_wants_them() -> None:
    for bucket in (0, 1, 63):
        for tag in (0, 3):
            key = np.uint64(key_in_bucket(bucket, tag, 64))
            with np.errstate(over="ignore"):
                assert int(key * _SPREAD) >> 58 == bucket


@pytest.mark.clause("KV-REG-04")
def test_a_slot_that_does_not_answer_for_its_key_is_not_erased() -> None:
    table = Table(4)
    table.publish(5)
    table.slots.records[1]["key"] = 5
    with pytest.raises(ValueError, match="KV-REG-04"):
        table.registry.erase(table.slots.records, ids(1))
    assert table.registry.entries() == {5: 0}


@pytest.mark.clause("KV-CAP-08")
def test_publishing_refuses_the_whole_batch_before_it_changes_anything() -> None:
    slots, registry = Slots(3), Registry(3)
    slots.allocate(ids(0, 1, 2))
    slots.stage(ids(0, 1), np.array([1, 2], np.uint64), None, 0)
    before = slots.records.copy()
    with pytest.raises(BlockNotComplete, match="block 2"):
        registry.publish(slots.records, ids(0, 1, 2), False)
    assert (slots.records == before).all()
    assert registry.entries() == {}


def test_the_check_sees_a_lost_entry_and_a_slot_that_answers_twice() -> None:
    registry = Registry(4)
    registry._buckets[3] = (5, 0)
    with pytest.raises(AssertionError, match="KV-CAP-04"):
        registry._check()
    registry._length = 1
    home = next(i for i in range(16) if i != 3)
    assert home != 3
    registry._buckets[3] = (key_in_bucket(9, 0, len(registry._buckets)), 0)
    with pytest.raises(AssertionError, match="KV-REG-01"):
        registry._check()
    registry._buckets[9] = (key_in_bucket(9, 0, len(registry._buckets)), 0)
    registry._buckets[3] = (key_in_bucket(3, 0, len(registry._buckets)), 0)
    registry._length = 2
    with pytest.raises(AssertionError, match="KV-REG-04"):
        registry._check()
