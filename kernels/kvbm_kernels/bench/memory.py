"""Memory of the benchmark: where pages and blocks lie.

What this is
    Two pieces of device memory and one of pinned host memory. In them, the layouts of a real
    system: pages as an engine has them, one piece of memory for each (layer, outer) with
    blocks in a shuffled order; and whole blocks, one behind the other, as other tiers have them.

    A GPU's cache would answer for memory that is used again and again. So a case is laid out in
    several places, `turns`, that together exceed the cache, and repetitions go round.

Interface, as rules of use
    * An `Arena` is freed by close().
    * `Layout.turns` says how many disjoint places fit; pages() and blocks() take the turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kvbm_kernels import driver
from kvbm_kernels.rows import BlockShape

BEYOND_CACHE: Final = 256 * 2**20
"""Bytes after which no cache helps."""

MOST_TURNS: Final = 16


class Arena:
    """Source and target on the device, and pinned host memory."""

    def __init__(self, device: int, host: int) -> None:
        self.device, self.host = device, host
        self.source = driver.device_memory(device)
        self.target = driver.device_memory(device)
        self.pinned = driver.pinned_memory(host)

    def close(self) -> None:
        """Free all."""
        driver.free_device_memory(self.source)
        driver.free_device_memory(self.target)
        driver.free_pinned_memory(self.pinned)


@dataclass(frozen=True)
class Layout:
    """Some blocks of one shape, at several places of an arena."""

    shape: BlockShape
    count: int
    capacity: int

    @property
    def size(self) -> int:
        """Bytes of all blocks."""
        return self.count * self.shape.block

    @property
    def turns(self) -> int:
        """Disjoint places, enough to exceed the cache if they fit; 0 if not one does."""
        wanted = -(-BEYOND_CACHE // self.size)
        return min(max(wanted, 1), MOST_TURNS, self.capacity // self.size)

    def blocks(self, base: int, turn: int) -> NDArray[np.uint64]:
        """Give the address of each whole block."""
        start = base + turn * self.size
        return np.uint64(start) + np.uint64(self.shape.block) * np.arange(
            self.count, dtype=np.uint64
        )

    def pages(self, base: int, turn: int) -> NDArray[np.uint64]:
        """Give the address of each (block, layer, outer), blocks shuffled inside each layer."""
        start, region = base + turn * self.size, self.shape.region
        ids = np.random.default_rng(turn).permutation(self.count).astype(np.uint64)
        planes = np.arange(self.shape.layers * self.shape.outer, dtype=np.uint64)
        places = planes[None, :] * np.uint64(self.count) + ids[:, None]  # (blocks, planes)
        return (np.uint64(start) + np.uint64(region) * places).ravel()
