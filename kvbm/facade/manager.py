"""BlockManager: the few calls of the documented Python page, over a whole manager.

What this is
    A `KvBlockManager` with defaults. Here a block is a *sequence of its layers*; everywhere
    else in the house it is a handle.

        with BlockManager(num_layers=32, page_size=16, inner_dim=1024) as manager:
            with manager.allocate_blocks(4) as blocks:
                for layer in blocks[0]:
                    numpy.from_dlpack(layer)[:] = 0   # [outer, tokens, inner], shared

Interface, as rules of use
    * Everything is synchronous; `await` on a list of blocks gives the list.
    * Give content to blocks before you register them: `blocks.apply_token_blocks(…)`, or
      `blocks.stage(hashes)` where your engine hashes. An error leaves them usable.
    * `manager.manager` and `pool.pool` have all other operations, onboarding among them.
    * close(), or dropping the manager and its pools, ends everything.

Clauses: KV-CAP-06, KV-CAP-08, KV-TIR-09
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self, final

from kvbm.blocks import SequenceHash
from kvbm.config import (
    KvBlockManagerConfig,
    KvManagerLayoutConfig,
    KvManagerModelConfig,
    KvManagerRuntimeConfig,
)
from kvbm.errors import CudaUnavailable, InvalidConfig, NoSuchTier
from kvbm.facade.blocks import Block, Blocks
from kvbm.layout import DType
from kvbm.manager import KvBlockManager
from kvbm.pool import BlockPool
from kvbm.storage import DeviceAllocator, PinnedAllocator, StorageAllocator

DEFAULT_BLOCKS: Final = 32
"""Blocks of each tier, if nothing is said: enough for first steps, 512 tokens in pages of 16."""

DEVICES: Final = ("auto", "cuda", "emulated")


@final
class BlockManager:
    """A device tier and a host tier, ready to use.

    Parameters
    ----------
    num_layers, page_size, inner_dim
        Shape of a block: layers, tokens, and elements of a token in one layer and outer.
    dtype
        Type of an element.
    device_id
        Which device.
    outer_dim
        2 where key and value are apart, 1 where they are one.
    num_device_blocks, num_host_blocks : blocks
        Size of each tier; None is no such tier.
    device : "auto", "cuda" or "emulated"
        Where the device tier lies. `auto` takes CUDA where it can be had, and host memory
        that stands in for it elsewhere; the attribute `device` says which it became.

    Raises
    ------
    InvalidConfig
        A value is impossible; the message names it.
    StorageError
        Memory is short, or CUDA was asked for and is not there.

    Examples
    --------
    >>> manager = BlockManager(2, page_size=4, inner_dim=8, device="emulated")
    >>> with manager.allocate_blocks(3) as blocks:
    ...     len(blocks), len(blocks[0]), blocks[0][1].shape, manager.get_device_pool().usage()
    (3, 2, (2, 4, 8), 0.09375)
    >>> manager.get_device_pool().usage()
    0.0
    >>> manager.close()
    """

    def __init__(
        self,
        num_layers: int,
        page_size: int,
        inner_dim: int,
        dtype: DType = DType.FP16,
        device_id: int = 0,
        *,
        outer_dim: int = 2,
        num_device_blocks: int | None = DEFAULT_BLOCKS,
        num_host_blocks: int | None = DEFAULT_BLOCKS,
        device: str = "auto",
    ) -> None:
        self.device, allocator = _allocator(device, device_id)
        config = KvBlockManagerConfig(
            runtime=KvManagerRuntimeConfig(worker_id=0),
            model=KvManagerModelConfig(
                num_layers=num_layers,
                outer_dim=outer_dim,
                page_size=page_size,
                inner_dim=inner_dim,
                dtype=dtype,
            ),
            device_layout=_tier(num_device_blocks, allocator),
            host_layout=_tier(num_host_blocks, PinnedAllocator()),
        )
        self.manager = KvBlockManager(config)
        self._device_pool = _pool(self.manager, self.manager.device())
        self._host_pool = _pool(self.manager, self.manager.host())

    @property
    def block_size(self) -> int:
        """Tokens in a block."""
        return self.manager.block_size

    def get_device_pool(self) -> Pool | None:
        """Give the pool of the device tier, or None if there is none."""
        return self._device_pool

    def get_host_pool(self) -> Pool | None:
        """Give the pool of the host tier, or None if there is none."""
        return self._host_pool

    def allocate_blocks(self, count: int) -> Blocks:
        """Take `count` blocks of the device tier, or none.

        Raises
        ------
        NotEnoughBlocksAvailable
            Fewer are available: a `BlockManagerError`, as all errors. Nothing was taken.
        NoSuchTier
            There is no device tier.
        """
        if self._device_pool is None:
            raise NoSuchTier("device", tuple(self.manager.config.tiers()))
        return self._device_pool.allocate_blocks(count)

    def close(self) -> None:
        """End everything: blocks, pools, memory. Idempotent."""
        self.manager.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"BlockManager({self.manager!r}, device {self.device})"


@final
class Pool:
    """The pool of one tier. It keeps its manager; `pool.pool` has all other operations."""

    def __init__(self, manager: KvBlockManager, pool: BlockPool) -> None:
        self._manager = manager
        self.pool = pool

    def total_blocks(self) -> int:
        """Count all slots."""
        return self.pool.total_blocks()

    def available_blocks(self) -> int:
        """Count what an allocation could take now."""
        return self.pool.available_blocks()

    def usage(self) -> float:
        """Give the share of slots that are held, 0.0 … 1.0. Cached blocks are not in use."""
        return self.pool.usage()

    def allocate_blocks(self, count: int) -> Blocks:
        """Take `count` blocks or none. See `BlockPool.allocate_blocks`."""
        return Blocks(self.pool.allocate_blocks(count))

    def register_blocks(self, blocks: Blocks | Sequence[Block]) -> Blocks:
        """Publish blocks that have content. See `BlockPool.register_blocks`."""
        if isinstance(blocks, Blocks):
            return Blocks(self.pool.register_blocks(blocks.handles))
        handles: list[Any] = [block.handle for block in blocks]
        return Blocks(self.pool.register_blocks(handles))

    def match_sequence_hashes(self, sequence_hashes: Sequence[SequenceHash]) -> Blocks:
        """Hold the longest registered prefix. See `BlockPool.match_sequence_hashes`."""
        return Blocks(self.pool.match_sequence_hashes(sequence_hashes))

    def __repr__(self) -> str:
        return f"Pool({self.pool!r})"


def _allocator(device: str, device_id: int) -> tuple[str, StorageAllocator]:
    """Find the device's memory, and say which it is."""
    if device not in DEVICES:
        raise InvalidConfig("device", device, f"must be one of {', '.join(DEVICES)}")
    if device != "emulated":
        try:
            return "cuda", DeviceAllocator(device_id)
        except CudaUnavailable:
            if device == "cuda":
                raise
    return "emulated", DeviceAllocator.emulated(device_id)


def _tier(blocks: int | None, allocator: StorageAllocator) -> KvManagerLayoutConfig | None:
    return None if blocks is None else KvManagerLayoutConfig(num_blocks=blocks, allocator=allocator)


def _pool(manager: KvBlockManager, pool: BlockPool | None) -> Pool | None:
    return None if pool is None else Pool(manager, pool)
