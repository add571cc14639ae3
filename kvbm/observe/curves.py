"""The chart of hit rates by cache size: one line per policy, and the bounds.

What this is
    Cache size runs to the right on a logarithmic scale, so that doubling the cache is the same
    step everywhere. Each line carries its name at its end.

Interface, as rules of use
    * Results without a hit rate or with an infinite cache are not drawn as points.
    * Policies keep the order, and so the colours, in which they are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kvbm.observe.axes import Frame, Scale, linear, logarithmic, round_ticks, spread
from kvbm.observe.numbers import capacity, percent, short
from kvbm.observe.svg import line, marker, picture, polyline, text
from kvbm.replay.result import ReplayResult

LABEL_HEIGHT = 16
COLOURS = 6


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the chart, its points from the smallest cache to the largest."""

    name: str
    points: tuple[tuple[int, float], ...]
    series: int | None
    """Number of the colour; None is a bound, drawn dashed and grey."""

    @property
    def class_(self) -> str:
        """Class of the style sheet."""
        return "bound" if self.series is None else f"s{self.series % COLOURS}"


def lines_of(
    results: Sequence[ReplayResult], belady: Sequence[ReplayResult], policies: Sequence[str]
) -> list[Line]:
    """Gather the points of each policy, and of Belady's MIN."""
    named = [
        (policy, [result for result in results if result.policy == policy], series)
        for series, policy in enumerate(policies)
    ]
    lines = [Line(name, _points(of_it), series) for name, of_it, series in named]
    lines.append(Line("Belady's MIN", _points(belady), None))
    return [one for one in lines if one.points]


def _points(results: Sequence[ReplayResult]) -> tuple[tuple[int, float], ...]:
    return tuple(
        sorted(
            {
                (result.blocks, result.hit_rate)
                for result in results
                if result.blocks is not None and result.hit_rate is not None
            }
        )
    )


def curves_chart(lines: Sequence[Line], infinite: float, width: float) -> str:
    """Draw the lines, and the hit rate of an infinite cache as the ceiling.

    Parameters
    ----------
    lines
        At least one, with at least one point.
    infinite
        Hit rate of the infinite cache.
    width : pixels
        Of the picture.
    """
    height = 360.0
    frame = Frame(left=44, right=width - 124, top=14, bottom=height - 46)
    sizes = sorted({blocks for one in lines for blocks, _ in one.points})
    highest = max([infinite, *(rate for one in lines for _, rate in one.points)])
    ticks = round_ticks(highest, most=5)
    x = logarithmic(sizes[0], max(sizes[-1], sizes[0] + 1), frame.left + 10, frame.right - 8)
    y = linear(0, ticks[-1], frame.bottom, frame.top)
    return picture(
        width,
        height,
        "Hit rate by cache size, one line per policy",
        frame.grid(ticks, y, lambda share: percent(share, 0)),
        frame.bottom_labels(
            [(x(size), short(size)) for size in sizes], "cache size in blocks, logarithmic"
        ),
        line(frame.left, y(infinite), frame.right, y(infinite), "bound ceiling"),
        *(_drawn(one, x, y) for one in lines),
        _labels(lines, infinite, frame, y),
    )


def _drawn(one: Line, x: Scale, y: Scale) -> str:
    path = polyline([(x(blocks), y(rate)) for blocks, rate in one.points], f"line {one.class_}")
    if one.series is None:
        return path
    return path + "".join(
        marker(
            x(blocks),
            y(rate),
            one.series,
            f"mark {one.class_}",
            f"{one.name}, {capacity(blocks)} blocks: {percent(rate)}",
        )
        for blocks, rate in one.points
    )


def _labels(lines: Sequence[Line], infinite: float, frame: Frame, y: Scale) -> str:
    """Name each line at its end, moved apart, with a thin line back to where it belongs."""
    entries = [
        # Lines that end at the same place are named in the order in which they lie before it.
        (y(one.points[-1][1]), -sum(rate for _, rate in one.points) / len(one.points), one.name,
         one.class_, one.series)
        for one in lines
    ]  # fmt: skip
    entries.append((y(infinite), -1.0, "infinite cache", "bound", None))
    entries.sort(key=lambda entry: entry[:2])
    places = spread([entry[0] for entry in entries], LABEL_HEIGHT, frame.top, frame.bottom)
    drawn = []
    for (end, _, name, class_, series), place in zip(entries, places, strict=True):
        drawn.append(line(frame.right + 2, end, frame.right + 14, place, f"leader {class_}"))
        if series is not None:
            drawn.append(marker(frame.right + 20, place, series, f"mark {class_}", name))
        drawn.append(text(frame.right + 28, place + 4, name, "label"))
    return "".join(drawn)
