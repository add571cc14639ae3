"""What is refused at once, in which order copies run, and how an engine ends."""

from __future__ import annotations

import itertools
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvbm import errors
from kvbm.layout import BlockOrder, DType, FullyContiguous, LayoutConfig
from kvbm.storage import NullAllocator, SystemStorage
from kvbm.transfer import Faults, ManualExecutor, TransferEngine, block_checksum
from kvbm.transfer.ordering import Footprint, conflict

CONFIG = LayoutConfig(8, 2, 2, 4, 8, DType.U8)
LAYOUT = FullyContiguous(CONFIG)


@pytest.fixture
def engine():
    with TransferEngine() as made:
        yield made


# ── refusals ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sources", "targets", "layers", "error", "text"),
    [
        ([0], [0, 1], None, errors.CountMismatch, "1 source blocks, but 2 target blocks"),
        ([8], [0], None, errors.BlockOutOfRange, "source block 8 is outside 0 … 7"),
        ([0], [-1], None, errors.BlockOutOfRange, "target block -1 is outside 0 … 7"),
        ([0, 1], [2, 2], None, errors.DuplicateDestinationBlocks, "[2]"),
        ([0], [0], range(2, 3), errors.InvalidRange, "range of axis layer"),
        ([0], [0], range(1, 1), errors.InvalidRange, "range of axis layer"),
    ],
)
@pytest.mark.clause("KV-INT-05")
def test_what_cannot_be_copied_is_refused_before_anything_happens(
    engine, world, bytes_of, sources, targets, layers, error, text
) -> None:
    source, target = world.bind(LAYOUT), world.bind(LAYOUT)
    before = bytes_of(target)
    with pytest.raises(error, match=text.replace("[", r"\[")):
        engine.transfer(source, sources, target, targets, layers)
    assert np.array_equal(bytes_of(target)[0], before[0])
    assert engine.statistics().submitted == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dtype": DType.FP16}, "dtype"),
        ({"num_layers": 3}, "num_layers"),
        ({"outer_dim": 1}, "outer_dim"),
        ({"page_size": 8}, "page_size"),
        ({"inner_dim": 16}, "inner_dim"),
        ({"num_heads": 2, "order": BlockOrder.NHD}, "order"),
    ],
)
@pytest.mark.clause("KV-INT-05")
def test_blocks_that_hold_something_else_are_refused(engine, world, change, field) -> None:
    other = world.bind(FullyContiguous(replace(CONFIG, **change)))
    with pytest.raises(errors.IncompatibleTypes) as raised:
        engine.transfer(world.bind(LAYOUT), [0], other, [0])
    assert raised.value.field == field


def test_a_block_cannot_be_source_and_target(engine, world) -> None:
    bound = world.bind(LAYOUT)
    again = LAYOUT.bind(bound.memories)
    for other in (bound, again):
        with pytest.raises(errors.OverlappingBlocks, match=r"blocks \[1\] are source and target"):
            engine.transfer(bound, [0, 1], other, [1, 2])
    engine.transfer(bound, [0, 1], again, [2, 3]).result()
    assert block_checksum(bound, 0) == block_checksum(bound, 2)


def test_null_memory_is_refused(engine, world) -> None:
    null = LAYOUT.bind([NullAllocator().allocate(LAYOUT.required_sizes()[0])])
    for pair in ((world.bind(LAYOUT), null), (null, world.bind(LAYOUT))):
        for ids in ([], [0]):
            with pytest.raises(errors.UnsupportedTransfer, match="null memory has no bytes"):
                engine.transfer(pair[0], ids, pair[1], ids)


def test_memory_of_a_real_device_is_refused_as_long_as_nobody_moves_it(engine, world) -> None:
    class Gpu:
        addr, size = 0x7F00_0000_0000, 1 << 20

        def array(self):
            raise AssertionError("nobody can reach this")

        def device(self):
            return (2, 0)

    gpu = LAYOUT.bind([Gpu()])
    with pytest.raises(errors.UnsupportedTransfer, match="real GPU"):
        engine.transfer(world.bind(LAYOUT, "pinned"), [0], gpu, [0])


