"""Policies: worked examples, custom ones, broken ones, and the seam that they sit behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.blocks.slots import Ids, Slots
from kvbm.errors import BrokenPolicy, ErrorKind, InvalidConfig, ReentrantCall
from kvbm.pool import POLICIES, BlockPool, make_policy
from kvbm.pool.policies import LineagePolicy, LruPolicy, MultiLruPolicy, PriorityPolicy, SlotView
from kvbm.pool.sketch import FrequencySketch


def bound(policy: Any, *letters: str) -> tuple[Any, Slots]:
    """Bind a policy to one slot a letter; `"b<a"` is a block b whose parent is a."""
    slots = Slots(len(letters))
    for slot, letter in enumerate(letters):
        name, _, parent = letter.partition("<")
        slots.records[slot]["key"] = int.from_bytes(name.encode())
        slots.records[slot]["has_parent"] = bool(parent)
        slots.records[slot]["parent_key"] = int.from_bytes(parent.encode())
    policy.bind(SlotView.of(slots))
    return policy, slots


def ids(*slots: int) -> Ids:
    return np.array(slots, np.int64)


# ── queues ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-EVC-02")
@pytest.mark.parametrize("name", ["lru", "fifo"])
def test_a_match_and_a_release_move_a_slot_to_the_end(name: str) -> None:
    policy, _ = bound(make_policy(name), "a", "b", "c")
    policy.insert(ids(0, 1, 2))
    policy.take(ids(1))
    policy.insert(ids(1))
    assert policy.order().tolist() == [0, 2, 1]
    assert policy.evict(2).tolist() == [0, 2]
    assert policy.evict(9).tolist() == [1]
    assert policy.evict(1).tolist() == []
    assert len(policy) == 0


@pytest.mark.clause("KV-EVC-02")
def test_priorities_are_sorted_by_value_and_not_by_first_sight() -> None:
    policy, slots = bound(PriorityPolicy(), *"abcdef")
    slots.records["priority"] = [7, 3, (1 << 32) - 1, 3, 0, 7]
    for slot in range(6):
        policy.insert(ids(slot))
    assert policy.order().tolist() == [4, 1, 3, 0, 5, 2]
    policy.take(ids(1, 3))
    policy.insert(ids(1, 3))
    assert policy.order().tolist() == [4, 1, 3, 0, 5, 2], "one by one or at once"
    policy.take(ids(3, 0))
    assert policy.evict(3).tolist() == [4, 1, 5]
    policy._check()


@pytest.mark.clause("KV-EVC-02")
def test_the_worked_example_of_multi_lru() -> None:
    policy, slots = bound(MultiLruPolicy(), *"abcdefg")
    for slot, uses in enumerate((0, 9, 2, 15, 3, 0, 14)):
        for _ in range(uses):
            policy.used(ids(slot))
    policy.insert(ids(*range(7)))
    assert "".join(chr(slots.records[slot]["key"]) for slot in policy.evict(7)) == "acfebgd"


@pytest.mark.clause("KV-EVC-02")
def test_a_block_is_not_promoted_while_it_rests() -> None:
    policy, _ = bound(MultiLruPolicy(thresholds=(1, 2, 3)), "a", "b")
    policy.insert(ids(0, 1))
    policy.used(ids(0))
    policy.used(ids(0))
    assert policy.order().tolist() == [0, 1]
    policy.take(ids(0))
    policy.insert(ids(0))
    assert policy.order().tolist() == [1, 0]


@pytest.mark.parametrize("thresholds", [(1, 2, 3), (3, 8, 15), (13, 14, 15)])
def test_rising_thresholds_are_taken(thresholds: tuple[int, ...]) -> None:
    assert len(MultiLruPolicy(thresholds)) == 0


@pytest.mark.parametrize(
    "thresholds",
    [
        (0, 1, 2),
        (1, 1, 2),
        (3, 2, 1),
        (1, 2, 16),
        (1, 2),
        (1, 2, 3, 4),
        (),
        ("a", "b", "c"),
        (1.5, 2, 3),
    ],
)
def test_thresholds_that_do_not_rise_in_1_to_15_are_refused(thresholds: Any) -> None:
    with pytest.raises(InvalidConfig, match="thresholds") as error:
        MultiLruPolicy(thresholds)
    assert error.value.value == thresholds


def test_thresholds_are_where_a_block_becomes_hotter() -> None:
    policy, _ = bound(MultiLruPolicy(thresholds=(2, 4, 6)), *"abcdefg")
    for slot in range(7):
        for _ in range(slot):
            policy.used(ids(slot))
    policy.insert(ids(*reversed(range(7))))
    assert policy.order().tolist() == [1, 0, 3, 2, 5, 4, 6]


@pytest.mark.clause("KV-EVC-02")
def test_a_pool_counts_each_registration_and_each_returned_match_once() -> None:
    policy = MultiLruPolicy()
    pool = BlockPool(4, policy=policy)

    def uses(name: int) -> int:
        return int(policy.sketch.estimate(np.array([name], np.uint64))[0])

    for _ in range(2):
        blocks = pool.allocate_blocks(1)
        blocks.stage([7])
        pool.register_blocks(blocks)
    assert uses(7) == 2, "registering again is a use"
    pool.match_sequence_hashes([7, 8])
    pool.scan_matches([9, 7, 7])
    assert (uses(7), uses(8), uses(9)) == (4, 0, 0), "a miss is none"
    block = pool.match_sequence_hashes([7])[0]
    weak = block.clone().downgrade()
    weak.upgrade()
    pool.touch_blocks([7])
    pool.pin_blocks([7])
    pool.unpin_blocks([7])
    pool.snapshot()
    assert uses(7) == 5, "neither clone, upgrade, touch nor pin is one"


# ── lineage ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-EVC-02", "KV-EVC-04", "KV-CAP-07")
@pytest.mark.parametrize(
    ("inserted", "gone", "tick", "fifo"),
    [
        ("A0 B0 A1<A0 B1<B0 A2<A1", "", "B1 B0 A2 A1 A0", "B1 A2 B0 A1 A0"),
        ("R X<R Y<R S", "", "X Y R S", "X Y S R"),
        ("A Q B<A", "B", "A Q", "Q A"),
        ("C<B A", "", "C A", "C A"),
        ("C<B A B<A", "", "C B A", "C B A"),
        ("A B<A C<B", "B", "C A", "C A"),
    ],
)
def test_the_worked_examples_of_lineage(inserted: str, gone: str, tick: str, fifo: str) -> None:
    letters = inserted.split()
    names = [letter.partition("<")[0] for letter in letters]
    for order, expected in (("tick", tick), ("fifo", fifo)):
        policy, _ = bound(LineagePolicy(order), *letters)
        for slot in range(len(letters)):
            policy.insert(ids(slot))
        if gone:
            policy.take(ids(names.index(gone)))
        policy._check()
        victims = expected.split()
        assert [names[slot] for slot in policy.order()] == victims
        assert [names[slot] for slot in policy.evict(len(letters))] == victims
        assert len(policy) == 0
        assert not policy._nodes, "no ghost is left"


@pytest.mark.clause("KV-EVC-02")
@pytest.mark.parametrize("order", ["tick", "fifo"])
def test_an_inner_block_that_was_matched_and_returned_has_a_new_place(order: str) -> None:
    policy, _ = bound(LineagePolicy(order), "A", "B<A", "X")
    policy.insert(ids(0, 1, 2))
    policy.take(ids(0))
    policy.insert(ids(0))
    assert policy.evict(3).tolist() == [1, 2, 0], "B, X, and A, which came last"


def test_a_circle_of_parents_has_leaves_all_the_same() -> None:
    for order in ("tick", "fifo"):
        policy, _ = bound(LineagePolicy(order), "a<c", "b<a", "c<b", "d<d")
        policy.insert(ids(0, 1, 2, 3))
        policy._check()
        assert sorted(policy.evict(4).tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("order", ["tick", "fifo"])
def test_a_chain_of_10_000_leaves_leaf_first_and_without_recursion(order: str) -> None:
    count = 10_000
    policy = LineagePolicy(order)
    slots = Slots(count)
    slots.records["key"] = np.arange(1, count + 1)
    slots.records["parent_key"] = np.arange(count)
    slots.records["has_parent"] = 1
    slots.records["has_parent"][0] = 0
    policy.bind(SlotView.of(slots))
    policy.insert(np.random.default_rng(5).permutation(count))
    assert policy.evict(count).tolist() == list(range(count - 1, -1, -1))


def test_a_lineage_policy_that_never_evicts_does_not_grow() -> None:
    pool = BlockPool(4, policy="lineage")
    blocks = pool.allocate_blocks(2)
    blocks.stage([1, 2])
    pool.register_blocks(blocks).release()
    for _ in range(1000):
        pool.match_sequence_hashes([1, 2]).release()
    policy = pool._core.policy
    assert isinstance(policy, LineagePolicy)
    assert len(policy._leaves) < 100


def test_an_unknown_order_or_name_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="order = 'lifo'"):
        LineagePolicy("lifo")
    with pytest.raises(InvalidConfig, match="known are priority, lru, fifo, multi-lru, lineage"):
        make_policy("belady")
    own = LruPolicy()
    assert make_policy(own) is own


@pytest.mark.clause("KV-EVC-02", "KV-EVC-06")
@given(
    name=st.sampled_from(sorted(POLICIES)),
    steps=st.lists(
        st.tuples(st.sampled_from(["in", "out", "evict"]), st.integers(0, 7)), max_size=40
    ),
)
def test_every_policy_gives_exactly_as_many_as_it_has_and_in_the_order_it_tells(
    name: str, steps: list[tuple[str, int]]
) -> None:
    policy, slots = bound(make_policy(name), "a", "b<a", "c<b", "d<a", "e", "f<e", "g<x", "h<g")
    slots.records["priority"] = [0, 1, 0, 2, 1, 0, 2, 1]
    inside: set[int] = set()
    for what, slot in steps:
        if what == "in" and slot not in inside:
            policy.insert(ids(slot))
            inside.add(slot)
        elif what == "out" and slot in inside:
            policy.take(ids(slot))
            inside.remove(slot)
        elif what == "evict":
            order = policy.order().tolist()
            victims = policy.evict(slot).tolist()
            assert victims == order[:slot]
            inside -= set(victims)
        assert sorted(policy.order().tolist()) == sorted(inside)
        assert len(policy) == len(inside)
        policy._check()


# ── the seam ──────────────────────────────────────────────────────────────────────────────


class Mine:
    """A policy of the user's own: the largest key goes first."""

    def __init__(self) -> None:
        self.inside: list[int] = []

    def bind(self, view: SlotView) -> None:
        self.view = view

    def insert(self, ids: Ids) -> None:
        self.inside += ids.tolist()

    def take(self, ids: Ids) -> None:
        for slot in ids.tolist():
            self.inside.remove(slot)

    def order(self) -> Ids:
        keys = self.view.key
        return np.array(sorted(self.inside, key=lambda slot: -int(keys[slot])), np.int64)

    def evict(self, count: int) -> Ids:
        victims = self.order()[:count]
        self.take(victims)
        return victims

    def used(self, ids: Ids) -> None:
        pass

    def __len__(self) -> int:
        return len(self.inside)


