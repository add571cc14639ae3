"""Drops: seen by the next call, once each, whenever, wherever and in whatever order they come."""

from __future__ import annotations

import gc
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from kvbm.blocks import BlockList, ImmutableBlock
from kvbm.events import EventLog, fold
from kvbm.pool import POLICIES, BlockPool, EvictionMode


def publish(pool: BlockPool, *names: int, parent: int | None = None) -> BlockList[ImmutableBlock]:
    blocks = pool.allocate_blocks(len(names))
    blocks.stage(names, parent=parent)
    return pool.register_blocks(blocks)


@pytest.mark.clause("KV-LIF-06", "KV-CAP-05")
def test_a_drop_is_seen_by_the_very_next_call() -> None:
    pool = BlockPool(2)
    for _ in range(100):
        blocks = pool.allocate_blocks(2)
        del blocks
        blocks = pool.allocate_blocks(2)
        blocks.stage([1, 2])
        held = pool.register_blocks(blocks)
        del held
        assert pool.match_sequence_hashes([1, 2]).sequence_hashes() == [1, 2]
        assert pool.available_blocks() == 2
        pool.reset()


@pytest.mark.clause("KV-LIF-06", "KV-EVC-02")
@pytest.mark.parametrize("order", ["root first", "leaf first", "any", "list"])
def test_a_chain_of_10_000_goes_leaf_first_in_whatever_order_its_handles_die(order: str) -> None:
    count = 10_000
    pool = BlockPool(count)
    held = publish(pool, *range(count))
    handles = held.to_list() if order != "list" else []
    if order == "leaf first":
        handles.reverse()
    elif order == "any":
        random.Random(3).shuffle(handles)
    del held
    while handles:
        del handles[-1]
    assert pool.available_blocks() == count
    assert pool._core.policy.order().tolist() == list(range(count - 1, -1, -1))


@pytest.mark.clause("KV-LIF-06")
def test_drops_of_several_lists_return_in_the_order_of_the_drops() -> None:
    pool = BlockPool(6, policy="lru")
    lists = [publish(pool, 1, 2), publish(pool, 3, 4), publish(pool, 5, 6)]
    del lists[1]
    del lists[0]
    lists.clear()
    assert pool.available_blocks() == 6
    assert pool._core.policy.order().tolist() == [3, 2, 1, 0, 5, 4]


@pytest.mark.clause("KV-LIF-06")
def test_a_handle_in_a_cycle_is_returned_once_by_the_collector() -> None:
    pool = BlockPool(3)
    blocks = publish(pool, 1, 2, 3)
    cycle: list[Any] = [blocks[0], blocks[1], blocks]
    cycle.append(cycle)
    del blocks, cycle
    gc.collect()
    assert pool.available_blocks() == 3
    pool._check()


@pytest.mark.clause("KV-LIF-06")
def test_a_finaliser_that_runs_twice_or_late_changes_nothing() -> None:
    pool = BlockPool(2)
    block = pool.allocate_blocks(1)[0]
    block.__del__()
    block.__del__()
    blocks = pool.allocate_blocks(2)
    blocks.__del__()
    blocks.__del__()
    other = pool.allocate_blocks(2)
    del block, blocks
    assert pool.available_blocks() == 0
    pool.close()
    other.__del__()
    del other


@pytest.mark.clause("KV-LIF-06")
def test_a_handle_that_was_never_finished_can_be_finalised() -> None:
    for kind in (ImmutableBlock, BlockList):
        kind.__new__(kind).__del__()


