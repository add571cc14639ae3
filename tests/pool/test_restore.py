"""Blocks whose bytes outlived their pool: registered again, in the slots where they lie."""

from __future__ import annotations

import pytest

from kvbm.blocks import State
from kvbm.errors import BlockStateInvalid, InvalidConfig
from kvbm.events import EventLog
from kvbm.pool import POLICIES, BlockPool


def restore(pool, slots, names, priorities=None):
    parents = [None, *names][: len(names)]
    return pool.restore(slots, names, parents, range(len(names)), priorities or [0] * len(names))


@pytest.mark.clause("KV-LIF-01", "KV-REG-01", "KV-CAP-02")
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_restored_blocks_are_found_where_they_lie_and_evicted_as_others_are(policy):
    pool = BlockPool(4, policy=policy)
    assert restore(pool, [3, 1, 2], [30, 10, 20]) == [3, 1, 2]
    assert pool.status().inactive_blocks == 3
    assert pool.available_blocks() == 4
    with pool.match_sequence_hashes([30, 10, 20]) as found:
        assert found.block_ids == [3, 1, 2]
        assert pool.slots.state(3) is State.ACTIVE
    with pool.allocate_blocks(1) as first:
        assert first.block_ids == [0], "the empty slot first"
        with pool.allocate_blocks(3) as others:
            assert sorted(others.block_ids) == [1, 2, 3]
    pool._check()


@pytest.mark.clause("KV-EVC-02")
def test_the_first_is_the_least_recently_returned_and_priority_counts():
    pool = BlockPool(4, policy="lru")
    restore(pool, [3, 1, 2], [30, 10, 20])
    assert pool.eviction_order() == [30, 10, 20]
    pool = BlockPool(4)
    restore(pool, [3, 1, 2], [30, 10, 20], priorities=[5, 1, 0])
    assert pool.eviction_order() == [20, 10, 30]


@pytest.mark.clause("KV-EVT-02")
def test_restored_blocks_are_told_of_like_others():
    log = EventLog()
    pool = BlockPool(4, events=log)
    restore(pool, [2, 0], [20, 5])
    (batch,) = log.reader(0).read()
    assert list(batch.change.sequence_hashes) == [20, 5]
    assert list(batch.change.parent_sequence_hashes) == [None, 20]
    assert list(batch.change.positions) == [0, 1]
    assert pool.locate([5, 20, 6]) == [0, 2, -1]


@pytest.mark.clause("KV-REG-04")
def test_a_hash_that_is_there_or_comes_twice_is_left_out():
    pool = BlockPool(6)
    with pool.allocate_blocks(1) as owned:
        owned.stage([7])
        registered = pool.register_blocks(owned)
    assert restore(pool, [1, 2, 3, 4], [7, 8, 8, 9]) == [2, 4]
    assert [pool.slots.state(slot) for slot in (1, 3)] == [State.EMPTY, State.EMPTY]
    assert pool.match_sequence_hashes([7]).block_ids == registered.block_ids
    pool._check()


@pytest.mark.clause("KV-OWN-01", "KV-LIF-02")
def test_a_slot_that_was_somebodys_has_a_new_tenant():
    pool = BlockPool(2)
    [old] = pool.allocate_blocks(1)
    slot, generation = old.block_id, pool.slots.records["generation"][old.block_id]
    old.release()
    restore(pool, [slot], [7])
    assert pool.slots.records["generation"][slot] == generation + 1
    [young] = pool.allocate_blocks(1)
    ticks = pool.slots.records["acquired"]
    assert ticks[young.block_id] > ticks[slot], "time went on"


@pytest.mark.parametrize("slots", [[0, 0], [-1, 0], [0, 4]])
def test_slots_that_are_not_there_or_come_twice_are_refused(slots):
    pool = BlockPool(4)
    with pytest.raises(InvalidConfig, match=r"must be distinct, and in 0 … 3"):
        restore(pool, slots, [1, 2])
    assert pool.contains([1, 2]) == [False, False]


@pytest.mark.clause("KV-LIF-01")
def test_a_slot_that_is_in_use_is_refused_and_nothing_has_changed():
    pool = BlockPool(4)
    with pool.allocate_blocks(1):
        with pytest.raises(BlockStateInvalid):
            restore(pool, [1, 0], [1, 2])
        assert pool.contains([1, 2]) == [False, False]


def test_nothing_to_restore_is_nothing_told():
    log = EventLog()
    pool = BlockPool(4, events=log)
    assert restore(pool, [], []) == []
    assert log.next_number == 0


def test_long_hashes_are_restored_whole_and_one_of_two_with_one_key():
    pool = BlockPool(4, scheme="lineage")
    one, twin = 1 << 64, 1  # which fold to one key
    assert restore(pool, [0, 1], [one, twin]) == [0]
    assert pool.contains([one, twin]) == [True, False]
