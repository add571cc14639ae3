"""Kinds of layout, with the names of the documented configuration.

What this is
    What a user writes to choose a layout. A bare kind is its default form; called, it
    takes options: `LayoutType.LayerSeparate(outer_contiguous=True)`,
    `LayoutType.Custom(strategy)`.

Interface, as rules of use
    * Give a kind or a chosen form to `make_layout` together with a config.
    * `layout.kind` is always the bare kind, to compare with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class LayoutType(Enum):
    """Kind of a layout. The members carry the documented spelling."""

    FullyContiguous = "FullyContiguous"
    LayerSeparate = "LayerSeparate"
    Paged = "Paged"
    Ragged = "Ragged"
    Custom = "Custom"

    def __call__(self, *arguments: Any, **options: Any) -> ChosenLayout:
        """Choose this kind with options: those of the layout's class, after the config."""
        return ChosenLayout(self, arguments, options)

    def __repr__(self) -> str:
        return f"LayoutType.{self.name}"


@dataclass(frozen=True)
class ChosenLayout:
    """A kind of layout and its options."""

    kind: LayoutType
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
