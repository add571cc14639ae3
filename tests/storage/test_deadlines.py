"""The desk: who waits, who runs, who is late, and that each gets exactly one answer."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kvbm.errors import DiskIoTimeout, ErrorKind
from kvbm.storage.deadlines import Desk, Job


def error_of(job: Job) -> BaseException:
    error = job.answer.exception(10)
    assert error is not None
    return error


def test_a_job_that_is_in_time_is_finished_before_it_is_answered() -> None:
    desk = Desk(1, 30)
    job = Job("read")
    seen: list[bool] = []
    job.answer.add_done_callback(lambda _: seen.append(job.finished.done()))
    assert desk.enter(job)
    assert desk.start(job)
    assert desk.counts() == (0, 1, 0)
    desk.finish(job, 17)
    assert job.answer.result(0) == 17
    assert seen == [True]
    assert desk.close(None) == []


def test_an_error_is_the_answer() -> None:
    desk, job = Desk(1, None), Job("read")
    desk.enter(job)
    desk.start(job)
    desk.finish(job, OSError("broken"))
    assert str(error_of(job)) == "broken"
    assert job.finished.done()


@pytest.mark.clause("KV-LIV-04", "KV-TIR-02")
def test_a_late_job_is_answered_in_time_and_finished_when_its_call_returns() -> None:
    desk, job = Desk(2, 0.02), Job("read of 5 bytes at 0")
    desk.enter(job)
    desk.start(job)
    error = error_of(job)
    assert isinstance(error, DiskIoTimeout)
    assert isinstance(error, TimeoutError)
    assert error.kind is ErrorKind.CANCELLED
    assert "read of 5 bytes at 0 has no answer after 0.02 s" in str(error)
    assert not job.finished.done()
    assert desk.counts() == (0, 0, 1)
    desk._check()
    desk.finish(job, 5)
    assert job.finished.result(0) == 0
    assert job.answer.exception(0) is error
    assert desk.close(None) == []


@pytest.mark.clause("KV-LIV-04")
def test_each_job_has_its_own_deadline_from_its_start() -> None:
    desk = Desk(2, 0.1)
    first, second = Job("first"), Job("second")
    for job in (first, second):
        desk.enter(job)
    desk.start(first)
    time.sleep(0.06)
    desk.start(second)
    error_of(first)
    assert not second.answer.done()
    desk.finish(second, 3)
    assert second.answer.result(0) == 3
    desk.finish(first, 1)
    desk.close(None)


def test_the_watcher_sleeps_while_nothing_runs_and_wakes_for_what_comes_then() -> None:
    desk = Desk(1, 0.03)
    for _ in range(2):
        quick, slow = Job("quick"), Job("slow")
        desk.enter(quick)
        desk.start(quick)
        desk.finish(quick, 1)
        time.sleep(0.05)
        assert desk._asleep
        desk.enter(slow)
        desk.start(slow)
        error_of(slow)
        desk.finish(slow, 1)
    desk.close(None)
    assert desk._watcher is not None
    assert not desk._watcher.is_alive()


@pytest.mark.clause("KV-LIV-01", "KV-LIV-04")
def test_when_all_threads_are_stuck_what_waits_is_answered_too() -> None:
    desk = Desk(2, 0.03)
    stuck, waiting = [Job("a"), Job("b")], [Job("c"), Job("d")]
    for job in (*stuck, *waiting):
        assert desk.enter(job)
    desk.start(stuck[0])
    assert "no answer" in str(error_of(stuck[0]))
    assert not any(job.answer.done() for job in waiting)  # one thread is still good
    desk.start(stuck[1])
    for job in waiting:
        assert "was not started: every thread waits for the disk" in str(error_of(job))
        assert job.finished.done()
        assert not desk.start(job)
    late = Job("e")
    assert not desk.enter(late)  # and so is what comes now
    assert isinstance(error_of(late), DiskIoTimeout)
    desk.finish(stuck[0], 1)  # until a thread comes back
    again = Job("f")
    assert desk.enter(again)
    assert desk.start(again)
    desk.finish(again, 9)
    assert again.answer.result(0) == 9
    desk.finish(stuck[1], 1)
    desk.close(None)


@pytest.mark.clause("KV-SHD-05")
def test_close_says_what_it_abandons() -> None:
    desk = Desk(1, None)
    running, waiting = Job("the running one"), Job("the waiting one")
    for job in (running, waiting):
        desk.enter(job)
    desk.start(running)
    assert desk.close(0.01) == ["the waiting one", "the running one"]
    assert isinstance(error_of(waiting), DiskIoTimeout)
    assert waiting.finished.done()
    assert not running.answer.done()
    assert not running.finished.done()
    desk.finish(running, 2)
    assert running.answer.result(0) == 2
    assert desk.close(0) == []


@pytest.mark.clause("KV-SHD-02")
def test_close_waits_for_what_runs() -> None:
    desk, job = Desk(1, 30), Job("read")
    desk.enter(job)
    desk.start(job)
    closer = threading.Thread(target=desk.close, args=(None,))
    closer.start()
    closer.join(0.03)
    assert closer.is_alive()
    desk.finish(job, 1)
    closer.join(10)
    assert not closer.is_alive()


def test_a_reader_may_close_the_desk_from_its_answer() -> None:
    """The watcher must not wait for itself."""
    desk, job = Desk(2, 0.02), Job("read")
    closed: list[list[str]] = []
    job.answer.add_done_callback(lambda _: closed.append(desk.close(0)))
    desk.enter(job)
    desk.start(job)
    error_of(job)
    desk.finish(job, 1)
    desk.close(None)
    assert closed == [["read"]]


def test_answers_cannot_be_cancelled() -> None:
    job = Job("read")
    assert not job.answer.cancel()
    assert not job.finished.cancel()


class DeskMachine(RuleBasedStateMachine):
    """Jobs that come, run and end in any order, beside three plain lists."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(3, None)
        self.waiting: list[Job] = []
        self.running: list[Job] = []
        self.done: list[tuple[Job, int]] = []

    @rule()
    def enter(self) -> None:
        job = Job("job")
        assert self.desk.enter(job)
        self.waiting.append(job)

    @precondition(lambda self: self.waiting and len(self.running) < 3)
    @rule(data=st.data())
    def start(self, data) -> None:
        job = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(job)
        assert self.desk.start(job)
        assert not self.desk.start(job)
        self.running.append(job)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), moved=st.integers(0, 9))
    def finish(self, data, moved) -> None:
        job = data.draw(st.sampled_from(self.running))
        self.running.remove(job)
        self.desk.finish(job, moved)
        self.done.append((job, moved))

    @invariant()
    def agrees(self) -> None:
        assert self.desk.counts() == (len(self.waiting), len(self.running), 0)
        assert all(job.answer.result(0) == moved for job, moved in self.done)
        assert not any(job.answer.done() for job in (*self.waiting, *self.running))
        self.desk._check()


TestDeskMachine = DeskMachine.TestCase
