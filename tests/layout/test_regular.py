"""FullyContiguous, LayerSeparate and Paged: the worked numbers, to the byte."""

from __future__ import annotations

from typing import Any

import pytest

from kvbm.errors import InvalidConfig
from kvbm.layout import (
    BlockOrder,
    FullyContiguous,
    Label,
    LayerSeparate,
    Layout,
    LayoutConfig,
    LayoutType,
    Paged,
    Ragged,
    outer_comes_first,
)


def config(alignment: int = 1, **more: Any) -> LayoutConfig:
    return LayoutConfig(3, 2, 2, 4, 8, alignment=alignment, **more)


@pytest.mark.parametrize(
    ("alignment", "block", "data", "allocated", "place"),
    [(1, 256, 768, 768, 448), (512, 512, 1280, 1791, 704)],
)
def test_fully_contiguous(
    alignment: int, block: int, data: int, allocated: int, place: int
) -> None:
    layout = FullyContiguous(config(alignment))
    row = layout.rows[1]
    assert (row.outer_stride, row.start, row.block_stride) == (64, 128, block)
    assert (layout.data_bytes, layout.required_sizes()) == ((data,), (allocated,))
    assert layout.offset(1, 1, 1) == (0, place)
    assert layout.region_axis is None
    assert layout.kind is LayoutType.FullyContiguous


@pytest.mark.parametrize(
    ("outer_contiguous", "alignment", "outer", "block", "data", "allocated", "place"),
    [
        (True, 1, 192, 64, 384, 384, 256),
        (False, 1, 64, 128, 384, 384, 192),
        (True, 256, 768, 256, 1536, 1791, 1024),
        (False, 256, 64, 256, 768, 1023, 320),
    ],
)
def test_layer_separate(
    outer_contiguous: bool,
    alignment: int,
    outer: int,
    block: int,
    data: int,
    allocated: int,
    place: int,
) -> None:
    layout = LayerSeparate(config(alignment), outer_contiguous=outer_contiguous)
    row = layout.rows[1]
    assert (row.outer_stride, row.start, row.block_stride) == (outer, 0, block)
    assert layout.data_bytes == (data, data)
    assert layout.required_sizes() == (allocated, allocated)
    assert layout.offset(1, 1, 1) == (1, place)
    assert layout.region_axis is Label.LAYER


@pytest.mark.parametrize("outer_contiguous", [True, False])
def test_paged_is_an_engines_tensor_for_each_layer(outer_contiguous: bool) -> None:
    layout = Paged(config(), outer_contiguous=outer_contiguous)
    assert layout.kind is LayoutType.Paged
    assert layout.rows == LayerSeparate(config(), outer_contiguous=outer_contiguous).rows
    with pytest.raises(InvalidConfig, match="alignment = 2: an engine's tensors have no padding"):
        Paged(config(2))


def test_the_axes_say_which_comes_first() -> None:
    def labels(layout: Layout) -> list[str]:
        return [axis.label.value for axis in layout.axes()]

    known = config(num_heads=2, order=BlockOrder.HND)
    assert labels(Paged(known)) == ["layer", "block", "outer", "head", "page", "head_dim"]
    assert labels(Paged(config(), outer_contiguous=True)) == ["layer", "outer", "block", "payload"]


@pytest.mark.parametrize("order", ["UNIVERSAL", "page-layer-outer-head", "outer-layer-page-head"])
def test_layers_apart_cannot_be_nested_inside(order: str) -> None:
    universal = config(num_heads=2, order=BlockOrder.named(order))
    FullyContiguous(universal)
    for kind in (LayerSeparate, Paged):
        with pytest.raises(InvalidConfig, match="can be NHD, HND or UNKNOWN"):
            kind(universal)


@pytest.mark.clause("KV-INT-05")
def test_the_order_of_an_engines_tensor_is_read_off_or_asked_for() -> None:
    assert outer_comes_first((2, 3, 4, 8), config())
    assert not outer_comes_first((3, 2, 4, 8), config())
    one = LayoutConfig(1, 2, 1, 4, 8)
    assert outer_comes_first((1, 1, 4, 8), one)  # both are the same bytes
    with pytest.raises(InvalidConfig, match="fits both orders"):
        outer_comes_first((2, 2, 4, 8), LayoutConfig(2, 2, 2, 4, 8))
    for shape in [(4, 2, 4, 8), (2,), (), (2, 4, 8)]:
        with pytest.raises(InvalidConfig, match=r"must begin with \(3, 2\) or \(2, 3\)"):
            outer_comes_first(shape, config())


def test_only_the_number_of_blocks_may_differ_in_blocks_of_one_shape() -> None:
    layout = FullyContiguous(config())
    assert layout.has_same_block_shape(LayerSeparate(LayoutConfig(9, 2, 2, 4, 8)))
    assert not layout.has_same_block_shape(FullyContiguous(LayoutConfig(3, 2, 2, 8, 4)))
    ragged = LayoutConfig(3, 2, 1, 4, 8)
    assert not Ragged(ragged, [64, 8]).has_same_block_shape(Ragged(ragged, [8, 64]))


def test_layouts_are_equal_if_all_that_makes_them_is() -> None:
    assert FullyContiguous(config()) == FullyContiguous(config())
    assert hash(Paged(config())) == hash(Paged(config()))
    different = [
        FullyContiguous(config()),
        FullyContiguous(config(2)),
        LayerSeparate(config()),
        LayerSeparate(config(), outer_contiguous=True),
        Paged(config()),
    ]
    assert len(set(different)) == 5
    assert FullyContiguous(config()) != 5
