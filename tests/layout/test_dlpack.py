"""DLPack: what consumers see is what is there, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.layout import BlockOrder, BoundLayout, DType, FullyContiguous, LayoutConfig, Paged
from kvbm.layout.capsules import tensor_in

Bind = Callable[..., BoundLayout]
IN_NUMPY = [dtype for dtype in DType if dtype.in_numpy]
CONFIG = LayoutConfig(3, 2, 2, 4, 8)
VERSIONED = pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) < "2.1.0",
    reason="NumPy exports no versioned DLPack, and imports none writable, before 2.1",
)


def read(capsule: Any) -> dict[str, Any]:
    """Read a capsule by the C header, as a consumer would."""
    tensor, managed = tensor_in(capsule)
    version = None if managed is None else (managed.major, managed.minor)
    flags = 0 if managed is None else managed.flags
    return {
        "version": version,
        "readonly": bool(flags & 1),
        "copied": bool(flags & 2),
        "data": tensor.data + tensor.byte_offset,
        "device": (tensor.device_type, tensor.device_id),
        "type": (tensor.type_code, tensor.type_bits, tensor.type_lanes),
        "shape": tensor.shape[: tensor.ndim],
        "strides": tensor.strides[: tensor.ndim] if tensor.strides else None,
    }


@pytest.mark.clause("KV-INT-01")
@given(
    dtype=st.sampled_from(IN_NUMPY),
    order=st.sampled_from([BlockOrder.NHD, BlockOrder.HND, BlockOrder.UNIVERSAL]),
    page=st.integers(1, 5),
)
def test_numpy_sees_the_same_memory(bind: Bind, dtype: DType, order: BlockOrder, page: int) -> None:
    config = LayoutConfig(3, 2, 2, page, 6, dtype, num_heads=2, order=order)
    block = bind(FullyContiguous(config)).block_view(1)
    block.numpy()[...] = np.arange(block.numpy().size).reshape(block.shape)
    for view in (block, block[1], block.layer_view(0, 1)):
        seen = np.from_dlpack(view)
        assert (seen.dtype, seen.shape) == (dtype.numpy, view.shape)
        assert np.shares_memory(seen, view.numpy())
        assert (seen == view.numpy()).all()


def test_the_outer_first_layer_has_its_true_strides(bind: Bind) -> None:
    layer = bind(Paged(CONFIG, outer_contiguous=True)).block_view(1)[0]
    layer.numpy()[...] = [[[1]], [[2]]]
    seen = np.from_dlpack(layer)
    assert seen.strides == (192, 16, 2)
    assert (seen[1] == 2).all()


@VERSIONED
@pytest.mark.parametrize(
    ("dtype", "code"),
    [(DType.BF16, 4), (DType.FP8, 10), (DType.FP8_E5M2, 12), (DType.FP16, 2), (DType.U16, 1),
     (DType.INT8, 0)],
)  # fmt: skip
def test_types_go_under_their_own_number(bind: Bind, dtype: DType, code: int) -> None:
    view = bind(FullyContiguous(LayoutConfig(3, 2, 2, 4, 8, dtype))).layer_view(1, 1)
    seen = read(view.__dlpack__(max_version=(1, 0)))
    assert seen["type"] == (code, 8 * dtype.width, 1)
    assert seen["version"] == (1, 1 if code >= 10 else 0)
    assert (seen["data"], seen["shape"]) == (view.addr, [4, 8])
    assert seen["strides"] in (None, [8, 1])


@pytest.mark.parametrize(
    ("dtype", "code"), [(DType.BF16, 4), (DType.FP8, 1), (DType.FP8_E5M2, 1), (DType.FP32, 2)]
)
def test_old_consumers_get_fp8_as_bytes(bind: Bind, dtype: DType, code: int) -> None:
    view = bind(FullyContiguous(LayoutConfig(3, 2, 2, 4, 8, dtype))).layer_view(1, 1)
    for version in (None, (0, 8)):
        seen = read(view.__dlpack__(max_version=version))
        assert (seen["version"], seen["type"]) == (None, (code, 8 * dtype.width, 1))


def test_numpy_refuses_what_it_has_no_type_for(bind: Bind) -> None:
    view = bind(FullyContiguous(LayoutConfig(3, 2, 2, 4, 8, DType.BF16))).layer_view(1, 1)
    with pytest.raises((RuntimeError, BufferError)):
        np.from_dlpack(view)


@VERSIONED
def test_read_only_memory_goes_only_to_who_can_hear_it(bind: Bind) -> None:
    view = bind(FullyContiguous(CONFIG)).layer_view(1, 1, readonly=True)
    assert read(view.__dlpack__(max_version=(1, 0)))["readonly"]
    assert not read(view.__dlpack__(copy=True))["readonly"]
    with pytest.raises(BufferError, match=r"give the view itself to from_dlpack\(\)"):
        view.__dlpack__()


@VERSIONED
@pytest.mark.parametrize("version", [None, (1, 0), (1, 1), (2, 0)])
def test_a_copy_is_one(bind: Bind, version: tuple[int, int] | None) -> None:
    view = bind(FullyContiguous(CONFIG), device=(3, 0)).layer_view(1, 1)
    seen = read(view.__dlpack__(max_version=version, copy=True))
    assert seen["data"] != view.addr
    assert seen["device"] == (1, 0)
    assert seen["copied"] == (version is not None)
    assert read(view.__dlpack__(max_version=version, copy=False))["data"] == view.addr


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_gpu_memory_is_exported_without_being_touched(
    gpu_memory: Callable[[int], Any], version: tuple[int, int] | None
) -> None:
    memory = gpu_memory(768)
    view = FullyContiguous(LayoutConfig(3, 2, 2, 4, 8, DType.BF16)).bind([memory]).block_view(1)
    assert view.__dlpack_device__() == (2, 1)
    for stream in (None, 1, 2, 0x5555, -1):
        seen = read(view.__dlpack__(stream=stream, max_version=version, dl_device=(2, 1)))
        assert seen["device"] == (2, 1)
        assert seen["type"] == (4, 16, 1)
        assert seen["data"] == memory.addr + 256
    for wrong in ({"dl_device": (1, 0)}, {"dl_device": (2, 0)}, {"copy": True}):
        with pytest.raises(BufferError):
            view.__dlpack__(max_version=version, **wrong)


def test_pinned_memory_is_host_memory_unless_asked_by_its_name(bind: Bind) -> None:
    view = bind(FullyContiguous(CONFIG), device=(3, 0)).layer_view(1, 1)
    assert view.__dlpack_device__() == (1, 0)
    assert read(view.__dlpack__())["device"] == (1, 0)
    assert read(view.__dlpack__(dl_device=(1, 0)))["device"] == (1, 0)
    assert read(view.__dlpack__(dl_device=(3, 0)))["device"] == (3, 0)
    assert np.shares_memory(np.from_dlpack(view), view.numpy())
    with pytest.raises(BufferError, match="plain host memory"):
        view.__dlpack__(dl_device=(3, 0), copy=True)


def test_host_memory_has_no_streams_and_no_other_device(bind: Bind) -> None:
    view = bind(FullyContiguous(CONFIG)).layer_view(1, 1)
    for wrong in ({"stream": 1}, {"dl_device": (2, 0)}, {"dl_device": (3, 0)}):
        with pytest.raises(BufferError):
            view.__dlpack__(**wrong)
