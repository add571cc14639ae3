"""Region: what all storages have in common.

What this is
    The address, the handles and the end of a storage. The classes that build on it only
    say where the bytes come from. The one finaliser does for close(), for the last reference
    that goes, and for the end of the interpreter; it runs once, whoever is first.

Interface, as rules of use
    * Build on this class and pass `array` (bytes that the CPU can reach) or override
      array(), device() and memset().
    * `keep` lives until the storage ends; `free` then ends what counting references does
      not end. Neither may refer to the storage.
    * An array that somebody still holds keeps its memory, also after close(): memory is
      never pulled from under a reader. It goes with the last such array.

Clauses: KV-SHD-01, KV-SHD-03
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from kvbm.errors import InvalidStorageConfig, OperationFailed, OutOfBounds, StorageClosed
from kvbm.storage.base import (
    CPU,
    Bytes,
    RegistrationHandle,
    StorageStatistics,
    StorageType,
)
from kvbm.storage.registrations import Registrations

_CHECK: Final = os.environ.get("KVBM_CHECK", "0") not in ("", "0")
"""Whether every change ends with `_check()`."""


class Region:
    """A storage on memory that the CPU can reach. See the module's rules of use."""

    def __init__(
        self,
        storage_type: StorageType,
        size: int,
        array: Bytes | None = None,
        free: Callable[[], object] | None = None,
        keep: object = None,
    ) -> None:
        self._storage_type = storage_type
        self._size = size
        self._array = array
        self._addr = 0 if array is None else address_of(array)
        self._registrations = Registrations(repr(storage_type))
        # It holds what the memory hangs on, so that the handles go first in any case.
        self._end = weakref.finalize(self, _end, self._registrations, (array, keep), free)

    # ── what it is ────────────────────────────────────────────────────────────────────

    @property
    def storage_type(self) -> StorageType:
        """What the bytes lie on."""
        return self._storage_type

    @property
    def size(self) -> int:
        """Bytes in the region."""
        return self._size

    @property
    def addr(self) -> int:
        """Address of the first byte; 0 where there is no memory."""
        self._need_open()
        return self._addr

    def as_ptr(self) -> int:
        """Give `addr`, under its documented name."""
        return self.addr

    def as_mut_ptr(self) -> int:
        """Give `addr`, under its documented name: all our regions may be written."""
        return self.addr

    def device(self) -> tuple[int, int]:
        """Where the memory is, as (device type, device id) of DLPack."""
        self._need_open()
        return CPU

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return not self._end.alive

    # ── its bytes ─────────────────────────────────────────────────────────────────────

    def array(self) -> Bytes:
        """Give all bytes as a writable array that shares the memory.

        Returns
        -------
        uint8[size]
            Safe as long as you like: it keeps its memory, also after close().
        """
        array = self._array
        self._need_open()
        assert array is not None, f"{self._storage_type} has no array and does not say so"
        return array

    def memset(self, value: int, offset: int, size: int) -> None:
        """Set `size` bytes from `offset` on to `value`.

        Raises
        ------
        OutOfBounds
            The range is not inside the storage. It is an `OperationFailed`, as documented.

        Complexity
        ----------
        O(size).
        """
        self._need_range("memset", offset, size)
        self.array()[offset : offset + size] = checked_byte(value)

    # ── registrations ─────────────────────────────────────────────────────────────────

    def register(self, key: str, handle: RegistrationHandle) -> None:
        """Keep `handle`, and release it before the memory goes. O(1).

        Raises
        ------
        RegistrationKeyExists
            There is a handle of this key. The new one is not kept and not released.
        """
        self._registrations.add(key, handle)
        self._checked()

    def is_registered(self, key: str) -> bool:
        """Whether there is a handle of this key. O(1)."""
        return key in self._registrations

    def registration_handle(self, key: str) -> RegistrationHandle:
        """Give the handle of this key, or raise `HandleNotFound`. O(1)."""
        return self._registrations.find(key)

    # ── its end ───────────────────────────────────────────────────────────────────────

    def close(self) -> None:
        """Release the handles, the last one first, then the memory. Idempotent.

        Raises
        ------
        OperationFailed
            A handle failed to release. All others and the memory were released first.

        Clauses: KV-SHD-01, KV-SHD-03
        """
        failed = self._end()
        self._array = None
        self._checked()
        if failed:
            raise OperationFailed(
                f"closing {self._storage_type} storage: the handles {failed} failed to release; "
                f"see the log for why. Everything else was released"
            )

    def statistics(self) -> StorageStatistics:
        """Copy the few numbers that are worth watching. Works after close(), too."""
        return StorageStatistics(
            self._storage_type, self._size, self._registrations.keys(), self.closed
        )

    def __enter__(self) -> Self:
        self._need_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        return f"<{type(self).__name__} {self._storage_type}, {self._size} bytes{state}>"

    # ── for those who build on it ─────────────────────────────────────────────────────

    def _need_open(self) -> None:
        if not self._end.alive:
            raise StorageClosed(repr(self._storage_type))

    def _need_range(self, operation: str, offset: int, size: int) -> None:
        self._need_open()
        if offset < 0 or size < 0 or offset + size > self._size:
            raise OutOfBounds(operation, offset, size, self._size)

    def _checked(self) -> None:
        if _CHECK:
            self._check()

    def _check(self) -> None:
        """Assert every invariant of this object."""
        assert self._size > 0, f"{self!r}: no bytes"
        if self.closed:
            assert self._array is None, f"KV-SHD-03: {self!r} still holds its memory"
            assert not self._registrations.keys(), f"KV-SHD-03: {self!r} still holds handles"
        elif self._array is not None:
            assert self._array.nbytes == self._size, f"{self!r}: {self._array.nbytes} bytes"
            assert self._array.flags.writeable, f"{self!r}: the bytes are read-only"
            assert address_of(self._array) == self._addr, f"{self!r}: the memory has moved"


def address_of(array: Bytes) -> int:
    """Give the address of an array's first byte. O(1)."""
    address: int = array.__array_interface__["data"][0]
    return address


def checked_byte(value: int) -> int:
    """Give `value`, or raise `InvalidStorageConfig` if it is no byte."""
    if not 0 <= value <= 255:
        raise InvalidStorageConfig("value", value, "a byte is an integer in 0 … 255")
    return value


def _end(
    registrations: Registrations, _memory: object, free: Callable[[], object] | None
) -> list[str]:
    failed = registrations.release()
    if free is not None:
        free()
    return failed
