"""Reading and writing a disk storage, and what a failing disk looks like."""

from __future__ import annotations

import os
import threading
from errno import EINVAL, EIO, ENOSPC
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import (
    DiskIoFailed,
    DiskIoTimeout,
    InvalidStorageConfig,
    OutOfBounds,
    StorageClosed,
)
from kvbm.storage import PAGE, DiskAllocator, SystemStorage, disk, pages


@pytest.fixture
def storage(faulty):
    with DiskAllocator(calls=faulty.calls).allocate(64 * PAGE) as made:
        yield made
        made._check()


def filled(size: int, seed: int = 0) -> np.ndarray:
    array = pages(size)
    array[:] = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
    return array


# ── against a bytearray ───────────────────────────────────────────────────────────────────

SIZE = 6 * PAGE + 100
step = st.tuples(
    st.sampled_from(["read", "write"]),
    st.booleans(),
    st.integers(0, SIZE),
    st.lists(st.integers(0, 9000), max_size=4),
)


@pytest.mark.parametrize("direct", [True, False])
@given(st.lists(step, max_size=6))
def test_reads_and_writes_against_a_bytearray(direct, steps) -> None:
    """Any offset and any lengths with a bounce; whole pages without one."""
    model = bytearray(SIZE)
    with DiskAllocator(direct=direct).allocate(SIZE) as storage:
        for number, (operation, bounce, offset, lengths) in enumerate(steps):
            if not bounce:
                offset -= offset % PAGE  # noqa: PLW2901
                lengths = [length - length % PAGE for length in lengths]  # noqa: PLW2901
            buffers = [filled(max(length, 1), number)[:length] for length in lengths]
            size = sum(lengths)
            if offset + size > SIZE:
                with pytest.raises(OutOfBounds):
                    getattr(storage, operation)(offset, buffers, bounce=bounce)
            elif operation == "write":
                kept = [buffer.tobytes() for buffer in buffers]
                storage.write(offset, buffers, bounce=bounce)
                assert [buffer.tobytes() for buffer in buffers] == kept
                model[offset : offset + size] = b"".join(kept)
            else:
                storage.read(offset, buffers, bounce=bounce)
                got = b"".join(buffer.tobytes() for buffer in buffers)
                assert got == model[offset : offset + size]
        content = np.empty(SIZE, np.uint8)
        storage.read(0, [content], bounce=True)
        assert content.tobytes() == model


def test_a_page_that_is_whole_goes_without_a_bounce(storage, faulty) -> None:
    storage.write(PAGE, [filled(PAGE), filled(2 * PAGE)])
    assert faulty.log == [("write", PAGE, 3 * PAGE, 2)]


def test_a_bounced_write_reads_only_the_pages_at_its_ends(storage, faulty) -> None:
    storage.write(100, [filled(5 * PAGE)], bounce=True)
    assert [(operation, offset, size) for operation, offset, size, _ in faulty.log] == [
        ("read", 0, PAGE),
        ("read", 5 * PAGE, PAGE),
        ("write", 0, 6 * PAGE),
    ]


def test_a_two_dimensional_buffer_is_its_bytes_in_order(storage) -> None:
    block = filled(4 * PAGE).reshape(2, 2 * PAGE)
    storage.write(0, [block])
    back = pages(4 * PAGE).reshape(4, PAGE)
    storage.read(0, [back])
    assert back.tobytes() == block.tobytes()


def test_a_call_has_no_more_buffers_than_the_kernel_takes(faulty) -> None:
    with DiskAllocator(calls=faulty.calls).allocate(2500 * PAGE) as storage:
        memory = filled(2500 * PAGE).reshape(2500, PAGE)
        storage.write(0, list(memory))
        back = pages(2500 * PAGE).reshape(2500, PAGE)
        storage.read(0, list(back))
    assert [entry[3] for entry in faulty.log] == [1024, 1024, 452] * 2
    assert np.array_equal(back, memory)


def test_system_and_pinned_memory_fit_without_a_bounce(storage) -> None:
    with SystemStorage(3 * PAGE) as memory:
        memory.memset(8, 0, 3 * PAGE)
        storage.write(0, [memory.array()])
        memory.memset(0, 0, 3 * PAGE)
        storage.read(0, [memory.array()])
        assert set(memory.array().tolist()) == {8}


