from __future__ import annotations

import asyncio
import threading
import time

import pytest
from hand_mover import HandMover, readable, store, tier

from kvbm.errors import ProgressEngineShutdown, WaitCancelled
from kvbm.events import EventLog
from kvbm.tiering import Onboarder


def three():
    return tier("device", 4), tier("host", 4), tier("disk", 4)


def onboarder(tiers, mover, layers=2):
    return Onboarder(tiers, mover, layers=layers)


@pytest.mark.clause("KV-TIR-01", "KV-REG-01")
def test_a_prefix_is_found_tier_after_tier_and_brought_to_the_first():
    device, host, disk = tiers = three()
    mover = HandMover()
    store(device, [1]).release()
    store(host, [2, 3], parent=1).release()
    store(disk, [4], parent=3).release()
    onboarding = onboarder(tiers, mover).onboard([1, 2, 3, 4, 5])
    assert (onboarding.present, onboarding.loading) == (1, 3)
    assert [move.source.name for move in mover.moves] == ["host", "disk"]
    assert device.pool.contains([1, 2, 3, 4]) == [True, False, False, False]
    mover.finish()
    mover.finish()
    blocks = onboarding.wait(0)
    assert blocks.sequence_hashes() == [1, 2, 3, 4]
    assert [device.place[slot] for slot in blocks.block_ids] == [
        f"bytes of {name}" for name in (1, 2, 3, 4)
    ]


def test_a_gap_ends_the_prefix():
    device, host, disk = tiers = three()
    store(device, [1]).release()
    store(host, [3]).release()
    store(disk, [2]).release()
    mover = HandMover(at_once=True)
    blocks = onboarder(tiers, mover).onboard([1, 2, 3]).wait(0)
    # 2 is on the disk, so the host, which is faster, is not asked again for 3.
    assert blocks.sequence_hashes() == [1, 2]
    assert host.pool.contains([3]) == [True]


@pytest.mark.clause("KV-TIR-02")
def test_sources_and_targets_are_held_while_they_are_copied():
    device, host, _ = tiers = three()
    mover = HandMover()
    store(host, [1, 2]).release()
    onboarding = onboarder(tiers, mover).onboard([1, 2])
    assert host.pool.available_blocks() == 2
    assert device.pool.available_blocks() == 2
    mover.finish()
    assert host.pool.available_blocks() == 4
    # What has arrived is held until the one who asked has had it.
    assert device.pool.available_blocks() == 2
    onboarding.wait(0).release()
    assert device.pool.available_blocks() == 4


@pytest.mark.clause("KV-TIR-07")
def test_two_requests_share_one_load():
    device, host, _ = tiers = three()
    mover = HandMover()
    store(host, [1, 2, 3]).release()
    boarder = onboarder(tiers, mover)
    first = boarder.onboard([1, 2])
    second = boarder.onboard([1, 2, 3])
    assert [len(move.source_ids) for move in mover.moves] == [2, 1]
    mover.finish(1)
    assert not second.done
    mover.finish(0)
    assert first.wait(0).sequence_hashes() == [1, 2]
    assert second.wait(0).sequence_hashes() == [1, 2, 3]
    assert device.pool.statistics().deduplicated == 0


@pytest.mark.clause("KV-TIR-07")
def test_a_load_ends_where_another_has_begun():
    device, host, _ = tiers = three()
    mover = HandMover()
    store(host, [1, 2, 3]).release()
    boarder = onboarder(tiers, mover)
    first = boarder.onboard([2])
    second = boarder.onboard([1, 2, 3])
    assert [len(move.source_ids) for move in mover.moves] == [1, 1, 1]
    for _ in range(3):
        mover.finish()
    assert first.wait(0).sequence_hashes() == [2]
    assert second.wait(0).sequence_hashes() == [1, 2, 3]
    assert device.pool.statistics().deduplicated == 0


