"""What becomes of a block that was to be offloaded: exactly one of six ends, and why.

Interface, as rules of use
    * An `Offload` is what one enqueue call gets: it knows every block of that call. A block
      is pending until it has ended, and it ends once.
    * Wait for it (`wait`, `await`), look at it (`ended`, `pending`), or cancel it. Cancelling
      ends the blocks whose copy has not begun; a copy that has begun runs to its end.
    * A callback that raises is logged, and harms nobody else.

Clauses: KV-LIV-01, KV-SHD-04
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any, final

from kvbm.blocks import SequenceHash

logger = logging.getLogger(__name__)


class Outcome(Enum):
    """How an offload of one block ended."""

    COMPLETED = "completed"
    FILTERED = "filtered"
    EVICTED = "evicted"
    NO_CAPACITY = "no_capacity"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Ended:
    """An outcome and its reason, for people."""

    outcome: Outcome
    reason: str


@final
class Offload:
    """The blocks of one enqueue call, on their way to another tier."""

    def __init__(self, sequence_hashes: Sequence[SequenceHash]) -> None:
        self._waiting = dict.fromkeys(sequence_hashes)
        self._ended: dict[SequenceHash, Ended] = {}
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self.cancelled = False
        if not self._waiting:
            self._done.set()

    @property
    def ended(self) -> Mapping[SequenceHash, Ended]:
        """Outcome of each block that has one."""
        return MappingProxyType(self._ended)

    @property
    def pending(self) -> int:
        """How many blocks have no outcome yet."""
        return len(self._waiting)

    def count(self, outcome: Outcome) -> int:
        """Count the blocks that ended this way."""
        return sum(end.outcome is outcome for end in tuple(self._ended.values()))

    def cancel(self) -> None:
        """End the blocks whose copy has not begun. They are swept out by their route."""
        self.cancelled = True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until every block has ended; False if `timeout` seconds were not enough."""
        return self._done.wait(timeout)

    def add_done_callback(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the last block has ended, or now if it has."""
        with self._lock:
            if not self._done.is_set():
                self._callbacks.append(callback)
                return
        _call(callback)

    def __await__(self) -> Generator[Any, None, Offload]:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def finish() -> None:
            if not done.done():
                done.set_result(self)

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(finish)

        self.add_done_callback(wake)
        yield from done
        return self

    def end(self, sequence_hash: SequenceHash, ended: Ended) -> None:
        """Note the end of one block. For routes; a second end is a mistake and raises."""
        with self._lock:
            del self._waiting[sequence_hash]
            self._ended[sequence_hash] = ended
            if self._waiting:
                return
            self._done.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            _call(callback)


def _call(callback: Callable[[], None]) -> None:
    """Call, whatever it raises: other blocks' ends come after this one."""
    try:
        callback()
    except Exception:
        logger.exception("a callback of an offload failed; the offload has ended all the same")