def test_a_closed_storage_is_refused(engine, world) -> None:
    source, target = world.bind(LAYOUT), world.bind(LAYOUT)
    source.memories[0].close()
    with pytest.raises(errors.StorageClosed):
        engine.transfer(source, [0], target, [0])


def test_as_many_expected_checksums_as_pairs(engine, world) -> None:
    with pytest.raises(errors.InvalidConfig, match="expected = 2"):
        engine.transfer(world.bind(LAYOUT), [0], world.bind(LAYOUT), [0], expected=[None] * 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"threads": 0},
        {"queue_depth": 0},
        {"deadline": 0},
        {"bounce_bytes": 0},
        {"checksums": "sometimes"},
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings) -> None:
    with pytest.raises(errors.InvalidConfig, match=next(iter(settings))):
        TransferEngine(**settings)


@pytest.mark.parametrize("checksums", [False, True])
def test_no_blocks_are_copied_at_once(world, checksums) -> None:
    with TransferEngine(executor=ManualExecutor(), checksums=checksums) as engine:
        for kind in ("system", "disk"):
            transfer = engine.transfer(world.bind(LAYOUT, kind), [], world.bind(LAYOUT), [])
            assert transfer.done
            assert transfer.finished.done()
            assert transfer.result(0) == ([] if checksums else None)


# ── order ─────────────────────────────────────────────────────────────────────────────────


def _value(bound, block):
    return int(bound.layer_view(block, 0).numpy().flat[0])


def _fill(bound, block, value):
    for layer, outer in itertools.product(range(2), range(2)):
        bound.layer_view(block, layer, outer).numpy()[...] = value


PAIRS = st.tuples(st.integers(0, 3), st.integers(0, 3)).filter(lambda two: two[0] != two[1])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PAIRS, min_size=2, max_size=6), st.randoms(use_true_random=False))
@pytest.mark.clause("KV-TIR-04")
def test_copies_of_the_same_blocks_end_as_in_the_order_of_submission(
    new_world, pairs, random
) -> None:
    bound = new_world(0).bind(LAYOUT)
    model = list(range(10, 14))
    for block, value in enumerate(model):
        _fill(bound, block, value)
    executor = ManualExecutor()
    engine = TransferEngine(executor=executor)
    for source, target in pairs:
        engine.transfer(bound, [source], bound, [target])
        model[target] = model[source]
    while len(executor):
        executor.run(random.randrange(len(executor)))
    engine.close(0)
    assert [_value(bound, block) for block in range(4)] == model


@pytest.mark.parametrize("second_view", ["same", "bound again", "another layout"])
@pytest.mark.clause("KV-TIR-04")
def test_every_interleaving_of_conflicting_copies_is_in_order(world, second_view) -> None:
    """Read after write, write after read, write after write; the fourth copy is free."""
    a, b, c = (world.bind(LAYOUT) for _ in range(3))
    again = a
    if second_view == "bound again":
        again = LAYOUT.bind(a.memories)
    elif second_view == "another layout":
        again = FullyContiguous(replace(CONFIG, num_blocks=7)).bind(a.memories)
    for order in itertools.product(range(3), repeat=4):
        for block, value in enumerate((1, 2, 3)):
            _fill(a, block, value)
            _fill(b, block, 10 + value)
            _fill(c, block, 20 + value)
        executor = ManualExecutor()
        engine = TransferEngine(executor=executor)
        engine.transfer(b, [0], a, [0])  # writes a0
        engine.transfer(again, [0], c, [0])  # reads it
        engine.transfer(b, [1], again, [0])  # writes it again
        engine.transfer(b, [2], c, [1])  # touches none of these
        assert len(executor) == 2
        for choice in order:
            executor.run(choice % len(executor))
        engine.close(0)
        assert (_value(a, 0), _value(c, 0), _value(c, 1)) == (12, 11, 13)


