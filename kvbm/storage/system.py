"""System storage: plain host memory, zeroed and page-aligned.

What this is
    The memory that is always there. Page-aligned, so that a disk tier can read into it and
    write from it directly.

Interface, as rules of use
    * `SystemAllocator().allocate(size)` or `SystemStorage(size)`.

Clauses: KV-CAP-01, KV-SHD-03
"""

from __future__ import annotations

from typing import final

from kvbm.storage.base import StorageType, checked_size
from kvbm.storage.pages import pages
from kvbm.storage.region import Region


@final
class SystemStorage(Region):
    """`size` bytes of zeroed, page-aligned host memory.

    Examples
    --------
    >>> with SystemStorage(4096) as storage:
    ...     storage.memset(255, 1000, 100)
    ...     int(storage.array()[1000:1100].min()), int(storage.array().sum()) // 255
    (255, 100)
    """

    def __init__(self, size: int) -> None:
        size = checked_size(size)
        super().__init__(StorageType.System, size, pages(size, "System"))


@final
class SystemAllocator:
    """Makes `SystemStorage`."""

    def allocate(self, size: int) -> SystemStorage:
        """Give `size` bytes of host memory, or raise `AllocationFailed`. O(1)."""
        return SystemStorage(size)
