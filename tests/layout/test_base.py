"""What holds for every layout: regions lie inside, apart and aligned; indices are checked."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import InvalidBlockIndex, InvalidLayerIndex, InvalidOuterIndex
from kvbm.layout import Axis, FullyContiguous, Label, Layout, LayoutConfig


def indices(layout: Layout) -> list[tuple[int, int, int]]:
    config = layout.config
    sizes = (config.num_blocks, config.num_layers, config.outer_dim)
    return list(itertools.product(*map(range, sizes)))


def elements_of(layout: Layout, block: int, layer: int, outer: int) -> np.ndarray:
    """Offsets of all elements of a region, from the shape and strides that it claims."""
    offsets = np.full((), layout.offset(block, layer, outer)[1])
    shape, strides = layout.region_shape(layer), layout.region_strides(layer)
    for size, stride in zip(shape, strides, strict=True):
        offsets = offsets[..., None] + np.arange(size) * stride
    return offsets


@pytest.mark.clause("KV-INT-01")
@given(st.data())
def test_no_two_bytes_share_a_place_and_all_lie_inside(
    small_layouts: st.SearchStrategy[Layout], data: st.DataObject
) -> None:
    layout = data.draw(small_layouts)
    places = []
    for block, layer, outer in indices(layout):
        storage = layout.offset(block, layer, outer)[0]
        elements = elements_of(layout, block, layer, outer).ravel()
        assert elements.size * layout.config.dtype.width == layout.region_bytes(layer)
        touched = (elements[:, None] + np.arange(layout.config.dtype.width)).ravel()
        assert touched.min() >= 0
        assert touched.max() < layout.data_bytes[storage]
        places += [(storage, int(byte)) for byte in touched]
    assert len(set(places)) == len(places)
    assert len(places) == layout.config.num_blocks * layout.bytes_per_block


@given(st.data())
def test_blocks_start_at_the_alignment(
    small_layouts: st.SearchStrategy[Layout], data: st.DataObject
) -> None:
    layout = data.draw(small_layouts)
    for block in range(layout.config.num_blocks):
        start = min(layout.offset(block, 0, o)[1] for o in range(layout.config.outer_dim))
        assert layout.kind.name == "Custom" or start % layout.config.alignment == 0


@given(st.data())
def test_the_axes_say_the_same_as_the_offsets(
    small_layouts: st.SearchStrategy[Layout], data: st.DataObject
) -> None:
    layout = data.draw(small_layouts)
    if not layout.has_axes:
        return
    axes = {axis.label: axis for axis in layout.axes()}
    assert len(axes) == len(layout.axes())
    for block, layer, outer in indices(layout):
        steps = ((Label.BLOCK, block), (Label.LAYER, layer), (Label.OUTER, outer))
        expected = sum(axes[label].stride * index for label, index in steps)
        storage = layer if layout.region_axis else 0
        assert layout.offset(block, layer, outer) == (storage, expected)


@given(st.data())
def test_many_offsets_at_once_are_the_same(
    small_layouts: st.SearchStrategy[Layout], data: st.DataObject
) -> None:
    layout = data.draw(small_layouts)
    storages, offsets = layout.offsets(*np.array(indices(layout)).T)
    assert [*zip(storages, offsets, strict=True)] == [layout.offset(*i) for i in indices(layout)]
    assert offsets.dtype == storages.dtype == np.int64


@pytest.mark.parametrize("wrong", [-1, 4, True, 1.0, None, 2**70])
def test_indices_are_checked_in_the_order_block_layer_outer(wrong: object) -> None:
    layout = FullyContiguous(LayoutConfig(3, 2, 2, 4, 8))
    for index, error, count in [
        ((wrong, wrong, wrong), InvalidBlockIndex, 3),
        ((0, wrong, wrong), InvalidLayerIndex, 2),
        ((0, 0, wrong), InvalidOuterIndex, 2),
    ]:
        with pytest.raises(error) as caught:
            layout.offset(*index)
        assert (caught.value.index, caught.value.count) == (wrong, count)
        assert isinstance(caught.value, IndexError)


@pytest.mark.parametrize(
    ("index", "error"),
    [
        ((3, 0, 0), InvalidBlockIndex),
        ((0, 2, 0), InvalidLayerIndex),
        ((0, 0, 2), InvalidOuterIndex),
    ],
)
def test_the_first_index_that_is_outside_is_refused(
    index: tuple[int, int, int], error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"index {max(index)} is outside 0 … {max(index) - 1}"):
        FullyContiguous(LayoutConfig(3, 2, 2, 4, 8)).offset(*index)


def test_an_axis_is_a_label_a_size_and_a_stride() -> None:
    layout = FullyContiguous(LayoutConfig(3, 2, 1, 4, 8))
    assert layout.axes()[0] == Axis(Label.BLOCK, 3, 128)
    assert repr(layout).startswith("FullyContiguous(LayoutConfig(num_blocks=3, ")
