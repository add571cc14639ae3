"""Real threads, all operations, two seconds; then every invariant."""

from __future__ import annotations

import random
import sys
import threading
import time
from typing import Any

import pytest

from kvbm.errors import BlockNotFound, KvbmError, NotEnoughBlocksAvailable, NotPinned
from kvbm.events import EventBatch, EventLog, Gap, fold
from kvbm.pool import BlockPool, EvictionMode


class Worker(threading.Thread):
    """A client that does everything at random and holds a few blocks meanwhile."""

    def __init__(self, pool: BlockPool, seed: int, until: float, shared: list[Any]) -> None:
        super().__init__()
        self.pool, self.until, self.shared = pool, until, shared
        self.random = random.Random(seed)
        self.held: list[Any] = []
        self.calls = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while time.monotonic() < self.until:
                self.step()
        except BaseException as error:  # noqa: BLE001 (the test tells it)
            self.error = error
        self.held.clear()

    def step(self) -> None:
        pool, chance = self.pool, self.random
        self.calls += 1
        start = chance.randrange(0, 40)
        path = list(range(start, start + chance.randrange(1, 6)))
        what = chance.randrange(10)
        try:
            if what < 3:
                hits = pool.match_sequence_hashes(path)
                rest = path[len(hits) :]
                if rest:
                    blocks = pool.allocate_blocks(len(rest))
                    blocks.stage(rest, parent=hits[-1].sequence_hash() if len(hits) else None)
                    self.held.append(pool.register_blocks(blocks))
                assert hits.sequence_hashes() == path[: len(hits)]
                self.held.append(hits)
            elif what == 3:
                found = pool.scan_matches(path)
                assert all(block.sequence_hash() == name for name, block in found.items())
                self.shared.append(list(found.values()))
            elif what == 4:
                pool.pin_blocks(path[:1])
                pool.unpin_blocks(path[:1])
            elif what == 5:
                pool.touch_blocks(path)
                pool.reset_blocks(path)
            elif what == 6 and chance.random() < 0.2:
                pool.trigger_eviction(chance.choice(list(EvictionMode)))
            elif what == 7 and self.shared:
                taken = self.shared.pop()
                self.held += [block.clone() for block in taken]
                self.held += [block.downgrade() for block in taken]
            elif what == 8 and self.held:
                weak = self.held.pop(chance.randrange(len(self.held)))
                if hasattr(weak, "upgrade"):
                    block = weak.upgrade()
                    assert block is None or block.sequence_hash() == weak.sequence_hash()
            else:
                del self.held[: len(self.held) // 2]
        except (NotEnoughBlocksAvailable, BlockNotFound):
            self.held.clear()
        except IndexError:
            pass  # somebody else took the last shared blocks
        if len(self.held) > 6:
            self.held.pop(0)


@pytest.mark.clause("KV-CAP-02", "KV-CAP-03", "KV-CAP-10", "KV-OWN-01", "KV-OWN-04", "KV-REG-05")
@pytest.mark.clause("KV-EVT-01", "KV-EVT-02", "KV-EVT-05")
@pytest.mark.parametrize("policy", ["priority", "lineage"])
def test_threads_that_do_everything_leave_a_pool_in_order(policy: str) -> None:
    log = EventLog(keep=1 << 20)
    pool = BlockPool(24, policy=policy, duplicates="allow", events=log)
    seen: list[EventBatch | Gap] = []
    log.subscribe(seen.append)
    shared: list[Any] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        until = time.monotonic() + 1.0
        workers = [Worker(pool, seed, until, shared) for seed in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    for worker in workers:
        assert worker.error is None, worker.error
    assert sum(worker.calls for worker in workers) > 200
    shared.clear()
    del workers, worker
    assert pool.available_blocks() == 24
    pool._check()
    now = pool.statistics()
    assert now.empty + now.inactive == now.total
    assert (now.pinned, now.owned, now.active, now.duplicates) == (0, 0, 0, 0)
    numbers = [batch.number for batch in seen if isinstance(batch, EventBatch)]
    assert numbers == list(range(log.next_number)), "all, once, in order"
    assert fold(seen) == pool.snapshot().stored
    present: set[Any] = set()
    for batch in seen:
        assert isinstance(batch, EventBatch)
        for name in batch.change.sequence_hashes:
            assert (name in present) == (batch.change.kind.value == "removed"), "KV-EVT-02"
        present ^= set(batch.change.sequence_hashes)


@pytest.mark.clause("KV-LIF-02", "KV-LIF-06", "KV-OWN-01")
def test_of_many_threads_that_end_one_handle_one_does() -> None:
    pool = BlockPool(1)
    for _ in range(100):
        block = pool.allocate_blocks(1)[0].stage(7)
        done: list[str] = []
        start = threading.Barrier(3)

        def end(block: Any = block, done: list[str] = done, start: Any = start) -> None:
            start.wait()
            try:
                block.release()
            except KvbmError as error:
                done.append(error.kind.value)
            else:
                done.append("released")

        threads = [threading.Thread(target=end) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(done) == ["StaleHandle", "StaleHandle", "released"]
        assert pool.available_blocks() == 1


@pytest.mark.clause("KV-LIF-07")
def test_of_many_threads_that_remove_one_pin_one_does() -> None:
    pool = BlockPool(1)
    blocks = pool.allocate_blocks(1)
    blocks.stage([7])
    held = pool.register_blocks(blocks)
    for _ in range(50):
        pool.pin_blocks([7])
        done: list[bool] = []
        start = threading.Barrier(3)

        def unpin(done: list[bool] = done, start: Any = start) -> None:
            start.wait()
            try:
                pool.unpin_blocks([7])
            except NotPinned:
                done.append(False)
            else:
                done.append(True)

        threads = [threading.Thread(target=unpin) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(done) == [False, False, True]
        assert held[0].use_count == 1


def test_of_many_threads_that_close_a_pool_none_fails() -> None:
    errors: list[BaseException] = []
    for _ in range(50):
        pool = BlockPool(1)
        start = threading.Barrier(3)

        def close(pool: BlockPool = pool, start: Any = start) -> None:
            start.wait()
            try:
                pool.close()
            except BaseException as error:  # noqa: BLE001 (the test tells it)
                errors.append(error)

        threads = [threading.Thread(target=close) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
