"""Bounce buffers: page-aligned memory for blocks that cannot go in one hop.

What this is
    A stage is a bound layout of a few blocks in pinned memory. It has the order of the
    side that cannot change orders (a disk), and its blocks start at pages.

Interface, as rules of use
    * take() memory, `bind` a stage in it, and give() it back when nobody touches it any
      more, late requests included.
    * Buffers are used again, since fresh memory costs as much as a copy.

Clauses: KV-TIR-02, KV-SHD-03
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Final, final

from kvbm.errors import InvalidConfig
from kvbm.layout import BoundLayout, FullyContiguous, Layout, Ragged
from kvbm.storage import PAGE, BorrowedStorage, PinnedAllocator, StorageAllocator, StorageType
from kvbm.storage.base import Storage
from kvbm.storage.pages import up_to_page

BOUNCE_BYTES: Final = 32 << 20


def stage_layout(like: Layout, blocks: int) -> Layout:
    """Lay `blocks` blocks out in the order of `like`, each from a page on."""
    if isinstance(like, Ragged):
        config = replace(like.config, num_blocks=blocks)
        return Ragged(config, [row.region for row in like.rows])
    return FullyContiguous(replace(like.config, num_blocks=blocks, alignment=PAGE))


def stage_bytes(layout: Layout) -> int:
    """Bytes of memory for a stage."""
    return sum(up_to_page(size + PAGE) for size in layout.data_bytes)


def bind_stage(layout: Layout, storage: Storage, start: int) -> BoundLayout:
    """Bind a stage in a buffer, from byte `start` on."""
    memories = []
    for size in layout.data_bytes:
        room = up_to_page(size)
        piece = storage.array()[start : start + room]
        memories.append(BorrowedStorage(piece, StorageType.Pinned))
        start += room
    return layout.bind(memories)


@final
class BounceBuffers:
    """Memory that is lent and comes back.

    Parameters
    ----------
    size : bytes
        Of a usual buffer.
    """

    def __init__(self, size: int = BOUNCE_BYTES, allocator: StorageAllocator | None = None) -> None:
        if size < PAGE:
            rule = f"must be at least a page of {PAGE} bytes: without any, nothing would arrive"
            raise InvalidConfig("bounce_bytes", size, rule)
        self.size = size
        self._allocator = allocator or PinnedAllocator()
        self._free: list[Storage] = []
        self._open = True
        self._lock = threading.Lock()

    def take(self, size: int) -> Storage:
        """Lend a buffer of at least `size` bytes, or raise AllocationFailed."""
        with self._lock:
            for index, storage in enumerate(self._free):
                if storage.size >= size:
                    return self._free.pop(index)
        return self._allocator.allocate(max(size, self.size))

    def give(self, storage: Storage) -> None:
        """Take a buffer back. Larger ones than usual are not kept."""
        with self._lock:
            if self._open and storage.size == self.size:
                self._free.append(storage)
                return
        storage.close()

    def close(self) -> None:
        """Give the memory back, and later that which is still lent. Idempotent."""
        with self._lock:
            self._open = False
            free, self._free = self._free, []
        for storage in free:
            storage.close()
