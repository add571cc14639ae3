"""Tables on the device: a ring of slots, filled through pinned memory.

What this is
    A kernel reads its tables of addresses from device memory. Allocating for each launch would
    cost more than the launch, and copying from pageable memory waits. So there is a ring
    of slots, each a piece of pinned memory and one of device memory. A slot is used again
    when the event behind its last launch has passed.

Interface, as rules of use
    * put() queues the upload and gives the addresses. Launch on the same stream, then call
      done() with the same slot. Until then the slot is nobody else's.
    * If all slots are under way, put() waits for the oldest.
    * One thread at a time. close() only after all launches have ended.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from kvbm_kernels import driver

SLOTS: Final = 8
SMALLEST: Final = 64 * 1024
ALIGNMENT: Final = 16


@dataclass
class Slot:
    """Two pieces of memory of one size, and the event after which they are free."""

    pinned: int = 0
    device: int = 0
    size: int = 0
    event: Any = None

    def close(self) -> None:
        """Free what there is of both."""
        pinned, device = self.pinned, self.device
        self.pinned = self.device = self.size = 0
        if pinned:
            driver.free_pinned_memory(pinned)
        if device:
            driver.free_device_memory(device)


class Tables:
    """A ring of slots for tables."""

    def __init__(self, slots: int = SLOTS) -> None:
        self._slots = [Slot() for _ in range(slots)]
        self._next = 0

    def put(self, tables: list[NDArray[Any]], stream: Any) -> tuple[list[int], Slot]:
        """Queue the upload of some tables; give their device addresses and the slot.

        Complexity
        ----------
        O(bytes).
        """
        slot = self._slots[self._next]
        self._next = (self._next + 1) % len(self._slots)
        if slot.event is not None:
            slot.event.sync()
        return fill(slot, tables, stream), slot

    def done(self, slot: Slot, stream: Any) -> None:
        """Say that all launches that read a slot are queued."""
        slot.event = stream.record(slot.event)

    def close(self) -> None:
        """Free all slots."""
        for slot in self._slots:
            slot.close()


def fill(slot: Slot, tables: list[NDArray[Any]], stream: Any) -> list[int]:
    """Put tables into a slot that nobody uses, one behind the other; make it larger if needed."""
    offsets, end = [], 0
    for table in tables:
        offsets.append(end)
        end += -(-table.nbytes // ALIGNMENT) * ALIGNMENT
    if end > slot.size:
        slot.close()
        size = max(SMALLEST, 1 << (end - 1).bit_length())
        slot.pinned = driver.pinned_memory(size)  # each by itself: the second may be refused
        slot.device = driver.device_memory(size)
        slot.size = size
    for table, offset in zip(tables, offsets, strict=True):
        ctypes.memmove(slot.pinned + offset, table.ctypes.data, table.nbytes)
    if end:
        driver.copy(slot.device, slot.pinned, end, stream)
    return [slot.device + offset for offset in offsets]
