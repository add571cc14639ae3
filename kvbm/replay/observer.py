"""Watching a replay without slowing it down: a few samples of many moments.

What this is
    A rule set calls an `Observer` after each request, and whenever blocks were evicted. The
    observer keeps as many samples as a picture needs, whatever the length of the trace.

Interface, as rules of use
    * `after_request` is called for every request, in order.
    * An age is counted in ticks of the pool, one for each block taken or given back: how long
      ago the evicted block was given back last.
    * `samples()` may be called at any time; what it returns never changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from kvbm.replay.histogram import Histogram
from kvbm.replay.stream import Integers

MOST_SAMPLES = 400


class Occupancy(NamedTuple):
    """Where the blocks of a pool were after one request."""

    request: int
    empty: int
    active: int
    inactive: int


@dataclass(frozen=True, slots=True)
class Samples:
    """What one replay looked like from outside.

    Parameters
    ----------
    occupancy
        At evenly spaced requests, the first one included.
    eviction_ages : ticks
        Of all evicted blocks.
    """

    occupancy: tuple[Occupancy, ...]
    eviction_ages: Histogram


class Observer:
    """Collects samples; each call is O(1), amortised, but for `evicted`, O(ages)."""

    def __init__(self) -> None:
        self._stride = 1
        self._occupancy: list[Occupancy] = []
        self._eviction_ages = Histogram()

    def after_request(self, index: int, empty: int, active: int, inactive: int) -> None:
        """Note how many blocks are in each state; `index` counts requests from 0."""
        if index % self._stride:
            return
        self._occupancy.append(Occupancy(index, empty, active, inactive))
        if len(self._occupancy) > MOST_SAMPLES:
            # Every second sample goes, and from now on only every second one comes.
            self._stride *= 2
            del self._occupancy[1::2]

    def evicted(self, ages: Integers) -> None:
        """Note the ages of blocks that were evicted, in ticks."""
        self._eviction_ages += Histogram.of(ages)

    def samples(self) -> Samples:
        """Copy what was collected so far."""
        return Samples(tuple(self._occupancy), self._eviction_ages)
