"""Task: one transfer between submission and end.

What this is
    The bookkeeping around a Transfer: what it waits for, the parts that are run by the
    executor, and the one moment in which the outcome is decided.

        waiting for others  →  submitted  →  running  →  outcome  →  finished

    The future of the transfer is the state machine. A part may run only after
    `set_running_or_notify_cancel` said yes, and from then on nobody can cancel.

Interface, as rules of use
    * hold() for each thing to wait for, release() when that is over, and one release() more
      by whoever made the task. The last one submits the parts.
    * The executor may drop a part or fail it: that is an outcome too.
    * abandon() gives the waiters their answer when a copy is stuck. It frees nothing.

Clauses: KV-TIR-02, KV-TIR-04, KV-TIR-05, KV-LIV-01, KV-SHD-04
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, final

from kvbm.errors import CorruptBlock, TransferCancelled, TransferFailed, TransfersAbandoned
from kvbm.transfer.checksums import Checks
from kvbm.transfer.handle import Transfer
from kvbm.transfer.manual import Submitter
from kvbm.transfer.ordering import Footprint
from kvbm.transfer.piece import Piece
from kvbm.transfer.way import Ended


@final
class Part:
    """Some pairs of a task: a step of the executor."""

    def __init__(self, task: Task, piece: Piece) -> None:
        self.task = task
        self.piece = piece
        self.over = False

    def __call__(self) -> None:
        """Move the pairs, if nobody cancelled the task meanwhile."""
        self.task.run(self)

    def __str__(self) -> str:
        return self.task.transfer.what


@final
class Task:
    """One transfer on its way.

    Parameters
    ----------
    transfer
    footprint
    pieces
        Its pairs, in one part for each step of the executor.
    move
        Moves one piece in the calling thread and raises nothing.
    checks
    executor
    keep
        What must live until the end: the memory of both sides.
    """

    def __init__(
        self,
        transfer: Transfer,
        footprint: Footprint,
        pieces: Sequence[Piece],
        move: Callable[[Piece], Ended],
        checks: Checks,
        executor: Submitter,
        keep: object,
    ) -> None:
        self.transfer: Final = transfer
        self.footprint: Final = footprint
        self._parts = [Part(self, piece) for piece in pieces]
        self._move = move
        self._checks = checks
        self._executor = executor
        self._lock = threading.Lock()
        self._holds = 1
        self._open = len(self._parts)
        self._begun: bool | None = None
        self._told = False
        self._needless: Ended | None = None  # set if what it comes after did not succeed
        self._keep = keep
        self._ended = Ended()
        transfer.future.add_done_callback(self._when_cancelled)

    # ── before ────────────────────────────────────────────────────────────────────────

    def hold(self, other: Transfer, *, needed: bool) -> None:
        """Wait for another transfer. If it is `needed` and does not succeed, fail with it."""
        with self._lock:
            self._holds += 1
        other.finished.add_done_callback(partial(self._when_over, other, needed))

    def _when_over(self, other: Transfer, needed: bool, _finished: Future[None]) -> None:
        if needed and (other.future.cancelled() or other.future.exception() is not None):
            self._needless = Ended()
            everything = {each for part in self._parts for each in _positions(part)}
            self._needless.fail(everything, RuntimeError(f"it comes after {other!r}"))
        self.release()

    def release(self) -> None:
        """End one hold. The last one submits all parts."""
        with self._lock:
            self._holds -= 1
            ready = not self._holds
        if not ready or self.transfer.future.cancelled():
            return
        # Also if what it comes after has failed: the step then copies nothing. To settle it
        # here would go one call deeper for each transfer of a chain.
        for part in self._parts:
            try:
                step = self._executor.submit(part)
            except Exception as error:  # noqa: BLE001  # an executor that takes nothing
                self._close(part, error)
            else:
                step.add_done_callback(partial(self._when_stepped, part))

    # ── the parts ─────────────────────────────────────────────────────────────────────

    def _begin(self) -> bool:
        """Whether the transfer may run. After a yes nobody can cancel it, and a no is final."""
        with self._lock:
            if self._begun is None:
                self._begun = self.transfer.future.set_running_or_notify_cancel()
            return self._begun

    def run(self, part: Part) -> None:
        """Move the pairs of one part, in the calling thread."""
        if not self._begin():
            return
        ended = self._needless or self._move(part.piece)
        with self._lock:
            if ended.error is not None:
                self._ended.fail(ended.failed, ended.error, corrupt=ended.corrupt)
            self._ended.late += ended.late
        self._close(part, None)

    def _when_stepped(self, part: Part, step: Future[Any]) -> None:
        """Look after a part that the executor did not run."""
        if step.cancelled():
            self._close(part, TransferCancelled(self.transfer.what))
        elif step.exception() is not None:
            self._close(part, step.exception())

    def _close(self, part: Part, error: BaseException | None) -> None:
        with self._lock:
            if part.over:
                return
            part.over = True
            self._open -= 1
            last = not self._open
            begun = self._begun
        if error is not None:
            dropped = isinstance(error, TransferCancelled) and not begun
            if dropped and self.transfer.cancel():
                return
            if not self._begin():
                return
            with self._lock:
                self._ended.fail(_positions(part), error)
        if last:
            self._settle()

    # ── the end ───────────────────────────────────────────────────────────────────────

    def _settle(self) -> None:
        """Decide the outcome; then wait for what is late."""
        ended, transfer = self._ended, self.transfer
        if ended.error is None:
            self._tell(None)
        else:
            kind = CorruptBlock if ended.corrupt else TransferFailed
            pairs = sum(len(part.piece) for part in self._parts)
            failed = tuple(sorted(ended.failed))
            error = kind(transfer.what, failed, pairs, ended.error)
            error.__cause__ = ended.error
            self._tell(error)
        self._finish(ended.late)

    def _tell(self, error: BaseException | None) -> bool:
        # Who sets `_told` tells. Callbacks run in set_…(), without the lock (KV-CON-03).
        with self._lock:
            if self._told:
                return False
            self._told = True
        if error is None:
            self.transfer.future.set_result(self._checks.result)
        else:
            self.transfer.future.set_exception(error)
        return True

    def _finish(self, late: list[Future[int]]) -> None:
        if late:
            late[0].add_done_callback(lambda _future: self._finish(late[1:]))
        else:
            self.transfer.finished.set_result(None)

    def _when_cancelled(self, future: Future[Any]) -> None:
        if future.cancelled():
            self._begin()  # which says no, and wakes those who wait for several futures
            self.transfer.finished.set_result(None)  # it never began: nobody touches anything

    def abandon(self) -> bool:
        """Answer the waiters of a copy that is stuck. Gives whether they had no answer yet."""
        return self._tell(TransfersAbandoned([self.transfer.what]))

    def _check(self) -> None:
        """Assert every invariant of this object."""
        with self._lock:
            open_parts = sum(not part.over for part in self._parts)
            assert open_parts == self._open, f"{self.transfer!r}: {open_parts} != {self._open}"
            assert self._holds >= 0, f"KV-TIR-04: {self.transfer!r} was released too often"


def _positions(part: Part) -> set[int]:
    return set(part.piece.positions.tolist())
