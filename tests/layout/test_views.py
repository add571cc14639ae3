"""Views: the right bytes, true strides, and no life after the block's."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import (
    InvalidBlockIndex,
    InvalidLayerIndex,
    InvalidOuterIndex,
    NotContiguous,
    StaleHandleError,
)
from kvbm.layout import (
    BlockOrder,
    BlockView,
    BoundLayout,
    CustomLayout,
    DType,
    FullyContiguous,
    LayerSeparate,
    LayerView,
    Layout,
    LayoutConfig,
    Paged,
    Ragged,
)

Bind = Callable[..., BoundLayout]
CONFIG = LayoutConfig(3, 2, 2, 4, 8)
VERSIONED = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.1.0",
    reason="NumPy exports no versioned DLPack, and imports none writable, before 2.1",
)


def in_order(order: str) -> LayoutConfig:
    return LayoutConfig(3, 2, 2, 4, 8, num_heads=2, order=BlockOrder.named(order))


@pytest.mark.clause("KV-INT-01")
@given(data=st.data(), skew=st.sampled_from([0, 8, 24]))
def test_a_region_reads_back_what_was_written_and_nothing_else_changed(
    small_layouts: st.SearchStrategy[Layout], bind: Bind, data: st.DataObject, skew: int
) -> None:
    layout = data.draw(small_layouts)
    bound, config = bind(layout, skew), layout.config
    for memory in bound.memories:
        memory.array()[:] = 0xEE
    written = {}
    for serial, index in enumerate(
        np.ndindex(config.num_blocks, config.num_layers, config.outer_dim)
    ):
        view = bound.layer_view(*index)
        content = np.random.default_rng(serial).integers(0, 256, view.size, np.uint8)
        view.numpy()[...] = content.view(view.dtype.numpy).reshape(view.shape)
        written[index] = content
    for index, content in written.items():
        assert bound.layer_view(*index).numpy().tobytes() == content.tobytes()
        if layout.whole_regions:
            addr, size, storage = bound.memory_region(*index)
            start = addr - bound.memories[storage].addr
            found = bound.memories[storage].array()[start : start + size]
            assert (found == bound.layer_view(*index).bytes()).all()
            assert sorted(found) == sorted(content)
    untouched = sum(int((memory.array() == 0xEE).sum()) for memory in bound.memories)
    padding = sum(memory.size for memory in bound.memories)
    padding -= layout.bytes_per_block * config.num_blocks
    assert untouched >= padding


@given(data=st.data())
def test_a_block_is_a_sequence_of_its_layers(
    small_layouts: st.SearchStrategy[Layout], bind: Bind, data: st.DataObject
) -> None:
    layout = data.draw(small_layouts)
    bound, config = bind(layout), layout.config
    block = bound.block_view(config.num_blocks - 1)
    assert len(block) == len(block.to_list()) == len(list(block)) == config.num_layers
    assert block.size == layout.bytes_per_block == sum(layer.size for layer in block)
    for number, layer in enumerate(block):
        assert layer.shape == (config.outer_dim, *layout.region_shape(number))
        assert (layer.layer, layer.outer) == (number, None)
        for outer in range(config.outer_dim):
            part = bound.layer_view(config.num_blocks - 1, number, outer)
            part.numpy()[...] = 7 * outer + number
            assert layer.numpy()[outer].tobytes() == part.numpy().tobytes()


def test_shapes_do_not_depend_on_the_order_but_strides_do(bind: Bind) -> None:
    shapes = {}
    for order in ("NHD", "HND", "UNIVERSAL"):
        block = bind(FullyContiguous(in_order(order))).block_view(1)
        shapes[order] = (block.shape, block.strides)
    assert shapes == {
        "NHD": ((2, 2, 4, 2, 4), (128, 64, 16, 8, 2)),
        "HND": ((2, 2, 4, 2, 4), (128, 64, 8, 32, 2)),
        "UNIVERSAL": ((2, 2, 4, 2, 4), (64, 32, 8, 128, 2)),
    }


@pytest.mark.clause("KV-INT-01")
def test_an_element_has_the_same_index_in_every_order(bind: Bind) -> None:
    content = np.arange(128, dtype=np.float16).reshape(2, 2, 4, 2, 4)
    for order in ("NHD", "HND", "UNIVERSAL", "head-page-outer-layer"):
        block = bind(FullyContiguous(in_order(order))).block_view(2)
        block.numpy()[...] = content
        for layer, outer in np.ndindex(2, 2):
            view = block.layer_view(layer, outer)
            assert (view.numpy() == content[layer, outer]).all()


def test_an_unknown_order_has_the_documented_shape(bind: Bind) -> None:
    block = bind(FullyContiguous(CONFIG)).block_view(0)
    assert block.shape == (2, 2, 4, 8)
    assert block[1].shape == (2, 4, 8)
    assert block.layer_view(1, 1).shape == (4, 8)
    assert block.contiguous


def test_bytes_are_in_the_order_of_memory(bind: Bind) -> None:
    for order in ("NHD", "HND", "UNIVERSAL", "page-head-outer-layer"):
        bound = bind(FullyContiguous(in_order(order)))
        bound.memories[0].array()[:768] = np.arange(768) % 251
        bound.block_view(1).bytes()[5] = 99
        expected = np.arange(256, 512) % 251
        expected[5] = 99
        assert (bound.block_view(1).bytes() == expected).all()
    region = bind(FullyContiguous(in_order("HND"))).layer_view(1, 1, 1)
    assert np.shares_memory(region.bytes(), region.numpy())


def test_the_length_of_a_layer_view_is_in_bytes_and_of_a_block_in_layers(bind: Bind) -> None:
    bound = bind(FullyContiguous(CONFIG))
    assert len(bound.layer_view(0, 0)) == bound.layer_view(0, 0).size == 64
    assert len(bound.block_view(0)) == 2
    assert bound.block_view(0).size == 256


def test_a_block_view_leaves_the_padding_out(bind: Bind) -> None:
    block = bind(FullyContiguous(LayoutConfig(3, 2, 2, 4, 8, alignment=512))).block_view(1)
    assert (block.size, block.bytes().size) == (256, 256)


@pytest.mark.parametrize(
    "layout",
    [LayerSeparate(CONFIG), Paged(CONFIG, outer_contiguous=True)],
)
def test_a_block_in_several_storages_is_no_array_but_its_layers_are(
    bind: Bind, layout: Layout
) -> None:
    block = bind(layout).block_view(1)
    for ask in (BlockView.numpy, BlockView.bytes, np.asarray, BlockView.__dlpack__):
        with pytest.raises(NotContiguous, match="Block is not fully contiguous: block 1"):
            ask(block)
    with pytest.raises(NotContiguous):
        _ = block.addr
    block[1].numpy()[...] = 3
    assert (block[1].numpy() == 3).all()
    assert not block[0].numpy().any()


def test_the_outers_of_a_layer_have_their_true_distance(bind: Bind) -> None:
    layer = bind(Paged(CONFIG, outer_contiguous=True)).block_view(1)[0]
    assert layer.strides == (192, 16, 2)
    assert not layer.contiguous
    with pytest.raises(NotContiguous, match="the bytes of block 1, layer 0 are not one piece"):
        layer.bytes()
    assert bind(Paged(CONFIG)).block_view(1)[0].bytes().size == 128


def test_outers_in_several_memories_are_no_layer_but_regions(bind: Bind) -> None:
    class OuterApart:
        name = "a storage for each outer"

        def storage_bytes(self, config: LayoutConfig) -> list[int]:
            return [config.num_blocks * config.num_layers * config.region_bytes] * 2

        def offset(
            self, config: LayoutConfig, block: int, layer: int, outer: int
        ) -> tuple[int, int]:
            return outer, (block * config.num_layers + layer) * config.region_bytes

    block = bind(CustomLayout(CONFIG, OuterApart())).block_view(1)
    with pytest.raises(NotContiguous, match="the outers of block 1, layer 0 are in several"):
        block[0].numpy()
    block.layer_view(1, 1).numpy()[...] = 1
    assert block.layer_view(1, 1).bytes().any()
    with pytest.raises(NotContiguous, match="not fully contiguous"):
        block.numpy()


def test_a_custom_block_is_its_layers_even_in_one_storage(bind: Bind) -> None:
    class InOrder:
        name = "in order"

        def storage_bytes(self, config: LayoutConfig) -> list[int]:
            return [config.num_blocks * config.bytes_per_block]

        def offset(
            self, config: LayoutConfig, block: int, layer: int, outer: int
        ) -> tuple[int, int]:
            row = (block * config.num_layers + layer) * config.outer_dim + outer
            return 0, row * config.region_bytes

    block = bind(CustomLayout(CONFIG, InOrder())).block_view(1)
    assert [layer.bytes().size for layer in block] == [128, 128]
    with pytest.raises(NotContiguous, match="not fully contiguous"):
        block.numpy()


def test_a_model_of_one_layer_is_one_array_in_every_layout(bind: Bind) -> None:
    config = LayoutConfig(3, 1, 2, 4, 8)
    for layout in (LayerSeparate(config), Paged(config, outer_contiguous=True)):
        block = bind(layout).block_view(2)
        block.numpy()[0, 1] = 5
        assert (block.layer_view(0, 1).numpy() == 5).all()
        assert not block.layer_view(0, 0).numpy().any()
        assert block.contiguous != layout.outer_contiguous


def test_a_scattered_region_is_an_array_but_not_bytes(bind: Bind) -> None:
    view = bind(FullyContiguous(in_order("UNIVERSAL"))).layer_view(0, 1, 1)
    assert not view.contiguous
    with pytest.raises(NotContiguous):
        view.bytes()
    assert view.numpy().shape == (4, 2, 4)
    one_head = LayoutConfig(3, 2, 2, 4, 8, num_heads=1, order=BlockOrder.UNIVERSAL)
    assert bind(FullyContiguous(one_head)).layer_view(0, 1, 1).bytes().size == 64


def test_a_ragged_block_is_its_layers(bind: Bind) -> None:
    block = bind(Ragged(LayoutConfig(4, 2, 1, 4, 8), [64, 24])).block_view(3)
    assert [layer.shape for layer in block] == [(1, 4, 8), (1, 4, 3)]
    assert block.size == 88


def test_layers_are_indexed_as_in_a_list(bind: Bind) -> None:
    block = bind(FullyContiguous(CONFIG)).block_view(0)
    assert block[-1].layer == 1
    assert [layer.layer for layer in block[::-1]] == [1, 0]
    for wrong in (2, -3):
        with pytest.raises(InvalidLayerIndex, match=f"layer index {wrong}"):
            block[wrong]


def test_a_wrong_index_gives_no_view(bind: Bind) -> None:
    bound = bind(FullyContiguous(CONFIG))
    with pytest.raises(InvalidBlockIndex):
        bound.block_view(3)
    with pytest.raises(InvalidBlockIndex):
        bound.layer_view(-1, 5, 5)
    with pytest.raises(InvalidLayerIndex):
        bound.layer_view(0, 2, 5)
    with pytest.raises(InvalidOuterIndex):
        bound.block_view(0).layer_view(0, 2)


# ── life and death ────────────────────────────────────────────────────────────────────────


USES: list[Callable[[Any], Any]] = [
    lambda view: view.numpy(),
    lambda view: view.bytes(),
    lambda view: view.addr,
    lambda view: view.strides,
    lambda view: view.contiguous,
    lambda view: view.__dlpack__(),
    lambda view: view.__dlpack_device__(),
    lambda view: view.__cuda_array_interface__,
    np.asarray,
    np.from_dlpack,
]


@pytest.mark.parametrize("use", USES, ids=range(len(USES)))
def test_a_view_dies_with_its_block(bind: Bind, use: Callable[[Any], Any]) -> None:
    held = [True]
    bound = bind(FullyContiguous(CONFIG))
    block = bound.block_view(1, alive=lambda: bool(held))
    layer = bound.layer_view(1, 0, 1, alive=lambda: bool(held))
    views = [block, layer, block[0], block.layer_view(0, 1)]
    assert all(view.numpy().size for view in views)
    held.clear()
    for view in views:
        with pytest.raises(StaleHandleError, match="the block under the view"):
            use(view)


def test_a_dead_block_gives_no_new_views(bind: Bind) -> None:
    block = bind(FullyContiguous(CONFIG)).block_view(1, alive=lambda: False)
    ways: list[Callable[[], object]] = [
        lambda: block[0], lambda: block[:], lambda: list(block), block.to_list,
        lambda: block.layer_view(0, 0),
    ]  # fmt: skip
    for way in ways:
        with pytest.raises(StaleHandleError):
            way()
    assert repr(block) == "<block 1: FP16[2, 2, 4, 8]>"


@VERSIONED
def test_an_array_keeps_the_memory_and_the_holder_of_its_block(
    bind: Bind, host_memory: type
) -> None:
    class Handle:
        def alive(self) -> bool:
            return True

    handle = Handle()
    bound = bind(FullyContiguous(CONFIG))
    array = bound.block_view(1, alive=handle.alive).numpy()
    exported = np.from_dlpack(bound.layer_view(1, 0, alive=handle.alive))
    watched = weakref.ref(handle), weakref.ref(bound.memories[0])
    assert isinstance(bound.memories[0], host_memory)
    del handle, bound
    for last in (array, exported):
        last[...] = 1
        gc.collect()
        assert all(ref() is not None for ref in watched)
    del array
    gc.collect()
    assert all(ref() is not None for ref in watched)
    del exported, last
    gc.collect()
    assert not any(ref() is not None for ref in watched)


@VERSIONED
def test_a_registered_block_is_read_only(bind: Bind) -> None:
    bound = bind(FullyContiguous(CONFIG))
    block = bound.block_view(1, readonly=True)
    for view in (block, block[0], block.layer_view(0, 1), bound.layer_view(1, 0, readonly=True)):
        assert view.readonly
        for array in (view.numpy(), np.asarray(view), view.bytes(), np.from_dlpack(view)):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 1


@VERSIONED
def test_memory_that_is_read_only_stays_so(bind: Bind) -> None:
    bound = bind(FullyContiguous(CONFIG))
    bound.memories[0].array().flags.writeable = False
    assert not bound.block_view(0).numpy().flags.writeable
    assert not np.from_dlpack(bound.block_view(0)).flags.writeable


@VERSIONED
def test_memory_without_an_address_is_reached_by_its_array() -> None:
    class MappedFile:
        addr = 0
        size = 768

        def __init__(self) -> None:
            self.whole = np.zeros(768, np.uint8)

        def array(self) -> np.ndarray:
            return self.whole

        def device(self) -> tuple[int, int]:
            return (1, 0)

    memory = MappedFile()
    view = FullyContiguous(CONFIG).bind([memory]).layer_view(1, 1, 1)
    view.numpy()[...] = 1
    np.from_dlpack(view)[0, 0] = 0
    assert view.addr == 448
    assert memory.whole[448:512].view(np.float16).tolist() == [0, *[1] * 31]
    assert not memory.whole[:448].any()


# ── dialects ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", DType)
def test_arrays_have_the_type_of_the_layout(bind: Bind, dtype: DType) -> None:
    bound = bind(FullyContiguous(LayoutConfig(2, 2, 2, 4, 8, dtype)))
    for view in (bound.block_view(1), bound.layer_view(1, 1, 1)):
        array = view.numpy()
        assert array.dtype == dtype.numpy
        array[...] = np.arange(array.size).reshape(array.shape).astype(dtype.numpy)
        assert np.asarray(view).dtype == dtype.numpy
        assert (view.numpy() == array).all()
        assert view.dtype is dtype


def test_asarray_copies_only_when_told(bind: Bind) -> None:
    view = bind(FullyContiguous(CONFIG)).layer_view(0, 0)
    shared = np.asarray(view)
    view.numpy()[0, 0] = 5
    assert shared[0, 0] == 5
    assert np.shares_memory(shared, view.numpy())
    assert not np.shares_memory(view.__array__(copy=True), shared)
    assert np.asarray(view, np.float64).dtype == np.float64
    assert np.shares_memory(view.__array__(np.float16, copy=False), shared)
    with pytest.raises(ValueError, match=r"float16 as .*float64.* needs a copy"):
        view.__array__(np.float64, copy=False)


def test_gpu_memory_has_the_cuda_interface_and_host_memory_has_not(
    bind: Bind, gpu_memory: Callable[[int], Any]
) -> None:
    memory = gpu_memory(768)
    bound = FullyContiguous(CONFIG).bind([memory])
    view = bound.layer_view(1, 1, 1, readonly=True)
    assert view.__cuda_array_interface__ == {
        "version": 3,
        "shape": (4, 8),
        "typestr": "<f2",
        "data": (memory.addr + 448, True),
        "strides": (16, 2),
        "stream": None,
    }
    with pytest.raises(RuntimeError, match="this is GPU memory"):
        view.numpy()  # the interface was built without reading a byte
    assert not hasattr(
        bind(FullyContiguous(CONFIG)).layer_view(1, 1, 1), "__cuda_array_interface__"
    )


@pytest.mark.parametrize(("dtype", "typestr"), [(DType.BF16, "<u2"), (DType.FP8_E5M2, "|u1")])
def test_the_cuda_interface_has_no_word_for_bf16_and_fp8(
    gpu_memory: Callable[[int], Any], dtype: DType, typestr: str
) -> None:
    layout = FullyContiguous(LayoutConfig(3, 2, 2, 4, 8, dtype))
    view = layout.bind([gpu_memory(768)]).block_view(0)
    assert view.__cuda_array_interface__["typestr"] == typestr


def test_the_view_classes_have_no_dictionary(bind: Bind) -> None:
    bound = bind(FullyContiguous(CONFIG))
    assert not hasattr(bound.block_view(0), "__dict__")
    assert isinstance(bound.layer_view(0, 0), LayerView)
