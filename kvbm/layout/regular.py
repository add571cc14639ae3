"""The layouts with evenly spaced regions: FullyContiguous, LayerSeparate, Paged.

What this is
    FullyContiguous   one storage; a block is one piece of it
    LayerSeparate     one storage for each layer, aligned as the config says
    Paged             the same with no padding: the tensors of an engine, as they are

    With `outer_contiguous`, a layer's storage holds first the keys of all blocks and then
    all values, [outer][block]; without, key and value of one block are neighbours,
    [block][outer].

Interface, as rules of use
    * Alignment holds for the start of every block (and, outer-first, of every region).
    * The last block of a FullyContiguous layout has no padding behind it.
    * LayerSeparate and Paged take the orders in which a layer is outside: NHD, HND, UNKNOWN.

Clauses: KV-INT-05
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from kvbm.errors import InvalidConfig
from kvbm.layout.axes import Axis, Label
from kvbm.layout.base import LayerRow, Layout, up
from kvbm.layout.config import LayoutConfig
from kvbm.layout.kinds import LayoutType


@final
class FullyContiguous(Layout):
    """[block][everything inside, in the config's order], padded up to the alignment.

    Examples
    --------
    >>> layout = FullyContiguous(LayoutConfig(3, 2, 2, 4, 8, alignment=512))
    >>> layout.offset(1, 1, 1), layout.data_bytes, layout.required_sizes()
    ((0, 704), (1280,), (1791,))
    """

    def __init__(self, config: LayoutConfig) -> None:
        inside = _dense(config, config.order.labels)
        stride = {axis.label: axis.stride for axis in inside}
        block = up(config.bytes_per_block, config.alignment)
        rows = [
            LayerRow(0, i * stride[Label.LAYER], block, stride[Label.OUTER], config.region_bytes)
            for i in range(config.num_layers)
        ]
        data = (config.num_blocks - 1) * block + config.bytes_per_block
        axes = [Axis(Label.BLOCK, config.num_blocks, block), *inside]
        super().__init__(LayoutType.FullyContiguous, config, rows, [data], axes)


@final
class LayerSeparate(Layout):
    """One storage for each layer, [block][outer] or, `outer_contiguous`, [outer][block].

    Examples
    --------
    >>> config = LayoutConfig(3, 2, 2, 4, 8, alignment=256)
    >>> LayerSeparate(config).offset(1, 1, 1)
    (1, 320)
    >>> LayerSeparate(config, outer_contiguous=True).offset(1, 1, 1)
    (1, 1024)
    """

    def __init__(self, config: LayoutConfig, *, outer_contiguous: bool = False) -> None:
        self.outer_contiguous = outer_contiguous
        rows, data, axes = _layers_apart(config, outer_contiguous)
        details = {"outer_contiguous": outer_contiguous}
        super().__init__(LayoutType.LayerSeparate, config, rows, data, axes, details)


@final
class Paged(Layout):
    """An engine's cache: one tensor for each layer, without padding.

    The tensors have the shape [blocks, outer, …], or with `outer_contiguous`
    [outer, blocks, …]. `outer_comes_first` reads that off a tensor's shape.
    """

    def __init__(self, config: LayoutConfig, *, outer_contiguous: bool = False) -> None:
        if config.alignment != 1:
            rule = "an engine's tensors have no padding; must be 1"
            raise InvalidConfig("alignment", config.alignment, rule)
        self.outer_contiguous = outer_contiguous
        rows, data, axes = _layers_apart(config, outer_contiguous)
        details = {"outer_contiguous": outer_contiguous}
        super().__init__(LayoutType.Paged, config, rows, data, axes, details)


def outer_comes_first(shape: Sequence[int], config: LayoutConfig) -> bool:
    """Read off an engine's tensor whether it is [outer, blocks, …] and not [blocks, outer, …].

    Raises
    ------
    InvalidConfig
        The shape is neither, or it is both. Then say yourself which it is.

    Clauses: KV-INT-05

    Examples
    --------
    >>> outer_comes_first((2, 100, 16, 8, 128), LayoutConfig(100, 32, 2, 16, 1024))
    True
    """
    two = tuple(shape[:2])
    blocks_first = (config.num_blocks, config.outer_dim)
    outer_first = blocks_first[::-1]
    if two not in (blocks_first, outer_first):
        rule = f"must begin with {blocks_first} or {outer_first}"
        raise InvalidConfig("shape", tuple(shape), rule)
    if blocks_first == outer_first and two[0] != 1:
        rule = "fits both orders; pass outer_contiguous yourself"
        raise InvalidConfig("shape", tuple(shape), rule)
    return two == outer_first


def _layers_apart(
    config: LayoutConfig, outer_first: bool
) -> tuple[list[LayerRow], list[int], list[Axis]]:
    if not isinstance(outer_first, bool):  # it may come from a descriptor
        raise InvalidConfig("outer_contiguous", outer_first, "must be True or False")
    if config.order.labels[:2] != (Label.LAYER, Label.OUTER):
        rule = "a layer in a storage of its own can be NHD, HND or UNKNOWN"
        raise InvalidConfig("order", config.order.name, rule)
    region = config.region_bytes
    if outer_first:
        block = up(region, config.alignment)
        outer = block * config.num_blocks
        data = outer * config.outer_dim
    else:
        outer = region
        block = up(region * config.outer_dim, config.alignment)
        data = block * config.num_blocks
    rows = [LayerRow(i, 0, block, outer, region) for i in range(config.num_layers)]
    pair = [Axis(Label.BLOCK, config.num_blocks, block), Axis(Label.OUTER, config.outer_dim, outer)]
    axes = [
        Axis(Label.LAYER, config.num_layers, 0),
        *(reversed(pair) if outer_first else pair),
        *_dense(config, config.order.labels)[2:],
    ]
    return rows, [data] * config.num_layers, axes


def _dense(config: LayoutConfig, labels: Sequence[Label]) -> list[Axis]:
    """Nest `labels` with nothing between neighbours."""
    sizes = {
        Label.LAYER: config.num_layers,
        Label.OUTER: config.outer_dim,
        Label.PAGE: config.page_size,
        Label.HEAD: config.num_heads or 1,
        Label.HEAD_DIM: config.head_dim or 1,
        Label.PAYLOAD: config.page_size * config.inner_dim,
    }
    axes: list[Axis] = []
    stride = config.dtype.width
    for label in reversed(labels):
        axes.append(Axis(label, sizes[label], stride))
        stride *= sizes[label]
    return axes[::-1]