@pytest.mark.clause("KV-TIR-05", "KV-TIR-06", "KV-LIV-02")
def test_a_failed_load_is_a_miss_for_everybody_and_is_not_tried_again():
    device, host, _ = tiers = three()
    mover = HandMover()
    store(host, [1, 2]).release()
    boarder = onboarder(tiers, mover)
    first, second = boarder.onboard([1, 2]), boarder.onboard([1, 2])
    mover.fail(OSError("short read"))
    assert len(first.wait(0)) == len(second.wait(0)) == 0
    assert device.pool.statistics().empty == 4
    assert host.pool.contains([1, 2]) == [False, False]
    assert boarder.onboard([1, 2]).loading == 0
    assert mover.moves == []


def test_where_the_target_is_short_the_prefix_is_short():
    device, host = tier("device", 2), tier("host", 4)
    held = store(device, [9])
    store(host, [1, 2]).release()
    mover = HandMover(at_once=True)
    blocks = onboarder((device, host), mover).onboard([1, 2]).wait(0)
    assert blocks.sequence_hashes() == [1]
    blocks.release()
    held.release()
    assert host.pool.available_blocks() == 4


def test_layers_can_be_waited_for_one_by_one():
    device, host, _ = tiers = three()
    mover = HandMover()
    store(host, [1]).release()
    onboarding = onboarder(tiers, mover, layers=2).onboard([1], layer_wise=True)
    assert [move.layers for move in mover.moves] == [range(1), range(1, 2)]
    mover.finish()
    onboarding.wait_for_layer(0, timeout=0)
    with pytest.raises(WaitCancelled, match="layer 1"):
        onboarding.wait_for_layer(1, timeout=0)
    assert device.pool.contains([1]) == [False]
    mover.finish()
    onboarding.wait_for_layer(1, timeout=0)
    assert readable(device, 1) == "bytes of 1"


def test_a_layer_that_fails_says_so_to_who_waits_for_it():
    _, host, _ = tiers = three()
    mover = HandMover()
    store(host, [1]).release()
    onboarding = onboarder(tiers, mover).onboard([1], layer_wise=True)
    mover.fail(OSError("short read"))
    with pytest.raises(OSError, match="short read"):
        onboarding.wait_for_layer(0)
    assert not onboarding.done
    mover.finish()
    assert len(onboarding.wait(0)) == 0


def test_waiting_has_a_deadline_and_can_be_repeated():
    _, host, _ = tiers = three()
    mover = HandMover()
    store(host, [1]).release()
    onboarding = onboarder(tiers, mover).onboard([1])
    with pytest.raises(WaitCancelled):
        onboarding.wait(0.01)
    mover.finish()
    assert len(onboarding.wait(0)) == 1


def test_an_onboarding_can_be_awaited():
    _, host, _ = tiers = three()
    mover = HandMover()
    store(host, [1]).release()

    async def main():
        onboarding = onboarder(tiers, mover).onboard([1])
        threading.Timer(0.02, mover.finish).start()
        return await asyncio.wait_for(onboarding, 5)

    assert asyncio.run(main()).sequence_hashes() == [1]


def test_a_mover_that_cannot_begin_is_a_failed_load():
    device, host = tier("device", 4), tier("host", 4)

    class Broken(HandMover):
        def move(self, *_):
            raise ValueError("shapes differ")

    store(host, [1]).release()
    assert len(onboarder((device, host), Broken()).onboard([1]).wait(0)) == 0
    assert device.pool.available_blocks() == 4


def test_an_onboarding_that_nobody_waits_for_holds_nothing_in_the_end():
    device, host, _ = tiers = three()
    mover = HandMover()
    store(host, [1]).release()
    onboarder(tiers, mover).onboard([1])
    mover.finish()
    assert device.pool.statistics().inactive == 1


@pytest.mark.clause("KV-TIR-02", "KV-TIR-06", "KV-LIV-04")
def test_a_load_that_does_not_answer_is_a_miss_and_its_slots_wait_for_its_end():
    device, host, _ = tiers = three()
    mover = HandMover()
    store(host, [1]).release()
    boarder = onboarder(tiers, mover)
    onboarding = boarder.onboard([1])
    mover.moves[0].give_up(TimeoutError("no answer"))
    assert len(onboarding.wait(0)) == 0
    # Whoever asks now shares the load that has failed, and begins no other.
    assert len(boarder.onboard([1]).wait(0)) == 0
    assert len(mover.moves) == 1
    assert device.pool.available_blocks() == 3
    mover.finish()
    assert device.pool.available_blocks() == 4
    assert host.pool.contains([1]) == [False]


