from __future__ import annotations

import asyncio
import threading
from itertools import pairwise

import pytest
from hand_mover import HandMover, readable, store, tier

from kvbm.errors import InvalidConfig, InvalidHash
from kvbm.events import EventLog
from kvbm.tiering import Limits, Outcome, PriorityFilter, Route, WriteThrough


def outcomes(offload):
    return {name: end.outcome for name, end in offload.ended.items()}


@pytest.mark.clause("KV-TIR-01")
def test_a_block_is_visible_in_the_target_only_after_its_copy_has_ended():
    device, host, mover = tier("device", 4), tier("host", 4), HandMover()
    route = Route(device, host, mover)
    store(device, [1, 2]).release()
    offload = route.enqueue([1, 2])
    assert offload.pending == route.pending == 2
    assert host.pool.contains([1, 2]) == [False, False]
    mover.finish()
    assert offload.wait(0)
    assert set(outcomes(offload).values()) == {Outcome.COMPLETED}
    assert readable(host, 1) == "bytes of 1"
    assert readable(host, 2) == "bytes of 2"
    assert route.pending == 0
    assert host.pool.statistics().inactive == 2


@pytest.mark.clause("KV-TIR-05", "KV-REG-09", "KV-CAP-10")
def test_a_failed_copy_leaves_the_target_as_it_was_and_the_source_unharmed():
    device, host, mover = tier("device", 4), tier("host", 4), HandMover()
    route = Route(device, host, mover)
    store(device, [1]).release()
    offload = route.enqueue([1])
    mover.fail(OSError("the disk is gone"))
    assert outcomes(offload) == {1: Outcome.FAILED}
    assert "the disk is gone" in offload.ended[1].reason
    assert host.pool.statistics().empty == 4
    assert readable(device, 1) == "bytes of 1"
    assert device.pool.statistics().active == 0


def test_a_mover_that_cannot_begin_is_a_failure_and_loses_nothing():
    device, host = tier("device", 4), tier("host", 4)

    class Broken(HandMover):
        def move(self, *_):
            raise ValueError("shapes differ")

    route = Route(device, host, Broken())
    store(device, [1]).release()
    offload = route.enqueue([1])
    assert outcomes(offload) == {1: Outcome.FAILED}
    assert host.pool.available_blocks() == 4
    assert device.pool.available_blocks() == 4


@pytest.mark.clause("KV-TIR-02")
def test_both_ends_of_a_copy_are_held_until_it_has_ended():
    device, host, mover = tier("device", 1), tier("host", 1), HandMover()
    route = Route(device, host, mover)
    store(device, [1]).release()
    route.enqueue([1])
    assert device.pool.available_blocks() == 0
    assert host.pool.available_blocks() == 0
    mover.finish()
    assert device.pool.available_blocks() == 1
    assert host.pool.available_blocks() == 1


def test_a_queued_block_can_be_evicted_and_then_says_so():
    device, host, mover = tier("device", 1), tier("host", 1), HandMover()
    route = Route(device, host, mover)
    route.paused = True
    store(device, [1]).release()
    offload = route.enqueue([1])
    device.pool.allocate_blocks(1).release()
    route.paused = False
    route.pump()
    assert outcomes(offload) == {1: Outcome.EVICTED}
    assert offload.ended[1].reason == "no longer in device"


def test_a_block_that_the_target_has_is_filtered_and_its_place_in_the_order_kept():
    device, host = tier("device", 4), tier("host", 4)
    route = Route(device, host, HandMover(at_once=True))
    store(host, [1]).release()
    store(host, [2]).release()
    order = host.pool.eviction_order()
    store(device, [1]).release()
    offload = route.enqueue([1])
    assert outcomes(offload) == {1: Outcome.FILTERED}
    assert offload.ended[1].reason == "already in host"
    assert host.pool.eviction_order() == order


def test_a_filter_says_why():
    device, host = tier("device", 4), tier("host", 4)
    route = Route(device, host, HandMover(at_once=True), filters=[PriorityFilter(5)])
    store(device, [1, 2]).release()
    offload = route.enqueue([1, 2], priorities=[4, 5])
    assert outcomes(offload) == {1: Outcome.FILTERED, 2: Outcome.COMPLETED}
    assert offload.ended[1].reason == "priority 4 < 5"


