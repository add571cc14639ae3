"""Pinned storage: host memory that is not swapped out, as far as the machine allows.

What this is
    Without CUDA there is no memory that a GPU knows of. What is left of "pinned" is asked
    for: page-aligned, huge pages, locked. What was got is in `is_locked` and `how`; a refused
    lock is no error, since the memory works just the same.

Interface, as rules of use
    * `PinnedAllocator().allocate(size)` or `PinnedStorage(size)`.
    * Locked memory is resident at once. So more than the machine has left is refused
      here; the kernel would grant it and then kill the process.

Clauses: KV-CAP-01, KV-SHD-03, KV-TIR-09
"""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import final

from kvbm.errors import AllocationFailed
from kvbm.storage.base import StorageType, checked_size
from kvbm.storage.pages import pages
from kvbm.storage.region import Region, address_of


@final
class PinnedStorage(Region):
    """`size` bytes of zeroed, page-aligned host memory, locked where that is allowed.

    Examples
    --------
    >>> with PinnedStorage(4096) as storage:
    ...     storage.storage_type, storage.is_locked == storage.how.startswith("locked")
    (Pinned, True)
    """

    is_locked: bool
    """Whether the kernel keeps the pages in memory."""

    how: str
    """What was got, as a sentence for people: how it is locked, or why it is not."""

    def __init__(self, size: int) -> None:
        size = checked_size(size)
        available = available_memory()
        if available is not None and size > available:
            reason = f"only {available} bytes are left on this machine; ask for less"
            raise AllocationFailed("Pinned", size, reason)
        array = pages(size, "Pinned", huge=True)
        address = address_of(array)
        refusal = _call("mlock", address, size)
        self.is_locked = refusal is None
        self.how = "locked, page-aligned" if refusal is None else f"page-aligned only: {refusal}"
        # The unlock is for an array that outlives the storage: the lock must not.
        unlock = partial(_call, "munlock", address, size)
        super().__init__(StorageType.Pinned, size, array, unlock if self.is_locked else None)


@final
class PinnedAllocator:
    """Makes `PinnedStorage`."""

    def allocate(self, size: int) -> PinnedStorage:
        """Give `size` bytes, or raise `AllocationFailed`. O(size): locking touches all pages."""
        return PinnedStorage(size)


def available_memory() -> int | None:
    """Bytes that the machine could still hand out without swapping; None if it does not say."""
    with suppress(OSError):
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _call(name: str, address: int, size: int) -> str | None:
    """Call mlock or munlock; give None, or why it was refused."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is None:
        return f"this system has no {name}"
    if function(ctypes.c_void_p(address), ctypes.c_size_t(size)) == 0:
        return None
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    allowed = "any size" if limit == resource.RLIM_INFINITY else f"{limit} bytes"
    return f"{name} was refused ({os.strerror(ctypes.get_errno())}); the limit is {allowed}"
