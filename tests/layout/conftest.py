"""What the tests of this room share: memory made of NumPy, and strategies of layouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from kvbm.errors import InvalidConfig
from kvbm.layout import (
    BlockOrder,
    BoundLayout,
    CustomLayout,
    DType,
    FullyContiguous,
    LayerSeparate,
    Layout,
    LayoutConfig,
    Paged,
    Ragged,
)


class HostMemory:
    """Bytes of NumPy, starting `skew` bytes after a multiple of 4096."""

    def __init__(self, size: int, skew: int = 0, device: tuple[int, int] = (1, 0)) -> None:
        whole = np.zeros(size + 8192, np.uint8)
        first = -whole.ctypes.data % 4096 + skew
        self._bytes = whole[first : first + size]
        self._device = device

    @property
    def addr(self) -> int:
        return self._bytes.ctypes.data

    @property
    def size(self) -> int:
        return self._bytes.size

    def array(self) -> NDArray[np.uint8]:
        return self._bytes

    def device(self) -> tuple[int, int]:
        return self._device


class GpuMemory:
    """An address that no CPU can reach."""

    def __init__(self, size: int) -> None:
        self.addr = 0x7F00_0000_0000
        self.size = size

    def array(self) -> NDArray[np.uint8]:
        raise RuntimeError("this is GPU memory")

    def device(self) -> tuple[int, int]:
        return (2, 1)


class Interleaved:
    """A strategy of one storage: layers of the blocks run backwards, with a gap after each."""

    name = "interleaved"

    def storage_bytes(self, config: LayoutConfig) -> list[int]:
        regions = config.num_blocks * config.num_layers * config.outer_dim
        return [regions * 2 * config.region_bytes]

    def offset(self, config: LayoutConfig, block: int, layer: int, outer: int) -> tuple[int, int]:
        row = (config.num_layers - 1 - layer) * config.num_blocks + block
        return 0, (row * config.outer_dim + outer) * 2 * config.region_bytes


def every_layout(config: LayoutConfig) -> list[Layout]:
    """Make all layouts that go with a config."""
    layouts: list[Layout] = [FullyContiguous(config)]
    for outer_contiguous in (False, True):
        for kind in (LayerSeparate, Paged):
            try:
                layouts.append(kind(config, outer_contiguous=outer_contiguous))
            except InvalidConfig:
                assert config.alignment > 1 or not config.order.whole_regions
    if not config.order.known:
        layouts.append(CustomLayout(config, Interleaved()))
        if config.outer_dim == config.alignment == 1:
            widths = range(config.num_layers, 0, -1)
            row = config.page_size * config.dtype.width
            wide = LayoutConfig(
                config.num_blocks,
                config.num_layers,
                1,
                config.page_size,
                config.num_layers,
                config.dtype,
            )
            layouts.append(Ragged(wide, [width * row for width in widths]))
    return layouts


@st.composite
def layouts(draw: Any) -> Layout:
    """Draw small layouts of every kind, with odd page sizes and every alignment."""
    heads = draw(st.none() | st.integers(1, 3))
    orders = [BlockOrder.NHD, BlockOrder.HND, BlockOrder.UNIVERSAL]
    orders.append(BlockOrder.named("page-head-outer-layer"))
    config = LayoutConfig(
        num_blocks=draw(st.integers(1, 4)),
        num_layers=draw(st.integers(1, 3)),
        outer_dim=draw(st.integers(1, 2)),
        page_size=draw(st.integers(1, 5)),
        inner_dim=(heads or 1) * draw(st.integers(1, 4)),
        dtype=draw(st.sampled_from([DType.U8, DType.BF16, DType.FP32, DType.I64])),
        alignment=draw(st.sampled_from([1, 1, 2, 8, 64, 256])),
        num_heads=heads,
        order=draw(st.sampled_from(orders)) if heads else BlockOrder.UNKNOWN,
    )
    return draw(st.sampled_from(every_layout(config)))


def bound(layout: Layout, skew: int = 0, device: tuple[int, int] = (1, 0)) -> BoundLayout:
    """Give a layout just the memory that it asks for."""
    return layout.bind([HostMemory(size, skew, device) for size in layout.required_sizes()])


@pytest.fixture(scope="session")
def bind() -> Callable[..., BoundLayout]:
    return bound


@pytest.fixture(scope="session")
def host_memory() -> type[HostMemory]:
    return HostMemory


@pytest.fixture(scope="session")
def gpu_memory() -> type[GpuMemory]:
    return GpuMemory


@pytest.fixture(scope="session")
def small_layouts() -> st.SearchStrategy[Layout]:
    return layouts()
