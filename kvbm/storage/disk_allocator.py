"""Disk allocator: files for a disk tier, in one directory.

What this is
    Where the files of `DiskStorage` come from: temporary ones by default, which nobody can
    see and nothing leaves behind, or one with a name, for a cache that outlives the process.

Interface, as rules of use
    * `DiskAllocator(directory).allocate(size)`.
    * `persistent=True` finds the file again, with what is in it: `storage.existed` says so.
      Whether that content is any good is the business of who wrote it.

Clauses: KV-CAP-01, KV-PER-05, KV-PER-07, KV-SHD-03, KV-TIR-09
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import final

from kvbm.errors import InvalidStorageConfig
from kvbm.storage.base import checked_size
from kvbm.storage.disk import DiskCalls, DiskStorage
from kvbm.storage.disk_file import open_persistent, open_temporary


@final
class DiskAllocator:
    """Makes `DiskStorage`.

    Parameters
    ----------
    path
        An existing directory. By default `DYN_KVBM_DISK_CACHE_DIR`, or else the one for
        temporary files, which may be memory: check before you call it a disk.
    persistent
        Keep the file, as `file_name`, and find it again.
    file_name
        Name of a persistent file in the directory. One storage at a time may have it.
    direct
        Try direct access. By default yes, unless `DYN_KVBM_DISK_DISABLE_O_DIRECT` is set,
        to whatever value.
    calls
        The calls that move bytes; for tests.

    Raises
    ------
    InvalidStorageConfig
        The path is no directory, or the file name is no plain name.

    Examples
    --------
    >>> from kvbm.storage import pages
    >>> with DiskAllocator().allocate(1 << 20) as storage:
    ...     storage.write(4096, [pages(4096) + 7], bounce=True)
    ...     page = pages(4096)
    ...     storage.read(4096, [page])
    ...     set(page.tolist())
    {7}
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        persistent: bool = False,
        file_name: str = "kvbm-disk-cache",
        direct: bool | None = None,
        calls: DiskCalls | None = None,
    ) -> None:
        if path is None:
            path = os.environ.get("DYN_KVBM_DISK_CACHE_DIR") or tempfile.gettempdir()
        self.path = Path(path)
        if not self.path.is_dir():
            raise InvalidStorageConfig("path", str(path), "must be a directory that exists")
        if Path(file_name).name != file_name or file_name in ("", ".."):
            rule = "must be the plain name of a file; give its directory as path"
            raise InvalidStorageConfig("file_name", file_name, rule)
        if direct is None:
            direct = "DYN_KVBM_DISK_DISABLE_O_DIRECT" not in os.environ
        self._file = self.path / file_name if persistent else None
        self._direct = direct
        self._calls = calls or DiskCalls()

    def allocate(self, size: int) -> DiskStorage:
        """Give a storage of `size` bytes whose room on the disk is taken already.

        Raises
        ------
        AllocationFailed
            The disk is full, or the file cannot be used. Nothing is left behind.

        Complexity
        ----------
        O(1) with a file system that can preallocate, O(size) elsewhere.
        """
        size = checked_size(size)
        if self._file is None:
            file = open_temporary(self.path, size, direct=self._direct)
        else:
            file = open_persistent(self._file, size, direct=self._direct)
        return DiskStorage(file, size, self._calls)
