"""Labelled axes: what an index of the cache means, and how far apart neighbours lie.

What this is
    A layout is a list of axes, each with a label, a size and a stride. Labels, not
    positions or sizes, say what an axis is: a tensor of shape [16, 16, 128] tells
    nobody which 16 are the tokens.

    NHD        layer, outer, token, head, dim     what most engines write
    HND        layer, outer, head, token, dim     what some kernels read
    UNIVERSAL  head, layer, outer, token, dim     one head is one piece, so that it can
                                                  go to another worker at one stroke
    UNKNOWN    layer, outer, and then bytes that nobody may permute

Interface, as rules of use
    * The order is declared, never guessed (KV-INT-05). The default is UNKNOWN.
    * `BlockOrder((…))` makes any other order of layer, outer, page and head.

Clauses: KV-INT-05
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from kvbm.errors import InvalidConfig


class Label(Enum):
    """What one axis counts."""

    BLOCK = "block"
    LAYER = "layer"
    OUTER = "outer"  # key, value
    PAGE = "page"  # token in the block
    HEAD = "head"
    HEAD_DIM = "head_dim"  # always innermost
    PAYLOAD = "payload"  # elements of a region whose order is unknown; always innermost

    def __repr__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a layout.

    `stride` is in bytes. It is 0 for the region axis of a layout that has one storage for
    each layer: there is no distance between two allocations.
    """

    label: Label
    size: int
    stride: int


@dataclass(frozen=True)
class BlockOrder:
    """How the elements of one block are nested, outermost first.

    Parameters
    ----------
    nesting
        The labels LAYER, OUTER, PAGE and HEAD in any order; HEAD_DIM follows innermost.
        LAYER, OUTER alone is the unknown order.
    """

    nesting: tuple[Label, ...]

    NHD: ClassVar[BlockOrder]
    HND: ClassVar[BlockOrder]
    UNIVERSAL: ClassVar[BlockOrder]
    UNKNOWN: ClassVar[BlockOrder]

    def __post_init__(self) -> None:
        if self.nesting != _UNKNOWN and sorted(self.nesting, key=repr) != _SORTED:
            rule = "must hold LAYER, OUTER, PAGE and HEAD once each, or be BlockOrder.UNKNOWN"
            raise InvalidConfig("order.nesting", self.nesting, rule)

    @property
    def known(self) -> bool:
        """Whether the order of tokens and heads is known."""
        return self.nesting != _UNKNOWN

    @property
    def whole_regions(self) -> bool:
        """Whether the bytes of one (layer, outer) lie together."""
        return set(self.nesting[:2]) == {Label.LAYER, Label.OUTER}

    @property
    def labels(self) -> tuple[Label, ...]:
        """All labels inside a block, outermost first, with the innermost one."""
        return (*self.nesting, Label.HEAD_DIM if self.known else Label.PAYLOAD)

    @property
    def name(self) -> str:
        """`NHD`, `HND`, `UNIVERSAL`, `UNKNOWN`, or the labels of any other order."""
        return _NAMES.get(self.nesting) or "-".join(label.value for label in self.nesting)

    @classmethod
    def named(cls, name: str) -> BlockOrder:
        """Find an order by its `name`.

        Raises
        ------
        InvalidConfig
            There is no order of this name.

        Examples
        --------
        >>> BlockOrder.named("HND") == BlockOrder.HND
        True
        >>> BlockOrder.named("page-head-layer-outer").labels
        (page, head, layer, outer, head_dim)
        """
        for nesting, known in _NAMES.items():
            if name == known:
                return cls(nesting)
        try:
            order = cls(tuple(Label(part) for part in name.split("-")))
        except ValueError:  # InvalidConfig is one
            order = None
        if order is None or order.name != name:
            rule = f"must be one of {', '.join(_NAMES.values())}, or four labels joined by '-'"
            raise InvalidConfig("order", name, rule)
        return order

    def __repr__(self) -> str:
        return f"BlockOrder({self.name})"


_UNKNOWN = (Label.LAYER, Label.OUTER)
_NAMES = {
    (Label.LAYER, Label.OUTER, Label.PAGE, Label.HEAD): "NHD",
    (Label.LAYER, Label.OUTER, Label.HEAD, Label.PAGE): "HND",
    (Label.HEAD, Label.LAYER, Label.OUTER, Label.PAGE): "UNIVERSAL",
    _UNKNOWN: "UNKNOWN",
}
_SORTED = sorted([Label.LAYER, Label.OUTER, Label.PAGE, Label.HEAD], key=repr)

BlockOrder.NHD, BlockOrder.HND, BlockOrder.UNIVERSAL, BlockOrder.UNKNOWN = map(BlockOrder, _NAMES)
