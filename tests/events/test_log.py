"""The event log: numbered without gaps, delivered in order, with no lock held."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import pytest

from kvbm.blocks import BlockList, ImmutableBlock
from kvbm.errors import InvalidConfig, ReentrantCall
from kvbm.events import EventBatch, EventLog, Gap
from kvbm.identity import TokenBlockSequence
from kvbm.pool import BlockPool, Change, ChangeKind


def publish(pool: BlockPool, *names: int, parent: int | None = None) -> BlockList[ImmutableBlock]:
    blocks = pool.allocate_blocks(len(names))
    blocks.stage(names, parent=parent)
    return pool.register_blocks(blocks)


def numbers(items: list[EventBatch | Gap]) -> list[int]:
    return [item.number for item in items if isinstance(item, EventBatch)]


@pytest.mark.clause("KV-EVT-05", "KV-EVT-06", "KV-EVT-04")
def test_one_call_is_one_batch_numbered_without_gaps_parents_first() -> None:
    log = EventLog("worker-3")
    pool = BlockPool(3, events=log)
    reader = log.reader()
    publish(pool, 1, 2, 3).release()
    pool.match_sequence_hashes([1, 2])
    pool.touch_blocks([1])
    pool.allocate_blocks(2)
    pool.reset()
    items = reader.read()
    assert numbers(items) == [0, 1, 2]
    changes = [item.change for item in items if isinstance(item, EventBatch)]
    assert [change.kind.value for change in changes] == ["stored", "removed", "removed"]
    assert [list(change.sequence_hashes) for change in changes] == [[1, 2, 3], [3, 2], [1]]
    assert {item.source for item in items if isinstance(item, EventBatch)} == {"worker-3"}
    assert reader.read() == []


@pytest.mark.clause("KV-EVT-07")
def test_an_event_carries_tier_group_scheme_span_and_identity() -> None:
    log = EventLog()
    pool = BlockPool(4, page_size=2, tier="host", scheme="dynamo-v1", events=log)
    sequence = TokenBlockSequence([5, 6, 7, 8], 2, scheme="dynamo-v1")
    blocks = pool.allocate_blocks(2)
    blocks.apply_token_blocks(list(sequence.blocks))
    pool.register_blocks(blocks).release()
    named = pool.allocate_blocks(1)
    named.stage([99], parent=98, position=41)
    named.set_priority(6)
    pool.register_blocks(named).release()
    pool.allocate_blocks(3)
    stored, bare, removed = (item.change for item in log.reader(0).read())  # type: ignore[union-attr]
    assert (stored.tier, stored.group, stored.scheme, stored.block_size) == (
        "host",
        0,
        "dynamo-v1",
        2,
    )
    first, second = stored.blocks
    assert first.sequence_hash == sequence.blocks[0].sequence_hash
    assert (first.parent_sequence_hash, first.position) == (None, 0)
    assert (second.parent_sequence_hash, second.position) == (first.sequence_hash, 1)
    assert np.concatenate([first.tokens, second.tokens]).tolist() == [5, 6, 7, 8]
    (lone,) = bare.blocks
    assert tuple(lone) == (99, 98, 41, None, 6), "it does not pretend to be a prefix"
    assert removed.kind is ChangeKind.REMOVED
    assert all(tuple(block)[1:4] == (None, None, None) for block in removed.blocks)


@pytest.mark.clause("KV-EVT-05")
def test_a_reader_who_is_too_far_behind_sees_a_gap_and_goes_on() -> None:
    log = EventLog(keep=2)
    pool = BlockPool(8, events=log)
    reader = log.reader(0)
    for name in range(5):
        publish(pool, name)
    assert reader.behind == 5
    assert reader.read() == [Gap(0, 2)]
    assert (reader.behind, reader.next_number) == (2, 3)
    assert numbers(reader.read(limit=1)) == [3]
    assert numbers(reader.read(limit=5)) == [4]
    assert reader.read() == []
    publish(pool, 9)
    assert numbers(reader.read()) == [5], "in time again"
    assert reader.read(limit=0) == []


@pytest.mark.parametrize("start", [-1, 1, 99])
def test_a_reader_cannot_start_where_no_batch_can_be(start: int) -> None:
    with pytest.raises(InvalidConfig, match="start"):
        EventLog().reader(start)
    with pytest.raises(InvalidConfig, match="keep = 0"):
        EventLog(keep=0)


def test_a_subscriber_may_call_the_pool_that_told_it() -> None:
    log = EventLog()
    pool = BlockPool(4, events=log)
    heard: list[tuple[int, int]] = []

    def listen(item: EventBatch | Gap) -> None:
        assert isinstance(item, EventBatch)
        heard.append((item.number, pool.available_blocks()))
        if item.number < 2:
            publish(pool, 100 + item.number).release()

    log.subscribe(listen)
    publish(pool, 1).release()
    assert heard == [(0, 3), (1, 3), (2, 3)], "in order, not nested"


def test_no_lock_is_held_while_a_subscriber_of_another_thread_is_waited_for() -> None:
    log = EventLog()
    pool = BlockPool(4, events=log)
    answers: list[int] = []

    def listen(_: Any) -> None:
        thread = threading.Thread(target=lambda: answers.append(pool.available_blocks()))
        thread.start()
        thread.join(timeout=10)

    log.subscribe(listen)
    held = publish(pool, 1)
    assert answers == [3]
    assert len(held) == 1


def test_a_subscriber_that_raises_is_counted_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = EventLog()
    pool = BlockPool(4, events=log)
    heard: list[Any] = []

    def fail(item: EventBatch | Gap) -> None:
        raise ZeroDivisionError(item)

    failing = log.subscribe(fail)
    log.subscribe(heard.append)
    with caplog.at_level(logging.ERROR):
        assert publish(pool, 1).block_ids == [0]
        assert publish(pool, 2).block_ids == [1]
    assert failing.errors == log.next_number == len(heard)
    assert "an event subscriber failed" in caplog.text


def test_a_closed_subscription_hears_no_more() -> None:
    log = EventLog()
    pool = BlockPool(4, events=log)
    heard: list[Any] = []
    subscription = log.subscribe(heard.append)
    publish(pool, 1)
    subscription.close()
    subscription.close()
    publish(pool, 2)
    assert numbers(heard) == [0]
    late: list[Any] = []
    log.subscribe(late.append, start=0)
    pool.available_blocks()
    assert numbers(late) == list(range(log.next_number)), "from where it asked, at the next call"


@pytest.mark.clause("KV-EVT-05")
def test_a_slow_subscriber_hears_all_in_order_from_one_thread_at_a_time() -> None:
    log = EventLog()
    pool = BlockPool(64, events=log)
    heard: list[int] = []
    inside = threading.Semaphore(1)

    def slow(item: EventBatch | Gap) -> None:
        assert inside.acquire(blocking=False), "two threads at once"
        assert isinstance(item, EventBatch)
        threading.Event().wait(0.0005)
        heard.append(item.number)
        inside.release()

    subscription = log.subscribe(slow)

    def work(base: int) -> None:
        for name in range(20):
            publish(pool, base + name).release()

    threads = [threading.Thread(target=work, args=(1000 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert subscription.errors == 0
    assert log.next_number > 64
    assert heard == list(range(log.next_number))


def test_a_slow_subscriber_does_not_hold_other_threads_up() -> None:
    log = EventLog()
    pool = BlockPool(4, events=log)
    started, go_on = threading.Event(), threading.Event()

    def stuck(_: Any) -> None:
        started.set()
        assert go_on.wait(10)

    log.subscribe(stuck)
    thread = threading.Thread(target=lambda: publish(pool, 1).release())
    thread.start()
    assert started.wait(10)
    assert publish(pool, 2).block_ids == [1], "while the other still listens"
    go_on.set()
    thread.join()


def test_a_sink_may_not_call_the_pool_in_append_and_may_in_deliver() -> None:
    class Curious:
        next_number = 0
        refused = 0
        available = -1

        def append(self, change: Change) -> None:
            assert change.blocks
            with pytest.raises(ReentrantCall):
                pool.available_blocks()
            self.refused += 1

        def deliver(self) -> None:
            if self.available < 0:  # its own call delivers too
                self.available = pool.total_blocks()
                self.available = pool.available_blocks()

    sink = Curious()
    pool = BlockPool(2, events=sink)
    held = publish(pool, 1)
    assert (sink.refused, sink.available) == (1, 1)
    assert held.block_ids == [0]
