"""Recorder: notes what a program in this process does to the files of one folder.

What this is
    Stands in for the functions of `os` that change files, and for `open`, for as long as it
    is entered, in all threads. What it sees becomes a journal for `disk.crash_states`. So a
    subject that writes its files by `os` or by `open` needs no change.

        with Recorder(folder) as recorder:
            ...
        if recorder.complete: journal = recorder.journal()

Interface, as rules of use
    * What is in the folder at the start counts as certain.
    * One at a time, since `os` is there once. Calls for other files pass through.
    * Not seen: functions that were taken out of `os` before, memory maps, other languages.
      So `complete` compares: where the folder is not what the journal says, it is False.
    * `fail("write", errno.ENOSPC)` lets all calls of a kind fail, from then on, or as many as
      are said: `write`, `sync`, `name` or `read`. `heal()` ends it.

Clauses: KV-PER-02, KV-PER-05
"""

from __future__ import annotations

import builtins
import importlib
import io
import math
import os
import stat
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Self

from kvbm_spec.disk import Data, Image, Journal, Names, Op, Size, Sync, SyncNames, image_of

# The whole of `open` in Python, on the functions of `os`: what they write is seen.
_SEEN_OPEN: Final[Callable[..., Any]] = importlib.import_module("_pyio").open
_REAL: Final[dict[str, Callable[..., Any]]] = {
    name: getattr(os, name)
    for name in (
        *("open", "close", "dup", "write", "writev", "pwrite", "pwritev", "ftruncate", "truncate"),
        *("posix_fallocate", "fsync", "fdatasync", "sync", "rename", "replace", "link"),
        *("unlink", "remove", "read", "readv", "pread", "preadv"),
    )
    if hasattr(os, name)
}
_REAL_OPEN: Final = builtins.open

# Where a system has no such flag, nothing is asked for by it.
_NAMELESS: Final = getattr(os, "O_TMPFILE", 0)
_DURABLE: Final = getattr(os, "O_DSYNC", 0) | getattr(os, "O_SYNC", 0)
_DURABLE_WRITE: Final = getattr(os, "RWF_DSYNC", 0) | getattr(os, "RWF_SYNC", 0)


def image_on(folder: Path) -> Image:
    """Read all files of a folder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def put_image(image: Image, folder: Path) -> None:
    """Make the files of an image in a folder."""
    for path, content in image.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A descriptor: of a file with this number, or of a folder with this path."""

    file: int
    folder: str | None = None
    appends: bool = False
    durable: bool = False


