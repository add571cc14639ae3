"""Replay with bytes: a trace through a real manager, every block filled and checked.

What this is
    The rules `kvbm` on up to three tiers with memory and a file behind them. Each new block is
    filled with bytes that follow from its hash, offloaded by the manager, and compared each
    time that it is hit, wherever it came from.

Interface, as rules of use
    * Requests go one after the other, and all copies have ended before the next begins: so a
      replay gives the same numbers each time.
    * A wrong byte is counted, never hidden: `wrong_blocks` must be 0.
    * Blocks are small (4 KiB), whatever the model: the order of events is that of large ones.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from kvbm.blocks import BlockList, ImmutableBlock
from kvbm.config import (
    KvBlockManagerConfig,
    KvManagerLayoutConfig,
    KvManagerModelConfig,
    KvManagerRuntimeConfig,
    OffloadConfig,
)
from kvbm.errors import InvalidConfig, WaitCancelled
from kvbm.layout import DType
from kvbm.manager import KvBlockManager
from kvbm.pool import BlockPool
from kvbm.replay.observer import Observer
from kvbm.replay.pattern import Words, fill_blocks, wrong_blocks
from kvbm.replay.result import ReplayResult, TierResult
from kvbm.replay.rules.demand import FIRST_FRESH_KEY, Demand, demands
from kvbm.replay.rules.tally import Tally
from kvbm.replay.trace import Trace
from kvbm.storage import DeviceAllocator, DiskAllocator, PinnedAllocator

LAYERS, OUTER, BLOCK_BYTES = 2, 2, 4096
ONE_BATCH = 65_536
"""Blocks in one copy: all of a request, so that no order is left to chance."""

PATIENCE = 60.0
"""Seconds that copies may take before the replay gives up."""


@dataclass(frozen=True, slots=True)
class TierSizes:
    """Blocks of each tier; 0 is no such tier."""

    device: int
    host: int = 0
    disk: int = 0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) < (name == "device"):
                raise InvalidConfig(f"--{name}", getattr(self, name), "must be a number of blocks")


def replay_tiers(
    trace: Trace,
    sizes: TierSizes,
    *,
    policy: str = "priority",
    verify: bool = True,
    observer: Observer | None = None,
    progress: Callable[[int], None] | None = None,
) -> ReplayResult:
    """Replay a trace through real tiers.

    Parameters
    ----------
    trace, sizes
    policy
        Of every tier.
    verify
        Whether blocks are filled and compared; without it they are copied all the same.
    observer
        Watches the device tier.
    progress
        Called with the number of requests done so far.

    Returns
    -------
    ReplayResult
        With `tiers`, `moved_bytes`, `move_seconds` and `wrong_blocks`.

    Raises
    ------
    InvalidConfig
        The longest request does not fit into the device tier.
    """
    wanted = demands(trace)
    longest = max(demand.blocks for demand in wanted)
    if sizes.device < longest:
        raise InvalidConfig("--device", sizes.device, f"the longest request needs {longest}")
    tally = Tally("kvbm", policy, sizes.device, observer)
    with (
        tempfile.TemporaryDirectory() as folder,
        KvBlockManager(_config(sizes, policy, folder)) as manager,
    ):
        engine = _Engine(manager, tally, verify=verify)
        for index, demand in enumerate(wanted):
            hits = engine.run(index, demand)
            tokens = trace.requests[index].input_tokens
            tally.add(hits, len(demand.prompt), hits * trace.block_size, tokens)
            if progress is not None:
                progress(index + 1)
        return tally.result(tiers=engine.result(trace.block_size))


def _config(sizes: TierSizes, policy: str, folder: str) -> KvBlockManagerConfig:
    def tier(blocks: int, allocator: Any) -> KvManagerLayoutConfig | None:
        if not blocks:
            return None
        return KvManagerLayoutConfig(num_blocks=blocks, allocator=allocator, policy=policy)

    tokens = BLOCK_BYTES // (LAYERS * OUTER * DType.U16.width)
    model = KvManagerModelConfig(
        num_layers=LAYERS, outer_dim=OUTER, page_size=tokens, inner_dim=1, dtype=DType.U16
    )
    return KvBlockManagerConfig(
        runtime=KvManagerRuntimeConfig(worker_id=0),
        model=model,
        device_layout=tier(sizes.device, DeviceAllocator.emulated()),
        host_layout=tier(sizes.host, PinnedAllocator()),
        disk_layout=tier(sizes.disk, DiskAllocator(folder)),
        offload=OffloadConfig(max_concurrent_transfers=1, max_transfer_batch_size=ONE_BATCH),
    )


class _Engine:
    """Serves requests: holds the cached prefix, computes the rest, registers, lets go."""

    def __init__(self, manager: KvBlockManager, tally: Tally, *, verify: bool) -> None:
        device = manager.device()
        assert device is not None, "a device tier is always configured"
        self._manager, self._tally, self._verify = manager, tally, verify
        self._device: BlockPool = device
        memory = manager.layout("device").memories[0].array()
        self._words: Words = memory.view(np.uint64).reshape(device.total_blocks(), -1)
        self._fresh = FIRST_FRESH_KEY
        self._hits: Counter[str] = Counter()
        self._wrong = 0
        self._moving = 0.0
        tally.watch(device._core)

    def run(self, index: int, demand: Demand) -> int:
        """Serve one request; give its hits, in blocks."""
        begin = perf_counter()
        onboarding = self._manager.onboard(demand.prompt[: demand.limit].tolist())
        cached = onboarding.wait(PATIENCE)
        self._settle()
        self._moving += perf_counter() - begin
        hits = len(cached)
        self._hits.update(onboarding.found)
        if hits and self._verify:
            ids = np.array(cached.block_ids)
            self._wrong += wrong_blocks(self._words, ids, demand.prompt[:hits])
        with cached:
            self._compute(index, demand, hits).close()
        begin = perf_counter()
        self._settle()
        self._moving += perf_counter() - begin
        return hits

    def _settle(self) -> None:
        if not self._manager.settle(PATIENCE):
            raise WaitCancelled(0, f"copies between tiers took longer than {PATIENCE} s")

    def _compute(self, index: int, demand: Demand, hits: int) -> BlockList[ImmutableBlock]:
        """Fill and register what was not cached."""
        answer = np.arange(
            self._fresh, self._fresh + demand.full - len(demand.prompt), dtype=np.uint64
        )
        self._fresh += len(answer)
        hashes = np.concatenate([demand.prompt, answer])
        rest = self._device.allocate_blocks(demand.blocks - hits)
        self._tally.occupancy(index, self._device._core)
        filled, partial = rest.split(demand.full - hits)
        partial.close()
        if self._verify:
            fill_blocks(self._words, np.array(filled.block_ids, np.int64), hashes[hits:])
        filled.stage(hashes[hits:], parent=int(hashes[hits - 1]) if hits else None, position=hits)
        if not len(filled):
            return BlockList(self._device, np.empty(0, np.int64), ImmutableBlock)
        return self._device.register_blocks(filled)

    def result(self, block_size: int) -> TierResult:
        """Give what happened in and between the tiers."""
        numbers = self._manager.statistics()
        return TierResult(
            blocks={name: pool.total for name, pool in numbers.pools.items()},
            hit_blocks={name: self._hits[name] for name in numbers.pools},
            hit_tokens={name: self._hits[name] * block_size for name in numbers.pools},
            evictions={name: pool.evicted for name, pool in numbers.pools.items()},
            moved_bytes=numbers.transfers.size,
            move_seconds=self._moving,
            wrong_blocks=self._wrong if self._verify else None,
        )