def fill(pool: BlockPool, *names: int) -> None:
    blocks = pool.allocate_blocks(len(names))
    blocks.stage(names)
    pool.register_blocks(blocks).release()


@pytest.mark.clause("KV-EVC-02")
def test_a_policy_of_the_users_own_decides() -> None:
    pool = BlockPool(3, policy=Mine())
    fill(pool, 5, 9, 7)
    assert pool.allocate_blocks(3).block_ids == [1, 2, 0]
    pool.add_blocks(2)
    fill(pool, 1, 2)
    assert pool.available_blocks() == 5


def test_a_policy_may_look_and_not_touch() -> None:
    mine = Mine()
    BlockPool(2, policy=mine)
    for name in SlotView.__dataclass_fields__:
        with pytest.raises(ValueError, match="read-only"):
            getattr(mine.view, name)[0] = 1


@pytest.mark.clause("KV-CAP-08", "KV-CAP-06")
def test_a_policy_that_gives_too_few_loses_nothing() -> None:
    class Short(Mine):
        def evict(self, count: int) -> Ids:
            return super().evict(count - 1)

    pool = BlockPool(5, policy=Short())
    fill(pool, 1, 2, 3)
    pool.allocate_blocks(1).release()  # the empty slots are now in the order 4, 3
    assert pool.available_blocks() == 5
    assert pool._core._empty.order().tolist() == [4, 3]
    with pytest.raises(BrokenPolicy, match="was asked for 2 victims and gave 1") as error:
        pool.allocate_blocks(4)
    assert (error.value.requested, error.value.delivered) == (2, 1)
    assert error.value.kind is ErrorKind.WRONG_STATE
    assert pool.available_blocks() == 5
    assert pool._core._empty.order().tolist() == [4, 3], "as before"
    pool._check()
    assert pool.match_sequence_hashes([1, 2, 3]).block_ids == [0, 1, 2], "nothing was evicted"