def test_what_finds_no_room_says_so_and_the_rest_goes_on():
    device, host = tier("device", 4), tier("host", 1)
    route = Route(device, host, HandMover(at_once=True))
    held = store(host, [9])
    held.release()
    pinned = host.pool.match_sequence_hashes([9])
    store(device, [1]).release()
    offload = route.enqueue([1])
    assert outcomes(offload) == {1: Outcome.NO_CAPACITY}
    pinned.release()
    assert outcomes(route.enqueue([1])) == {1: Outcome.COMPLETED}


def test_higher_priority_goes_first_and_then_who_came_first():
    device, host, mover = tier("device", 4), tier("host", 4), HandMover()
    route = Route(device, host, mover, limits=Limits(transfers=1, batch=1))
    route.paused = True
    store(device, [1, 2, 3]).release()
    for name, priority in ((1, 1), (2, 2), (3, 2)):
        route.enqueue([name], [priority])
    route.paused = False
    route.pump()
    order = []
    while mover.moves:
        order.append(mover.moves[0].source.place[mover.moves[0].source_ids[0]])
        mover.finish()
    assert order == ["bytes of 2", "bytes of 3", "bytes of 1"]


def test_limits_hold_and_batches_are_cut():
    device, host, mover = tier("device", 40), tier("host", 40), HandMover()
    route = Route(device, host, mover, limits=Limits(transfers=2, batch=16))
    store(device, list(range(33))).release()
    offload = route.enqueue(list(range(33)))
    assert [len(move.source_ids) for move in mover.moves] == [16, 16]
    mover.finish()
    assert [len(move.source_ids) for move in mover.moves] == [16, 1]
    mover.finish()
    mover.finish()
    assert offload.wait(0)


def test_a_full_queue_is_an_outcome():
    device, host = tier("device", 4), tier("host", 4)
    route = Route(device, host, HandMover(), limits=Limits(queued=1))
    route.paused = True
    offload = route.enqueue([1, 2])
    assert outcomes(offload) == {2: Outcome.NO_CAPACITY}
    assert offload.ended[2].reason == "the queue is full"


@pytest.mark.clause("KV-TIR-07")
def test_two_who_ask_for_one_hash_get_one_copy():
    device, host, mover = tier("device", 4), tier("host", 4), HandMover()
    route = Route(device, host, mover)
    store(device, [1]).release()
    first, second = route.enqueue([1]), route.enqueue([1])
    assert len(mover.moves) == 1
    mover.finish()
    assert outcomes(first) == outcomes(second) == {1: Outcome.COMPLETED}
    assert route.ended[Outcome.COMPLETED] == route.enqueued == 2


@pytest.mark.clause("KV-TIR-02")
def test_cancelling_ends_what_waits_and_not_what_runs():
    device, host, mover = tier("device", 4), tier("host", 4), HandMover()
    route = Route(device, host, mover, limits=Limits(transfers=1, batch=1))
    store(device, [1, 2]).release()
    offload = route.enqueue([1, 2])
    offload.cancel()
    mover.finish()
    assert outcomes(offload) == {1: Outcome.COMPLETED, 2: Outcome.CANCELLED}
    assert mover.moves == []


def test_a_block_that_somebody_else_still_wants_is_not_cancelled():
    device, host, mover = tier("device", 4), tier("host", 4), HandMover()
    route = Route(device, host, mover)
    route.paused = True
    store(device, [1]).release()
    first, second = route.enqueue([1]), route.enqueue([1])
    first.cancel()
    route.paused = False
    route.pump()
    mover.finish()
    assert outcomes(second) == {1: Outcome.COMPLETED}


@pytest.mark.clause("KV-SHD-02", "KV-SHD-04")
def test_closing_cancels_what_waits_and_waits_for_what_runs():
    device, host, mover = tier("device", 4), tier("host", 4), HandMover()
    route = Route(device, host, mover, limits=Limits(transfers=1, batch=1))
    store(device, [1, 2]).release()
    offload = route.enqueue([1, 2])
    assert not route.close(timeout=0.01)
    assert outcomes(offload) == {2: Outcome.CANCELLED}
    threading.Timer(0.05, mover.finish).start()
    assert route.close(timeout=5)
    assert outcomes(offload) == {1: Outcome.COMPLETED, 2: Outcome.CANCELLED}
    assert outcomes(route.enqueue([1])) == {1: Outcome.CANCELLED}


