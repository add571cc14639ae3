"""Device, Null, and the advice: small parts with documented answers."""

from __future__ import annotations

import ctypes
import math

import pytest

from kvbm.errors import CudaUnavailable, ErrorKind, InvalidStorageConfig, NotAccessible
from kvbm.storage import (
    DeviceAllocator,
    DiskAllocator,
    NullStorage,
    StorageKind,
    StorageType,
    SystemStorage,
    calculate_storage_requirements,
    get_optimal_storage,
    validate_storage,
)
from kvbm.storage.device import EmulatedDeviceStorage

# ── device ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-TIR-09")
def test_without_cuda_the_error_says_what_is_missing_and_what_to_use(monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with pytest.raises(CudaUnavailable, match=r"libcuda.*DeviceAllocator\.emulated\(2\)") as raised:
        DeviceAllocator(2)
    assert raised.value.kind is ErrorKind.UNSUPPORTED
    assert raised.value.device_id == 2


def test_with_a_driver_and_no_allocator_for_it_that_is_said(monkeypatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    with pytest.raises(CudaUnavailable, match="a driver is there"):
        DeviceAllocator()


def test_memory_of_a_real_device_comes_in_through_make() -> None:
    asked: list[tuple[int, int]] = []

    def make(size: int, device_id: int) -> EmulatedDeviceStorage:
        asked.append((size, device_id))
        return EmulatedDeviceStorage(size, device_id)

    with DeviceAllocator(1, make=make).allocate(10) as storage:
        assert storage.storage_type == StorageType.Device(1)
    assert asked == [(10, 1)]


@pytest.mark.parametrize("device_id", [-1, 0.5, True])
def test_a_device_id_is_an_index(device_id) -> None:
    with pytest.raises(InvalidStorageConfig, match="device_id"):
        DeviceAllocator.emulated(device_id)


# ── null and disk have no memory ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("make", [NullStorage, DiskAllocator().allocate])
@pytest.mark.parametrize("operation", ["array", "device"])
def test_what_has_no_memory_refuses_to_show_it(make, operation) -> None:
    with make(10) as storage, pytest.raises(NotAccessible, match="cannot reach") as raised:
        getattr(storage, operation)()
    assert isinstance(raised.value, BufferError)


@pytest.mark.clause("KV-CAP-01")
def test_null_storage_takes_no_memory_at_any_size() -> None:
    with NullStorage(1 << 62) as storage:
        assert (storage.size, storage.addr) == (1 << 62, 0)
        storage.memset(1, 1 << 61, 1 << 61)


# ── advice ────────────────────────────────────────────────────────────────────────────────


def test_requirements_are_the_documented_product() -> None:
    assert calculate_storage_requirements(32, 2, 16, 4096, 2, 1000) == 8_388_608_000


@pytest.mark.parametrize("position", range(6))
@pytest.mark.parametrize("value", [0, -1, 1.0, None])
def test_requirements_name_the_field_that_is_wrong(position, value) -> None:
    fields = ["num_layers", "outer_dim", "page_size", "inner_dim", "dtype_size", "num_blocks"]
    arguments: list[object] = [1] * 6
    arguments[position] = value
    with pytest.raises(InvalidStorageConfig, match=f"{fields[position]} = "):
        calculate_storage_requirements(*arguments)


def test_validation_wants_memory() -> None:
    with SystemStorage(1) as system:
        validate_storage(system)
    with DiskAllocator().allocate(1) as disk, NullStorage(1) as null:
        for storage in (disk, null):
            with pytest.raises(InvalidStorageConfig, match="addr = 0"):
                validate_storage(storage)

    class Empty:
        size = 0

    with pytest.raises(InvalidStorageConfig, match="size = 0"):
        validate_storage(Empty())


@pytest.mark.parametrize(
    ("frequency", "size", "kind"),
    [
        (1.0, 1 << 40, StorageKind.DEVICE),
        (0.81, 0, StorageKind.DEVICE),
        (0.8, (100 << 20) - 1, StorageKind.PINNED),
        (0.8, 100 << 20, StorageKind.DISK),
        (0.31, 1, StorageKind.PINNED),
        (0.3, 1, StorageKind.DISK),
        (0, 1, StorageKind.DISK),
    ],
)
def test_the_place_is_the_documented_one(frequency, size, kind) -> None:
    assert get_optimal_storage(frequency, size) is kind


@pytest.mark.parametrize(("frequency", "size"), [(-0.1, 1), (1.1, 1), (math.nan, 1), (0.5, -1)])
def test_advice_is_not_given_on_nonsense(frequency, size) -> None:
    with pytest.raises(InvalidStorageConfig):
        get_optimal_storage(frequency, size)
