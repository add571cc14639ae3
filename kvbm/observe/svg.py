"""Just enough SVG: elements, paths and texts as strings.

What this is
    Functions that write markup. Everything that comes from outside is escaped here, once.

Interface, as rules of use
    * Children are markup and are taken as they are; attributes and the content of `text` and
      `tooltip` are data and are escaped.
    * Colours and fonts come from the style sheet, by class, so that light and dark just work.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


def tag(name: str, *children: str, **attributes: str | float) -> str:
    """Write an element. In names of attributes `_` stands for `-`; a last `_` is dropped.

    Examples
    --------
    >>> tag("rect", x=1.25, stroke_width=2, class_="bar")
    '<rect x="1.2" stroke-width="2" class="bar"></rect>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{''.join(children)}</{name}>"


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def text(x: float, y: float, content: str, class_: str = "", anchor: str = "start") -> str:
    """Write one line of text at its baseline."""
    return tag("text", escape(content), x=x, y=y, class_=class_, text_anchor=anchor)


def tooltip(content: str) -> str:
    """Write what a browser shows when the pointer rests on the element around it."""
    return tag("title", escape(content))


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    """Write a straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def polyline(points: Iterable[tuple[float, float]], class_: str) -> str:
    """Write an open line through points."""
    return tag("polyline", points=_points(points), class_=class_)


def polygon(points: Iterable[tuple[float, float]], class_: str) -> str:
    """Write a closed area."""
    return tag("polygon", points=_points(points), class_=class_)


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def picture(width: float, height: float, label: str, *children: str) -> str:
    """Write a drawing with a description for those who cannot see it."""
    return tag(
        "svg",
        *children,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        role="img",
        aria_label=label,
    )


MARKERS = (
    ((1.0, 0.0), (0.71, 0.71), (0.0, 1.0), (-0.71, 0.71), (-1.0, 0.0), (-0.71, -0.71),
     (0.0, -1.0), (0.71, -0.71)),
    ((0.9, 0.9), (-0.9, 0.9), (-0.9, -0.9), (0.9, -0.9)),
    ((0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)),
    ((0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)),
    ((0.0, 1.2), (1.1, -0.8), (-1.1, -0.8)),
)  # fmt: skip
"""Outlines of the marks that tell series apart without colour."""


def marker(x: float, y: float, series: int, class_: str, tip: str) -> str:
    """Write the mark of a series, with a tooltip."""
    outline = [(x + 4 * dx, y + 4 * dy) for dx, dy in MARKERS[series % len(MARKERS)]]
    return tag("g", polygon(outline, class_), tooltip(tip))