def test_a_closed_pool_is_an_outcome():
    device, host = tier("device", 4), tier("host", 4)
    route = Route(device, host, HandMover())
    store(device, [1]).release()
    host.pool.close()
    offload = route.enqueue([1])
    assert outcomes(offload) == {1: Outcome.FAILED}
    assert device.pool.available_blocks() == 4


def test_many_copies_that_end_at_once_do_not_nest():
    device, host = tier("device", 400), tier("host", 400)
    route = Route(device, host, HandMover(at_once=True), limits=Limits(batch=1))
    store(device, list(range(400))).release()
    assert route.enqueue(list(range(400))).count(Outcome.COMPLETED) == 400


def test_priority_and_tokens_travel_with_the_block():
    device, host = tier("device", 4), tier("host", 4)
    route = Route(device, host, HandMover(at_once=True))
    store(device, [1, 2], priority=7, parent=5).release()
    route.enqueue([1, 2])
    with host.pool.match_sequence_hashes([2]) as found:
        assert found[0].priority == 7
        assert found[0].parent_sequence_hash() == 1
        assert found[0].position == 1


def test_an_offload_can_be_awaited_from_another_thread():
    device, host, mover = tier("device", 4), tier("host", 4), HandMover()
    route = Route(device, host, mover)
    store(device, [1]).release()

    async def main():
        offload = route.enqueue([1])
        threading.Timer(0.02, mover.finish).start()
        return await asyncio.wait_for(offload, 5)

    assert outcomes(asyncio.run(main())) == {1: Outcome.COMPLETED}


def test_an_offload_of_nothing_is_done():
    route = Route(tier("device", 1), tier("host", 1), HandMover())
    assert route.enqueue([]).wait(0)


@pytest.mark.parametrize("field", ["transfers", "batch", "queued"])
def test_limits_are_positive(field):
    with pytest.raises(InvalidConfig, match=f"{field} = 0"):
        Limits(**{field: 0})


@pytest.mark.clause("KV-TIR-02", "KV-LIV-04")
def test_a_copy_that_does_not_answer_is_a_failure_and_its_slots_wait_for_its_end():
    device, host, mover = tier("device", 1), tier("host", 1), HandMover()
    route = Route(device, host, mover)
    store(device, [1]).release()
    offload = route.enqueue([1])
    mover.moves[0].give_up(TimeoutError("no answer"))
    assert outcomes(offload) == {1: Outcome.FAILED}
    assert device.pool.available_blocks() == host.pool.available_blocks() == 0
    mover.finish()
    assert device.pool.available_blocks() == host.pool.available_blocks() == 1
    assert host.pool.contains([1]) == [False]


@pytest.mark.clause("KV-LIV-01", "KV-SHD-04")
def test_a_copy_that_is_cancelled_is_an_outcome():
    device, host, mover = tier("device", 4), tier("host", 4), HandMover()
    route = Route(device, host, mover)
    store(device, [1]).release()
    offload = route.enqueue([1])
    mover.moves[0].future.cancel()
    mover.moves[0].finished.set_result(None)
    assert offload.wait(0)
    assert outcomes(offload) == {1: Outcome.CANCELLED}
    assert route.wait(0)
    assert host.pool.statistics().empty == 4


def test_who_stops_awaiting_and_closes_its_loop_harms_nobody():
    device, host, mover = tier("device", 4), tier("host", 4), HandMover()
    route = Route(device, host, mover)
    route.paused = True
    store(device, [1, 2]).release()

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(route.enqueue([1]), 0.01)

    asyncio.run(main())
    second = route.enqueue([2])
    route.paused = False
    route.pump()
    mover.finish()
    assert outcomes(second) == {2: Outcome.COMPLETED}


@pytest.mark.clause("KV-LIV-01", "KV-CON-03")
def test_a_callback_that_raises_is_logged_and_the_other_blocks_end(caplog):
    device, host, mover = tier("device", 4), tier("host", 4), HandMover()
    route = Route(device, host, mover)
    route.paused = True
    store(device, [1, 2]).release()
    first, second = route.enqueue([1]), route.enqueue([2])
    first.add_done_callback(lambda: 1 / 0)
    route.paused = False
    route.pump()
    mover.finish()
    assert outcomes(first) == {1: Outcome.COMPLETED}
    assert outcomes(second) == {2: Outcome.COMPLETED}
    assert "a callback of an offload failed" in caplog.text
    first.add_done_callback(lambda: 1 / 0)
    assert caplog.text.count("a callback of an offload failed") == 2