@pytest.mark.clause("KV-LIF-06")
def test_drops_in_other_threads_are_seen() -> None:
    pool = BlockPool(64)
    for _ in range(20):
        handles = [[handle] for handle in publish(pool, *range(64)).to_list()]
        threads = [
            threading.Thread(target=lambda part: [one.clear() for one in part], args=(part,))
            for part in (handles[::2], handles[1::2])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert pool.available_blocks() == 64
        pool.reset()


# ── by force ──────────────────────────────────────────────────────────────────────────────


def everything(pool: BlockPool) -> list[Callable[[], Any]]:
    """Every call that takes a turn, each on a pool that others work on too."""
    return [
        pool.available_blocks,
        pool.statistics,
        pool.snapshot,
        lambda: pool.allocate_blocks(2),
        lambda: publish(pool, 21, 22),
        lambda: publish(pool, 1, 22),
        lambda: pool.match_sequence_hashes([1, 2, 3]),
        lambda: pool.scan_matches([3, 1, 9]),
        lambda: pool.touch_blocks([1, 2]),
        lambda: pool.pin_blocks([1]),
        lambda: pool.unpin_blocks([1]),
        lambda: [block.clone() for block in pool.match_sequence_hashes([1, 2])],
        lambda: pool.match_sequence_hashes([1])[0].downgrade().upgrade(),
        lambda: pool.allocate_blocks(1).split(1),
        lambda: pool.allocate_blocks(2).to_list(),
        lambda: pool.try_return_block(pool.allocate_blocks(1)[0]),
        lambda: pool.reset_blocks([21, 22]),
        lambda: pool.trigger_eviction(EvictionMode.NORMAL),
    ]


@contextmanager
def at_every_line(act: Callable[[], None]) -> Iterator[None]:
    """Run `act` before each line of kvbm that this thread executes."""

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if "/kvbm/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            act()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.clause("KV-LIF-06", "KV-OWN-04", "KV-CAP-10")
@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("duplicates", ["reject", "allow"])
def test_blocks_may_be_dropped_before_any_line_of_any_call(policy: str, duplicates: str) -> None:
    pool = BlockPool(12, policy=policy, duplicates=duplicates, events=EventLog())
    doomed: list[Any] = []
    publish(pool, 1, 2, 3).release()

    def drop_one() -> None:
        if doomed:
            doomed.pop()

    for call in everything(pool):
        doomed += pool.match_sequence_hashes([1, 2, 3]).to_list()
        doomed += pool.allocate_blocks(2).to_list()
        doomed.append([doomed[-1], doomed[-4], publish(pool, 8, 9)])
        with at_every_line(drop_one):
            answer = call()
        doomed.clear()
        del answer
        pool._check()
    assert pool.available_blocks() == 12


@pytest.mark.clause("KV-LIF-06")
def test_the_collector_may_run_before_any_line_of_any_call() -> None:
    pool = BlockPool(12, duplicates="allow", events=EventLog())
    publish(pool, 1, 2, 3).release()
    lines = 0

    def collect() -> None:
        nonlocal lines
        lines += 1
        if lines % 7 == 0:
            cycle: list[Any] = [pool._turn]
            cycle.append(cycle)
            gc.collect(0)

    for call in everything(pool):
        cycle: list[Any] = [pool.match_sequence_hashes([1, 2, 3]), publish(pool, 8, 9)]
        cycle.append(cycle)
        del cycle
        with at_every_line(collect):
            answer = call()
        del answer
    gc.collect()
    assert lines > 500
    pool._check()
    assert pool.available_blocks() == 12


class Nosy:
    """An object of the user's whose finaliser calls the pool, as it may not, or may."""

    def __init__(self, pool: BlockPool, seen: list[Any]) -> None:
        self.pool = pool
        self.seen = seen
        self.own: Any = [self]

    def __del__(self) -> None:
        try:
            self.seen.append(self.pool.available_blocks())
            publish(self.pool, 31).release()  # so that there is something to tell
            self.pool.reset_blocks([31])
        except Exception as error:  # noqa: BLE001 (whatever it is, it must not be a deadlock)
            self.seen.append(type(error).__name__)


@pytest.mark.clause("KV-LIF-06", "KV-OWN-04")
def test_a_finaliser_that_calls_the_pool_at_any_moment_never_waits_for_ever() -> None:
    log = EventLog()
    log.subscribe(lambda _: None)
    pool = BlockPool(12, events=log)
    publish(pool, 1, 2, 3).release()
    seen: list[Any] = []

    def act() -> None:
        Nosy(pool, seen).own.clear()

    for call in everything(pool):
        with at_every_line(act):
            answer = call()
        del answer
        pool._check()
    assert "ReentrantCall" in seen, "inside a turn"
    assert any(isinstance(one, int) for one in seen), "and outside of one"
    assert set(map(type, seen)) == {int, str}
    assert {one for one in seen if isinstance(one, str)} == {"ReentrantCall"}
    assert pool.available_blocks() == 12


@pytest.mark.clause("KV-LIF-06", "KV-OWN-04", "KV-EVT-05")
def test_a_finaliser_may_change_the_pool_at_any_one_moment_of_a_call_that_tells_events() -> None:
    log = EventLog()
    told: list[Any] = []
    log.subscribe(told.append)
    pool = BlockPool(6, events=log)
    seen: list[Any] = []
    lines = at = 0

    def act() -> None:
        nonlocal lines
        lines += 1
        if lines == at:
            Nosy(pool, seen).own.clear()

    while lines >= at:  # once before each line of the call
        lines, at = 0, at + 1
        with at_every_line(act):
            publish(pool, 21, 22).release()
        pool.reset_blocks([21, 22, 31])
    assert len(seen) == at - 1 > 50
    assert [batch.number for batch in told] == list(range(log.next_number))
    assert fold(told) == set()
