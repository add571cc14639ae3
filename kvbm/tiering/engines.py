"""Engines: the two that a manager copies with, as one.

What this is
    Most copies run on a few threads. When such a copy ends, its thread publishes what has
    arrived, and waits for the pool's turn to do so. Write-back copies inside a turn, which
    waits for the copy: were it to need one of those threads, each would wait for the other.
    So it copies in its own thread, on an engine that has no other.

Clauses: KV-LIV-03, KV-SHD-05
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import astuple
from typing import Any, Literal, final

from kvbm.errors import TransfersAbandoned
from kvbm.transfer import TransferEngine, TransferStatistics


@final
class InThisThread:
    """An executor without threads: what is submitted runs at once."""

    def submit(self, function: Callable[[], Any], /) -> Future[Any]:
        """Run a function; give its future, which is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  as an executor does
            future.set_exception(error)
        return future


@final
class Engines:
    """`threads`, and `here` for copies from inside a turn of a pool."""

    def __init__(self, checksums: Literal["disk", "memory"]) -> None:
        self.threads = TransferEngine(checksums=checksums)
        self.here = TransferEngine(checksums=checksums, executor=InThisThread())

    def statistics(self) -> TransferStatistics:
        """Add up both."""
        both = zip(astuple(self.threads.statistics()), astuple(self.here.statistics()), strict=True)
        return TransferStatistics(*map(sum, both))

    def close(self, timeout: float | None = None) -> None:
        """Close both, within `timeout` seconds. Raises TransfersAbandoned."""
        until = None if timeout is None else time.monotonic() + timeout
        left: list[str] = []
        for engine in (self.threads, self.here):
            try:
                engine.close(None if until is None else max(0.0, until - time.monotonic()))
            except TransfersAbandoned as error:
                left += error.left
        if left:
            raise TransfersAbandoned(left)
