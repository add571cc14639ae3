"""Filters: which blocks are worth a copy to a slower tier.

What this is
    A filter is asked once per block that could be copied, and says why not, or nothing.
    All filters of a route must agree.

Interface, as rules of use
    * `refuses(hash, priority)` gives a reason, or None. It may count: it is asked only for
      blocks that are not in the target and have a source.
    * No filter reads a clock that it was not given.
    * A filter that wants to see a block twice loses the first reuse of every block, however
      large the target is. Say so to whoever turns it on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, final

import numpy as np

from kvbm.blocks import SequenceHash
from kvbm.blocks.keys import fold
from kvbm.errors import InvalidConfig
from kvbm.pool.sketch import FrequencySketch

_LARGEST_COUNT = (1 << 63) - 1


class OffloadFilter(Protocol):
    """See the module's rules of use."""

    def refuses(self, sequence_hash: SequenceHash, priority: int) -> str | None:
        """Say why this block should not be copied, or None."""


@final
class PriorityFilter:
    """Refuses blocks of low priority."""

    def __init__(self, least: int) -> None:
        self._least = least

    def refuses(self, sequence_hash: SequenceHash, priority: int) -> str | None:  # noqa: ARG002  protocol
        """See OffloadFilter."""
        return f"priority {priority} < {self._least}" if priority < self._least else None


@final
class FrequencyFilter:
    """Refuses a block until it was asked about often enough lately.

    The first question sets its count to 1, each further one doubles it; every `interval`
    seconds all counts fall by 1, and those at 0 are forgotten.

    Parameters
    ----------
    least
        Count from which a block passes; 1 lets everything pass.
    interval : seconds
        Time between two decays; the first comes after a whole one.
    most_entries
        Counts that are kept; more are cut by decaying early.
    clock
        Gives the time in seconds.

    Notes
    -----
    Counts and decay are those of KVBM v1, whose first decay comes at once instead.
    """

    def __init__(
        self,
        least: int,
        *,
        interval: float = 600.0,
        most_entries: int = 1_000_000,
        clock: Callable[[], float],
    ) -> None:
        for field, value in (("least", least), ("most_entries", most_entries)):
            if value < 1:
                raise InvalidConfig(field, value, "must be at least 1")
        if interval <= 0:
            raise InvalidConfig("interval", interval, "must be more than 0 seconds")
        self._least, self._interval, self._most = least, interval, most_entries
        self._clock = clock
        self._next_decay = clock() + interval
        self.counts: dict[SequenceHash, int] = {}

    def refuses(self, sequence_hash: SequenceHash, priority: int) -> str | None:  # noqa: ARG002  protocol
        """See OffloadFilter. O(1), and O(entries) at a decay."""
        now = self._clock()
        if now >= self._next_decay:  # many rounds at once, if nobody asked for long
            rounds = int((now - self._next_decay) // self._interval) + 1
            self._decay(rounds)
            self._next_decay += rounds * self._interval
        count = min(2 * self.counts.get(sequence_hash, 0), _LARGEST_COUNT) or 1
        self.counts[sequence_hash] = count
        while len(self.counts) > self._most:
            self._decay(1)
            self._next_decay = now + self._interval
        return f"frequency {count} < {self._least}" if count < self._least else None

    def _decay(self, rounds: int) -> None:
        self.counts = {
            name: count - rounds for name, count in self.counts.items() if count > rounds
        }


@final
class TinyLfuFilter:
    """Refuses a block that was used no more than `least` times lately (strictly, as in KVBM v2).

    Parameters
    ----------
    least
        Uses that are not yet enough.
    sketch
        Who counts the uses, such as that of a `multi-lru` policy.
    bits
        Length of the hashes.
    """

    def __init__(self, least: int, sketch: FrequencySketch, *, bits: int = 64) -> None:
        self._least, self._sketch, self._bits = least, sketch, bits

    def refuses(self, sequence_hash: SequenceHash, priority: int) -> str | None:  # noqa: ARG002  protocol
        """See OffloadFilter."""
        key = np.array([fold(sequence_hash, self._bits)], np.uint64)
        uses = int(self._sketch.estimate(key)[0])
        return None if uses > self._least else f"used {uses} times, not more than {self._least}"
