"""Disk storage: a region of bytes in one preallocated file.

What this is
    The file of a disk tier as a storage: instead of an address it has read() and write()
    with offsets. Direct access where the file system has it, else through the page cache,
    by the same code; `direct` says which.

Interface, as rules of use
    * `DiskAllocator(directory).allocate(size)`: a temporary file that nobody can see and
      nothing leaves behind. `persistent=True`: a named one, for caches that outlive us.
    * Give page-aligned buffers (`pages()`, System, Pinned) and page-aligned offsets, or
      say `bounce=True` and pay a copy.
    * A transfer moves all of its bytes or raises. After `DiskIoFailed` the range is lost.
    * Two transfers that touch the same bytes at a time, one of them a write, have no order.
      Ordering them is the caller's.
    * What must survive a crash of the machine needs fdatasync(); direct access is not that.
    * Many blocks at a time: `DiskEngine`.

Clauses: KV-CAP-01, KV-TIR-05, KV-TIR-09, KV-PER-05, KV-SHD-01, KV-SHD-02, KV-SHD-03
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeAlias, final

from kvbm.errors import (
    DiskIoFailed,
    DiskIoTimeout,
    NotAccessible,
    OutOfBounds,
)
from kvbm.storage.base import Bytes, StorageType
from kvbm.storage.disk_file import DiskFile
from kvbm.storage.pages import PAGE, pages, up_to_page
from kvbm.storage.region import Region, checked_byte
from kvbm.storage.vectors import CALL_BYTES, IOV_MAX, cut, need_aligned, need_buffers

Call: TypeAlias = Callable[[int, list[Any], int], int]
"""What `os.preadv` and `os.pwritev` are: (descriptor, buffers, offset) to bytes moved."""

MEMSET: Final = 1 << 20
_INSTEAD: Final = "use read() and write()"


@dataclass(frozen=True, slots=True)
class DiskCalls:
    """The calls that move bytes. Replace them to see what happens when a disk fails.

    By default those that `os` has when this is made, so that whoever watches `os` sees them.
    """

    read: Call = field(default_factory=lambda: os.preadv)
    write: Call = field(default_factory=lambda: os.pwritev)


@final
class DiskStorage(Region):
    """`size` bytes of a file. Made by `DiskAllocator`."""

    def __init__(self, file: DiskFile, size: int, calls: DiskCalls) -> None:
        super().__init__(StorageType.Disk(file.descriptor), size, free=file.close)
        self._file = file
        self._calls = calls
        self._bouncing = threading.Lock()

    @property
    def direct(self) -> bool:
        """Whether transfers skip the page cache (O_DIRECT)."""
        return self._file.direct

    @property
    def existed(self) -> bool:
        """Whether the persistent file was there before, perhaps with content."""
        return self._file.existed

    # ── transfers ─────────────────────────────────────────────────────────────────────

    def read(self, offset: int, buffers: Sequence[Bytes], *, bounce: bool = False) -> None:
        """Fill `buffers`, one after the other, with the bytes from `offset` on.

        Parameters
        ----------
        offset : bytes
            Where to start; in whole pages unless `bounce`.
        buffers : list of uint8[any length]
            Contiguous, writable; in whole pages, address and length, unless `bounce`.
        bounce
            Go through page-aligned memory of our own, so that anything fits.

        Raises
        ------
        OutOfBounds, InvalidStorageConfig
            The range is not inside the storage, or a buffer cannot be used. Nothing moved.
        DiskIoFailed
            The disk moved less, or refused. The content of the buffers is unknown.

        Complexity
        ----------
        One call of the kernel for each 1024 buffers or GiB.
        """
        size = need_buffers(buffers, writable=True)
        self._need_range("read", offset, size)
        if not size:
            return
        if bounce:
            start, pad = offset - offset % PAGE, offset % PAGE
            bounced = pages(up_to_page(pad + size), "Disk")
            self.transfer("read", start, [bounced])
            for buffer in buffers:
                buffer.reshape(-1)[:] = bounced[pad : pad + buffer.nbytes]
                pad += buffer.nbytes
        else:
            need_aligned(offset, buffers)
            self.transfer("read", offset, buffers)

    def write(self, offset: int, buffers: Sequence[Bytes], *, bounce: bool = False) -> None:
        """Put the bytes of `buffers`, one after the other, from `offset` on. See read().

        With `bounce`, the pages at both ends are read, changed and written back. Such writes
        take turns; so neighbours in one page are safe from each other.
        """
        size = need_buffers(buffers, writable=False)
        self._need_range("write", offset, size)
        if not size:
            return
        if bounce:
            start, pad = offset - offset % PAGE, offset % PAGE
            bounced = pages(up_to_page(pad + size), "Disk")
            with self._bouncing:
                self.transfer("read", start, [bounced[:PAGE]])
                if bounced.size > PAGE:
                    self.transfer("read", start + bounced.size - PAGE, [bounced[-PAGE:]])
                for buffer in buffers:
                    bounced[pad : pad + buffer.nbytes] = buffer.reshape(-1)
                    pad += buffer.nbytes
                self.transfer("write", start, [bounced])
        else:
            need_aligned(offset, buffers)
            self.transfer("write", offset, buffers)

    def transfer(self, operation: str, offset: int, buffers: Sequence[Bytes]) -> int:
        """Move aligned buffers that were checked before; give the bytes moved. For engines.

        `operation` is "read" or "write". Only the range of the file is checked here.
        """
        call = self._calls.read if operation == "read" else self._calls.write
        wanted = sum(buffer.nbytes for buffer in buffers)
        if offset < 0 or offset + wanted > self._file.size:
            raise OutOfBounds(operation, offset, wanted, self._file.size)
        one_call = len(buffers) <= IOV_MAX and wanted <= CALL_BYTES
        moved = 0
        with self._file as descriptor:
            for part in [list(buffers)] if one_call else cut(buffers):
                expected = wanted if one_call else sum(buffer.nbytes for buffer in part)
                try:
                    step = call(descriptor, part, offset + moved)
                except OSError as error:
                    code = error.errno or errno.EIO
                    raise DiskIoFailed(code, operation, offset, wanted, moved) from error
                moved += step
                if step != expected:
                    # Asking again for the rest would often tell why, and sometimes succeed;
                    # but a regular file gives less only at its end or when something broke.
                    raise DiskIoFailed(errno.EIO, operation, offset, wanted, moved)
        return moved

    def fdatasync(self) -> None:
        """Wait until all that was written is where a crash of the machine leaves it."""
        with self._file as descriptor:
            try:
                os.fdatasync(descriptor)
            except OSError as error:
                code = error.errno or errno.EIO
                raise DiskIoFailed(code, "fdatasync", 0, self._size, 0) from error

    # ── as a storage ──────────────────────────────────────────────────────────────────

    def array(self) -> NoReturn:
        """Refuse with `NotAccessible`."""
        self._need_open()
        raise NotAccessible(repr(self._storage_type), "array()", _INSTEAD)

    def device(self) -> NoReturn:
        """Refuse with `NotAccessible`."""
        self._need_open()
        raise NotAccessible(repr(self._storage_type), "device()", _INSTEAD)

    def memset(self, value: int, offset: int, size: int) -> None:
        """Set `size` bytes of the file from `offset` on to `value`; see `Region.memset`."""
        self._need_range("memset", offset, size)
        pattern = pages(MEMSET, "Disk")
        pattern[:] = checked_byte(value)
        stop = offset + size
        while offset < stop:
            # Up to the next page first, then whole pages, then what is left.
            room = stop - offset
            step = min(room, PAGE - offset % PAGE if offset % PAGE else MEMSET)
            step = step - step % PAGE or step
            self.write(offset, [pattern[:step]], bounce=bool(step % PAGE or offset % PAGE))
            offset += step

    def close(self, timeout: float | None = None) -> None:
        """Wait for the transfers that run, then release the handles and the file. Idempotent.

        Parameters
        ----------
        timeout : seconds
            How long to wait. By default as long as it takes.

        Raises
        ------
        DiskIoTimeout
            Some transfers still run. No new ones are let in, and the file stays open for
            them; call close() again, or drop the storage.
        """
        left = self._file.drain(timeout)
        if left:
            raise DiskIoTimeout(
                f"closing {self._storage_type} storage: {left} transfers still run after "
                f"{timeout} s and keep its file open; close() again later"
            )
        super().close()

    def _check(self) -> None:
        super()._check()
        assert self._file.size == up_to_page(self._size), f"{self!r}: the file has another size"
