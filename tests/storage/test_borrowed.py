"""Memory of the caller: through arrays, DLPack, the CUDA interface and buffers."""

from __future__ import annotations

import array
import ctypes
import gc
import importlib.util
import mmap
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from kvbm.errors import InvalidStorageConfig, NotAccessible
from kvbm.layout.capsules import Tensor, Versioned
from kvbm.storage import BorrowedStorage, StorageType
from kvbm.storage.exported import describe, is_dense


class OnlyDlpack:
    """An exporter that has nothing but DLPack, of either age."""

    def __init__(self, owner: np.ndarray, *, old: bool = False) -> None:
        self._owner, self._old = owner, old

    def __dlpack__(self, **arguments: object) -> object:
        if self._old and arguments:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        return self._owner.__dlpack__(**arguments)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._owner.__dlpack_device__()


class OnCuda:
    """What a tensor of a GPU says of itself; the address is made up."""

    def __init__(self, **changes: object) -> None:
        self.__cuda_array_interface__ = {
            "shape": (4, 8),
            "typestr": "<f2",
            "data": (0x7F0000000000, False),
            "strides": None,
            "version": 3,
            **changes,
        }


def exporters(tensor: np.ndarray) -> list[object]:
    return [tensor, OnlyDlpack(tensor), OnlyDlpack(tensor, old=True), memoryview(tensor)]


@pytest.mark.parametrize("way", range(4))
def test_bytes_are_shared_in_both_directions(way) -> None:
    tensor = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    with BorrowedStorage(exporters(tensor)[way]) as storage:
        assert storage.storage_type == StorageType.System
        assert (storage.size, storage.addr) == (96, tensor.ctypes.data)
        assert storage.device() == (1, 0)
        assert storage.array().tobytes() == tensor.tobytes()
        storage.memset(0, 0, 4)
        tensor[1, 2, 3] = -1.0
        assert storage.array().tobytes() == tensor.tobytes()
        assert tensor[0, 0, 0] == 0
        storage._check()


@pytest.mark.parametrize(
    "buffer", [bytearray(64), mmap.mmap(-1, 64), array.array("d", [0.0] * 8)], ids=type
)
def test_any_writable_buffer_will_do(buffer) -> None:
    with BorrowedStorage(buffer) as storage:
        storage.memset(7, 63, 1)
        assert bytes(memoryview(buffer).cast("B"))[63] == 7


def test_a_bytearray_cannot_be_resized_while_it_is_lent() -> None:
    buffer = bytearray(64)
    storage = BorrowedStorage(buffer)
    with pytest.raises(BufferError):
        buffer.append(1)
    storage.close()
    gc.collect()
    buffer.append(1)


@pytest.mark.parametrize("way", range(4))
@pytest.mark.clause("KV-SHD-03")
def test_the_owner_lives_as_long_as_storage_or_array(way) -> None:
    class Tensor(np.ndarray):
        pass

    tensor = np.ones(16, np.uint8).view(Tensor)
    gone = weakref.ref(tensor)
    storage = BorrowedStorage(exporters(tensor)[way])
    del tensor
    gc.collect()
    assert gone() is not None
    view = storage.array()[3:5]
    storage.close()
    del storage
    gc.collect()
    assert gone() is not None
    assert view.tolist() == [1, 1]
    del view
    gc.collect()
    assert gone() is None


# ── refusals ──────────────────────────────────────────────────────────────────────────────


def read_only(tensor: np.ndarray) -> np.ndarray:
    tensor.flags.writeable = False
    return tensor


@pytest.mark.parametrize("way", [0, 1, 3])
def test_read_only_memory_is_refused(way) -> None:
    with pytest.raises(InvalidStorageConfig, match="is read-only"):
        BorrowedStorage(exporters(read_only(np.zeros(4)))[way])


@pytest.mark.parametrize("owner", [b"bytes", OnCuda(data=(4096, True))])
def test_so_are_bytes_and_a_read_only_tensor_of_a_device(owner) -> None:
    with pytest.raises(InvalidStorageConfig, match="is read-only"):
        BorrowedStorage(owner)


def test_an_old_exporter_that_cannot_say_read_only_refuses_itself() -> None:
    with pytest.raises(InvalidStorageConfig, match="does not let its memory out"):
        BorrowedStorage(OnlyDlpack(read_only(np.zeros(4)), old=True))


@pytest.mark.parametrize("way", range(3))
@pytest.mark.parametrize(
    "tensor",
    [np.zeros((4, 6))[:, :3], np.zeros(8)[::2], np.zeros(8)[::-1]],
    ids=["columns", "every second", "backwards"],
)
def test_gaps_are_refused(way, tensor) -> None:
    with pytest.raises(InvalidStorageConfig, match="has gaps"):
        BorrowedStorage(exporters(tensor)[way])


def test_a_tensor_that_repeats_its_elements_is_refused() -> None:
    tensor = np.lib.stride_tricks.as_strided(np.zeros(4), (2, 2), (0, 24))
    with pytest.raises(InvalidStorageConfig, match="has gaps"):
        BorrowedStorage(tensor)


@pytest.mark.parametrize("owner", [np.zeros(0), bytearray(), np.zeros((3, 0, 2))])
def test_nothing_is_refused(owner) -> None:
    with pytest.raises(InvalidStorageConfig, match="is empty"):
        BorrowedStorage(owner)


@pytest.mark.parametrize("owner", [17, "text", None, [1, 2]])
def test_what_has_no_memory_to_lend_is_refused(owner) -> None:
    with pytest.raises(InvalidStorageConfig, match="must be an array, export DLPack"):
        BorrowedStorage(owner)


