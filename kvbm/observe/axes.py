"""Scales and ticks: from a value to a place on the paper.

What this is
    Two scales, round numbers for their ticks, and the frame that charts share.

Interface, as rules of use
    * A scale is called with a value and gives a coordinate.
    * `Frame` holds the plot's edges; text stands outside of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kvbm.observe.svg import line, text

Scale = Callable[[float], float]


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Map `low … high` to `start … end`."""
    span = high - low or 1
    return lambda value: start + (value - low) / span * (end - start)


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """Map `low … high`, both positive, to `start … end` so that doubling is a fixed step."""
    straight = linear(math.log(low), math.log(high), start, end)
    return lambda value: straight(math.log(value))


def round_ticks(high: float, most: int) -> list[float]:
    """Give at most `most` + 1 round numbers from 0 on; the last one is the first not below `high`.

    Examples
    --------
    >>> round_ticks(0.61, 5), round_ticks(3700, 4)
    ([0.0, 0.2, 0.4, 0.6, 0.8], [0.0, 1000.0, 2000.0, 3000.0, 4000.0])
    """
    if high <= 0:
        return [0.0, 1.0]
    unit = 10.0 ** math.floor(math.log10(high / most))
    for step in (unit, 2 * unit, 5 * unit, 10 * unit):
        count = math.ceil(high / step - 1e-9)
        if count <= most:
            break
    return [round(index * step, 12) for index in range(count + 1)]


@dataclass(frozen=True, slots=True)
class Frame:
    """The edges of a plot inside its picture, in pixels."""

    left: float
    right: float
    top: float
    bottom: float

    def grid(self, ticks: Iterable[float], scale: Scale, label: Callable[[float], str]) -> str:
        """Draw horizontal lines with a label on the left of each."""
        return "".join(
            line(self.left, scale(tick), self.right, scale(tick), "grid" if tick else "base")
            + text(self.left - 6, scale(tick) + 4, label(tick), "tick", "end")
            for tick in ticks
        )

    def bottom_labels(
        self, places: Sequence[tuple[float, str]], title: str, apart: float = 38
    ) -> str:
        """Draw a title and labels below the plot; a label too close to the last one is left out."""
        drawn = []
        free_from = -math.inf
        for x, label in places:
            if x >= free_from:
                drawn.append(text(x, self.bottom + 17, label, "tick", "middle"))
                free_from = x + apart
        middle = (self.left + self.right) / 2
        return "".join(drawn) + text(middle, self.bottom + 36, title, "axis", "middle")


def spread(wanted: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Move labels, given from top to bottom, until all are `apart` and inside `low … high`.

    Each goes down as far as its predecessor pushes it; then, from the bottom, up again as far
    as the edge or its successor pushes it.

    Examples
    --------
    >>> spread([10, 11, 50], apart=15, low=0, high=60)
    [10, 25, 50]
    >>> spread([50, 51], apart=15, low=0, high=60)
    [45, 60]
    """
    places = list(wanted)
    floor = low
    for index, place in enumerate(places):
        places[index] = max(place, floor)
        floor = places[index] + apart
    ceiling = high
    for index in reversed(range(len(places))):
        places[index] = min(places[index], ceiling)
        ceiling = places[index] - apart
    return places
