"""The chart of a pool's occupancy: where its blocks are, request by request.

What this is
    A stack of three areas whose sum is the pool: active at the bottom, inactive, empty on top.

Interface, as rules of use
    * At least one sample, in the order of the requests.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvbm.observe.axes import Frame, linear, round_ticks
from kvbm.observe.numbers import short, whole
from kvbm.observe.svg import picture, polygon, tag, tooltip
from kvbm.replay.observer import Occupancy

LAYERS = ("active", "inactive", "empty")


def occupancy_chart(occupancy: Sequence[Occupancy], width: float) -> str:
    """Draw the samples as stacked areas.

    Parameters
    ----------
    occupancy
        Samples of a pool.
    width : pixels
        Of the picture.
    """
    height = 280.0
    frame = Frame(left=44, right=width - 12, top=10, bottom=height - 46)
    pool = max(sample.active + sample.inactive + sample.empty for sample in occupancy)
    last = occupancy[-1].request
    ticks = round_ticks(pool, most=4)
    x = linear(0, last, frame.left, frame.right)
    y = linear(0, ticks[-1], frame.bottom, frame.top)
    # A single sample would be an area without a width.
    samples = [*occupancy, occupancy[-1]._replace(request=last + 1)] if last == 0 else occupancy
    floor = [0] * len(samples)
    areas = []
    for layer in LAYERS:
        top = [below + getattr(sample, layer) for below, sample in zip(floor, samples, strict=True)]
        edge = [(x(sample.request), y(blocks)) for sample, blocks in zip(samples, top, strict=True)]
        back = [
            (x(sample.request), y(blocks)) for sample, blocks in zip(samples, floor, strict=True)
        ]
        final = f"{layer}: {whole(getattr(samples[-1], layer))} blocks at the end"
        areas.append(tag("g", polygon([*edge, *reversed(back)], f"area {layer}"), tooltip(final)))
        floor = top
    steps = [tick for tick in round_ticks(last + 1, most=5) if tick <= last + 1]
    return picture(
        width,
        height,
        "Blocks of the pool by state, over the requests",
        *areas,
        frame.grid(ticks, y, short),
        frame.bottom_labels([(x(step), short(step)) for step in steps], "requests so far"),
    )