def test_python_objects_are_no_bytes() -> None:
    with pytest.raises(InvalidStorageConfig, match="holds Python objects"):
        BorrowedStorage(np.array([object()]))


# ── density ───────────────────────────────────────────────────────────────────────────────


@given(st.data(), npst.array_shapes(max_dims=4, max_side=4))
def test_axes_may_be_in_any_order(data, shape) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    tensor = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    permuted = tensor.transpose(order)
    for owner in (permuted, OnlyDlpack(permuted)):
        with BorrowedStorage(owner) as storage:
            assert storage.array().tobytes() == tensor.tobytes()


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(-8, 24)), max_size=3))
def test_dense_is_what_touches_each_place_once(axes) -> None:
    shape = [extent for extent, _ in axes]
    strides = [stride for _, stride in axes]
    places = sorted(
        sum(stride * step for stride, step in zip(strides, steps, strict=True))
        for steps in np.ndindex(*shape)
    )
    assert is_dense(shape, strides) == (places == list(range(len(places))))


# ── devices ───────────────────────────────────────────────────────────────────────────────


def test_memory_of_a_device_is_described_and_not_touched() -> None:
    with BorrowedStorage(OnCuda()) as storage:
        assert storage.storage_type == StorageType.Device(0)
        assert (storage.size, storage.addr) == (64, 0x7F0000000000)
        assert storage.device() == (2, 0)
        for reach in (storage.array, lambda: storage.memset(1, 0, 1)):
            with pytest.raises(NotAccessible, match=r"Device\(0\)"):
                reach()
        storage._check()


def test_a_tensor_of_a_device_with_gaps_is_refused_too() -> None:
    BorrowedStorage(OnCuda(strides=(2, 8))).close()
    with pytest.raises(InvalidStorageConfig, match="has gaps"):
        BorrowedStorage(OnCuda(strides=(32, 2)))


@pytest.mark.clause("KV-SHD-03")
def test_the_owner_of_a_devices_memory_lives_as_long_as_the_storage() -> None:
    owner = OnCuda()
    gone = weakref.ref(owner)
    storage = BorrowedStorage(owner)
    del owner
    gc.collect()
    assert gone() is not None
    storage.close()
    gc.collect()
    assert gone() is None


def test_memory_that_only_the_capsule_holds_is_kept() -> None:
    class Tensor(np.ndarray):
        pass

    lent: list[weakref.ref[Tensor]] = []

    class Fresh:
        def __dlpack__(self, **arguments: object) -> object:
            tensor = np.ones(16, np.uint8).view(Tensor)
            lent.append(weakref.ref(tensor))
            return tensor.__dlpack__(**arguments)

    with BorrowedStorage(Fresh()):
        gc.collect()
        assert lent[0]() is not None
    gc.collect()
    assert lent[0]() is None


class Moved:
    """A capsule of our own making, so that devices and types that NumPy has not can be tried."""

    def __init__(self, device: tuple[int, int], code: int = 4, bits: int = 16, offset: int = 0):
        self.memory = (ctypes.c_uint8 * 80)()
        self._shape = (ctypes.c_int64 * 2)(4, 8)
        tensor = Tensor(
            ctypes.addressof(self.memory), *device, 2, code, bits, 1, self._shape, None, offset
        )
        self._managed = Versioned(1, 0, None, None, 0, tensor)

    def __dlpack__(self, max_version: object = None) -> object:
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return new(ctypes.addressof(self._managed), b"dltensor_versioned", None)


@pytest.mark.parametrize(
    ("device", "kind"),
    [
        ((1, 0), StorageType.System),
        ((3, 0), StorageType.Pinned),
        ((2, 5), StorageType.Device(5)),
        ((13, 1), StorageType.Device(1)),
    ],
)
def test_the_type_is_what_dlpack_says(device, kind) -> None:
    with BorrowedStorage(Moved(device)) as storage:
        assert storage.storage_type == kind
        assert storage.device() == device


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(InvalidStorageConfig, match="DLPack type 10"):
        BorrowedStorage(Moved((10, 0)))


@pytest.mark.parametrize(("bits", "size"), [(16, 64), (8, 32), (4, 16)])
def test_elements_that_numpy_does_not_have_are_bytes_like_others(bits, size) -> None:
    owner = Moved((1, 0), bits=bits, offset=8)
    with BorrowedStorage(owner) as storage:
        assert storage.size == size
        storage.memset(1, 0, size)
        assert bytes(owner.memory) == bytes(8) + b"\1" * size + bytes(72 - size)


def test_the_caller_may_say_what_its_memory_stands_for() -> None:
    with BorrowedStorage(bytearray(8), StorageType.Device(1)) as storage:
        assert storage.storage_type == StorageType.Device(1)
        assert storage.device() == (1, 0)
        assert storage.array().size == 8


def test_describing_does_not_use_a_capsule_up() -> None:
    tensor = np.zeros(4)
    first, second = describe(OnlyDlpack(tensor)), describe(OnlyDlpack(tensor))
    assert first.address == second.address == tensor.ctypes.data


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_a_torch_tensor_of_bfloat16() -> None:
    torch = importlib.import_module("torch")
    tensor = torch.zeros(2, 3, 4, dtype=torch.bfloat16).permute(2, 0, 1)
    with BorrowedStorage(tensor) as storage:
        storage.memset(255, 0, storage.size)
        assert storage.size == 48
        assert bool(torch.isnan(tensor).all())
