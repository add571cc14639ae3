"""What all storages have in common, asked of each kind that has memory, and of the others."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import (
    HandleNotFound,
    InvalidStorageConfig,
    KvbmError,
    OperationFailed,
    OutOfBounds,
    RegistrationKeyExists,
    StorageClosed,
)
from kvbm.storage import (
    PAGE,
    BorrowedStorage,
    DeviceAllocator,
    DiskAllocator,
    NullAllocator,
    PinnedAllocator,
    Storage,
    StorageAllocator,
    StorageType,
    SystemAllocator,
)
from kvbm.storage.region import Region

MAKERS: dict[str, Callable[[int], Storage]] = {
    "system": SystemAllocator().allocate,
    "pinned": PinnedAllocator().allocate,
    "device": DeviceAllocator.emulated(3).allocate,
    "borrowed": lambda size: BorrowedStorage(np.zeros(size, np.uint8)),
    "null": NullAllocator().allocate,
    "disk": lambda size: DiskAllocator().allocate(size),
}
WITH_MEMORY = ("system", "pinned", "device", "borrowed")


@pytest.fixture(params=MAKERS)
def storage(request) -> Iterator[Storage]:
    with MAKERS[request.param](3 * PAGE) as made:
        made._check()
        yield made
        made._check()


class Handle:
    """Notes its release in a list that all handles share."""

    def __init__(self, log: list[str], name: str, error: Exception | None = None) -> None:
        self._log, self._name, self._error = log, name, error

    def release(self) -> None:
        self._log.append(self._name)
        if self._error is not None:
            raise self._error


# ── types ─────────────────────────────────────────────────────────────────────────────────


def test_types_are_equal_by_kind_and_id_and_can_be_keys() -> None:
    types = [StorageType.System, StorageType.Pinned, StorageType.Nixl, StorageType.Null]
    types += [StorageType.Device(0), StorageType.Device(1), StorageType.Disk(0)]
    assert len(set(types)) == len(types)
    assert StorageType.Device(1) == StorageType.Device(1)
    assert hash(StorageType.Device(1)) == hash(StorageType.Device(1))
    assert StorageType.Device(0) != StorageType.Disk(0)
    assert [repr(each) for each in types[-3:]] == ["Device(0)", "Device(1)", "Disk(0)"]


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_knows_its_type_and_size(kind) -> None:
    with MAKERS[kind](5000) as storage:
        assert storage.size == 5000
        assert storage.storage_type.kind.name == {"borrowed": "SYSTEM"}.get(kind, kind.upper())
        assert (storage.addr != 0) == (kind in WITH_MEMORY)
        assert storage.as_ptr() == storage.as_mut_ptr() == storage.addr
        assert kind in repr(storage).lower()


def test_the_emulated_device_has_its_number_and_the_disk_its_descriptor() -> None:
    with MAKERS["device"](1) as device, MAKERS["disk"](1) as disk:
        assert device.storage_type == StorageType.Device(3)
        assert Path(f"/proc/self/fd/{disk.storage_type.id}").is_symlink()


@pytest.mark.parametrize("kind", sorted(set(MAKERS) - {"borrowed"}))
@pytest.mark.parametrize("size", [0, -1, 1.5, "1", None, True])
def test_a_size_that_is_none_is_refused_by_name(kind, size) -> None:
    with pytest.raises(InvalidStorageConfig, match=r"size = .* at least 1 byte") as raised:
        MAKERS[kind](size)
    assert isinstance(raised.value, ValueError)


def test_the_classes_are_the_protocols() -> None:
    allocators: list[StorageAllocator] = [
        SystemAllocator(),
        PinnedAllocator(),
        DeviceAllocator.emulated(),
        NullAllocator(),
        DiskAllocator(),
    ]
    for allocator in allocators:
        allocator.allocate(np.int64(1)).close()


# ── bytes ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", WITH_MEMORY)
def test_memory_is_zeroed_writable_shared_and_where_it_says(kind) -> None:
    with MAKERS[kind](5000) as storage:
        array = storage.array()
        assert array.shape == (5000,)
        assert array.dtype == np.uint8
        assert array.flags.writeable
        assert not array.any()
        assert array.ctypes.data == storage.addr
        array[17] = 5
        assert storage.array()[17] == 5
        assert storage.device() == (1, 0)


@pytest.mark.parametrize("kind", ["system", "pinned", "device"])
def test_our_own_memory_starts_on_a_page(kind) -> None:
    with MAKERS[kind](1) as first, MAKERS[kind](5000) as second:
        assert first.addr % PAGE == second.addr % PAGE == 0


def read(storage: Storage) -> bytes:
    if storage.storage_type.kind.name != "DISK":
        return storage.array().tobytes()
    content = np.empty(storage.size, np.uint8)
    storage.read(0, [content], bounce=True)
    return content.tobytes()


@pytest.mark.parametrize("kind", [*WITH_MEMORY, "disk"])
def test_memset_is_the_documented_one(kind) -> None:
    with MAKERS[kind](4096) as storage:
        storage.memset(255, 1000, 100)
        assert read(storage) == bytes(1000) + b"\xff" * 100 + bytes(4096 - 1100)


@pytest.mark.parametrize("kind", [*WITH_MEMORY, "disk"])
@given(
    st.lists(
        st.tuples(st.integers(0, 255), st.integers(0, 20000), st.integers(0, 20000)), max_size=5
    )
)
def test_memset_against_a_bytearray(kind, steps) -> None:
    model = bytearray(20000)
    with MAKERS[kind](20000) as storage:
        for value, offset, wish in steps:
            size = min(wish, 20000 - offset)
            storage.memset(value, offset, size)
            model[offset : offset + size] = bytes([value]) * size
        assert read(storage) == model


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, -1), (3 * PAGE, 1), (1, 3 * PAGE)])
def test_memset_beyond_the_end_is_refused_and_touches_nothing(storage, offset, size) -> None:
    with pytest.raises(OperationFailed, match="does not fit the 12288 bytes") as raised:
        storage.memset(1, offset, size)
    assert isinstance(raised.value, OutOfBounds)
    assert isinstance(raised.value, IndexError)
    if storage.storage_type != StorageType.Null:
        assert not any(read(storage))


@pytest.mark.parametrize("value", [-1, 256])
def test_memset_wants_a_byte(storage, value) -> None:
    with pytest.raises(InvalidStorageConfig, match=r"0 … 255"):
        storage.memset(value, 0, 1)


def test_memset_may_end_at_the_end_and_be_empty(storage) -> None:
    storage.memset(1, 0, 3 * PAGE)
    storage.memset(1, 3 * PAGE, 0)


# ── registrations ─────────────────────────────────────────────────────────────────────────


def test_handles_are_found_by_key(storage) -> None:
    handle = Handle([], "a")
    storage.register("nixl", handle)
    assert storage.is_registered("nixl")
    assert not storage.is_registered("other")
    assert storage.registration_handle("nixl") is handle
    assert storage.statistics().registered == ("nixl",)
    with pytest.raises(HandleNotFound, match="'other'") as raised:
        storage.registration_handle("other")
    assert isinstance(raised.value, LookupError)


def test_a_key_is_given_once(storage) -> None:
    log: list[str] = []
    storage.register("nixl", Handle(log, "first"))
    with pytest.raises(RegistrationKeyExists, match="'nixl'") as raised:
        storage.register("nixl", Handle(log, "second"))
    assert raised.value.key == "nixl"
    storage.close()
    assert log == ["first"]


@pytest.mark.clause("KV-SHD-01", "KV-SHD-03")
def test_handles_are_released_once_and_the_last_one_first(storage) -> None:
    log: list[str] = []
    for name in "abc":
        storage.register(name, Handle(log, name))
    storage.close()
    storage.close()
    assert log == ["c", "b", "a"]
    assert storage.statistics().registered == ()
    assert storage.closed


@pytest.mark.clause("KV-SHD-03")
def test_a_handle_that_fails_to_release_does_not_keep_the_rest(storage, caplog) -> None:
    log: list[str] = []
    storage.register("a", Handle(log, "a"))
    storage.register("bad", Handle(log, "bad", RuntimeError("the agent is gone")))
    storage.register("c", Handle(log, "c"))
    with caplog.at_level(logging.ERROR), pytest.raises(OperationFailed, match=r"\['bad'\]"):
        storage.close()
    assert log == ["c", "bad", "a"]
    assert "the agent is gone" in caplog.text
    storage.close()
    assert storage.closed


@pytest.mark.parametrize("kind", WITH_MEMORY)
def test_the_memory_is_still_there_when_a_handle_is_released(kind) -> None:
    seen: list[int] = []
    storage = MAKERS[kind](PAGE)
    storage.memset(7, 0, PAGE)
    span = np.ctypeslib.as_array((np.ctypeslib.ctypes.c_uint8 * PAGE).from_address(storage.addr))

    class Look:
        def release(self) -> None:
            seen.append(int(span[PAGE - 1]))

    storage.register("look", Look())
    del storage
    gc.collect()
    assert seen == [7]


def test_of_many_threads_one_registers_and_one_releases(storage) -> None:
    log: list[str] = []
    errors: list[type] = []
    barrier = threading.Barrier(8)

    def work(name: str) -> None:
        barrier.wait()
        try:
            storage.register("key", Handle(log, name))
        except KvbmError as error:
            errors.append(type(error))
        barrier.wait()
        storage.close()

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [RegistrationKeyExists] * 7
    assert len(log) == 1


# ── the end ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-SHD-01")
def test_use_after_close_is_refused_and_says_so(storage) -> None:
    storage.close()
    calls = [
        lambda: storage.addr,
        storage.as_ptr,
        storage.array,
        storage.device,
        lambda: storage.memset(0, 0, 1),
        lambda: storage.register("nixl", Handle([], "a")),
        lambda: storage.registration_handle("nixl"),
        storage.__enter__,
    ]
    for call in calls:
        with pytest.raises(StorageClosed, match="storage is closed"):
            call()
    assert not storage.is_registered("nixl")
    assert storage.statistics().closed
    assert storage.size == 3 * PAGE
    assert "closed" in repr(storage)


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.clause("KV-SHD-03")
def test_dropping_a_storage_releases_everything(kind) -> None:
    log: list[str] = []
    storage = MAKERS[kind](PAGE)
    for name in "ab":
        storage.register(name, Handle(log, name))
    gone = weakref.ref(storage)
    del storage
    gc.collect()
    assert gone() is None
    assert log == ["b", "a"]


@pytest.mark.parametrize("kind", WITH_MEMORY)
def test_an_array_outlives_its_storage(kind) -> None:
    storage = MAKERS[kind](1 << 20)
    storage.memset(9, 0, 1 << 20)
    tail = storage.array()[-10:]
    storage.close()
    del storage
    gc.collect()
    assert tail.tolist() == [9] * 10


def test_statistics_are_a_picture_of_one_moment(storage) -> None:
    before = storage.statistics()
    storage.register("nixl", Handle([], "a"))
    assert before.registered == ()
    assert (before.size, before.storage_type) == (storage.size, storage.storage_type)
    with pytest.raises(AttributeError):
        before.size = 1  # type: ignore[misc]


def test_a_region_that_lies_fails_its_check() -> None:
    region = Region(StorageType.System, 8, np.zeros(8, np.uint8))
    region._check()
    region._size = 9
    with pytest.raises(AssertionError, match="8 bytes"):
        region._check()