class Recorder:
    """Notes what happens below `folder`, which exists."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._base = image_on(folder)
        self._ops: list[Op] = []
        self._opened: dict[int, _Opened] = {}
        self._names = {path: number for number, path in enumerate(sorted(self._base))}
        self._files = len(self._names)
        # A call and its note are one: else two threads could be noted in the other order.
        self._lock = threading.RLock()
        self._patches = ExitStack()
        self._failing: dict[str, tuple[int, float]] = {}  # kind: error, and how often yet
        self.failed = 0
        """Calls that were let fail."""

    def __enter__(self) -> Self:
        for name, real in _REAL.items():
            other = self._reading if "read" in name else self._renaming
            self._stand_in(os, name, getattr(self, f"_{name}", None) or other(real), real)
        for module in (builtins, io):
            self._stand_in(module, "open", self._open_object, _REAL_OPEN)
        return self

    def __exit__(self, *_error: object) -> None:
        self._patches.close()

    @property
    def now(self) -> int:
        """How many operations there are."""
        return len(self._ops)

    def journal(self) -> Journal:
        """Give what happened so far."""
        with self._lock:
            return Journal(self._base, tuple(self._ops))

    @property
    def complete(self) -> bool:
        """Whether the folder is what the journal says, when nobody writes."""
        journal = self.journal()
        everything = [
            (index, 0, len(op.data) if isinstance(op, Data) else 0)
            for index, op in enumerate(journal.ops)
        ]
        return image_of(journal, len(journal.ops), everything) == image_on(self._folder)

    def fail(self, kind: str, code: int, times: float = math.inf) -> None:
        """Let calls of a kind fail before they have done anything."""
        self._failing[kind] = code, times

    def heal(self) -> None:
        """Let no call fail any more."""
        self._failing.clear()

    # ── open and close ────────────────────────────────────────────────────────────────

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        below = None if dir_fd is not None else self._below(path)
        with self._lock:
            descriptor: int = _REAL["open"](path, flags, mode, dir_fd=dir_fd)
            if below is not None:
                self._opened[descriptor] = self._note_open(descriptor, below, flags)
            return descriptor

    def _note_open(self, descriptor: int, below: str, flags: int) -> _Opened:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return _Opened(-1, below)
        nameless = bool(_NAMELESS) and flags & _NAMELESS == _NAMELESS
        number = None if nameless else self._names.get(below)
        if number is None:
            number = self._files
            self._files += 1
            if not nameless:
                self._note_names((below, number))
        elif flags & os.O_TRUNC:
            self._ops.append(Size(number, 0))
        return _Opened(number, None, bool(flags & os.O_APPEND), bool(flags & _DURABLE))

    def _open_object(self, file: Any, *arguments: Any, **options: Any) -> Any:
        known = file in self._opened if isinstance(file, int) else self._below(file) is not None
        opener = _SEEN_OPEN if known else _REAL_OPEN
        return opener(file, *arguments, **options)

    def _close(self, descriptor: int) -> None:
        with self._lock:
            self._opened.pop(descriptor, None)
            _REAL["close"](descriptor)

    def _dup(self, descriptor: int) -> int:
        with self._lock:
            twin: int = _REAL["dup"](descriptor)
            if descriptor in self._opened:
                self._opened[twin] = self._opened[descriptor]
            return twin

    # ── content ───────────────────────────────────────────────────────────────────────

    def _write(self, descriptor: int, data: Any) -> int:
        return self._put("write", descriptor, [data], None, data)

    def _writev(self, descriptor: int, buffers: Sequence[Any]) -> int:
        return self._put("writev", descriptor, buffers, None, buffers)

    def _pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        return self._put("pwrite", descriptor, [data], offset, data, offset)

    def _pwritev(self, descriptor: int, buffers: Sequence[Any], offset: int, flags: int = 0) -> int:
        return self._put("pwritev", descriptor, buffers, offset, buffers, offset, flags)

    def _put(
        self, name: str, descriptor: int, buffers: Sequence[Any], at: int | None, *rest: Any
    ) -> int:
        with self._lock:
            opened = self._file(descriptor)
            if opened is None:
                return int(_REAL[name](descriptor, *rest))
            self._may_fail("write")
            if at is None or opened.appends:
                size = os.fstat(descriptor).st_size
                at = size if opened.appends else os.lseek(descriptor, 0, os.SEEK_CUR)
            written: int = _REAL[name](descriptor, *rest)
            data = b"".join(memoryview(buffer).tobytes() for buffer in buffers)[:written]
            durable = opened.durable or bool(name == "pwritev" and rest[2] & _DURABLE_WRITE)
            self._ops.append(Data(opened.file, at, data, durable))
            return written

    def _ftruncate(self, descriptor: int, length: int) -> None:
        with self._lock:
            opened = self._file(descriptor)
            if opened is not None:
                self._may_fail("write")
            _REAL["ftruncate"](descriptor, length)
            if opened is not None:
                self._ops.append(Size(opened.file, length))

    def _truncate(self, path: Any, length: int) -> None:
        descriptor = path if isinstance(path, int) else self._open(path, os.O_WRONLY)
        try:
            self._ftruncate(descriptor, length)
        finally:
            if descriptor is not path:
                self._close(descriptor)

    def _posix_fallocate(self, descriptor: int, offset: int, length: int) -> None:
        with self._lock:
            opened = self._file(descriptor)
            if opened is not None:
                self._may_fail("write")
            size = os.fstat(descriptor).st_size
            _REAL["posix_fallocate"](descriptor, offset, length)
            if opened is not None and offset + length > size:
                self._ops.append(Size(opened.file, offset + length))

    def _reading(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Stand in for a call that reads: nothing is noted, but it can fail."""

        def read(descriptor: int, *rest: Any) -> Any:
            if self._file(descriptor) is not None:
                self._may_fail("read")
            return real(descriptor, *rest)

        return read

    # ── syncs ─────────────────────────────────────────────────────────────────────────

    def _fsync(self, descriptor: Any, name: str = "fsync") -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        with self._lock:
            opened = self._opened.get(number)
            if opened is not None:
                self._may_fail("sync")
            _REAL[name](number)
            if opened is not None:
                folder = opened.folder
                self._ops.append(Sync(opened.file) if folder is None else SyncNames(folder))

    def _fdatasync(self, descriptor: Any) -> None:
        self._fsync(descriptor, "fdatasync")

    def _sync(self) -> None:
        with self._lock:
            _REAL["sync"]()
            folders = {op.folder for op in self._ops if isinstance(op, Names)}
            self._ops += [Sync(number) for number in range(self._files)]
            self._ops += [SyncNames(folder) for folder in sorted(folders)]

    # ── names ─────────────────────────────────────────────────────────────────────────

    def _renaming(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Stand in for rename and replace, which do the same here."""

        def rename(source: Any, target: Any, **options: Any) -> None:
            old, new = self._below(source), self._below(target)
            with self._lock:
                if old is not None or new is not None:
                    self._may_fail("name")
                real(source, target, **options)
                if old is not None and new is not None:
                    moved = [
                        (path, new + path.removeprefix(old), number)
                        for path, number in sorted(self._names.items())
                        if path == old or path.startswith(f"{old}/")
                    ]
                    self._note_names(
                        *((path, None) for path, _, _ in moved),
                        *((path, number) for _, path, number in moved),
                    )

        return rename

    def _link(self, source: Any, target: Any, **options: Any) -> None:
        old, new = self._below(source), self._below(target)
        with self._lock:
            _REAL["link"](source, target, **options)
            if old in self._names and new is not None:
                self._note_names((new, self._names[old]))

    def _unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        below = None if dir_fd is not None else self._below(path)
        with self._lock:
            _REAL["unlink"](path, dir_fd=dir_fd)
            if below in self._names:
                self._note_names((below, None))

    _remove = _unlink

    def _note_names(self, *names: tuple[str, int | None]) -> None:
        if names:
            self._ops.append(Names(names))
        for path, number in names:
            if number is None:
                self._names.pop(path, None)
            else:
                self._names[path] = number

    # ── inside ────────────────────────────────────────────────────────────────────────

    def _stand_in(self, module: ModuleType, name: str, seen: Any, real: Any) -> None:
        setattr(module, name, seen)
        self._patches.callback(setattr, module, name, real)

    def _file(self, descriptor: int) -> _Opened | None:
        opened = self._opened.get(descriptor)
        return opened if opened is not None and opened.folder is None else None

    def _below(self, path: Any) -> str | None:
        """Give a path as seen from the folder; None if it is elsewhere."""
        if isinstance(path, int):
            return None
        named = Path(os.fsdecode(path))
        # The last name is not followed: what is renamed or removed is a link itself.
        links = named.name in ("", "..")
        whole = named.resolve() if links else named.parent.resolve() / named.name
        if not whole.is_relative_to(self._folder):
            return None
        below = whole.relative_to(self._folder).as_posix()
        return "" if below == "." else below

    def _may_fail(self, kind: str) -> None:
        code, times = self._failing.get(kind, (0, 0))
        if times:
            self._failing[kind] = code, times - 1
            self.failed += 1
            raise OSError(code, os.strerror(code))
