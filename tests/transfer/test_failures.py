"""Copies that go wrong: what is told, and what is left alone."""

from __future__ import annotations

import errno
import os
import threading

import numpy as np
import pytest
import xxhash

from kvbm import errors
from kvbm.layout import BlockOrder, DType, FullyContiguous, LayoutConfig
from kvbm.storage import DiskCalls
from kvbm.transfer import Faults, TransferEngine, block_checksum
from kvbm.transfer.bounce import BounceBuffers, bind_stage, stage_layout
from kvbm.transfer.checksums import Checks
from kvbm.transfer.disk import DiskExecutor
from kvbm.transfer.faults import invert
from kvbm.transfer.memory import MemoryExecutor
from kvbm.transfer.piece import Piece
from kvbm.transfer.strategy import Capabilities
from kvbm.transfer.way import Ended, way_of

PAGES = LayoutConfig(8, 2, 2, 4, 1024, DType.U8, 4096)
STRAIGHT = FullyContiguous(PAGES)
"""Blocks of four pages: they go straight to and from a disk."""
ODD = FullyContiguous(LayoutConfig(8, 2, 2, 3, 100, DType.U8))
"""Blocks of 1,200 bytes, one after the other."""
NHD = FullyContiguous(LayoutConfig(8, 2, 2, 4, 1024, DType.U8, 4096, 4, BlockOrder.NHD))
HND = FullyContiguous(LayoutConfig(8, 2, 2, 4, 1024, DType.U8, 4096, 4, BlockOrder.HND))
WAYS = [(STRAIGHT, STRAIGHT), (ODD, ODD), (NHD, HND)]


def _bad(call, offset, failure):
    """A disk that fails for requests that touch the byte `offset`."""

    def run(descriptor, buffers, start):
        if start <= offset < start + sum(b.nbytes for b in buffers):
            return failure(descriptor, buffers, start)
        return call(descriptor, buffers, start)

    return run


def _eio(*_arguments):
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def _short(_descriptor, buffers, _start):
    return sum(b.nbytes for b in buffers) - 512


@pytest.mark.parametrize("failure", [_eio, _short])
@pytest.mark.parametrize(("one", "other"), WAYS, ids=["straight", "odd", "transform"])
@pytest.mark.clause("KV-TIR-05")
def test_a_read_that_fails_names_its_blocks_and_no_block_that_it_does_not_name_is_wrong(
    world, one, other, failure
) -> None:
    place = one.offset(5, 0, 0)[1]
    disk, source, target = world.bind(one, "disk"), world.bind(other), world.bind(other)
    with TransferEngine(bounce_bytes=3 * 8192 * 3) as engine:
        engine.transfer(source, range(8), disk, range(8)).result(10)
        disk.memories[0]._calls = DiskCalls(read=_bad(os.preadv, place, failure))
        transfer = engine.transfer(disk, [1, 3, 5, 7], target, [0, 1, 2, 3])
        with pytest.raises(errors.TransferFailed, match="blocks failed") as raised:
            transfer.result(10)
        assert isinstance(raised.value.__cause__, errors.DiskIoFailed)
        assert 2 in raised.value.failed
        if one is STRAIGHT:
            assert raised.value.failed == (2,)
        for position in {0, 1, 2, 3} - set(raised.value.failed):
            block = [1, 3, 5, 7][position]
            assert block_checksum(target, position) == block_checksum(source, block)
        # The engine goes on.
        engine.transfer(disk, [0], target, [7]).result(10)


@pytest.mark.parametrize(("one", "other"), WAYS, ids=["straight", "odd", "transform"])
@pytest.mark.clause("KV-TIR-05")
def test_a_write_that_fails_is_told(world, one, other) -> None:
    place = one.offset(5, 0, 0)[1]
    disk = world.bind(one, "disk")
    disk.memories[0]._calls = DiskCalls(write=_bad(os.pwritev, place, _eio))
    source = world.bind(other)
    with TransferEngine() as engine:
        transfer = engine.transfer(source, [1, 3, 5, 7], disk, [1, 3, 5, 7])
        with pytest.raises(errors.TransferFailed) as raised:
            transfer.result(10)
    assert 2 in raised.value.failed
    assert raised.value.kind is errors.ErrorKind.FAILED


