"""Bars: hit rates side by side, and histograms whose buckets double.

What this is
    `rates_chart` compares policies at one cache size. `histogram_chart` draws a `Histogram`,
    as shares of its total.

Interface, as rules of use
    * A histogram that counted nothing is not drawn: say so in words instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvbm.observe.axes import Frame, linear, round_ticks
from kvbm.observe.numbers import percent, whole
from kvbm.observe.svg import line, picture, tag, text, tooltip
from kvbm.replay.histogram import Histogram

ROW = 30
FEWEST_BUCKETS = 9


def rates_chart(rows: Sequence[tuple[str, float | None, str]], width: float) -> str:
    """Draw one bar per row, from 0 to 100 %, with its number at the end.

    Parameters
    ----------
    rows
        Name, hit rate and class of the style sheet; a row without a rate gets a dash.
    width : pixels
        Of the picture.
    """
    left = 112.0
    x = linear(0, 1, left, width - 60)
    drawn: list[str] = []
    for index, (name, rate, class_) in enumerate(rows):
        top = index * ROW + 4
        share = rate or 0.0
        drawn.extend(
            (
                text(left - 10, top + 15, name, "label", "end"),
                tag("rect", x=x(0), y=top, width=x(1) - x(0), height=20, class_="rail", rx=3),
                tag("rect", x=x(0), y=top, width=x(share) - x(0), height=20,
                    class_=f"bar {class_}", rx=3),
                text(x(share) + 7, top + 15, percent(rate), "value"),
            )
        )  # fmt: skip
    return picture(width, len(rows) * ROW + 4, "Hit rate by policy", *drawn)


def histogram_chart(
    histogram: Histogram, title: str, width: float, mark: tuple[int, str] | None = None
) -> str:
    """Draw a histogram as shares of its total.

    Parameters
    ----------
    histogram
        Counted at least one value.
    title
        What the values are, with their unit.
    width : pixels
        Of the picture.
    mark
        A value to be marked with a vertical line, and the line's name.
    """
    height = 280.0
    frame = Frame(left=44, right=width - 12, top=26, bottom=height - 46)
    last = len(histogram.counts)
    first = next(bucket for bucket, count in enumerate(histogram.counts) if count)
    # A lone bar says nothing unless one sees how far from zero it is.
    first = max(0, min(first, last - FEWEST_BUCKETS))
    if mark is not None:
        first = min(first, mark[0].bit_length())
        last = max(last, mark[0].bit_length() + 1)
    counts = [*histogram.counts, *[0] * (last - len(histogram.counts))]
    ticks = round_ticks(max(counts) / histogram.total, most=4)
    x = linear(first, last, frame.left, frame.right)
    y = linear(0, ticks[-1], frame.bottom, frame.top)
    parts = [frame.grid(ticks, y, lambda share: percent(share, 0))]
    for bucket in range(first, last):
        low, high = Histogram.span(bucket)
        share = counts[bucket] / histogram.total
        span = whole(low) if low == high else f"{whole(low)} to {whole(high)}"
        parts.append(
            tag(
                "rect",
                tooltip(f"{span}: {whole(counts[bucket])}, {percent(share)}"),
                x=x(bucket) + 1,
                y=y(share),
                width=x(bucket + 1) - x(bucket) - 2,
                height=frame.bottom - y(share),
                class_="bar s0",
            )
        )
    edges = [(x(bucket), _power(Histogram.span(bucket)[0])) for bucket in range(first, last)]
    parts.append(frame.bottom_labels(edges, title))
    if mark is not None:
        value, name = mark
        bucket = value.bit_length()
        low, high = Histogram.span(bucket)
        place = x(bucket + (value - low) / (high + 1 - low))
        anchor = "end" if place > (frame.left + frame.right) / 2 else "start"
        shift = -6 if anchor == "end" else 6
        parts.append(line(place, frame.top - 14, place, frame.bottom, "mark-line"))
        parts.append(text(place + shift, frame.top - 6, name, "label", anchor))
    return picture(width, height, title, *parts)


def _power(number: int) -> str:
    """Write a power of two with the binary k and M: `4096` as `4k`."""
    for unit, size in (("M", 1 << 20), ("k", 1 << 10)):
        if number >= size:
            return f"{number // size}{unit}"
    return str(number)
