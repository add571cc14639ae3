"""From a kind and a config, or from a descriptor, to a layout.

What this is
    The place where names become classes.

Interface, as rules of use
    * `make_layout(LayoutType.FullyContiguous, config)`; a kind with options where it
      needs some: `make_layout(LayoutType.Custom(strategy), config)`.
    * `layout_from(LayoutDescriptor.parse(text))` gives the layout of the other side.

Clauses: KV-INT-05
"""

from __future__ import annotations

from typing import Any

from kvbm.errors import InvalidConfig, InvalidDescriptor
from kvbm.layout.base import Layout
from kvbm.layout.config import LayoutConfig
from kvbm.layout.descriptor import LayoutDescriptor
from kvbm.layout.irregular import CustomLayout, Ragged
from kvbm.layout.kinds import ChosenLayout, LayoutType
from kvbm.layout.regular import FullyContiguous, LayerSeparate, Paged

_CLASSES: dict[LayoutType, Any] = {
    LayoutType.FullyContiguous: FullyContiguous,
    LayoutType.LayerSeparate: LayerSeparate,
    LayoutType.Paged: Paged,
    LayoutType.Ragged: Ragged,
    LayoutType.Custom: CustomLayout,
}


def make_layout(choice: LayoutType | ChosenLayout, config: LayoutConfig) -> Layout:
    """Make a layout of a chosen kind.

    Raises
    ------
    InvalidConfig
        The options do not go with the kind, or the config does not.

    Examples
    --------
    >>> make_layout(LayoutType.Paged, LayoutConfig(4, 2, 2, 16, 64)).kind
    LayoutType.Paged
    """
    chosen = choice() if isinstance(choice, LayoutType) else choice
    if not isinstance(chosen, ChosenLayout):
        raise InvalidConfig("layout_type", choice, "must be a LayoutType")
    try:
        layout: Layout = _CLASSES[chosen.kind](config, *chosen.arguments, **chosen.options)
    except TypeError as error:
        raise InvalidConfig("layout_type", chosen.kind.name, str(error)) from error
    return layout


def layout_from(descriptor: LayoutDescriptor) -> Layout:
    """Make the layout that a descriptor describes.

    Raises
    ------
    InvalidDescriptor
        The details do not go with the kind, or the layout is custom.
    """
    if descriptor.kind is LayoutType.Custom:
        raise InvalidDescriptor("a custom layout is code, which a descriptor does not carry")
    try:
        layout = make_layout(descriptor.kind(**descriptor.details), descriptor.config)
    except InvalidConfig as error:
        raise InvalidDescriptor(str(error)) from error
    # What was made must say the same of itself: no detail was of the wrong type.
    if layout.descriptor() != descriptor.json():
        raise InvalidDescriptor(f"details = {dict(descriptor.details)!r}: not those of the kind")
    return layout