def test_a_bounced_write_waits_for_another_that_has_read_the_page(storage, faulty) -> None:
    others: list[threading.Thread] = []

    def overtaken(call, descriptor, buffers, offset) -> int:
        moved = call(descriptor, buffers, offset)
        faulty.plan = lambda *_: None
        write = lambda: storage.write(100, [np.full(100, 2, np.uint8)], bounce=True)  # noqa: E731
        others.append(threading.Thread(target=write))
        others[0].start()
        others[0].join(0.1)  # it would be through by now, and be undone by what was read
        return moved

    faulty.plan = lambda *_: overtaken
    storage.write(0, [np.full(100, 1, np.uint8)], bounce=True)
    others[0].join()
    back = np.empty(200, np.uint8)
    storage.read(0, [back], bounce=True)
    assert back.tolist() == [1] * 100 + [2] * 100


def test_bounced_neighbours_in_one_page_are_safe_from_each_other(storage) -> None:
    def write(number: int) -> None:
        for _ in range(20):
            storage.write(100 * number, [np.full(100, number, np.uint8)], bounce=True)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    back = np.empty(800, np.uint8)
    storage.read(0, [back], bounce=True)
    assert back.reshape(8, 100).tolist() == [[number] * 100 for number in range(8)]


# ── refusals, before a byte moves ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("operation", ["read", "write"])
@pytest.mark.parametrize("bounce", [True, False])
@pytest.mark.parametrize(
    ("offset", "size"), [(-PAGE, PAGE), (64 * PAGE, PAGE), (63 * PAGE, 2 * PAGE)]
)
def test_beyond_the_ends(storage, faulty, operation, bounce, offset, size) -> None:
    with pytest.raises(OutOfBounds, match=f"{operation} of {size} bytes at {offset} does not fit"):
        getattr(storage, operation)(offset, [pages(size)], bounce=bounce)
    assert not faulty.log


def test_what_an_engine_hands_on_does_not_reach_beyond_the_file_either(storage, faulty) -> None:
    for offset in (-PAGE, 63 * PAGE, 64 * PAGE):
        with pytest.raises(OutOfBounds):
            storage.transfer("write", offset, [pages(PAGE), pages(PAGE)])
    assert not faulty.log


@pytest.mark.parametrize("operation", ["read", "write"])
def test_what_is_not_aligned_is_refused_early(storage, faulty, operation) -> None:
    odd = np.empty(2 * PAGE + 1, np.uint8)[1:]
    for offset, buffer in [(1, pages(PAGE)), (0, pages(PAGE)[:-1]), (0, odd)]:
        with pytest.raises(InvalidStorageConfig, match="multiple of 4096 bytes"):
            getattr(storage, operation)(offset, [buffer])
    assert not faulty.log


def test_a_read_does_not_go_into_read_only_memory(storage) -> None:
    buffer = pages(PAGE)
    buffer.flags.writeable = False
    for bounce in (True, False):
        with pytest.raises(InvalidStorageConfig, match="is read-only"):
            storage.read(0, [buffer], bounce=bounce)


# ── a failing disk ────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-TIR-05", "KV-PER-05")
@pytest.mark.parametrize("operation", ["read", "write"])
@pytest.mark.parametrize("code", [EIO, ENOSPC, EINVAL])
def test_an_error_of_the_disk_says_where_and_how_much(storage, faulty, operation, code) -> None:
    faulty.plan = lambda *_: code
    with pytest.raises(DiskIoFailed) as raised:
        getattr(storage, operation)(2 * PAGE, [pages(PAGE), pages(PAGE)])
    error = raised.value
    assert isinstance(error, OSError)
    assert (error.errno, error.offset, error.wanted, error.moved) == (code, 8192, 8192, 0)
    assert f"{operation} at 8192 moved 0 of 8192 bytes: {os.strerror(code)}" in str(error)
    faulty.plan = lambda *_: None  # the storage stays usable
    getattr(storage, operation)(2 * PAGE, [pages(PAGE), pages(PAGE)])


@pytest.mark.clause("KV-TIR-05")
@pytest.mark.parametrize("operation", ["read", "write"])
def test_a_short_transfer_is_an_error_and_says_what_moved(storage, faulty, operation) -> None:
    faulty.plan = lambda *_: faulty.short
    with pytest.raises(DiskIoFailed) as raised:
        getattr(storage, operation)(0, [pages(PAGE), pages(2 * PAGE)])
    assert (raised.value.errno, raised.value.wanted, raised.value.moved) == (EIO, 12288, 4096)


