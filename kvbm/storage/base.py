"""The protocol of memory: what a storage is, whatever its bytes lie on.

What this is
    A *storage* is one region of bytes: an address and a size, or a file and a size. It
    knows nothing of blocks. A *storage allocator* makes storages of one kind.

Interface, as rules of use
    * `allocate(size)` gives a storage or raises a `StorageError`; nothing in between.
    * Give back with close(), a `with` block, or by dropping the last reference.
    * What an agent or driver must know of is registered: `register("nixl", handle)`.
      Handles are released before the memory goes, the last one first.
    * After close() every use is `StorageClosed`; a second close() does nothing.

Clauses: KV-SHD-01, KV-SHD-03
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, Self, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from kvbm.errors import InvalidStorageConfig

Bytes: TypeAlias = NDArray[np.uint8]

CPU: Final = (1, 0)
"""The host's memory, as DLPack names it: (device type, device id)."""


class StorageKind(Enum):
    """What the bytes lie on."""

    SYSTEM = "System"
    PINNED = "Pinned"
    DEVICE = "Device"
    DISK = "Disk"
    NIXL = "Nixl"
    NULL = "Null"


@final
@dataclass(frozen=True, slots=True)
class StorageType:
    """A kind and, where there are several of it, which one. Equal by both, and hashable.

    Examples
    --------
    >>> StorageType.Device(1)
    Device(1)
    >>> StorageType.Device(1) == StorageType.Device(0)
    False
    >>> {StorageType.System: "a dictionary key"}[StorageType.System]
    'a dictionary key'
    """

    kind: StorageKind
    id: int | None = None
    """Device id, or file descriptor."""

    System: ClassVar[StorageType]
    Pinned: ClassVar[StorageType]
    Nixl: ClassVar[StorageType]
    Null: ClassVar[StorageType]

    @staticmethod
    def Device(device_id: int = 0) -> StorageType:  # noqa: N802  # the documented name
        """Give the type of memory of one device."""
        return StorageType(StorageKind.DEVICE, device_id)

    @staticmethod
    def Disk(fd: int) -> StorageType:  # noqa: N802  # the documented name
        """Give the type of a file with this descriptor."""
        return StorageType(StorageKind.DISK, fd)

    def __repr__(self) -> str:
        return self.kind.value if self.id is None else f"{self.kind.value}({self.id})"


StorageType.System = StorageType(StorageKind.SYSTEM)
StorageType.Pinned = StorageType(StorageKind.PINNED)
StorageType.Nixl = StorageType(StorageKind.NIXL)
StorageType.Null = StorageType(StorageKind.NULL)


@dataclass(frozen=True, slots=True)
class StorageStatistics:
    """What a storage looked like at one moment. Safe to keep; it never changes."""

    storage_type: StorageType
    size: int
    """Bytes."""
    registered: tuple[str, ...]
    """Keys of the handles, oldest first."""
    closed: bool


class RegistrationHandle(Protocol):
    """What somebody else keeps for a storage, such as an agent that knows its address."""

    def release(self) -> None:
        """Forget the storage. Called once, while its memory is still there."""


class Storage(Protocol):
    """One region of bytes. The classes of this room are all of it, and yours may be too."""

    @property
    def storage_type(self) -> StorageType:
        """What the bytes lie on."""

    @property
    def addr(self) -> int:
        """Address of the first byte; 0 where there is no memory (Disk, Null)."""

    @property
    def size(self) -> int:
        """Bytes in the region."""

    def array(self) -> Bytes:
        """Give the bytes as uint8[size], writable, not a copy; or raise `NotAccessible`."""

    def device(self) -> tuple[int, int]:
        """Where the memory is, as (device type, device id) of DLPack; or `NotAccessible`."""

    def memset(self, value: int, offset: int, size: int) -> None:
        """Set `size` bytes from `offset` on to `value`, or raise `OutOfBounds`."""

    def register(self, key: str, handle: RegistrationHandle) -> None:
        """Keep a handle until close(), or raise `RegistrationKeyExists`."""

    def is_registered(self, key: str) -> bool:
        """Whether there is a handle of this key."""

    def registration_handle(self, key: str) -> Any:
        """Give the handle of this key, or raise `HandleNotFound`."""

    def statistics(self) -> StorageStatistics:
        """Copy the few numbers that are worth watching. Works after close(), too."""

    def close(self) -> None:
        """Release the handles, then the memory. A second call does nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class StorageAllocator(Protocol):
    """Makes storages of one kind."""

    def allocate(self, size: int) -> Storage:
        """Give a storage of `size` bytes, or raise a `StorageError`; then nothing was taken."""


def checked_integer(field: str, value: Any, least: int, unit: str = "") -> int:
    """Give `value` as an int of at least `least`, or raise `InvalidStorageConfig`."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        rule = f"must be an integer of at least {least} {unit}".rstrip()
        raise InvalidStorageConfig(field, value, rule)
    return number


def checked_size(size: Any) -> int:
    """Give `size` as an int of at least 1 byte, or raise `InvalidStorageConfig`."""
    return checked_integer("size", size, 1, "byte")
