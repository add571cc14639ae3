"""KvBlockManager: tiers from a configuration, and what moves between them.

What this is
    The documented face of the whole house. It makes a pool and memory for each configured
    tier, copies blocks to slower tiers when they are registered (write-through) or evicted
    (write-back), and brings cached prefixes back.

        with KvBlockManager(config) as manager:
            blocks = manager.device().allocate_blocks(4)
            ...
            cached = manager.onboard(hashes).wait()

Interface, as rules of use
    * `device()`, `host()` and `disk()` give the pools of the tiers that are configured.
    * A block's bytes are seen through its handle: `block.layer_view(layer, outer)`.
    * close() ends everything in bounded time: what waits is cancelled and told so, what
      runs is waited for, then memory, files and threads go. So does dropping the manager, and
      the end of the program.

Clauses: KV-SHD-01, KV-SHD-02, KV-SHD-03, KV-SHD-04, KV-SHD-05, KV-TIR-10
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import TracebackType
from typing import Self, final
from weakref import WeakMethod, finalize

from kvbm.blocks import SequenceHash
from kvbm.config import CancellationToken, KvBlockManagerConfig, KvManagerLayoutConfig
from kvbm.errors import InvalidConfig, NoSuchTier, TransfersAbandoned
from kvbm.events import EventLog, Subscription
from kvbm.layout import BoundLayout
from kvbm.pool import BlockPool, ChangeSink, PoolStatistics
from kvbm.storage import Storage
from kvbm.tiering import (
    EngineMover,
    Engines,
    FrequencyFilter,
    IndexStatistics,
    Limits,
    Mover,
    Offload,
    OffloadFilter,
    Onboarder,
    Onboarding,
    Outcome,
    PersistentDisk,
    Route,
    Tier,
    TwoSinks,
    WriteBack,
    WriteThrough,
    count_offloaded,
)
from kvbm.transfer import TransferStatistics

CLOSING_SECONDS = 30.0
"""How long a dropped manager waits for copies that run."""


@final
@dataclass(frozen=True, slots=True)
class ManagerStatistics:
    """What a manager looked like at one moment. Safe to keep; it never changes."""

    pools: Mapping[str, PoolStatistics]  # by tier
    offloaded: Mapping[str, Mapping[Outcome, int]]  # blocks, by "source to target"
    transfers: TransferStatistics
    index: IndexStatistics | None  # of a persistent disk


@final
class KvBlockManager:
    """Blocks over up to three tiers.

    Parameters
    ----------
    config
        Checked already. Its cancellation token closes the manager.

    Raises
    ------
    InvalidConfig
        A tier is `logical`: its blocks lie with other workers.
    StorageError
        Memory or disk space is short. Nothing is left behind.

    Examples
    --------
    >>> from kvbm.config import KvManagerModelConfig, KvManagerRuntimeConfig
    >>> from kvbm.storage import DeviceAllocator
    >>> config = KvBlockManagerConfig(
    ...     runtime=KvManagerRuntimeConfig(worker_id=0),
    ...     model=KvManagerModelConfig(num_layers=2, outer_dim=2, page_size=4, inner_dim=8),
    ...     device_layout=KvManagerLayoutConfig(
    ...         num_blocks=3, allocator=DeviceAllocator.emulated()
    ...     ),
    ... )
    >>> with KvBlockManager(config) as manager:
    ...     with manager.device().allocate_blocks(1) as blocks:
    ...         blocks[0].layer_view(1, 0).numpy().shape
    (4, 8)
    """

    def __init__(self, config: KvBlockManagerConfig) -> None:
        self._closed = False
        self._config = config
        self.events = EventLog(source=f"worker-{config.runtime.worker_id}")
        self._owned: list[Storage] = []
        self._persistent: PersistentDisk | None = None
        self._engines = Engines("memory" if config.offload.checksums else "disk")
        try:
            self._tiers = {name: self._tier(name, one) for name, one in config.tiers().items()}
            mover: Mover = EngineMover(self._engines.threads, self._engines.here)
            if self._persistent is not None:
                mover = self._persistent.restore(self._tiers["disk"], mover)
        except BaseException:
            self._free()
            raise
        self._routes: list[Route] = []
        self._write_backs: list[WriteBack] = []
        self._subscription: Subscription | None = None
        self._join(mover)
        tiers = list(self._tiers.values())
        layers = config.model.num_layers
        self._onboarder = Onboarder(tiers, mover, layers=layers) if tiers else None
        self._prefetcher = Onboarder(tiers[1:], mover, layers=layers) if tiers[1:] else None
        # Weakly: a token that lives on must not keep a dropped manager.
        close = partial(_call, WeakMethod(self.close))
        # A program that just ends: close while modules are whole, not in a finaliser after that.
        self._at_exit = finalize(self, close)
        self._forget_token: Callable[[], None] | None = None  # a cancelled one closes at once
        self._forget_token = config.runtime.cancellation_token.on_cancel(close)

    @classmethod
    async def new(cls, config: KvBlockManagerConfig) -> Self:
        """Make a manager, as the documents spell it: `await KvBlockManager.new(config)`."""
        return cls(config)

    # ── what there is ─────────────────────────────────────────────────────────────────

    @property
    def config(self) -> KvBlockManagerConfig:
        """What the manager was made from."""
        return self._config

    @property
    def block_size(self) -> int:
        """Tokens in a block."""
        return self._config.model.page_size

    @property
    def worker_id(self) -> int:
        """The number of this worker."""
        return self._config.runtime.worker_id

    @property
    def cancellation_token(self) -> CancellationToken:
        """Closes the manager when it is cancelled."""
        return self._config.runtime.cancellation_token

    def device(self) -> BlockPool | None:
        """Give the pool of the device tier, or None if there is none."""
        return self._pool("device")

    def host(self) -> BlockPool | None:
        """Give the pool of the host tier, or None if there is none."""
        return self._pool("host")

    def disk(self) -> BlockPool | None:
        """Give the pool of the disk tier, or None if there is none."""
        return self._pool("disk")

    def layout(self, tier: str) -> BoundLayout:
        """Give the layout of a tier, bound to its memory. Raises NoSuchTier."""
        place: BoundLayout = self._known(tier).place
        return place

    def statistics(self) -> ManagerStatistics:
        """Take a picture of all numbers."""
        pools = {name: tier.pool.statistics() for name, tier in self._tiers.items()}
        offloaded = count_offloaded([*self._routes, *self._write_backs])
        index = None if self._persistent is None else self._persistent.statistics()
        return ManagerStatistics(pools, offloaded, self._engines.statistics(), index)

    # ── what moves ────────────────────────────────────────────────────────────────────

    def onboard(
        self, sequence_hashes: Sequence[SequenceHash], *, layer_wise: bool = False
    ) -> Onboarding:
        """Find the longest cached prefix over all tiers and bring it into the fastest.

        Parameters
        ----------
        sequence_hashes
            Of one sequence, from its first block on.
        layer_wise
            One copy a layer, so that `wait_for_layer` can return early.

        Returns
        -------
        Onboarding
            `wait()` or `await` gives the blocks.

        Raises
        ------
        NoSuchTier
            The manager has no tiers.
        """
        if self._onboarder is None:
            raise NoSuchTier("device", ())
        return self._onboarder.onboard(sequence_hashes, layer_wise=layer_wise)

    def prefetch(self, sequence_hashes: Sequence[SequenceHash]) -> Onboarding:
        """Bring what only the disk has into the host tier, before it is needed.

        Raises
        ------
        NoSuchTier
            There is no slower tier to prefetch into.
        """
        if self._prefetcher is None:
            raise NoSuchTier("host", tuple(self._tiers))
        return self._prefetcher.onboard(sequence_hashes)

    def offload(
        self,
        sequence_hashes: Sequence[SequenceHash],
        *,
        source: str = "device",
        priority: int = 0,
    ) -> Offload:
        """Copy registered blocks of a tier to the next slower one, asked for by hand.

        Raises
        ------
        NoSuchTier
            There is no such tier, or none behind it.
        """
        for route in self._routes:
            if route.source.name == source:
                return route.enqueue(sequence_hashes, [priority] * len(sequence_hashes))
        raise NoSuchTier(f"one behind {source}", tuple(self._tiers))

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until no copy is on its way; False if `timeout` seconds were not enough."""
        until = None if timeout is None else time.monotonic() + timeout
        loaded = self._onboarder is None or self._onboarder.wait(_left(until))
        # Fastest first: what lands in one tier goes on to the next.
        return loaded and all(route.wait(_left(until)) for route in self._routes)

    # ── the end ───────────────────────────────────────────────────────────────────────

    def close(self, timeout: float | None = CLOSING_SECONDS) -> None:
        """End everything, at most `timeout` seconds for copies that run. Idempotent.

        Raises
        ------
        TransfersAbandoned
            Copies are stuck. Their memory stays until they end; all else is released.
        """
        if self._closed:
            return
        self._closed = True
        if self._forget_token is not None:
            self._forget_token()
        self._at_exit.detach()
        if self._subscription is not None:
            self._subscription.close()
        until = None if timeout is None else time.monotonic() + timeout
        for write_back in self._write_backs:
            write_back.remove()
        for route in self._routes:
            route.close(_left(until))
        try:
            self._engines.close(_left(until))
        except TransfersAbandoned:
            self._owned.clear()  # somebody may still write there: those who do keep it alive
            raise
        finally:
            for tier in self._tiers.values():
                tier.pool.close()
                tier.pool.memory = None
            self._free()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and hasattr(self, "_at_exit"):
            with contextlib.suppress(TransfersAbandoned):
                self.close()

    def __repr__(self) -> str:
        sizes = ", ".join(
            f"{name} {tier.pool.total_blocks()}" for name, tier in self._tiers.items()
        )
        return f"KvBlockManager(worker {self.worker_id}: {sizes or 'no tiers'})"

    # ── inside ────────────────────────────────────────────────────────────────────────

    def _pool(self, name: str) -> BlockPool | None:
        tier = self._tiers.get(name)
        return None if tier is None else tier.pool

    def _known(self, name: str) -> Tier:
        if name not in self._tiers:
            raise NoSuchTier(name, tuple(self._tiers))
        return self._tiers[name]

    def _tier(self, name: str, config: KvManagerLayoutConfig) -> Tier:
        """Make one tier: memory, layout and pool."""
        if config.logical is not None:
            rule = "blocks of a logical tier lie with other workers; give an allocator"
            raise InvalidConfig(f"{name}_layout.logical", config.logical, rule)
        layout = config.layout(self._config.model)
        memories: Sequence[Storage] = config.storage or ()
        if config.allocator is not None:
            for size in layout.required_sizes():
                self._owned.append(config.allocator.allocate(size))
            memories = self._owned[-layout.num_storages :]
        log: ChangeSink = self.events
        if config.persistence is not None:
            kept = PersistentDisk(config.persistence, layout, self._config.scheme)
            self._persistent, memories, log = kept, kept.storages, TwoSinks(log, kept)
            self._owned.extend(memories)
        pool = BlockPool(
            config.num_blocks,
            page_size=self._config.model.page_size,
            policy=config.policy,
            duplicates=config.duplicates,
            scheme=self._config.scheme,
            verify_tokens=self._config.verify_tokens,
            tier=name,
            events=TwoSinks(log, self._config.event_manager),
        )
        bound = layout.bind(memories)
        pool.memory = bound
        return Tier(name, pool, bound)

    def _join(self, mover: Mover) -> None:
        """Make the ways from each tier to the next slower one."""
        offload = self._config.offload
        limits = Limits(
            offload.max_concurrent_transfers,
            offload.max_transfer_batch_size,
            offload.max_queued_blocks,
        )
        tiers = list(self._tiers.values())
        for source, target in pairwise(tiers):
            filters = self._filters(source, target)
            if offload.mode == "write_back":
                self._write_backs.append(WriteBack(source, target, mover, filters=filters))
            self._routes.append(Route(source, target, mover, limits=limits, filters=filters))
        if offload.mode == "write_through" and self._routes:
            # By reference to the routes alone, so that a dropped manager can be collected.
            follow = WriteThrough(self._routes, offload.host_offload_prefix_min_priority)
            self._subscription = self.events.subscribe(follow)

    def _filters(self, source: Tier, target: Tier) -> list[OffloadFilter]:
        filters: list[OffloadFilter] = []
        own = self._config.tiers()[source.name].offload_filter
        if own is not None:
            filters.append(own)
        if self._config.offload.disk_offload_filter and target.name == "disk":
            filters.append(FrequencyFilter(2, clock=time.monotonic))
        return filters

    def _free(self) -> None:
        """Close the index, and the memory that was allocated here, the last first."""
        if self._persistent is not None:
            self._persistent.close()
        while self._owned:
            self._owned.pop().close()


def _call(method: WeakMethod[Callable[..., None]]) -> None:
    close = method()
    if close is not None:
        close()


def _left(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())
