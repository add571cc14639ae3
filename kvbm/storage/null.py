"""Null storage: the right size, and no bytes.

What this is
    For tests and arithmetic on sizes that no machine has: it takes no memory.

Interface, as rules of use
    * The documents call them `NullDeviceStorage` and `NullDeviceAllocator`; both names work.
    * Its address is 0, array() and device() refuse, memset() checks the range and does nothing.
    * `validate_storage` refuses it: its address is not one.

Clauses: KV-CAP-01
"""

from __future__ import annotations

from typing import NoReturn, final

from kvbm.errors import NotAccessible
from kvbm.storage.base import StorageType, checked_size
from kvbm.storage.region import Region, checked_byte

_INSTEAD = "it has none, use another allocator"


@final
class NullStorage(Region):
    """A storage of `size` bytes that do not exist.

    Examples
    --------
    >>> storage = NullStorage(1 << 60)
    >>> storage.addr, storage.size == 1 << 60
    (0, True)
    """

    def __init__(self, size: int) -> None:
        super().__init__(StorageType.Null, checked_size(size))

    def array(self) -> NoReturn:
        """Refuse with `NotAccessible`."""
        self._need_open()
        raise NotAccessible("Null", "array()", _INSTEAD)

    def device(self) -> NoReturn:
        """Refuse with `NotAccessible`."""
        self._need_open()
        raise NotAccessible("Null", "device()", _INSTEAD)

    def memset(self, value: int, offset: int, size: int) -> None:
        """Check the arguments; there is nothing to set."""
        self._need_range("memset", offset, size)
        checked_byte(value)


@final
class NullAllocator:
    """Makes `NullStorage`."""

    def allocate(self, size: int) -> NullStorage:
        """Give a storage of `size` bytes without memory. O(1)."""
        return NullStorage(size)


NullDeviceStorage = NullStorage
NullDeviceAllocator = NullAllocator
"""The documented names of both."""
