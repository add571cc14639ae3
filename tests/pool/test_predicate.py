"""A predicate marks who should go, an order ranks them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.blocks.slots import Ids, Slots
from kvbm.config import KvManagerLayoutConfig
from kvbm.errors import InvalidConfig
from kvbm.pool import POLICIES, BlockPool, PredicatePolicy, make_policy
from kvbm.pool.policies import Candidate, LruPolicy, SlotView
from kvbm.storage import NullAllocator


def fill(pool, *names, priority=0, parent=None):
    blocks = pool.allocate_blocks(len(names))
    blocks.set_priority(priority)
    blocks.stage(names, parent=parent)
    pool.register_blocks(blocks).release()


def odd(block: Candidate) -> bool:
    return bool(block.key % 2)


@pytest.mark.clause("KV-EVC-02")
def test_marked_blocks_go_first_and_the_order_ranks_both_halves() -> None:
    pool = BlockPool(6, policy=PredicatePolicy(odd, order="lru"))
    for name in (4, 1, 6, 3, 2, 5):
        fill(pool, name)
    assert pool.eviction_order() == [1, 3, 5, 4, 6, 2]
    pool.match_sequence_hashes([1]).release()
    assert pool.eviction_order() == [3, 5, 1, 4, 6, 2]
    held = pool.allocate_blocks(4)
    assert held.block_ids == [3, 5, 1, 0]
    assert pool.eviction_order() == [6, 2]


@pytest.mark.clause("KV-EVC-02")
def test_the_default_order_is_by_priority() -> None:
    pool = BlockPool(4, policy=PredicatePolicy(odd))
    for name, priority in ((1, 9), (3, 2), (4, 5), (2, 7)):
        fill(pool, name, priority=priority)
    assert pool.eviction_order() == [3, 1, 4, 2]


def test_a_block_that_is_held_is_no_victim_whatever_the_mark() -> None:
    pool = BlockPool(2, policy=PredicatePolicy(odd))
    fill(pool, 1)
    fill(pool, 2)
    with pool.match_sequence_hashes([1]):
        assert pool.allocate_blocks(1).block_ids == [1]


def test_what_a_predicate_sees() -> None:
    policy = PredicatePolicy(lambda block: not seen.append(block), order="lru")
    seen: list[Candidate] = []
    pool = BlockPool(4, policy=policy)
    fill(pool, 7, 8, priority=3)
    fill(pool, 9)
    pool.available_blocks()
    seen.clear()
    pool.eviction_order()
    assert seen[:3] == [  # the checks ask again
        Candidate(block_id=1, key=8, parent_key=7, priority=3, rested=0.0),
        Candidate(block_id=0, key=7, parent_key=None, priority=3, rested=1.0),
        Candidate(block_id=2, key=9, parent_key=None, priority=0, rested=2.0),
    ]
    pool.touch_blocks([7])
    seen.clear()
    pool.eviction_order()
    rests = [(block.key, block.last_access_time()) for block in seen[:3]]
    assert rests == [(8, 0), (9, 2), (7, 3)]


def test_the_example_of_the_documents_with_a_clock() -> None:
    now = [0.0]

    class NotSeenForFiveMinutes:
        def should_evict(self, block: Candidate) -> bool:
            return now[0] - block.last_access_time() > 300

    pool = BlockPool(3, policy=PredicatePolicy(NotSeenForFiveMinutes(), clock=lambda: now[0]))
    fill(pool, 1, priority=5)
    pool.available_blocks()
    now[0] = 200.0
    fill(pool, 2)
    pool.available_blocks()
    assert pool.eviction_order() == [2, 1]
    now[0] = 301.0
    assert pool.eviction_order() == [1, 2], "a mark is stronger than a priority"


def test_a_mark_is_stronger_than_lineage() -> None:
    pool = BlockPool(3, policy=PredicatePolicy(odd, order="lineage"))
    fill(pool, 1, 2, 4)
    assert pool.eviction_order() == [1, 4, 2]
    assert pool.allocate_blocks(1).block_ids == [0]
    assert pool.eviction_order() == [4, 2]


@pytest.mark.clause("KV-CAP-08")
def test_a_predicate_that_raises_evicts_nothing() -> None:
    broken = [False]

    def predicate(_: Candidate) -> bool:
        return bool(1 // (not broken[0]))

    pool = BlockPool(2, policy=PredicatePolicy(predicate))
    fill(pool, 1, 2)
    pool.available_blocks()
    broken[0] = True
    with pytest.raises(ZeroDivisionError):
        pool.allocate_blocks(1)
    broken[0] = False
    assert pool.match_sequence_hashes([1, 2]).block_ids == [0, 1]


def test_a_pool_may_grow() -> None:
    pool = BlockPool(1, policy=PredicatePolicy(odd))
    fill(pool, 2)
    pool.add_blocks(2)
    fill(pool, 4)
    fill(pool, 1)
    assert pool.eviction_order() == [1, 2, 4]


def test_times_are_kept_when_a_pool_grows() -> None:
    now = [5.0]
    times = {}
    policy = PredicatePolicy(
        lambda block: bool(times.update({block.key: block.rested})), clock=lambda: now[0]
    )
    pool = BlockPool(1, policy=policy)
    fill(pool, 7)
    pool.add_blocks(2)
    now[0] = 6.0
    fill(pool, 8)
    pool.eviction_order()
    assert times == {7: 5.0, 8: 6.0}


def test_the_policy_beneath_hears_of_uses() -> None:
    pool = BlockPool(2, policy=PredicatePolicy(lambda _: False, order="multi-lru"))
    fill(pool, 1)
    fill(pool, 2)
    for _ in range(3):
        pool.match_sequence_hashes([1]).release()
    pool.match_sequence_hashes([2]).release()
    assert pool.eviction_order() == [2, 1]
    for _ in range(3):
        pool.match_sequence_hashes([2]).release()
    pool.match_sequence_hashes([1]).release()
    assert pool.eviction_order() == [2, 1], "both are used often; 2 came to rest first"


def test_the_predicate_is_asked_no_more_than_it_takes() -> None:
    asked: list[int] = []
    policy = PredicatePolicy(lambda block: not asked.append(block.block_id))
    policy.bind(SlotView.of(Slots(4)))
    policy.insert(np.arange(4))
    assert policy.evict(2).tolist() == [0, 1]
    assert asked == [0, 1]
    assert policy.evict(9).tolist() == [2, 3]
    assert policy.evict(1).tolist() == []


@pytest.mark.parametrize("wrong", [None, 7, "lru", object()])
def test_what_cannot_be_asked_is_refused(wrong) -> None:
    with pytest.raises(InvalidConfig, match="should_evict"):
        PredicatePolicy(wrong)


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="policy = 'belady'"):
        PredicatePolicy(odd, order="belady")


def test_it_is_no_name_but_a_configuration_takes_it() -> None:
    assert "predicate" not in POLICIES
    policy = PredicatePolicy(odd, LruPolicy())
    assert repr(policy) == "PredicatePolicy(LruPolicy(0 slots))"
    tier = KvManagerLayoutConfig(num_blocks=1, allocator=NullAllocator(), policy=policy)
    assert tier.policy is policy


@pytest.mark.clause("KV-EVC-02", "KV-EVC-06")
@given(
    name=st.sampled_from(sorted(POLICIES)),
    marked=st.sets(st.integers(0, 7)),
    steps=st.lists(
        st.tuples(st.sampled_from(["in", "out", "evict"]), st.integers(0, 7)), max_size=40
    ),
)
def test_the_order_is_that_of_the_policy_beneath_parted_by_the_mark(name, marked, steps) -> None:
    def bound(policy):
        slots = Slots(8)
        slots.records["key"] = np.arange(8)
        slots.records["priority"] = [0, 1, 0, 2, 1, 0, 2, 1]
        policy.bind(SlotView.of(slots))
        return policy

    plain = bound(make_policy(name))
    policy = bound(PredicatePolicy(lambda block: block.key in marked, order=name))
    inside: set[int] = set()

    def ids(*slots: int) -> Ids:
        return np.array(slots, np.int64)

    for what, slot in steps:
        expected = sorted(plain.order().tolist(), key=lambda one: one not in marked)
        assert policy.order().tolist() == expected
        policy._check()
        if what == "in" and slot not in inside:
            inside.add(slot)
            for each in (plain, policy):
                each.insert(ids(slot))
        elif what == "out" and slot in inside:
            inside.remove(slot)
            for each in (plain, policy):
                each.take(ids(slot))
        elif what == "evict":
            victims = policy.evict(slot).tolist()
            assert victims == expected[:slot]
            plain.take(ids(*victims))
            inside -= set(victims)
        assert len(policy) == len(inside)
