"""The event log of one source: numbered, bounded, read by pulling or by callback.

What this is
    The pool appends a batch while it holds its own lock, so the log has the order of
    the registry, and delivers after it has let go, so a subscriber may call the pool.

Interface, as rules of use
    * append() inside the pool's lock, deliver() outside of it.
    * `log.reader()` pulls: read() gives what is new. `log.subscribe(callback)` is pushed
      to, one batch at a time, in order, never from two threads at once.
    * The log keeps the last `keep` batches. Whoever is further behind gets a Gap in
      their place, never silence.
    * A callback that raises is logged and counted, and goes on with the next batch.

Clauses: KV-EVT-01, KV-EVT-05, KV-CON-03
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import final

from kvbm.errors import InvalidConfig
from kvbm.events.batch import EventBatch, Gap
from kvbm.pool.changes import Change

logger = logging.getLogger(__name__)


@final
class EventLog:
    """Batches of one source, which several pools (tiers) of a manager may share."""

    def __init__(self, source: str = "kvbm", keep: int = 4096) -> None:
        if keep < 1:
            raise InvalidConfig("keep", keep, "must be at least 1 batch")
        self.source = source
        self._batches: deque[EventBatch] = deque(maxlen=keep)
        self._next = 0
        self._lock = threading.RLock()  # a finaliser that calls a pool may come in between
        self._subscriptions: list[Subscription] = []

    @property
    def next_number(self) -> int:
        """The number that the next batch will get."""
        return self._next

    def append(self, change: Change) -> None:
        """Note one change. Call it in the order of the changes."""
        with self._lock:
            self._batches.append(EventBatch(self._next, self.source, change))
            self._next += 1

    def deliver(self) -> None:
        """Hand new batches to the callbacks. Call it with no lock held. Clauses: KV-CON-03"""
        for subscription in tuple(self._subscriptions):
            subscription._deliver()

    def reader(self, start: int | None = None) -> Reader:
        """Read from batch `start` on; from now on without it.

        Raises
        ------
        InvalidConfig
            `start` is a number that no batch has yet and that is not the next.
        """
        with self._lock:
            if start is None:
                start = self._next
            if not 0 <= start <= self._next:
                raise InvalidConfig("start", start, f"must be in 0 … {self._next}")
        return Reader(self, start)

    def subscribe(
        self, callback: Callable[[EventBatch | Gap], None], start: int | None = None
    ) -> Subscription:
        """Call `callback` for each batch from `start` on; from now on without it.

        Raises as `reader`. What there is already comes with the next delivery.
        """
        subscription = Subscription(self, callback, self.reader(start))
        with self._lock:
            self._subscriptions.append(subscription)
        return subscription

    def _since(self, number: int, limit: int | None = None) -> list[EventBatch | Gap]:
        with self._lock:
            oldest = self._next - len(self._batches)
            if number < oldest:
                return [Gap(number, oldest - 1)]
            stop = self._next if limit is None else min(self._next, number + limit)
            return [self._batches[index - oldest] for index in range(number, stop)]


@final
class Reader:
    """A cursor into a log; it never moves back. For one thread."""

    def __init__(self, log: EventLog, start: int) -> None:
        self._log = log
        self.next_number = start

    def read(self, limit: int | None = None) -> list[EventBatch | Gap]:
        """Take up to `limit` batches that are new; one Gap alone where batches are lost."""
        items = self._log._since(self.next_number, limit)
        if items:
            last = items[-1]
            self.next_number = (last.last if isinstance(last, Gap) else last.number) + 1
        return items

    @property
    def behind(self) -> int:
        """How many batches there are to read."""
        return self._log.next_number - self.next_number


@final
class Subscription:
    """A callback and its place in the log. `close()` ends it."""

    def __init__(
        self, log: EventLog, callback: Callable[[EventBatch | Gap], None], reader: Reader
    ) -> None:
        self._log = log
        self._callback = callback
        self._reader = reader
        self._busy = threading.Lock()
        self.errors = 0

    def close(self) -> None:
        """Stop being called. Idempotent."""
        with self._log._lock:
            if self in self._log._subscriptions:
                self._log._subscriptions.remove(self)

    def _deliver(self) -> None:
        # Whoever holds `_busy` delivers for all. A batch that arrives between its last look
        # and its release would be left lying, so look again after the release.
        while self._reader.behind and self._busy.acquire(blocking=False):
            try:
                for item in self._reader.read(limit=1):
                    self._call(item)
            finally:
                self._busy.release()

    def _call(self, item: EventBatch | Gap) -> None:
        try:
            self._callback(item)
        except Exception:
            self.errors += 1
            logger.exception("an event subscriber failed at %s; it goes on with the next", item)
