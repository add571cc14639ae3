"""Disk file: one preallocated file, opened for direct access where that is possible.

What this is
    How the file of a disk tier comes into being and goes away. A temporary one never has a
    name, where the file system can do that, and loses its name at once where it cannot; so
    nothing is left behind whatever happens to the process. A persistent one has a name, and
    a lock on it, since two processes that write one cache destroy it.

Interface, as rules of use
    * open_temporary() or open_persistent(), then `with file as descriptor:` around each call.
    * drain() waits for the calls that run, and lets no new ones in. close() comes after it.
    * All room is taken at the start: a full disk is an error then, and not in mid-flight.

Clauses: KV-CAP-01, KV-PER-05, KV-PER-07, KV-SHD-02, KV-SHD-03, KV-TIR-09
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, final

from kvbm.errors import AllocationFailed, StorageClosed
from kvbm.storage.pages import pages, up_to_page

PREFIX: Final = "dynamo-kvbm-disk-cache-"
"""How temporary files are called while they have a name."""

ZEROES: Final = 1 << 20

_COMMON: Final = os.O_RDWR | os.O_CLOEXEC


@final
class DiskFile:
    """An open file of `size` bytes, and who is using it."""

    def __init__(self, descriptor: int, size: int, *, direct: bool, existed: bool) -> None:
        self.descriptor = descriptor
        self.size = size
        """Bytes, in whole pages."""
        self.direct = direct
        """Whether transfers skip the page cache."""
        self.existed = existed
        """Whether a persistent file was there, perhaps with content."""
        self._users = 0
        self._open = True
        self._changed = threading.Condition()

    def __enter__(self) -> int:
        with self._changed:
            if not self._open:
                raise StorageClosed(f"Disk({self.descriptor})")
            self._users += 1
        return self.descriptor

    def __exit__(self, *_error: object) -> None:
        with self._changed:
            self._users -= 1
            self._changed.notify_all()

    def drain(self, timeout: float | None = None) -> int:
        """Let nobody in any more; wait for those inside. Give how many still are. Seconds."""
        with self._changed:
            self._open = False
            self._changed.wait_for(lambda: not self._users, timeout)
            return self._users

    def close(self) -> None:
        """Give the descriptor back. Only when nobody is inside: its number is used again."""
        assert not self._users, f"KV-SHD-02: {self._users} calls are still inside"
        os.close(self.descriptor)


def open_temporary(directory: Path, size: int, *, direct: bool = True) -> DiskFile:
    """Make a file of `size` bytes that goes with its descriptor.

    Raises
    ------
    AllocationFailed
        The directory has no room for it, or does not let us in.
    """
    size = up_to_page(size)
    try:
        descriptor, is_direct = _open_nameless(directory, direct=direct)
        with _given_back_on_error(descriptor):
            _preallocate(descriptor, 0, size)
    except OSError as error:
        raise _failed(directory, size, error) from error
    return DiskFile(descriptor, size, direct=is_direct, existed=False)


def open_persistent(path: Path, size: int, *, direct: bool = True) -> DiskFile:
    """Open the file `path` and grow it to `size` bytes, or make it.

    What is in it stays. A larger one is refused, and not cut: it may be another cache.

    Raises
    ------
    AllocationFailed
        There is no room, the file is larger, or another process has it open.
    """
    size = up_to_page(size)
    existed = path.exists()
    try:
        descriptor, is_direct = _open(path, os.O_CREAT | os.O_NOFOLLOW, direct=direct)
        with _given_back_on_error(descriptor):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                reason = f"{path} is in use by another storage; give this one its own name"
                raise AllocationFailed("Disk", size, reason) from None
            had = os.fstat(descriptor).st_size
            if had > size:
                reason = f"{path} has {had} bytes; ask for as many, or remove it"
                raise AllocationFailed("Disk", size, reason)
            try:
                _preallocate(descriptor, had, size)
            except OSError:
                if existed:
                    os.ftruncate(descriptor, had)
                else:
                    path.unlink()
                raise
    except OSError as error:
        raise _failed(path, size, error) from error
    return DiskFile(descriptor, size, direct=is_direct, existed=existed)


# ── steps ─────────────────────────────────────────────────────────────────────────────────


def _open(path: Path, flags: int, *, direct: bool) -> tuple[int, bool]:
    """Open for direct access, or else buffered; also give which."""
    if direct and hasattr(os, "O_DIRECT"):
        try:
            return os.open(path, _COMMON | flags | os.O_DIRECT, 0o600), True
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    return os.open(path, _COMMON | flags, 0o600), False


def _open_nameless(directory: Path, *, direct: bool) -> tuple[int, bool]:
    if hasattr(os, "O_TMPFILE"):
        # The file systems that cannot do this say so in three ways; others errors are real,
        # and then come again below.
        with suppress(OSError):
            return _open(directory, os.O_TMPFILE, direct=direct)
    path = directory / (PREFIX + secrets.token_hex(8))
    descriptor, is_direct = _open(path, os.O_CREAT | os.O_EXCL, direct=direct)
    with _given_back_on_error(descriptor):
        path.unlink()
    return descriptor, is_direct


def _preallocate(descriptor: int, start: int, stop: int) -> None:
    """Take the room of [start, stop). The file system may not know how; then write zeros."""
    if start == stop:
        return
    try:
        os.posix_fallocate(descriptor, start, stop - start)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
        zeroes = pages(ZEROES, "Disk")
        for offset in range(up_to_page(start), stop, ZEROES):  # what is there stays
            part = zeroes[: stop - offset]
            if os.pwrite(descriptor, part.data, offset) != part.size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        os.ftruncate(descriptor, stop)


@contextmanager
def _given_back_on_error(descriptor: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(descriptor)
        raise


def _failed(path: Path, size: int, error: OSError) -> AllocationFailed:
    reason = f"{path}: {error.strerror}"
    if error.errno == errno.ENOSPC:
        with suppress(OSError):
            room = os.statvfs(path if path.is_dir() else path.parent)
            reason = f"{reason}; {room.f_bavail * room.f_frsize} bytes are free there"
    return AllocationFailed("Disk", size, f"{reason}; ask for less, or use another directory")
