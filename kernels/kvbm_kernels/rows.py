"""Head rows: the axes (token, head, dim) inside regions, and where each row of them lies.

What this is
    One (block, layer, outer) region holds `tokens` x `heads` rows of `row` bytes; a row is the
    keys or values of one token and one head. Layouts differ in where the rows lie:

        order      in one region             regions of a block
        NHD        [token][head][dim]        one base each, or one after the other
        HND        [head][token][dim]        the same
        universal  rows of a block as [head][layer][outer][token][dim]

    `Rows` says it with two strides beside the `Regions`, so that every layout, every
    layer range and every range of heads is the same thing to a kernel:

        row (region, token, head) = region + token * token_stride + head * head_stride

Interface, as rules of use
    * A `BlockShape` describes one whole block of this worker: all its layers, its heads.
    * paged(), whole() and universal() describe memory; layers come as a range (`first_layer`,
      `layers`), heads by `Rows.slice`. Both stay inside the block or are refused.
    * Regions are numbered block, layer, outer, over the layers that were asked for.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from kvbm_kernels.regions import Regions


class Order(enum.Enum):
    """Order of the rows inside a region."""

    NHD = "NHD"
    """Token by token: what attention kernels of most engines write."""
    HND = "HND"
    """Head by head."""


@dataclass(frozen=True)
class BlockShape:
    """Sizes of one block. A row's size is `head_dim * itemsize`, in bytes."""

    layers: int
    outer: int
    tokens: int
    heads: int
    row: int

    def __post_init__(self) -> None:
        for name in ("layers", "outer", "tokens", "heads", "row"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: must be at least 1")

    @property
    def region(self) -> int:
        """Bytes of one (layer, outer)."""
        return self.tokens * self.heads * self.row

    @property
    def block(self) -> int:
        """Bytes of all layers."""
        return self.layers * self.outer * self.region


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of equal size at equal distances, in each of some regions."""

    regions: Regions
    tokens: int
    heads: int
    row: int
    token_stride: int
    head_stride: int

    @property
    def extent(self) -> int:
        """Bytes from a region's first row to the end of its last."""
        tokens, heads = self.tokens - 1, self.heads - 1
        return tokens * self.token_stride + heads * self.head_stride + self.row

    def slice(self, start: int, heads: int) -> Rows:
        """Give the rows of a range of heads, where they lie.

        Raises
        ------
        ValueError
            The range is empty or reaches beyond the heads that are there.
        """
        if not (start >= 0 and heads > 0 and start + heads <= self.heads):
            raise ValueError(f"heads {start} … {start + heads - 1} of {self.heads}: not inside")
        bases = self.regions.bases + np.uint64(start * self.head_stride)
        return replace(self, regions=replace(self.regions, bases=bases), heads=heads)


def paged(shape: BlockShape, order: Order, addresses: ArrayLike, layers: int | None = None) -> Rows:
    """Describe regions that have an address each: `addresses[(b * layers + l) * outer + o]`.

    Raises
    ------
    ValueError
        An address is null, or the table holds no whole number of blocks.
    """
    regions = Regions.at(addresses)
    _whole_blocks(regions, (shape.layers if layers is None else layers) * shape.outer)
    return _in_order(shape, order, regions)


def whole(
    shape: BlockShape,
    order: Order,
    addresses: ArrayLike,
    *,
    first_layer: int = 0,
    layers: int | None = None,
) -> Rows:
    """Describe contiguous blocks, [layer][outer][region] from one address each."""
    layers = _layers(shape, first_layer, layers)
    bases = Regions.at(addresses).bases + np.uint64(first_layer * shape.outer * shape.region)
    return _in_order(shape, order, Regions(bases, layers * shape.outer, shape.region))


def universal(
    shape: BlockShape, addresses: ArrayLike, *, first_layer: int = 0, layers: int | None = None
) -> Rows:
    """Describe universal blocks, [head][layer][outer][token][dim] from one address each."""
    layers = _layers(shape, first_layer, layers)
    plane = shape.tokens * shape.row  # one head of one (layer, outer)
    bases = Regions.at(addresses).bases + np.uint64(first_layer * shape.outer * plane)
    regions = Regions(bases, layers * shape.outer, plane)
    head_stride = shape.layers * shape.outer * plane
    return Rows(regions, shape.tokens, shape.heads, shape.row, shape.row, head_stride)


def _in_order(shape: BlockShape, order: Order, regions: Regions) -> Rows:
    strides = {
        Order.NHD: (shape.heads * shape.row, shape.row),
        Order.HND: (shape.row, shape.tokens * shape.row),
    }[order]
    return Rows(regions, shape.tokens, shape.heads, shape.row, *strides)


def _layers(shape: BlockShape, first: int, layers: int | None) -> int:
    count = shape.layers - first if layers is None else layers
    if not (first >= 0 and count > 0 and first + count <= shape.layers):
        raise ValueError(f"layers {first} … {first + count - 1} of {shape.layers}: not inside")
    return count


def _whole_blocks(regions: Regions, entries: int) -> None:
    if entries < 1 or len(regions) % entries:
        raise ValueError(f"{len(regions)} regions: not a multiple of {entries}, which a block has")
