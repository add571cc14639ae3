"""Request: a part of a hop that somebody else is doing, and its two ends.

What this is
    What an executor gives back when it has begun something that goes on without the calling
    thread, such as a disk request.

Interface, as rules of use
    * `answer` is success or error, in time. `finished` is the moment from which nobody
      touches the memory, and never an error.
    * `settle` waits for the answers of a list, for all of them, whatever fails.

Clauses: KV-TIR-02, KV-TIR-05
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, final

from kvbm.transfer.piece import Piece


@final
@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Some pairs on their way."""

    positions: frozenset[int]
    answer: Future[int]
    finished: Future[int]


class Executor(Protocol):
    """Somebody who makes one hop by one means."""

    def start(self, piece: Piece) -> list[Request]:
        """Begin to copy; give what is still on its way when this returns.

        Raises what went wrong before that; then nothing of it is on its way.
        """


def ended(positions: Iterable[int], error: BaseException | None = None) -> Request:
    """Give a request that is over already."""
    answer: Future[int] = Future()
    finished: Future[int] = Future()
    finished.set_result(0)
    if error is None:
        answer.set_result(0)
    else:
        answer.set_exception(error)
    return Request(frozenset(positions), answer, finished)


def settle(requests: Iterable[Request]) -> tuple[set[int], BaseException | None]:
    """Wait for every answer; give the positions that failed, and the first error."""
    failed: set[int] = set()
    first: BaseException | None = None
    for request in requests:
        error = request.answer.exception()
        if error is not None:
            failed |= request.positions
            first = first or error
    return failed, first