@pytest.mark.clause("KV-OWN-04")
@pytest.mark.parametrize("where", ["insert", "take", "evict", "used"])
def test_a_policy_that_calls_the_pool_is_refused_and_nobody_waits_for_ever(where: str) -> None:
    class Curious(Mine):
        calls = 0

    def call_back(self: Curious, given: Any) -> Any:
        with pytest.raises(ReentrantCall, match="must not call the pool"):
            pool.available_blocks()
        self.calls += 1
        return getattr(Mine, where)(self, given)

    setattr(Curious, where, call_back)
    policy = Curious()
    pool = BlockPool(2, policy=policy)
    fill(pool, 1, 2)
    pool.match_sequence_hashes([1]).release()
    pool.allocate_blocks(2).release()
    assert policy.calls
    assert pool.available_blocks() == 2


@pytest.mark.clause("KV-OWN-04", "KV-CAP-08")
@pytest.mark.parametrize("where", ["insert", "take", "evict", "used"])
def test_a_policy_that_raises_does_not_leave_the_pool_locked(where: str) -> None:
    class Raising(Mine):
        armed = False

    def fail(self: Raising, given: Any) -> Any:
        if self.armed:
            raise ZeroDivisionError(where)
        return getattr(Mine, where)(self, given)

    setattr(Raising, where, fail)
    policy = Raising()
    pool = BlockPool(3, policy=policy)
    fill(pool, 1, 2)
    assert pool.available_blocks() == 3
    policy.armed = True
    if where == "insert":
        pool.match_sequence_hashes([1]).release()
    calls = {
        "insert": pool.available_blocks,
        "take": lambda: pool.match_sequence_hashes([1]),
        "used": lambda: pool.match_sequence_hashes([1]),
        "evict": lambda: pool.allocate_blocks(2),
    }
    # With checks on, what the policy has left undone is told in place of why.
    with pytest.raises((ZeroDivisionError, AssertionError)):
        calls[where]()
    policy.armed = False
    assert pool.total_blocks() == 3
    if where == "evict":
        pool._check()
        assert pool.allocate_blocks(2).block_ids == [2, 1], "what failed changed nothing"
    else:
        assert pool._turn.__enter__() is pool._core, "the lock is free"


def test_a_sketch_of_no_size_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="capacity = 0"):
        FrequencySketch(0)
