"""Postponed events: pools may be called under a lock, and subscribers are not.

What this is
    A pool delivers its events when its call is over, and that is soon enough only for who
    holds no lock. Whoever must call pools with a lock held says so, and this thread delivers
    when the lock is gone. Events lose nothing by it: they were numbered when they happened.

Interface, as rules of use
    * `with events_postponed(), lock:` in this order: leaving, the lock goes first.
    * In the middle of another pool's turn, `events_postponed(pool)`: its turn delivers at
      its end.

Clauses: KV-CON-03
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from kvbm.pool.changes import ChangeSink


class _Here(threading.local):
    """What this thread is to deliver later; None if it delivers at once."""

    sinks: list[ChangeSink] | None = None


_here = _Here()


class Turns(Protocol):
    """A pool, as far as it is asked here."""

    def deliver_later(self, sink: ChangeSink) -> None:
        """Deliver the sink's events when the turn that this thread is in is over."""


def deliver(sink: ChangeSink) -> None:
    """Deliver the events of a sink, now or when this thread may."""
    if _here.sinks is None:
        sink.deliver()
    elif sink not in _here.sinks:
        _here.sinks.append(sink)


@contextmanager
def events_postponed(turn: Turns | None = None) -> Iterator[None]:
    """Let this thread deliver no event before the end of the `with` block, and of `turn`."""
    before, _here.sinks = _here.sinks, []
    try:
        yield
    finally:
        sinks, _here.sinks = _here.sinks, before
        for sink in sinks:
            if turn is None:
                deliver(sink)
            else:
                turn.deliver_later(sink)
