"""Memory, as layouts see it: an address, a size, and perhaps bytes that a CPU can reach.

What this is
    The seam between address arithmetic and whoever owns memory. Layouts know nothing
    of allocators, devices or files; they see this protocol.

Interface, as rules of use
    * `addr` is 0 where there is no address, as for a file. Offsets still hold there.
    * `array()` gives all bytes, shared and writable, or raises if a CPU cannot reach them.
    * `device()` is DLPack's pair: (1, 0) host, (2, i) CUDA device i, (3, 0) pinned host.
    * Memory stays where it is for as long as the object lives.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8]


class Memory(Protocol):
    """One piece of memory."""

    @property
    def addr(self) -> int:
        """Address of the first byte; 0 where there is none."""

    @property
    def size(self) -> int:
        """Bytes."""

    def array(self) -> Bytes:
        """Give all bytes, uint8[size], writable, shared with the memory."""

    def device(self) -> tuple[int, int]:
        """Give DLPack's (device type, device id)."""


class MemoryRegion(NamedTuple):
    """Where the bytes of one (block, layer, outer) index lie."""

    addr: int  # absolute; the offset in the storage where that has no address
    size: int  # bytes
    storage: int  # index of the memory