@pytest.mark.clause("KV-TIR-02", "KV-LIV-04")
def test_a_read_without_an_answer_fails_in_time_and_keeps_its_blocks_until_it_returns(
    world,
) -> None:
    go = threading.Event()

    def stuck(descriptor, buffers, start):
        go.wait(20)
        return os.preadv(descriptor, buffers, start)

    for one, other in WAYS[::2]:
        go.clear()
        disk, target = world.bind(one, "disk"), world.bind(other)
        disk.memories[0]._calls = DiskCalls(read=stuck)
        with TransferEngine(deadline=0.05) as engine:
            transfer = engine.transfer(disk, [0], target, [0])
            with pytest.raises(errors.TransferFailed) as raised:
                transfer.result(10)
            assert isinstance(raised.value.__cause__, errors.DiskIoTimeout)
            assert not transfer.finished.done()
            behind = engine.transfer(target, [0], target, [1])
            assert not behind.wait(0.05)
            assert not engine._bounce._free
            go.set()
            behind.result(10)
            assert transfer.finished.done()


@pytest.mark.parametrize("broken", [0, 1, 2, 5])
def test_an_exception_in_the_middle_of_two_hops_waits_for_what_was_begun(
    world, monkeypatch, broken
) -> None:
    disk, target = world.bind(NHD, "disk"), world.bind(HND)
    source = world.bind(NHD)
    calls = []

    def explode(self, piece):
        del self
        calls.append(piece)
        if len(calls) > broken:
            raise ZeroDivisionError("in the middle")
        return original(None, piece)

    with TransferEngine(bounce_bytes=2 * 20480) as engine:
        engine.transfer(source, range(8), disk, range(8)).result(10)
        original = MemoryExecutor.start
        monkeypatch.setattr(MemoryExecutor, "start", explode)
        transfer = engine.transfer(disk, range(8), target, range(8))
        with pytest.raises(errors.TransferFailed, match="in the middle") as raised:
            transfer.result(10)
        assert transfer.finished.result(10) is None
        assert raised.value.failed == tuple(range(broken, 8))
        assert len(calls) <= broken + 2  # what was on its way, and nothing new
        for block in range(broken):
            assert block_checksum(target, block) == block_checksum(source, block)
        assert len(engine._bounce._free) == 1


def test_two_hops_without_a_bounce_block_are_refused(world) -> None:
    disk, target = world.bind(NHD, "disk"), world.bind(HND)
    ids = np.arange(2)
    piece = Piece(disk, ids, target, ids, None, ids)
    bounce = BounceBuffers()
    way = way_of(piece, Capabilities(), DiskExecutor(1, None), bounce)
    layout = stage_layout(NHD, 1)
    stage = bind_stage(layout, bounce.take(1), 0)
    ended = Ended()
    with pytest.raises(errors.InvalidConfig, match="bounce blocks"):
        way.in_turn(piece, [stage], range(0), Checks(2, None, False, None), lambda *_: None, ended)


@pytest.mark.parametrize("slots", [1, 2, 3, 4, 7])
def test_any_number_of_bounce_blocks_will_do(world, slots) -> None:
    disk, target, source = world.bind(NHD, "disk"), world.bind(HND), world.bind(HND)
    with TransferEngine(bounce_bytes=slots * 20480, checksums=True) as engine:
        engine.transfer(source, range(8), disk, range(8))
        engine.transfer(disk, range(8), target, range(8)).result(10)
    for block in range(8):
        assert block_checksum(target, block) == block_checksum(source, block)


# ── planned faults ────────────────────────────────────────────────────────────────────────


def test_a_planned_failure_copies_nothing(world, bytes_of) -> None:
    source, target = world.bind(STRAIGHT), world.bind(STRAIGHT)
    before = bytes_of(target)
    with TransferEngine(faults=Faults().fail(0)) as engine:
        with pytest.raises(errors.TransferFailed) as raised:
            engine.transfer(source, [0, 1], target, [0, 1]).result(10)
        engine.transfer(source, [5], target, [5]).result(10)
    assert raised.value.failed == (0, 1)
    assert str(raised.value) == (
        "transfer 0 of 2 blocks from System to System: 2 of 2 blocks failed: "
        "[Errno 5] Input/output error"
    )
    assert np.array_equal(bytes_of(target)[0][:81920], before[0][:81920])


