"""Deadlines: an answer for every request, also when the disk gives none.

What this is
    The desk between those who ask and the threads that call the kernel. A call of the
    kernel cannot be taken back; what can be done is to tell the one who waits, and to leave
    the buffers alone until the call is really over. So each request has two ends:
    `answer` (success or error, in time) and `finished` (nobody touches the buffers any more).

Interface, as rules of use
    * enter() a job, start() it in the thread that will do it, finish() it there.
    * A job that runs longer than `seconds` is answered with `DiskIoTimeout`; it finishes
      when its call returns.
    * When every thread is held by such a call, jobs that wait can never start: they are
      answered and finished at once, and so are new ones, until a thread comes back.
    * Each of the two futures of a job is completed exactly once.

Clauses: KV-LIV-01, KV-LIV-04, KV-TIR-02, KV-SHD-02
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

from kvbm.errors import DiskIoTimeout


def _promise() -> Future[int]:
    future: Future[int] = Future()
    future.set_running_or_notify_cancel()  # bytes under way are not cancelled by wishing
    return future


@dataclass(eq=False, slots=True)
class Job:
    """One request, from the queue to its two ends."""

    what: str
    """For messages: operation and range."""
    answer: Future[int] = field(default_factory=_promise)
    """Bytes moved, or the error; in time."""
    finished: Future[int] = field(default_factory=_promise)
    """Completes with 0 when buffers and file range are free again. Never an error."""


class Desk:
    """Who waits, who runs, and who is late, for `threads` threads."""

    def __init__(self, threads: int, seconds: float | None) -> None:
        self._threads: Final = threads
        self._seconds: Final = seconds
        self._waiting: dict[Job, None] = {}
        self._running: dict[Job, float] = {}  # oldest first, since the clock does not go back
        self._late: set[Job] = set()
        self._open = True
        self._changed = threading.Condition()
        self._watcher: threading.Thread | None = None
        self._asleep = False  # whether the watcher waits for anything at all to run

    # ── a job's way ───────────────────────────────────────────────────────────────────

    def enter(self, job: Job) -> bool:
        """Queue a job; False if it was answered at once, since no thread can come to it."""
        with self._changed:
            stuck = len(self._late) == self._threads
            if not stuck:
                self._waiting[job] = None
                return True
        self._give_up([job])
        return False

    def start(self, job: Job) -> bool:
        """Begin a job in the calling thread; False if it was answered while it waited."""
        with self._changed:
            if job not in self._waiting:
                return False
            del self._waiting[job]
            self._running[job] = time.monotonic()
            self._watch()
            return True

    def finish(self, job: Job, outcome: int | BaseException) -> None:
        """End a job: its call has returned."""
        with self._changed:
            in_time = self._running.pop(job, None) is not None
            self._late.discard(job)
            if self._is_idle():
                self._changed.notify_all()
        job.finished.set_result(0)
        if in_time:
            if isinstance(outcome, int):
                job.answer.set_result(outcome)
            else:
                job.answer.set_exception(outcome)

    # ── the end ───────────────────────────────────────────────────────────────────────

    def close(self, timeout: float | None) -> list[str]:
        """Wait until no call runs; after `timeout` seconds give up and say what is left.

        What still waits then is answered and finished; what runs keeps its buffers.
        """
        with self._changed:
            done = self._changed.wait_for(self._is_idle, timeout)
            waiting = [] if done else list(self._waiting)
            self._waiting.clear()
            left = [job.what for job in (*waiting, *self._running, *self._late)]
        self.retire()
        self._give_up(waiting)
        watcher = self._watcher
        if not left and watcher not in (None, threading.current_thread()):
            watcher.join()
        return left

    def retire(self) -> None:
        """Let the watcher go home after the last job that is here. Waits for nothing."""
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def _is_idle(self) -> bool:
        return not (self._waiting or self._running or self._late)

    def counts(self) -> tuple[int, int, int]:
        """Count the jobs that wait, that run in time, and that are late."""
        with self._changed:
            return len(self._waiting), len(self._running), len(self._late)

    def _check(self) -> None:
        """Assert every invariant of this object."""
        with self._changed:
            waiting, running = set(self._waiting), set(self._running)
            assert not waiting & running, f"KV-LIV-04: waits and runs: {waiting & running}"
            assert not (waiting | running) & self._late, f"KV-LIV-04: late, and not: {self._late}"
            held = len(running) + len(self._late)
            assert held <= self._threads, f"{held} jobs run on {self._threads} threads"
            for job in (*waiting, *running, *self._late):
                assert not job.finished.done(), f"KV-TIR-02: {job.what} is finished, and not"

    def _give_up(self, jobs: list[Job]) -> None:
        for job in jobs:
            job.finished.set_result(0)
            job.answer.set_exception(
                DiskIoTimeout(f"{job.what} was not started: every thread waits for the disk")
            )

    # ── the watcher ───────────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        if self._seconds is None:
            return
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._look, name="kvbm-disk-deadlines")
            self._watcher.daemon = True
            self._watcher.start()
        elif self._asleep:
            self._changed.notify_all()

    def _look(self) -> None:
        assert self._seconds is not None
        while True:
            with self._changed:
                if not (self._open or self._waiting or self._running):
                    return
                oldest = next(iter(self._running), None)
                if oldest is None:
                    self._asleep = True
                    self._changed.wait()
                    self._asleep = False
                    continue
                left = self._running[oldest] + self._seconds - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                del self._running[oldest]
                self._late.add(oldest)
                stuck = len(self._late) == self._threads
                waiting = list(self._waiting) if stuck else []
                if stuck:
                    self._waiting.clear()
            oldest.answer.set_exception(
                DiskIoTimeout(
                    f"{oldest.what} has no answer after {self._seconds} s; its buffers stay in "
                    f"use until it returns"
                )
            )
            self._give_up(waiting)