@pytest.mark.clause("KV-LIV-01", "KV-TIR-07")
def test_who_stops_awaiting_does_not_cancel_a_load_that_is_shared():
    _, host, _ = tiers = three()
    mover = HandMover()
    store(host, [1]).release()
    boarder = onboarder(tiers, mover)
    other = boarder.onboard([1])

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(boarder.onboard([1]), 0.01)

    asyncio.run(main())
    assert not other.done
    mover.finish()
    assert other.wait(0).sequence_hashes() == [1]


@pytest.mark.clause("KV-SHD-04")
def test_a_load_that_is_cancelled_says_nothing_about_its_source():
    device, host, _ = tiers = three()
    mover = HandMover()
    store(host, [1]).release()
    boarder = onboarder(tiers, mover)
    onboarding = boarder.onboard([1])
    mover.moves[0].future.cancel()
    mover.moves[0].finished.set_result(None)
    assert len(onboarding.wait(0)) == 0
    assert device.pool.available_blocks() == 4
    assert host.pool.contains([1]) == [True]
    mover.moves.clear()
    again = boarder.onboard([1])
    mover.finish()
    assert again.wait(0).sequence_hashes() == [1]


def test_a_list_that_names_a_block_twice_leaves_nothing_behind():
    _, host, _ = tiers = three()
    store(host, [1, 2, 3]).release()
    boarder = onboarder(tiers, HandMover(at_once=True))
    boarder.onboard([1, 2, 1, 3]).wait(0).release()
    tiers[0].pool.reset()
    assert boarder.onboard([1, 2, 3]).wait(0).sequence_hashes() == [1, 2, 3]


def test_the_time_to_wait_for_a_layer_is_that_of_all_loads_together():
    _, host, disk = tiers = three()
    mover = HandMover()
    store(host, [1]).release()
    store(disk, [2]).release()
    onboarding = onboarder(tiers, mover).onboard([1, 2])
    threading.Timer(0.2, mover.finish).start()
    begin = time.monotonic()
    with pytest.raises(WaitCancelled, match="layer 0"):
        onboarding.wait_for_layer(0, timeout=0.3)
    assert time.monotonic() - begin < 0.45


def test_a_layer_whose_copy_timed_out_has_failed_and_is_not_late():
    _, host, _ = tiers = three()
    mover = HandMover()
    store(host, [1]).release()
    onboarding = onboarder(tiers, mover).onboard([1])
    mover.fail(TimeoutError("the disk did not answer"))
    with pytest.raises(TimeoutError, match="the disk did not answer"):
        onboarding.wait_for_layer(0, timeout=0)


@pytest.mark.clause("KV-INT-02", "KV-TIR-07")
def test_who_shares_a_load_waits_for_layers_whose_copy_was_not_asked_for_yet():
    _, host, _ = tiers = three()
    store(host, [1]).release()
    late = []

    class Meanwhile(HandMover):
        def move(self, *arguments):
            move = super().move(*arguments)
            if len(self.moves) == 1:  # the first layer has arrived, the second is to come
                move.future.set_result(None)
                shared = boarder.onboard([1])
                with pytest.raises(WaitCancelled, match="layer 1"):
                    shared.wait_for_layer(1, timeout=0)
                late.append(shared)
            return move

    boarder = onboarder(tiers, Meanwhile())
    boarder.onboard([1], layer_wise=True)
    assert len(late) == 1