def test_what_finds_the_queue_full_does_not_end_another_that_came_after_it():
    device, host, mover = tier("device", 4), tier("host", 4), HandMover()
    route = Route(device, host, mover, limits=Limits(queued=1))
    route.paused = True
    store(device, [1, 2]).release()
    route.enqueue([1])
    end, others = route._end, []

    def slowly(*arguments):
        """Give way to somebody who makes room, and asks for the same block."""
        route._end = end
        route.paused = False
        route.pump()
        others.append(route.enqueue([2]))
        end(*arguments)

    route._end = slowly
    refused = route.enqueue([2])
    assert outcomes(refused) == {2: Outcome.NO_CAPACITY}
    assert route.pending == 2
    mover.finish()
    mover.finish()
    assert outcomes(others[0]) == {2: Outcome.COMPLETED}


def test_what_is_no_hash_is_refused_at_once_and_fails_nobody_else():
    device, host = tier("device", 4), tier("host", 4)
    route = Route(device, host, HandMover(at_once=True))
    route.paused = True
    store(device, [1]).release()
    good = route.enqueue([1])
    with pytest.raises(InvalidHash):
        route.enqueue([-5])
    route.paused = False
    route.pump()
    assert outcomes(good) == {1: Outcome.COMPLETED}
    assert route.enqueued == 1


def test_an_interrupt_ends_its_batch_and_not_the_route():
    device, host = tier("device", 4), tier("host", 4)

    class Interrupted(HandMover):
        def move(self, *_):
            raise KeyboardInterrupt

    route = Route(device, host, Interrupted())
    store(device, [1, 2]).release()
    with pytest.raises(KeyboardInterrupt):
        route.enqueue([1])
    assert route.wait(0)
    assert route.ended[Outcome.FAILED] == 1
    route._mover = HandMover(at_once=True)
    assert outcomes(route.enqueue([2])) == {2: Outcome.COMPLETED}
    assert host.pool.available_blocks() == 4


def test_who_joins_a_cancelled_block_is_not_cancelled_with_it():
    device, host, mover = tier("device", 4), tier("host", 4), HandMover()
    route = Route(device, host, mover)
    route.paused = True
    store(device, [1]).release()
    first = route.enqueue([1])
    first.cancel()
    second = route.enqueue([1])
    route.paused = False
    route.pump()
    mover.finish()
    assert outcomes(first) == outcomes(second) == {1: Outcome.COMPLETED}


def test_a_filter_that_raises_fails_its_batch_and_the_books_balance():
    device, host = tier("device", 4), tier("host", 4)

    class Broken:
        def refuses(self, sequence_hash, _):
            raise RuntimeError(f"no idea about {sequence_hash}")

    route = Route(device, host, HandMover(at_once=True), filters=[Broken()])
    store(host, [1]).release()
    store(device, [1, 2]).release()
    offload = route.enqueue([1, 2])
    assert outcomes(offload) == {1: Outcome.FILTERED, 2: Outcome.FAILED}
    assert "no idea about 2" in offload.ended[2].reason
    assert route.enqueued == sum(route.ended.values()) == 2
    assert device.pool.available_blocks() == host.pool.available_blocks() == 4


def test_an_offload_is_no_use_of_its_source():
    device, host = tier("device", 4, policy="multi-lru"), tier("host", 4)
    route = Route(device, host, HandMover(at_once=True))
    store(device, [1]).release()
    uses = []
    device.pool._core.policy.used = lambda ids: uses.extend(ids.tolist())
    assert outcomes(route.enqueue([1])) == {1: Outcome.COMPLETED}
    assert uses == []


def test_only_from_the_device_a_low_priority_ends_what_is_copied():
    log = EventLog()
    tiers = [tier(name, 4, events=log) for name in ("device", "host", "disk")]
    mover = HandMover(at_once=True)
    routes = [Route(source, target, mover) for source, target in pairwise(tiers)]
    log.subscribe(WriteThrough(routes, 2))
    store(tiers[0], [1], priority=1).release()
    store(tiers[1], [2], priority=1).release()
    assert tiers[1].pool.contains([1]) == [False]
    assert tiers[2].pool.contains([2]) == [True]