def test_copies_that_touch_different_blocks_or_only_read_run_side_by_side(world) -> None:
    a, b = world.bind(LAYOUT), world.bind(LAYOUT)
    executor = ManualExecutor()
    with TransferEngine(executor=executor) as engine:
        for target in range(3):
            engine.transfer(a, [0], b, [target])
        assert len(executor) == 3
        executor.run_all()


def test_an_empty_footprint_is_in_nobodys_way(world) -> None:
    a, b = world.bind(LAYOUT), world.bind(LAYOUT)
    other = FullyContiguous(replace(CONFIG, num_blocks=7)).bind(a.memories)
    none, some = Footprint.of(other, [], b, []), Footprint.of(a, [0], b, [1])
    assert not conflict(none, some)
    assert conflict(Footprint.of(b, [0], other, [5]), some)


def test_a_copy_comes_after_what_it_is_told_to_come_after(world) -> None:
    a, b, c = (world.bind(LAYOUT) for _ in range(3))
    executor = ManualExecutor()
    with TransferEngine(executor=executor) as engine, TransferEngine() as other:
        first = engine.transfer(a, [0], b, [0])
        second = other.transfer(a, [1], c, [1], after=[first, first])
        assert not second.wait(0.05)
        executor.run()
        second.result(10)


@pytest.mark.parametrize("how", ["fails", "is cancelled", "is dropped"])
def test_a_copy_is_not_made_if_what_it_needs_does_not_succeed(world, bytes_of, how) -> None:
    a, b, c = (world.bind(LAYOUT) for _ in range(3))
    before = bytes_of(c)
    executor = ManualExecutor()
    with TransferEngine(executor=executor, faults=Faults().fail(0)) as engine:
        first = engine.transfer(a, [0, 1], b, [0, 1])
        second = engine.transfer(b, [0, 1], c, [0, 1], after=[first])
        {"fails": executor.run, "is cancelled": first.cancel, "is dropped": executor.drop}[how]()
        executor.run_all()
        with pytest.raises(errors.TransferFailed, match="it comes after") as raised:
            second.result(0)
    assert raised.value.failed == (0, 1)
    assert np.array_equal(bytes_of(c)[0], before[0])


def test_a_long_chain_that_fails_at_its_start_fails_to_its_end(world) -> None:
    a, b = world.bind(LAYOUT), world.bind(LAYOUT)
    with TransferEngine(faults=Faults().fail(0)) as engine:
        chain = [engine.transfer(a, [0], b, [0])]
        for _ in range(400):
            chain.append(engine.transfer(a, [0], b, [0], after=chain[-1:]))
        for transfer in chain:
            assert isinstance(transfer.future.exception(10), errors.TransferFailed)


def test_a_cancelled_copy_does_not_let_a_later_one_overtake_an_earlier_one(world) -> None:
    a, b = world.bind(LAYOUT), world.bind(LAYOUT)
    executor = ManualExecutor()
    with TransferEngine(executor=executor) as engine:
        engine.transfer(a, [0], b, [0])
        assert engine.transfer(a, [1], b, [0]).cancel()
        last = engine.transfer(a, [2], b, [0])
        assert len(executor) == 1
        executor.run_all()
        last.result(0)
    assert block_checksum(b, 0) == block_checksum(a, 2)


@pytest.mark.clause("KV-CON-03")
def test_a_callback_may_submit_and_close(world) -> None:
    a, b = world.bind(LAYOUT), world.bind(LAYOUT)
    executor = ManualExecutor()
    engine = TransferEngine(executor=executor)
    later = []
    first = engine.transfer(a, [0], b, [0])
    first.add_done_callback(lambda _: later.append(engine.transfer(b, [0], a, [1])))
    executor.run_all()
    later[0].add_done_callback(lambda _: engine.close(0))
    assert later[0].result(0) is None
    assert engine.statistics().completed == 2


