"""A layout in memory: bases, sizes, addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import InvalidConfig, InvalidOuterIndex, NotContiguous
from kvbm.layout import (
    BlockOrder,
    BoundLayout,
    FullyContiguous,
    LayerSeparate,
    Layout,
    LayoutConfig,
)

Bind = Callable[..., BoundLayout]
ALIGNED = LayoutConfig(3, 2, 2, 4, 8, alignment=512)


@given(data=st.data(), skew=st.integers(0, 600))
def test_the_requested_size_suffices_wherever_the_allocator_puts_it(
    small_layouts: st.SearchStrategy[Layout], bind: Bind, data: st.DataObject, skew: int
) -> None:
    layout = data.draw(small_layouts)
    bound = bind(layout, skew)
    for base, memory, size in zip(
        bound.base_offsets, bound.memories, layout.data_bytes, strict=True
    ):
        assert (memory.addr + base) % layout.config.alignment == 0
        assert 0 <= base < layout.config.alignment
        assert base + size <= memory.size


@pytest.mark.parametrize(("skew", "base"), [(0, 0), (1, 511), (511, 1), (512, 0)])
def test_the_base_is_the_first_aligned_byte(
    host_memory: Callable[..., Any], skew: int, base: int
) -> None:
    memory = host_memory(1280 + base, skew)
    bound = FullyContiguous(ALIGNED).bind([memory])
    assert bound.base_offsets == (base,)
    assert bound.memory_region(1, 1, 1) == (memory.addr + base + 704, 64, 0)
    with pytest.raises(InvalidConfig, match="including base offset for alignment") as caught:
        FullyContiguous(ALIGNED).bind([host_memory(1279 + base, skew)])
    assert f"Storage size {1279 + base} is less than required size {1280 + base}" in str(
        caught.value
    )


def test_regions_of_a_file_are_offsets() -> None:
    class File:
        addr = 0
        size = 1791

    assert FullyContiguous(ALIGNED).bind([File()]).memory_region(1, 1, 1) == (704, 64, 0)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_each_storage_needs_one_memory(host_memory: Callable[..., Any], count: int) -> None:
    # The count is checked first: these memories are too small as well.
    with pytest.raises(InvalidConfig, match=f"number of memories = {count}: .* needs 2"):
        LayerSeparate(ALIGNED).bind([host_memory(1)] * count)


def test_a_memory_that_is_too_small_is_named(host_memory: Callable[..., Any]) -> None:
    layout = LayerSeparate(LayoutConfig(3, 2, 2, 4, 8))
    with pytest.raises(InvalidConfig, match=r"memories\[1\].size = 383"):
        layout.bind([host_memory(384), host_memory(383)])


def test_a_scattered_region_has_no_address(bind: Bind) -> None:
    config = LayoutConfig(3, 2, 2, 4, 8, num_heads=2, order=BlockOrder.UNIVERSAL)
    bound = bind(FullyContiguous(config))
    with pytest.raises(NotContiguous, match="in the order UNIVERSAL a region is no single piece"):
        bound.memory_region(0, 0, 0)
    with pytest.raises(InvalidOuterIndex):
        bound.memory_region(0, 0, 2)
    assert bound.layer_view(0, 0, 0).shape == (4, 2, 4)
    assert "UNIVERSAL" in repr(bound)