@pytest.mark.clause("KV-CON-03")
def test_subscribers_are_called_with_no_lock_held_and_may_wait_for_the_load():
    log = EventLog()
    device, host = tier("device", 1, events=log), tier("host", 4, events=log)
    store(host, [1]).release()
    store(device, [9]).release()
    boarder = onboarder((device, host), HandMover(at_once=True))
    seen = []

    def in_another_thread(item):
        def look():
            seen.append((item.change.kind.value, boarder.onboard([1]).wait(5).sequence_hashes()))

        thread = threading.Thread(target=look)
        thread.start()
        thread.join(5)

    log.subscribe(in_another_thread)
    boarder.onboard([1])
    assert seen == [("removed", [1]), ("stored", [1])]


def test_an_error_in_the_middle_of_a_look_up_does_not_strand_what_it_has_begun():
    _, host, disk = tiers = three()
    store(host, [1]).release()
    boarder = onboarder(tiers, HandMover(at_once=True))
    disk.pool.close()
    with pytest.raises(ProgressEngineShutdown):
        boarder.onboard([1, 2])
    assert boarder.onboard([1]).wait(0).sequence_hashes() == [1]


def test_what_was_there_at_once_is_used_once():
    device, host = tier("device", 4, policy="multi-lru"), tier("host", 4)
    store(device, [1]).release()
    onboarder((device, host), HandMover()).onboard([1]).wait(0).release()
    numbers = device.pool.statistics()
    assert (numbers.requested, numbers.matched) == (1, 1)


@pytest.mark.clause("KV-TIR-06", "KV-LIV-02")
def test_a_block_that_cannot_be_loaded_is_a_miss_also_while_somebody_holds_it():
    _, host, _ = tiers = three()
    mover = HandMover()
    held = store(host, [1])
    boarder = onboarder(tiers, mover)
    onboarding = boarder.onboard([1])
    mover.fail(OSError("short read"))
    assert len(onboarding.wait(0)) == 0
    assert len(boarder.onboard([1]).wait(0)) == 0
    assert mover.moves == [], "the same doomed load was begun again"
    held.release()
    assert len(boarder.onboard([1]).wait(0)) == 0
    assert host.pool.contains([1]) == [False]
    # Stored anew, it is a block like any other.
    store(host, [1]).release()
    assert boarder.onboard([1]).loading == 1
    mover.finish()


@pytest.mark.clause("KV-TIR-02", "KV-LIV-01")
def test_an_onboarder_can_be_waited_for_until_its_loads_hold_nothing():
    """A load that gave up has told those who wait for it, and still holds both of its ends."""
    device, host, _ = tiers = three()
    store(host, [1]).release()
    mover = HandMover()
    loader = onboarder(tiers, mover)
    assert loader.wait(0)
    onboarding = loader.onboard([1])
    mover.moves[0].give_up(TimeoutError("injected"))
    assert len(onboarding.wait(0)) == 0
    assert not loader.wait(0.01)
    assert device.pool.available_blocks() == 3
    waiting = threading.Thread(target=loader.wait)
    waiting.start()
    mover.finish()
    waiting.join(10)
    assert not waiting.is_alive(), "nobody woke who waits"
    assert loader.wait(0)
    assert device.pool.available_blocks() == 4


@pytest.mark.clause("KV-TIR-05", "KV-LIF-09", "KV-LIV-01")
def test_what_arrives_and_cannot_be_published_is_a_miss_and_nothing_is_lost(monkeypatch, caplog):
    """A sink of the target's events may raise, for one. The source did nothing wrong."""
    device, host, _ = tiers = three()
    store(host, [1, 2]).release()
    mover = HandMover()
    loader = onboarder(tiers, mover)
    onboarding = loader.onboard([1, 2])

    def refuse(_blocks):
        raise RuntimeError("injected")

    with monkeypatch.context() as patch:
        patch.setattr(device.pool, "register_blocks", refuse)
        mover.finish()
    assert len(onboarding.wait(0)) == 0
    assert "could not be published" in caplog.text
    assert loader.wait(0)
    assert device.pool.available_blocks() == 4
    assert host.pool.contains([1, 2]) == [True, True]
    again = loader.onboard([1, 2])
    mover.finish()
    assert again.wait(0).sequence_hashes() == [1, 2]