# ── the end ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-SHD-01", "KV-SHD-04")
def test_close_cancels_what_has_not_begun_and_refuses_what_comes(world) -> None:
    a, b = world.bind(LAYOUT), world.bind(LAYOUT)
    engine = TransferEngine(executor=ManualExecutor())
    waiting = [engine.transfer(a, [0], b, [0]), engine.transfer(a, [1], b, [0])]
    engine.close()
    engine.close()
    for transfer in waiting:
        assert transfer.finished.done()
        with pytest.raises(errors.TransferCancelled, match="was cancelled before it began"):
            transfer.result(0)
    with pytest.raises(errors.TransferEngineClosed):
        engine.transfer(a, [0], b, [0])
    assert engine.statistics().cancelled == 2


@pytest.mark.clause("KV-SHD-02", "KV-SHD-05", "KV-TIR-02")
def test_close_with_a_stuck_copy_ends_in_time_and_says_what_it_left(world) -> None:
    a, b = world.bind(LAYOUT), world.bind(LAYOUT)
    faults = Faults()
    go = faults.delay(0)
    engine = TransferEngine(faults=faults)
    stuck = engine.transfer(a, [0], b, [0])
    behind = engine.transfer(a, [1], b, [0])
    while not stuck.future.running():
        time.sleep(0.001)
    begin = time.monotonic()
    with pytest.raises(errors.TransfersAbandoned, match="abandoned transfer 0 of 1 blocks"):
        engine.close(0.1)
    assert time.monotonic() - begin < 2
    assert isinstance(stuck.future.exception(0), errors.TransfersAbandoned)
    assert behind.future.cancelled()
    assert not stuck.finished.done()
    go.set()
    stuck.finished.result(10)
    assert isinstance(stuck.future.exception(0), errors.TransfersAbandoned)
    engine.close()


@pytest.mark.clause("KV-SHD-02")
def test_close_waits_for_what_runs(world) -> None:
    a, b = world.bind(LAYOUT), world.bind(LAYOUT)
    faults = Faults()
    go = faults.delay(0)
    engine = TransferEngine(faults=faults)
    running = engine.transfer(a, [0], b, [0])
    while not running.future.running():
        time.sleep(0.001)
    threading.Timer(0.05, go.set).start()
    engine.close()
    assert running.result(0) is None
    assert block_checksum(a, 0) == block_checksum(b, 0)


@pytest.mark.clause("KV-SHD-03")
def test_nothing_is_left_behind(world) -> None:
    def counts():
        maps = len(Path("/proc/self/maps").read_text().splitlines())
        return threading.active_count(), len(os.listdir("/proc/self/fd")), maps  # noqa: PTH208

    host, disk = world.bind(LAYOUT), world.bind(LAYOUT, "disk")
    for turn in range(4):
        with TransferEngine(checksums=True, bounce_bytes=1 << 20) as engine:
            engine.transfer(host, [0, 1], disk, [1, 2])
            engine.transfer(disk, [1, 2], disk, [4, 5])
            engine.transfer(disk, [4, 5], host, [6, 7]).result(10)
        del engine
        if turn == 1:
            before = counts()
    after = counts()
    assert after[:2] == before[:2]
    assert after[2] <= before[2] + 2


def test_memory_lives_until_the_copy_ends(world) -> None:
    executor = ManualExecutor()
    source, target = SystemStorage(LAYOUT.required_sizes()[0]), world.bind(LAYOUT)
    with TransferEngine(executor=executor) as engine:
        transfer = engine.transfer(LAYOUT.bind([source]), [0], target, [0])
        del source
        executor.run_all()
        transfer.result(0)
    assert not target.layer_view(0, 0).numpy().any()


def test_statistics_count_every_outcome(world) -> None:
    a, b = world.bind(LAYOUT), world.bind(LAYOUT)
    executor = ManualExecutor()
    with TransferEngine(executor=executor, faults=Faults().fail(1)) as engine:
        for target in range(4):
            engine.transfer(a, [0], b, [target])
        engine.transfer(a, [0], b, [4]).cancel()
        for _ in range(3):
            executor.run()
        now = engine.statistics()
        assert (now.submitted, now.completed, now.failed, now.cancelled) == (5, 2, 1, 1)
        assert (now.unfinished, now.size) == (1, 2 * CONFIG.bytes_per_block)
        executor.run_all()
