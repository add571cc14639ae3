"""The manager on real memory and real files."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from kvbm.config import (
    BlockParallelismStrategy,
    CancellationToken,
    KvBlockManagerConfig,
    KvManagerLayoutConfig,
    KvManagerModelConfig,
    KvManagerRuntimeConfig,
    OffloadConfig,
)
from kvbm.errors import (
    CorruptBlock,
    InvalidConfig,
    NoSuchTier,
    NotEnoughBlocksAvailable,
    ProgressEngineShutdown,
    StaleHandleError,
    TransfersAbandoned,
    ViewsNotAvailable,
    WaitCancelled,
)
from kvbm.events import EventLog
from kvbm.layout import DType, LayoutType
from kvbm.manager import KvBlockManager
from kvbm.pool import BlockPool
from kvbm.storage import DeviceAllocator, DiskAllocator, PinnedAllocator
from kvbm.tiering import Outcome

MODEL = KvManagerModelConfig(num_layers=3, outer_dim=2, page_size=4, inner_dim=64, dtype=DType.FP32)


def config(tmp_path, *, device=4, host=8, disk=16, token=None, events=None, **offload):
    def layout(count, allocator, kind=LayoutType.FullyContiguous):
        return KvManagerLayoutConfig(num_blocks=count, allocator=allocator, layout_type=kind)

    return KvBlockManagerConfig(
        runtime=KvManagerRuntimeConfig(
            worker_id=7, cancellation_token=token or CancellationToken()
        ),
        model=MODEL,
        device_layout=layout(device, DeviceAllocator.emulated()) if device else None,
        host_layout=layout(host, PinnedAllocator(), LayoutType.Paged) if host else None,
        disk_layout=layout(disk, DiskAllocator(tmp_path)) if disk else None,
        event_manager=events,
        offload=OffloadConfig(**offload),
    )


def fill(block, name):
    for layer in range(3):
        for outer in range(2):
            block.layer_view(layer, outer).numpy()[:] = name * 100 + layer * 10 + outer


def holds(block, name):
    return all(
        (block.layer_view(layer, outer).numpy() == name * 100 + layer * 10 + outer).all()
        for layer in range(3)
        for outer in range(2)
    )


def store(pool, names, parent=None):
    blocks = pool.allocate_blocks(len(names))
    for block, name in zip(blocks, names, strict=True):
        fill(block, name)
    blocks.stage(names, parent=parent)
    return pool.register_blocks(blocks)


def settle(manager):
    assert manager.settle(timeout=20), "blocks are on their way for ever"


def used():
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()


@pytest.mark.clause("KV-TIR-08", "KV-INT-01")
def test_a_block_goes_through_three_tiers_and_comes_back_with_its_own_bytes(tmp_path):
    with KvBlockManager(config(tmp_path)) as manager:
        device, host, disk = manager.device(), manager.host(), manager.disk()
        store(device, [1, 2, 3]).release()
        settle(manager)
        assert host.contains([1, 2, 3]) == disk.contains([1, 2, 3]) == [True] * 3
        others = device.allocate_blocks(4)
        for block in others:
            fill(block, 99)
        others.release()
        host.reset_blocks([2, 3])
        blocks = manager.onboard([1, 2, 3, 4]).wait(10)
        assert blocks.sequence_hashes() == [1, 2, 3]
        assert all(holds(block, name) for block, name in zip(blocks, (1, 2, 3), strict=True))
        with pytest.raises(ValueError, match="read-only"):
            blocks[0].layer_view(0, 0).numpy()[:] = 1


def test_the_device_alone_can_have_a_disk_behind_it(tmp_path):
    with KvBlockManager(config(tmp_path, host=0)) as manager:
        assert manager.host() is None
        store(manager.device(), [1]).release()
        settle(manager)
        assert manager.disk().contains([1]) == [True]
        manager.device().reset_blocks([1])
        with manager.onboard([1]).wait(10) as blocks:
            assert holds(blocks[0], 1)


def test_write_back_copies_at_eviction_and_not_before(tmp_path):
    with KvBlockManager(config(tmp_path, device=2, host=2, mode="write_back")) as manager:
        device, host, disk = manager.device(), manager.host(), manager.disk()
        store(device, [1, 2]).release()
        assert host.contains([1, 2]) == [False, False]
        store(device, [3, 4]).release()
        assert host.contains([1, 2]) == [True, True]
        store(device, [5, 6]).release()
        assert disk.contains([1, 2]) == [True, True]
        with manager.onboard([1, 2]).wait(10) as blocks:
            assert holds(blocks[0], 1)
            assert holds(blocks[1], 2)


@pytest.mark.clause("KV-TIR-10")
def test_layer_by_layer(tmp_path):
    with KvBlockManager(config(tmp_path, disk=0)) as manager:
        store(manager.device(), [1, 2]).release()
        settle(manager)
        manager.device().reset_blocks([1, 2])
        onboarding = manager.onboard([1, 2], layer_wise=True)
        for layer in range(3):
            onboarding.wait_for_layer(layer, timeout=10)
        with onboarding.wait(10) as blocks:
            assert holds(blocks[0], 1)
            assert holds(blocks[1], 2)


def test_prefetch_brings_blocks_from_the_disk_to_the_host(tmp_path):
    with KvBlockManager(config(tmp_path)) as manager:
        store(manager.device(), [1]).release()
        settle(manager)
        manager.device().reset_blocks([1])
        manager.host().reset_blocks([1])
        manager.prefetch([1]).wait(10).release()
        assert manager.host().contains([1]) == [True]
        assert manager.device().contains([1]) == [False]


@pytest.mark.clause("KV-INT-03", "KV-INT-04", "KV-TIR-06")
def test_a_byte_that_went_bad_on_the_disk_is_a_miss_and_nobody_sees_it(tmp_path):
    with KvBlockManager(config(tmp_path, host=0)) as manager:
        device, disk = manager.device(), manager.disk()
        store(device, [1, 2]).release()
        settle(manager)
        device.reset_blocks([1, 2])
        [slot] = [disk._core.registry.entries()[2]]
        storage = manager.layout("disk").memories[0]
        _, offset = manager.layout("disk").layout.offset(slot, 1, 1)
        storage.memset(255, offset + 5, 1)
        with manager.onboard([1, 2]).wait(10) as blocks:
            assert len(blocks) <= 1
            assert all(holds(block, 1) for block in blocks)
        assert disk.contains([2]) == [False]
        # The process lives on.
        store(device, [3]).release()
        settle(manager)
        assert disk.contains([3]) == [True]


@pytest.mark.clause("KV-OWN-05", "KV-LIF-02")
def test_a_view_dies_with_its_handle(tmp_path):
    with KvBlockManager(config(tmp_path)) as manager:
        [block] = manager.device().allocate_blocks(1)
        view = block.layer_view(0, 0)
        view.numpy()
        block.release()
        with pytest.raises(StaleHandleError):
            view.numpy()


def test_a_handle_knows_the_shape_of_its_block(tmp_path):
    with KvBlockManager(config(tmp_path)) as manager:
        [block] = manager.device().allocate_blocks(1)
        assert (block.num_layers, block.page_size, block.inner_dim) == (3, 4, 64)
        block.release()
        with pytest.raises(StaleHandleError):
            block.num_layers  # noqa: B018


def test_a_logical_pool_has_no_views():
    [block] = BlockPool(1).allocate_blocks(1)
    for use in (lambda: block.layer_view(0, 0), lambda: block.num_layers, lambda: block.inner_dim):
        with pytest.raises(ViewsNotAvailable):
            use()


@pytest.mark.clause("KV-SHD-01", "KV-SHD-03")
def test_closing_frees_files_and_threads_and_may_be_repeated(tmp_path):
    KvBlockManager(config(tmp_path)).close()  # what is made once and kept
    before = used()
    manager = KvBlockManager(config(tmp_path))
    store(manager.device(), [1]).release()
    settle(manager)
    device = manager.device()
    manager.close()
    manager.close()
    assert used() == before
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProgressEngineShutdown):
        device.allocate_blocks(1)


@pytest.mark.clause("KV-SHD-03")
def test_dropping_a_manager_closes_it(tmp_path):
    KvBlockManager(config(tmp_path)).close()
    before = used()
    manager = KvBlockManager(config(tmp_path))
    store(manager.device(), [1]).release()
    settle(manager)
    del manager
    gc.collect()
    assert used() == before


@pytest.mark.clause("KV-SHD-04")
def test_the_token_closes_the_manager_and_wakes_who_waits(tmp_path):
    token = CancellationToken()
    manager = KvBlockManager(config(tmp_path, token=token))
    held = manager.device().allocate_blocks(4)

    async def wait():
        asyncio.get_running_loop().call_later(0.05, token.cancel)
        await manager.device().wait_for_blocks(1, timeout=10)

    with pytest.raises(Exception, match="closed"):
        asyncio.run(wait())
    with pytest.raises(ProgressEngineShutdown):
        manager.host().allocate_blocks(1)
    del held


def test_a_tier_that_cannot_be_made_leaves_nothing_behind(tmp_path):
    class Full:
        def allocate(self, size):
            raise MemoryError(f"no {size} bytes")

    before = used()
    broken = config(tmp_path)
    missing = KvManagerLayoutConfig(num_blocks=4, allocator=Full())
    with pytest.raises(MemoryError, match="bytes"):
        KvBlockManager(
            KvBlockManagerConfig(
                runtime=broken.runtime,
                model=MODEL,
                device_layout=broken.device_layout,
                disk_layout=missing,
            )
        )
    assert used() == before


def test_a_manager_without_tiers_has_no_pools():
    runtime = KvManagerRuntimeConfig(worker_id=0)
    with KvBlockManager(KvBlockManagerConfig(runtime=runtime, model=MODEL)) as manager:
        assert manager.device() is manager.host() is manager.disk() is None
        for refused in (manager.onboard, manager.prefetch, manager.offload):
            with pytest.raises(NoSuchTier):
                refused([1])


def test_a_logical_tier_is_refused():
    tier = KvManagerLayoutConfig(num_blocks=1, logical=BlockParallelismStrategy.LeaderWorkerSharded)
    runtime = KvManagerRuntimeConfig(worker_id=0)
    with pytest.raises(InvalidConfig, match=r"device_layout\.logical"):
        KvBlockManager(KvBlockManagerConfig(runtime=runtime, model=MODEL, device_layout=tier))


def test_the_callers_event_manager_hears_of_every_tier(tmp_path):
    theirs = EventLog()
    with KvBlockManager(config(tmp_path, events=theirs)) as manager:
        store(manager.device(), [1]).release()
        settle(manager)
        ours = manager.events.reader(0).read()
    changes = [item.change for item in theirs.reader(0).read()]
    assert [(c.tier, list(c.sequence_hashes)) for c in changes] == [
        ("device", [1]),
        ("host", [1]),
        ("disk", [1]),
    ]
    assert [item.change for item in ours] == changes


def test_offload_by_hand_and_its_statistics(tmp_path):
    with KvBlockManager(config(tmp_path, mode="write_back")) as manager:
        store(manager.device(), [1]).release()
        offload = manager.offload([1])
        assert offload.wait(10)
        assert offload.ended[1].outcome is Outcome.COMPLETED
        numbers = manager.statistics()
        assert numbers.pools["host"].inactive == 1
        assert numbers.transfers.completed == 1


def test_a_low_priority_ends_the_prefix_that_is_copied(tmp_path):
    settings = config(tmp_path, disk=0, host_offload_prefix_min_priority=2)
    with KvBlockManager(settings) as manager:
        blocks = manager.device().allocate_blocks(3)
        blocks.stage([1, 2, 3])
        for block, priority in zip(blocks, (5, 1, 5), strict=True):
            block.priority = priority
        manager.device().register_blocks(blocks).release()
        settle(manager)
        assert manager.host().contains([1, 2, 3]) == [True, False, False]


def test_the_documents_spelling():
    async def main():
        runtime = KvManagerRuntimeConfig.builder().worker_id(0).build()
        manager = await KvBlockManager.new(KvBlockManagerConfig(runtime=runtime, model=MODEL))
        with manager:
            return manager.block_size, manager.worker_id, repr(manager)

    assert asyncio.run(main()) == (4, 0, "KvBlockManager(worker 0: no tiers)")


@pytest.mark.clause("KV-CON-02", "KV-CON-04", "KV-LIV-03", "KV-CAP-10")
def test_many_threads_and_tasks_lose_no_block(tmp_path):
    """KVBM_STRESS_SECONDS makes it longer."""
    seconds = float(os.environ.get("KVBM_STRESS_SECONDS", "1.5"))
    stop = threading.Event()
    problems = []
    rounds = []
    with KvBlockManager(config(tmp_path, device=12, host=12, disk=24)) as manager:
        device = manager.device()

        def check(found, names):
            for block, name in zip(found, names, strict=False):
                assert holds(block, name), f"wrong bytes for {name}"

        def use(found, names):
            """Check what was found, compute the rest if there is room."""
            check(found, names)
            rest = names[len(found) :]
            with contextlib.suppress(NotEnoughBlocksAvailable):
                if rest:
                    store(device, rest).release()
            rounds.append(len(found))

        def thread(seed):
            random = np.random.default_rng(seed)
            try:
                while not stop.is_set():
                    first = int(random.integers(0, 10))
                    names = list(range(first, first + 3))
                    with manager.onboard(names, layer_wise=bool(first % 2)).wait(10) as found:
                        use(found, names)
            except Exception as error:  # noqa: BLE001  told by the test
                problems.append(error)

        async def task(seed):
            random = np.random.default_rng(seed)
            while not stop.is_set():
                first = int(random.integers(0, 10))
                names = list(range(first, first + 2))
                with await manager.onboard(names) as found:
                    use(found, names)
                with contextlib.suppress(WaitCancelled):
                    (await device.wait_for_blocks(2, timeout=0.01)).release()

        async def tasks():
            await asyncio.gather(*(task(seed) for seed in range(10, 14)))

        def loop():
            try:
                asyncio.run(tasks())
            except Exception as error:  # noqa: BLE001  told by the test
                problems.append(error)

        workers = [threading.Thread(target=thread, args=(seed,)) for seed in range(4)]
        workers.append(threading.Thread(target=loop))
        for worker in workers:
            worker.start()
        stop.wait(seconds)
        stop.set()
        for worker in workers:
            worker.join(30)
            assert not worker.is_alive(), "a worker hangs"
        assert problems == []
        assert sum(rounds) > 0, "nothing was ever found"
        settle(manager)
        for pool in (device, manager.host(), manager.disk()):
            # Who waited for a load may be told a moment before its thread lets go of it.
            for _ in range(500):
                if pool.available_blocks() == pool.total_blocks():
                    break
                time.sleep(0.01)
            assert pool.available_blocks() == pool.total_blocks()
            pool._check()


def test_a_token_that_is_cancelled_already_makes_a_closed_manager(tmp_path):
    token = CancellationToken()
    token.cancel()
    before = used()
    manager = KvBlockManager(config(tmp_path, token=token))
    with pytest.raises(ProgressEngineShutdown):
        manager.device().allocate_blocks(1)
    assert used() == before


@pytest.mark.clause("KV-SHD-01", "KV-SHD-03", "KV-CON-03")
def test_a_token_that_is_cancelled_in_the_middle_of_a_call_frees_everything(tmp_path):
    KvBlockManager(config(tmp_path)).close()
    before = used()
    token = CancellationToken()
    manager = KvBlockManager(config(tmp_path, token=token))
    device = manager.device()
    store(device, [1, 2, 3, 4]).release()
    settle(manager)
    device.on_evict = lambda _: token.cancel()  # as a finaliser might
    device.allocate_blocks(1)
    assert used() == before
    for pool in (device, manager.host(), manager.disk()):
        with pytest.raises(ProgressEngineShutdown):
            pool.allocate_blocks(1)


@pytest.mark.clause("KV-LIV-03")
def test_write_back_needs_no_thread_that_waits_for_its_pool(tmp_path):
    sizes = {"device": 64, "host": 16, "disk": 128}
    limits = {"max_concurrent_transfers": 4, "max_transfer_batch_size": 2}
    with KvBlockManager(config(tmp_path, mode="write_back", **sizes, **limits)) as manager:
        names = list(range(1, 61))
        for name in names:
            store(manager.device(), [name]).release()
        # Each copy that lands makes room for the next, which evicts from the host to the disk.
        hurry = threading.Thread(target=manager.offload, args=[names], daemon=True)
        hurry.start()
        hurry.join(20)
        assert not hurry.is_alive(), "a deadlock"
        settle(manager)
        found = zip(manager.host().contains(names), manager.disk().contains(names), strict=True)
        assert all(host or disk for host, disk in found)
        moved = manager.statistics().transfers
        assert moved.completed > len(names) // 2  # those of write-back, too


def test_between_memories_there_are_checksums_only_if_asked_for(tmp_path):
    for checksums in (False, True):
        with KvBlockManager(config(tmp_path, disk=0, checksums=checksums)) as manager:
            store(manager.device(), [1]).release()
            settle(manager)
            known = manager._routes[0]._mover.known(manager._tiers["host"], 0)
            assert (known is not None) == checksums


@pytest.mark.clause("KV-INT-03")
def test_layer_by_layer_a_byte_that_went_bad_on_the_disk_is_found_too(tmp_path):
    with KvBlockManager(config(tmp_path, host=0)) as manager:
        device = manager.device()
        store(device, [1]).release()
        settle(manager)
        device.reset_blocks([1])
        with manager.onboard([1], layer_wise=True).wait(10) as blocks:
            assert holds(blocks[0], 1)
        device.reset_blocks([1])
        _, offset = manager.layout("disk").layout.offset(0, 2, 1)
        manager.layout("disk").memories[0].memset(255, offset + 5, 1)
        onboarding = manager.onboard([1], layer_wise=True)
        with pytest.raises(CorruptBlock):
            onboarding.wait_for_layer(0, timeout=10)
        assert len(onboarding.wait(10)) == 0
        assert manager._routes[0]._mover._wholes == {}


@pytest.mark.clause("KV-SHD-02", "KV-SHD-04")
def test_closing_in_no_time_ends_every_block_that_is_on_its_way(tmp_path):
    settings = config(tmp_path, device=64, host=64, disk=64, max_transfer_batch_size=1)
    manager = KvBlockManager(settings)
    names = list(range(1, 60))
    store(manager.device(), names).release()
    offload = manager.offload(names)
    with contextlib.suppress(TransfersAbandoned):
        manager.close(timeout=0)
    assert offload.wait(10)
    assert len(offload.ended) == len(names)


def test_statistics_of_a_way_count_offloads_by_hand_and_by_eviction(tmp_path):
    with KvBlockManager(config(tmp_path, device=2, mode="write_back")) as manager:
        store(manager.device(), [1, 2]).release()
        assert manager.offload([1]).wait(10)
        store(manager.device(), [3, 4]).release()
        ended = manager.statistics().offloaded["device to host"]
        assert (ended[Outcome.COMPLETED], ended[Outcome.FILTERED]) == (2, 1)


@pytest.mark.clause("KV-LIV-03")
def test_write_back_goes_on_while_every_thread_of_the_engine_is_busy(tmp_path):
    with KvBlockManager(config(tmp_path, device=2, mode="write_back")) as manager:
        free = threading.Event()
        busy = [manager._engines.threads._own.submit(free.wait, 30) for _ in range(8)]
        store(manager.device(), [1, 2]).release()
        hurry = threading.Thread(target=manager.device().allocate_blocks, args=[2], daemon=True)
        hurry.start()
        hurry.join(10)
        waited = hurry.is_alive()
        free.set()
        assert not waited, "it needed one of those threads"
        assert all(one.result() for one in busy)
        assert manager.host().contains([1, 2]) == [True, True]


def test_a_closed_manager_leaves_no_hook_no_subscription_and_no_view(tmp_path):
    for mode in ("write_back", "write_through"):
        with KvBlockManager(config(tmp_path, mode=mode)) as manager:
            device, [block] = manager.device(), manager.device().allocate_blocks(1)
        assert device.on_evict is None
        assert manager.events._subscriptions == []
        with pytest.raises(ViewsNotAvailable):
            block.layer_view(0, 0)
