"""Batches of blocks on real files and real threads, and on disks that fail."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import wait as wait_for
from errno import EIO, ENOSPC

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
from kvbm.storage import PAGE, DiskAllocator, DiskEngine, pages, wait

SLOTS = 64


@pytest.fixture
def storage(faulty):
    with DiskAllocator(calls=faulty.calls).allocate(SLOTS * PAGE) as made:
        yield made


@pytest.fixture
def engine(storage):
    with DiskEngine(storage, threads=3, request_bytes=4 * PAGE) as made:
        yield made
        made._check()


def rows(count: int, seed: int | None = None, size: int = PAGE) -> np.ndarray:
    memory = pages(count * size).reshape(count, size)
    if seed is not None:
        memory[:] = np.random.default_rng(seed).integers(0, 256, memory.shape, np.uint8)
    return memory


def content_of(storage) -> np.ndarray:
    content = rows(SLOTS)
    storage.read(0, [content])
    return content


# ── bytes ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-TIR-08")
@pytest.mark.parametrize("direct", [True, False])
@given(
    slots=st.lists(st.integers(0, SLOTS - 1), unique=True, max_size=SLOTS),
    seed=st.integers(0, 99),
    threads=st.integers(1, 4),
    pages_a_request=st.integers(1, 9),
)
def test_rows_come_back_as_they_went(direct, slots, seed, threads, pages_a_request) -> None:
    random = np.random.default_rng(seed)
    memory, back = rows(SLOTS, seed), rows(SLOTS)
    kept = memory.copy()
    back[:] = 0xEE  # what is not read keeps its poison
    out = random.permutation(SLOTS)[: len(slots)]
    into = random.permutation(SLOTS)[: len(slots)]
    with (
        DiskAllocator(direct=direct).allocate(SLOTS * PAGE) as storage,
        DiskEngine(storage, threads=threads, request_bytes=pages_a_request * PAGE) as engine,
    ):
        assert wait(engine.write_rows(slots, memory, out)) == len(slots) * PAGE
        assert wait(engine.read_rows(slots, back, into)) == len(slots) * PAGE
        file = content_of(storage)
    expected = np.full_like(back, 0xEE)
    expected[into] = kept[out]
    on_disk = np.zeros_like(file)
    on_disk[slots] = kept[out]
    assert np.array_equal(back, expected)
    assert np.array_equal(file, on_disk)
    assert np.array_equal(memory, kept)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.integers(1, 3), min_size=1, max_size=3)),
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_blocks_of_many_buffers_come_back_as_they_went(drawn, random) -> None:
    """(gap in pages before the block, pages of its buffers), in any order."""
    offsets, blocks, place = [], [], 0
    for gap, lengths in drawn:
        place += gap
        offsets.append(place * PAGE)
        blocks.append(
            [rows(1, place + step, length * PAGE)[0] for step, length in enumerate(lengths)]
        )
        place += sum(lengths)
    order = list(range(len(drawn)))
    random.shuffle(order)
    with (
        DiskAllocator().allocate((place + 1) * PAGE) as storage,
        DiskEngine(storage, request_bytes=4 * PAGE) as engine,
    ):
        wait(engine.write([offsets[i] for i in order], [blocks[i] for i in order]))
        whole = pages(place * PAGE + PAGE)
        storage.read(0, [whole])
        back = [[pages(buffer.size) for buffer in block] for block in blocks]
        wait(engine.read(offsets, back))
    for offset, block, again in zip(offsets, blocks, back, strict=True):
        sent = b"".join(buffer.tobytes() for buffer in block)
        assert whole[offset : offset + len(sent)].tobytes() == sent
        assert b"".join(buffer.tobytes() for buffer in again) == sent


def test_requests_say_what_they_cover(engine, faulty) -> None:
    slots = [9, 3, 4, 5, 6, 7, 20]
    requests = engine.write_rows(slots, rows(7, 1), range(7))
    wait(requests)
    assert [(r.indices.tolist(), r.offset // PAGE, r.size // PAGE) for r in requests] == [
        ([1, 2, 3, 4], 3, 4),
        ([5], 7, 1),
        ([0], 9, 1),
        ([6], 20, 1),
    ]
    assert sorted(faulty.log) == sorted(
        ("write", request.offset, request.size, len(request.indices)) for request in requests
    )
    assert [request.answer.result() for request in requests] == [r.size for r in requests]
    assert all(request.finished.done() for request in requests)
    statistics = engine.statistics()
    assert (statistics.blocks, statistics.requests, statistics.size) == (7, 4, 7 * PAGE)


def test_a_row_may_have_a_stride_and_a_block_may_be_larger_than_a_request(storage) -> None:
    memory = rows(4, 1, 8 * PAGE)
    with DiskEngine(storage, request_bytes=PAGE) as engine:
        requests = engine.write_rows([0, 1, 2, 3], memory[:, : 2 * PAGE], [3, 2, 1, 0])
        assert wait(requests) == 8 * PAGE
    assert [len(request.indices) for request in requests] == [1] * 4
    file = content_of(storage)[:8].reshape(4, -1)
    assert np.array_equal(file, memory[::-1, : 2 * PAGE])


def test_an_empty_batch_is_no_request(engine) -> None:
    assert engine.write_rows([], rows(1), []) == []
    assert engine.read([], []) == []
    assert wait([]) == 0


def test_threads_work_at_the_same_time(storage, faulty) -> None:
    barrier = threading.Barrier(3)

    def meet(call, descriptor, buffers, offset) -> int:
        barrier.wait(10)  # nobody gets on before three are here
        return call(descriptor, buffers, offset)

    faulty.plan = lambda *_: meet
    with DiskEngine(storage, threads=3) as engine:
        assert wait(engine.write_rows([0, 10, 20], rows(3), range(3))) == 3 * PAGE


# ── refusals, before a byte moves ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("slots", "memory", "picked", "what"),
    [
        ([0, 1], rows(2), [0], "rows = 1: must have one entry for each of 2 blocks"),
        ([0], rows(2), [2], "rows = 2: there are rows 0 … 1"),
        ([0], rows(2), [-1], "rows = -1"),
        ([0.5], rows(2), [0], r"slots = \[0\.5\]: must be a list of integers"),
        ([[0]], rows(2), [0], "slots = .*must be a list of integers"),
        ([0], rows(2)[0], [0], r"memory = \(4096,\): must be uint8\[rows"),
        ([0], rows(2).view(np.int8), [0], r"memory = .*must be uint8\[rows"),
        ([0], rows(2)[:, :-1], [0], "memory = .*whole pages"),
        ([0], rows(2).T, [0], "memory = .*whole pages"),
        ([0], np.empty((2, PAGE + 1), np.uint8), [0], "memory = .*whole pages"),
        ([0], None, [0], r"memory = None: must be uint8\[rows"),
    ],
)
def test_a_bad_batch_of_rows_is_refused_as_a_whole(
    engine, faulty, slots, memory, picked, what
) -> None:
    for start in (engine.write_rows, engine.read_rows):
        with pytest.raises(InvalidStorageConfig, match=what):
            start(slots, memory, picked)
    assert not faulty.log


@pytest.mark.parametrize("slot", [-1, SLOTS])
def test_a_slot_beyond_the_file_is_refused(engine, faulty, slot) -> None:
    for start in (engine.write_rows, engine.read_rows):
        with pytest.raises(OutOfBounds):
            start([0, slot], rows(2), [0, 1])
    assert not faulty.log


@pytest.mark.clause("KV-TIR-04")
def test_two_blocks_of_a_batch_never_meet(engine, faulty) -> None:
    with pytest.raises(InvalidStorageConfig, match=r"offsets\[1\] = 12288.*reaches into it"):
        engine.write_rows([3, 3], rows(2), [0, 1])
    with pytest.raises(InvalidStorageConfig, match="a row can hold one block only"):
        engine.read_rows([3, 4], rows(2), [1, 1])
    with pytest.raises(InvalidStorageConfig, match="reaches into it"):
        engine.write([0, PAGE], [[pages(2 * PAGE)], [pages(PAGE)]])
    assert not faulty.log
    wait(engine.read_rows([3, 3], rows(2), [0, 1]))
    wait(engine.write_rows([3, 4], rows(2), [1, 1]))


def test_bad_buffers_and_read_only_memory_are_refused(engine, faulty) -> None:
    frozen = rows(1)
    frozen.flags.writeable = False
    with pytest.raises(InvalidStorageConfig, match=r"memory = .*is read-only"):
        engine.read_rows([0], frozen, [0])
    with pytest.raises(InvalidStorageConfig, match="is read-only"):
        engine.read([0], [[frozen[0]]])
    with pytest.raises(InvalidStorageConfig, match="offset = 1"):
        engine.read([PAGE, 1], [[pages(PAGE)], [pages(PAGE)]])
    with pytest.raises(InvalidStorageConfig, match=r"buffers\[0\]\[1\] = 4095"):
        engine.write([0], [[pages(PAGE), pages(PAGE)[:-1]]])
    with pytest.raises(InvalidStorageConfig, match="buffers = 1"):
        engine.write([0, PAGE], [[pages(PAGE)]])
    assert not faulty.log
    wait(engine.write_rows([0], frozen, [0]))


@pytest.mark.parametrize(
    "setting", [{"threads": 0}, {"request_bytes": 1}, {"deadline": 0}, {"deadline": -1.0}]
)
def test_settings_are_checked(storage, setting) -> None:
    with pytest.raises(InvalidStorageConfig, match=next(iter(setting))):
        DiskEngine(storage, **setting)


# ── a failing disk ────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-TIR-05", "KV-PER-05")
@pytest.mark.parametrize("operation", ["read_rows", "write_rows"])
@pytest.mark.parametrize("fault", [EIO, ENOSPC, "short", ValueError("odd")])
def test_a_failing_request_fails_alone_and_names_itself(engine, faulty, operation, fault) -> None:
    def odd(*_: object) -> int:
        raise fault

    what = {"short": faulty.short}.get(fault, odd) if not isinstance(fault, int) else fault
    faulty.plan = lambda _, offset: what if offset == 10 * PAGE else None
    requests = getattr(engine, operation)([0, 10, 11, 20, 30], rows(5), range(5))
    with pytest.raises(ValueError if isinstance(fault, ValueError) else DiskIoFailed):
        wait(requests)
    failed = [request for request in requests if request.answer.exception()]
    assert [request.indices.tolist() for request in failed] == [[1, 2]]
    assert all(request.finished.done() for request in requests)
    if isinstance(fault, int):
        error = failed[0].answer.exception()
        assert (error.errno, error.offset, error.wanted, error.moved) == (fault, 40960, 8192, 0)
    faulty.plan = lambda *_: None
    assert wait(getattr(engine, operation)([10], rows(1), [0])) == PAGE


def test_wait_raises_only_after_all_have_answered(engine, faulty) -> None:
    def slow(call, descriptor, buffers, offset) -> int:
        time.sleep(0.05)
        return call(descriptor, buffers, offset)

    faulty.plan = lambda _, offset: slow if offset else EIO
    requests = engine.write_rows([0, 10, 20], rows(3), range(3))
    with pytest.raises(DiskIoFailed):
        wait(requests)
    assert all(request.answer.done() for request in requests)


@pytest.mark.clause("KV-LIV-04", "KV-TIR-02")
def test_a_stuck_disk_is_reported_and_keeps_the_buffers(storage, faulty, stuck) -> None:
    faulty.plan = lambda _, offset: stuck if offset == 0 else None
    memory = rows(2, 1)
    with DiskEngine(storage, threads=2, deadline=0.05) as engine:
        late, good = engine.write_rows([0, 10], memory, [0, 1])
        assert good.answer.result(10) == PAGE
        assert isinstance(late.answer.exception(10), DiskIoTimeout)
        assert not late.finished.done()
        assert engine.statistics().late == 1
        assert wait(engine.write_rows([20], memory, [1])) == PAGE  # the other thread goes on
        engine._check()
        stuck.go.set()
        late.finished.result(10)
        assert engine.statistics().late == 0
    assert np.array_equal(content_of(storage)[0], memory[0])  # it did happen, only late


@pytest.mark.clause("KV-LIV-01", "KV-LIV-04")
def test_when_every_thread_is_stuck_everybody_gets_an_answer(storage, faulty, stuck) -> None:
    faulty.plan = lambda *_: stuck
    engine = DiskEngine(storage, threads=2, deadline=0.05)
    requests = engine.write_rows(range(0, 20, 2), rows(10), range(10))
    errors = [request.answer.exception(10) for request in requests]
    assert all(isinstance(error, DiskIoTimeout) for error in errors)
    assert sum(request.finished.done() for request in requests) == 8
    started = time.monotonic()
    (refused,) = engine.write_rows([0], rows(1), [0])
    assert isinstance(refused.answer.exception(10), DiskIoTimeout)
    assert time.monotonic() - started < 5
    stuck.go.set()
    wait_for([request.finished for request in requests], timeout=10)
    engine.close()
    assert len(faulty.log) == 2


# ── the end ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-SHD-01")
def test_a_closed_engine_refuses_and_may_be_closed_again(storage) -> None:
    engine = DiskEngine(storage)
    wait(engine.write_rows([0], rows(1), [0]))
    engine.close()
    engine.close()
    with pytest.raises(StorageClosed):
        engine.read_rows([0], rows(1), [0])
    assert not storage.closed
    engine._check()


@pytest.mark.clause("KV-SHD-02")
def test_close_waits_for_all_that_was_started(storage, faulty) -> None:
    def slow(call, descriptor, buffers, offset) -> int:
        time.sleep(0.02)
        return call(descriptor, buffers, offset)

    faulty.plan = lambda *_: slow
    engine = DiskEngine(storage, threads=2)
    requests = engine.write_rows(range(0, 12, 2), rows(6), range(6))
    engine.close()
    assert all(request.answer.done() for request in requests)
    assert wait(requests) == 6 * PAGE


@pytest.mark.clause("KV-SHD-05")
def test_close_gives_up_in_time_and_says_what_it_abandons(storage, faulty, stuck) -> None:
    faulty.plan = lambda *_: stuck
    engine = DiskEngine(storage, threads=1)
    running, waiting = engine.write_rows([0, 10], rows(2), [0, 1])
    assert stuck.inside.acquire(timeout=10)
    with pytest.raises(DiskIoTimeout, match=r"abandoned .* at 40960; .* at 0$"):
        engine.close(0.02)
    assert isinstance(waiting.answer.exception(10), DiskIoTimeout)
    assert waiting.finished.done()
    assert not running.finished.done()
    stuck.go.set()
    assert running.answer.result(10) == PAGE
    engine.close(10)


def test_a_storage_that_was_closed_first_is_the_answer(storage) -> None:
    with DiskEngine(storage) as engine:
        storage.close()
        (request,) = engine.read_rows([0], rows(1), [0])
        assert isinstance(request.answer.exception(10), StorageClosed)


@pytest.mark.clause("KV-SHD-03")
@pytest.mark.parametrize("closed", [True, False])
def test_nothing_is_held_afterwards(held, faulty, closed) -> None:
    before = held()
    storage = DiskAllocator(calls=faulty.calls).allocate(SLOTS * PAGE)
    engine = DiskEngine(storage, threads=4)
    faulty.plan = lambda operation, offset: EIO if operation == "read" and not offset else None
    memory = rows(SLOTS, 1)
    wait(engine.write_rows(range(SLOTS), memory, range(SLOTS)))
    requests = engine.read_rows(range(0, SLOTS, 2), memory, range(0, SLOTS, 2))
    with pytest.raises(DiskIoFailed):
        wait(requests)
    faulty.plan = lambda *_: None
    storage.memset(1, 5, 5)
    during = held()
    assert during["descriptors"] > before["descriptors"]
    assert during["threads"] >= before["threads"] + 2
    assert during["mappings"] > before["mappings"]
    if closed:
        engine.close()
        storage.close()
    del engine, storage, memory, requests
    deadline = time.monotonic() + 10
    while (after := held()) != before and time.monotonic() < deadline:
        time.sleep(0.01)  # dropped threads go on their own, a moment later
    assert after == before


@pytest.mark.clause("KV-SHD-03")
def test_a_failed_request_keeps_no_memory(storage, faulty, held) -> None:
    faulty.plan = lambda *_: EIO
    gc.disable()
    try:
        with DiskEngine(storage) as engine:
            before = held()["mappings"]
            requests = engine.write_rows([0], rows(1), [0])
            wait_for([requests[0].answer])
            del requests
            deadline = time.monotonic() + 5
            while held()["mappings"] != before and time.monotonic() < deadline:
                time.sleep(0.01)
            assert held()["mappings"] == before
    finally:
        gc.enable()


def test_a_dropped_engine_still_answers_what_it_was_asked(storage, faulty) -> None:
    def slow(call, descriptor, buffers, offset) -> int:
        time.sleep(0.02)
        return call(descriptor, buffers, offset)

    faulty.plan = lambda *_: slow
    requests = DiskEngine(storage, threads=1).write_rows(range(0, 8, 2), rows(4), range(4))
    gc.collect()
    assert wait(requests) == 4 * PAGE
