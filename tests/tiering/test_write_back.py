from __future__ import annotations

import threading

import pytest
from hand_mover import HandMover, readable, store, tier

from kvbm.errors import InvalidConfig
from kvbm.events import EventLog
from kvbm.tiering import Outcome, PriorityFilter, WriteBack


@pytest.mark.clause("KV-TIR-02", "KV-TIR-01")
def test_a_victim_is_in_the_next_tier_before_its_slot_has_an_heir():
    device, host = tier("device", 2), tier("host", 2)
    saved = WriteBack(device, host, HandMover(at_once=True))
    store(device, [1, 2]).release()
    assert host.pool.contains([1, 2]) == [False, False]
    heirs = device.pool.allocate_blocks(2)
    assert host.pool.contains([1, 2]) == [True, True]
    for slot in heirs.block_ids:
        device.place[slot] = "new"
    assert readable(host, 1) == "bytes of 1"
    assert saved.ended[Outcome.COMPLETED] == 2


def test_victims_of_the_second_tier_go_to_the_third():
    device, host, disk = tier("device", 1), tier("host", 1), tier("disk", 4)
    mover = HandMover(at_once=True)
    WriteBack(device, host, mover)
    WriteBack(host, disk, mover)
    for name in (1, 2, 3):
        store(device, [name]).release()
    assert [one.pool.contains([1, 2, 3]) for one in (device, host, disk)] == [
        [False, False, True],
        [False, True, False],
        [True, False, False],
    ]
    assert readable(disk, 1) == "bytes of 1"


def test_a_victim_that_cannot_be_saved_is_lost_and_counted():
    device, host = tier("device", 1), tier("host", 1)

    class Broken(HandMover):
        def move(self, *_):
            raise OSError("no such device")

    saved = WriteBack(device, host, Broken())
    store(device, [1]).release()
    assert len(device.pool.allocate_blocks(1)) == 1
    assert saved.ended[Outcome.FAILED] == 1
    assert host.pool.statistics().empty == 1


def test_a_closed_target_does_not_stop_the_source():
    device, host = tier("device", 1), tier("host", 1)
    saved = WriteBack(device, host, HandMover(at_once=True))
    store(device, [1]).release()
    host.pool.close()
    assert len(device.pool.allocate_blocks(1)) == 1
    assert saved.ended[Outcome.FAILED] == 1


def test_where_room_is_short_the_most_recent_victims_are_saved():
    device, host = tier("device", 3), tier("host", 2)
    saved = WriteBack(device, host, HandMover(at_once=True))
    for name in (1, 2, 3):
        store(device, [name]).release()
    device.pool.allocate_blocks(3).release()
    assert host.pool.contains([1, 2, 3]) == [False, True, True]
    assert saved.ended[Outcome.NO_CAPACITY] == 1


def test_known_and_unwanted_victims_are_filtered():
    device, host = tier("device", 3), tier("host", 3)
    saved = WriteBack(device, host, HandMover(at_once=True), filters=[PriorityFilter(1)])
    store(host, [1]).release()
    store(device, [1, 2], priority=1).release()
    store(device, [3]).release()
    device.pool.allocate_blocks(3).release()
    assert host.pool.contains([1, 2, 3]) == [True, True, False]
    assert saved.ended[Outcome.FILTERED] == 2


def test_a_reset_saves_nothing():
    device, host = tier("device", 1), tier("host", 1)
    WriteBack(device, host, HandMover(at_once=True))
    store(device, [1]).release()
    device.pool.reset()
    assert host.pool.contains([1]) == [False]


def test_a_pool_has_one_hook_at_most():
    device, host = tier("device", 1), tier("host", 1)
    first = WriteBack(device, host, HandMover())
    with pytest.raises(InvalidConfig, match="on_evict"):
        WriteBack(device, host, HandMover())
    first.remove()
    first.remove()
    WriteBack(device, host, HandMover())


@pytest.mark.clause("KV-CON-03")
def test_subscribers_hear_of_a_saved_victim_when_the_turn_of_its_pool_is_over():
    log = EventLog()
    device, host, disk = (tier(name, 1, events=log) for name in ("device", "host", "disk"))
    WriteBack(device, host, HandMover(at_once=True))
    WriteBack(host, disk, HandMover(at_once=True))
    store(host, [1]).release()
    store(device, [2]).release()
    seen = []

    def look(item):
        where = [one.pool.contains([1, 2]) for one in (device, host, disk)]
        seen.append((item.change.tier, item.change.kind.value, where))

    subscription = log.subscribe(look)
    device.pool.allocate_blocks(1).release()
    assert subscription.errors == 0
    after = [[False, False], [False, True], [True, False]]
    assert seen == [
        ("disk", "stored", after),
        ("host", "removed", after),
        ("host", "stored", after),
        ("device", "removed", after),
    ]


def test_a_target_with_a_log_of_its_own_tells_it_then_too():
    theirs = EventLog()
    device, host = tier("device", 1, events=EventLog()), tier("host", 1, events=theirs)
    WriteBack(device, host, HandMover(at_once=True))
    store(device, [1]).release()
    seen = []
    theirs.subscribe(lambda _: seen.append(device.pool.contains([1])))
    device.pool.allocate_blocks(1).release()
    assert seen == [[False]]


@pytest.mark.clause("KV-TIR-02")
def test_a_slot_has_no_heir_before_a_copy_that_did_not_answer_has_ended():
    device, host = tier("device", 1), tier("host", 1)

    class Late(HandMover):
        def move(self, *arguments):
            move = super().move(*arguments)
            move.give_up(TimeoutError("no answer"))
            threading.Timer(0.1, self.finish).start()
            return move

    mover = Late()
    saved = WriteBack(device, host, mover)
    store(device, [1]).release()
    device.pool.allocate_blocks(1)
    assert mover.moves == []
    assert saved.ended[Outcome.FAILED] == 1
    assert host.pool.statistics().empty == 1