def test_a_planned_short_copy_names_what_did_not_arrive(world) -> None:
    source, target = world.bind(STRAIGHT), world.bind(STRAIGHT)
    with (
        TransferEngine(faults=Faults().short(0, pairs=2)) as engine,
        pytest.raises(errors.TransferFailed, match="stopped after 2 blocks") as raised,
    ):
        engine.transfer(source, range(4), target, range(4)).result(10)
    assert raised.value.failed == (2, 3)
    assert block_checksum(source, 1) == block_checksum(target, 1)
    assert block_checksum(source, 2) != block_checksum(target, 2)


# ── checksums ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("one", "other"), WAYS, ids=["straight", "odd", "transform"])
@pytest.mark.clause("KV-INT-03")
def test_a_corrupted_byte_in_memory_is_found(world, one, other) -> None:
    source, target = world.bind(one), world.bind(other)
    with (
        TransferEngine(checksums="memory", faults=Faults().corrupt(0, 2, byte=7)) as engine,
        pytest.raises(errors.CorruptBlock) as raised,
    ):
        engine.transfer(source, [0, 1, 2, 3], target, [3, 2, 1, 0]).result(10)
    assert raised.value.failed == (2,)
    assert raised.value.kind is errors.ErrorKind.CORRUPT


def test_without_checksums_a_corrupted_byte_goes_unseen(world) -> None:
    source, target = world.bind(STRAIGHT), world.bind(STRAIGHT)
    with TransferEngine(faults=Faults().corrupt(0)) as engine:
        assert engine.transfer(source, [0], target, [0]).result(10) is None
    assert block_checksum(source, 0) != block_checksum(target, 0)


@pytest.mark.parametrize(("one", "other"), WAYS, ids=["straight", "odd", "transform"])
@pytest.mark.clause("KV-INT-03")
def test_a_byte_that_rotted_on_disk_is_found_by_the_checksum_that_was_kept(
    world, one, other
) -> None:
    disk, source, target = world.bind(one, "disk"), world.bind(other), world.bind(other)
    with TransferEngine(checksums="disk") as engine:
        kept = engine.transfer(source, [4, 5, 6], disk, [0, 1, 2]).result(10)
        assert kept == [block_checksum(source, block) for block in (4, 5, 6)]
        assert engine.transfer(disk, [0, 1, 2], target, [0, 1, 2], expected=kept).result(10) == kept
        invert(disk, 1, 11)
        with pytest.raises(errors.CorruptBlock) as raised:
            engine.transfer(disk, [0, 1, 2], target, [0, 1, 2], expected=kept).result(10)
        assert raised.value.failed == (1,)
        # In memory this engine does not check.
        assert engine.transfer(source, [0], target, [0]).result(10) is None
    with TransferEngine() as engine, pytest.raises(errors.CorruptBlock):
        engine.transfer(disk, [1], target, [0], expected=[kept[1]]).result(10)


@pytest.mark.parametrize(("one", "other"), WAYS, ids=["straight", "odd", "transform"])
def test_what_is_corrupt_already_does_not_reach_the_target(world, bytes_of, one, other) -> None:
    disk, source = world.bind(one, "disk"), world.bind(other)
    before = bytes_of(disk)
    wrong = [None, bytes(16)]
    with TransferEngine() as engine, pytest.raises(errors.CorruptBlock) as raised:
        engine.transfer(source, [0, 1], disk, [0, 5], expected=wrong).result(10)
    assert raised.value.failed == (1,)
    start, size = one.offset(5, 0, 0)[1], one.bytes_per_block
    assert np.array_equal(bytes_of(disk)[0][start:][:size], before[0][start:][:size])


def test_a_checksum_is_that_of_the_canonical_bytes(world) -> None:
    bound = world.bind(NHD)
    whole = np.concatenate(
        [bound.layer_view(3, *index).numpy().reshape(-1) for index in np.ndindex(2, 2)]
    )
    assert block_checksum(bound, 3) == xxhash.xxh3_128_digest(whole.tobytes())
    assert block_checksum(bound, 3, range(1)) == xxhash.xxh3_128_digest(whole[:8192].tobytes())
    with pytest.raises(errors.InvalidBlockIndex):
        block_checksum(bound, 8)