@pytest.mark.clause("KV-TIR-05", "KV-PER-06")
@pytest.mark.parametrize("direct", [True, False])
def test_a_file_that_was_truncated_from_outside_is_a_short_read(tmp_path, direct) -> None:
    with DiskAllocator(tmp_path, persistent=True, direct=direct).allocate(8 * PAGE) as storage:
        os.truncate(next(tmp_path.iterdir()), 3 * PAGE)
        with pytest.raises(DiskIoFailed, match="read at 0 moved 12288 of 32768 bytes"):
            storage.read(0, [pages(8 * PAGE)])
        with pytest.raises(DiskIoFailed, match="read at 16384 moved 0 of 4096 bytes"):
            storage.read(4 * PAGE, [pages(PAGE)])


def test_what_moved_before_the_failing_call_is_counted(faulty) -> None:
    with DiskAllocator(calls=faulty.calls).allocate(1100 * PAGE) as storage:
        faulty.plan = lambda _, offset: ENOSPC if offset else None
        with pytest.raises(DiskIoFailed, match="moved 4194304 of 4505600 bytes"):
            storage.write(0, list(pages(1100 * PAGE).reshape(1100, PAGE)))


def test_a_failing_bounce_leaves_the_callers_buffer_alone(storage, faulty) -> None:
    faulty.plan = lambda *_: EIO
    buffer = np.full(10, 7, np.uint8)
    with pytest.raises(DiskIoFailed):
        storage.read(5, [buffer], bounce=True)
    assert set(buffer.tolist()) == {7}


def test_a_failing_sync_is_an_error(storage, monkeypatch) -> None:
    storage.fdatasync()

    def fail(_: int) -> None:
        raise OSError(EIO, "broken")

    monkeypatch.setattr(disk.os, "fdatasync", fail)
    with pytest.raises(DiskIoFailed, match="fdatasync"):
        storage.fdatasync()


# ── the end ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-SHD-01")
def test_a_closed_storage_refuses_and_its_descriptor_is_gone() -> None:
    storage = DiskAllocator().allocate(PAGE)
    descriptor = storage.storage_type.id
    storage.close()
    storage.close()
    assert not Path(f"/proc/self/fd/{descriptor}").exists()
    calls = [
        lambda: storage.read(0, [pages(PAGE)]),
        lambda: storage.write(0, [pages(PAGE)]),
        lambda: storage.transfer("read", 0, [pages(PAGE)]),
        storage.fdatasync,
    ]
    for call in calls:
        with pytest.raises(StorageClosed):
            call()


@pytest.mark.clause("KV-SHD-02")
def test_close_waits_for_the_transfers_that_run(storage, faulty, stuck) -> None:
    faulty.plan = lambda *_: stuck
    data, done = filled(PAGE), []
    writer = threading.Thread(target=lambda: (storage.write(0, [data]), done.append("written")))
    writer.start()
    assert stuck.inside.acquire(timeout=10)
    closer = threading.Thread(target=lambda: (storage.close(), done.append("closed")))
    closer.start()
    closer.join(0.05)
    assert closer.is_alive()
    stuck.go.set()
    writer.join()
    closer.join()
    assert sorted(done) == ["closed", "written"]


@pytest.mark.clause("KV-SHD-05", "KV-SHD-02")
def test_close_gives_up_in_time_and_leaves_the_file_to_who_uses_it(storage, faulty, stuck) -> None:
    faulty.plan = lambda *_: stuck
    descriptor = storage.storage_type.id
    reader = threading.Thread(target=lambda: storage.read(0, [pages(PAGE)]))
    reader.start()
    assert stuck.inside.acquire(timeout=10)
    with pytest.raises(DiskIoTimeout, match=r"1 transfers still run after 0\.01 s"):
        storage.close(0.01)
    assert Path(f"/proc/self/fd/{descriptor}").is_symlink()
    with pytest.raises(StorageClosed):
        storage.read(0, [pages(PAGE)])
    stuck.go.set()
    reader.join()
    storage.close()
    assert not Path(f"/proc/self/fd/{descriptor}").exists()
