"""Pages: memory that starts on a page boundary, which direct disk access needs.

What this is
    Anonymous memory from the kernel: zeroed, page-aligned, and given back whole when the
    last array on it goes. NumPy's own memory is none of that.

Interface, as rules of use
    * pages(n) for a buffer; the storages of the host are built on it too.
    * The memory is shared with forked children on purpose: a fork during a direct
      transfer may otherwise hand the transfer's pages to the child.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import Final

import numpy as np

from kvbm.errors import AllocationFailed
from kvbm.storage.base import Bytes

PAGE: Final = max(4096, mmap.PAGESIZE)
"""Unit of direct disk access, in bytes. Some disks would take 512; none wants more than this."""

HUGE_PAGE: Final = 2 << 20


def pages(size: int, name: str = "System", *, huge: bool = False) -> Bytes:
    """Map `size` bytes of zeroed, page-aligned memory.

    Parameters
    ----------
    size : bytes
        At least 1. Whole pages are mapped; what is beyond `size` is not shown.
    name
        What an error calls the memory.
    huge
        Ask for huge pages. The kernel may not have any for shared memory, and then says so
        nowhere; the memory is the same.

    Returns
    -------
    uint8[size]
        Keeps its memory for as long as it, or a view of it, lives.

    Raises
    ------
    AllocationFailed
        The kernel has no room, or no address space, for it.

    Complexity
    ----------
    O(1): pages are zeroed when they are touched.
    """
    try:
        memory = mmap.mmap(-1, size)
    except (OSError, OverflowError, ValueError, MemoryError) as error:
        reason = f"the kernel refused ({error}); ask for less, or free some memory"
        raise AllocationFailed(name, size, reason) from error
    if huge and size >= HUGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a kernel without them; it was a wish
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8, size)


def up_to_page(size: int) -> int:
    """Round up to whole pages. Bytes in, bytes out.

    Examples
    --------
    >>> up_to_page(1), up_to_page(4096)
    (4096, 4096)
    """
    return -(-size // PAGE) * PAGE
