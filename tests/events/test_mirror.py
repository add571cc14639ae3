"""A mirror is the registry, whatever it missed and however often it heard it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvbm.events import EventBatch, EventLog, Gap, Mirror, fold
from kvbm.pool import BlockPool, EvictionMode, Snapshot
from kvbm.pool.changes import Change, ChangeKind

steps = st.lists(
    st.tuples(st.sampled_from(["publish", "evict", "reset_blocks", "reset"]), st.integers(0, 7)),
    max_size=25,
)


def work(pool: BlockPool, what: str, number: int) -> None:
    if what == "publish":
        hits = pool.match_sequence_hashes([number, number + 10])
        rest = [number, number + 10][len(hits) :]
        if rest:
            blocks = pool.allocate_blocks(len(rest))
            blocks.stage(rest)
            pool.register_blocks(blocks)
    elif what == "evict":
        pool.trigger_eviction(list(EvictionMode)[number & 1])
    elif what == "reset_blocks":
        pool.reset_blocks([number, number + 10])
    else:
        pool.reset()


def batch(number: int, kind: ChangeKind, *names: int) -> EventBatch:
    return EventBatch(number, "kvbm", Change(kind, "device", "dynamo", 16, names))


@pytest.mark.clause("KV-EVT-01", "KV-EVT-03", "KV-EVT-05", "KV-REG-05")
@given(
    steps=steps, cut=st.integers(0, 25), replay=st.tuples(st.integers(0, 40), st.integers(0, 40))
)
@settings(max_examples=60)
def test_a_mirror_is_the_registry_from_any_cut_and_after_any_replay(
    steps: list[tuple[str, int]], cut: int, replay: tuple[int, int]
) -> None:
    log = EventLog()
    pool = BlockPool(4, events=log)
    late = Mirror()
    for index, step in enumerate(steps):
        if index == cut:
            late.reset(pool.snapshot())
        work(pool, *step)
        full = fold(log.reader(0).read())
        assert full == pool.snapshot().stored
        assert {name for _, name in full} == set(pool._core.registry.entries())
    items = log.reader(0).read()
    first, last = sorted(min(at, len(items)) for at in replay)
    assert fold([*items[:last], *items[first:], *items[:last], *items]) == fold(items)
    naive: set[Any] = set()
    for item in [*items[:first], *items]:  # a consumer that does not look at the numbers
        assert isinstance(item, EventBatch)
        keys = {(item.change.tier, name) for name in item.change.sequence_hashes}
        naive = naive | keys if item.change.kind is ChangeKind.STORED else naive - keys
    assert naive == fold(items)
    for item in items:
        late.apply(item)
    assert late.stored == pool.snapshot().stored
    assert (late.synced, late.next_number) == (True, log.next_number)


@pytest.mark.clause("KV-EVT-05")
@given(steps=steps, cuts=st.tuples(st.integers(0, 25), st.integers(0, 25)))
@settings(max_examples=40)
def test_snapshots_of_two_pools_of_one_log_may_be_of_different_age(
    steps: list[tuple[str, int]], cuts: tuple[int, int]
) -> None:
    log = EventLog()
    pools = [BlockPool(4, tier=tier, events=log) for tier in ("device", "host")]
    snapshots: dict[int, Snapshot] = {}
    for index, (what, number) in enumerate([*steps, ("evict", 0), ("evict", 0)]):
        for which, cut in enumerate(cuts):
            if cut == index:
                snapshots[which] = pools[which].snapshot()
        work(pools[number & 1], what, number)
    for which, pool in enumerate(pools):
        snapshots.setdefault(which, pool.snapshot())
    mirror = Mirror()
    assert mirror.reset(*snapshots.values())
    for item in log.reader(0).read():
        mirror.apply(item)
    assert mirror.stored == pools[0].snapshot().stored | pools[1].snapshot().stored
    assert mirror.synced


@pytest.mark.clause("KV-EVT-05")
def test_a_mirror_that_missed_something_says_so_until_it_has_a_snapshot() -> None:
    log = EventLog(keep=2)
    pool = BlockPool(4, events=log)
    mirror, reader = Mirror(), log.reader()
    for number in range(4):
        work(pool, "publish", number)
    items = reader.read()
    assert isinstance(items[0], Gap)
    mirror.apply(items[0])
    for item in reader.read():
        mirror.apply(item)
    assert not mirror.synced
    assert mirror.stored == set(), "it does not guess"
    assert mirror.reset(pool.snapshot())
    work(pool, "reset_blocks", 3)
    for item in reader.read():
        mirror.apply(item)
    assert mirror.synced
    assert mirror.stored == pool.snapshot().stored


@pytest.mark.clause("KV-EVT-05")
def test_the_cursor_of_a_mirror_never_moves_back() -> None:
    mirror = Mirror()
    mirror.apply(batch(0, ChangeKind.STORED, 1))
    mirror.apply(batch(1, ChangeKind.STORED, 2))
    assert not mirror.reset(Snapshot(1, frozenset({("device", 1)})))
    assert mirror.stored == {("device", 1), ("device", 2)}
    mirror.apply(Gap(0, 1))
    assert mirror.synced, "what it has heard cannot be missing"
    mirror.apply(Gap(1, 2))
    assert not mirror.synced
    mirror.apply(batch(3, ChangeKind.STORED, 4))
    assert (mirror.next_number, len(mirror.stored)) == (2, 2)


@pytest.mark.clause("KV-EVT-05")
def test_a_batch_that_is_too_new_is_a_gap() -> None:
    mirror = Mirror()
    mirror.apply(batch(2, ChangeKind.STORED, 1))
    assert not mirror.synced
    assert mirror.stored == set()


@pytest.mark.clause("KV-EVT-06")
def test_resetting_a_pool_empties_every_mirror() -> None:
    log = EventLog()
    pool = BlockPool(6, events=log)
    for number in range(3):
        work(pool, "publish", number)
    pool.reset()
    assert fold(log.reader(0).read()) == set()
    order = [n for item in log.reader(0).read() for n in item.change.sequence_hashes]  # type: ignore[union-attr]
    assert order[:6] == [0, 10, 1, 11, 2, 12], "parents before their children"
