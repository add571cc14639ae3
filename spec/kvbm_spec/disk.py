"""Disk: what can be found on it after a crash at any moment.

What this is
    A program changes files and their names, and now and then asks the disk to make sure of
    what it was given. A journal says in which order:

        changes   Data, Size of a file; Names          may be lost until
        syncs     Sync of a file; SyncNames of a folder

    After a crash there is all that was synced, and of the rest any part: one change without
    the one before it, and a write in part. `crash_states` gives what there can be.

Interface, as rules of use
    * `for state in crash_states(journal)`: `state.image` is what the next process finds,
      `state.point` how many operations had been made. The same image comes more than once.
    * `image_of(journal, state.point, state.kept)` gives it again: both are plain JSON.
    * A file is a number, so that it stays the same under another name. Those of the base are
      0, 1, … in the order of their paths.
    * A write through O_DIRECT is as uncertain as any other. One with O_DSYNC is `durable`.
    * A name is certain when its folder was synced, and not with its file. A rename happens
      as a whole or not at all. Folders themselves are never lost.

Clauses: KV-PER-01, KV-PER-02, KV-PER-03
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import PurePosixPath
from typing import Final, TypeAlias

SECTOR: Final = 512
"""Bytes that a disk writes as a whole. A longer write can end at any multiple."""

EXHAUSTIVE: Final = 4
"""Changes up to which every subset is given. Of more: none, all, each alone, all but one,
and every prefix."""

Image: TypeAlias = Mapping[str, bytes]
"""Content of all files of a folder, by their paths in it."""

Kept: TypeAlias = tuple[int, int, int]
"""A change that arrived though it was not synced: its number, and the first byte and the one
behind the last of its data that did. A write that grows a file can leave its size alone: then
both are the same, and zeros are found."""


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes were written into a file."""

    file: int
    offset: int
    data: bytes
    durable: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """A file was cut, or grown by zeros."""

    file: int
    size: int


@dataclass(frozen=True, slots=True)
class Names:
    """Paths lead to other files from now on, all at once; None is no file.

    A new file has one, so has one that is removed; a renamed one has two, the new name last.
    """

    names: tuple[tuple[str, int | None], ...]

    @property
    def folder(self) -> str:
        """The folder that has to be synced."""
        return folder_of(self.names[-1][0])


@dataclass(frozen=True, slots=True)
class Sync:
    """Data and size of a file are certain: fsync or fdatasync."""

    file: int


@dataclass(frozen=True, slots=True)
class SyncNames:
    """The names in a folder are certain: fsync of the folder."""

    folder: str


Op: TypeAlias = Data | Size | Names | Sync | SyncNames


@dataclass(frozen=True, slots=True)
class Journal:
    """What was on the disk for sure, and what was done then."""

    base: Image
    ops: tuple[Op, ...]


@dataclass(frozen=True, slots=True)
class CrashState:
    """What can be found."""

    point: int
    """How many operations had been made."""
    kept: tuple[Kept, ...]
    """Of the changes that were not synced those that arrived."""
    image: Image
    whole: bool
    """Whether all arrived, as when a process is killed and the machine goes on."""


def crash_states(journal: Journal) -> Iterator[CrashState]:
    """Give all that can be found after a crash before, between and after the operations.

    Complexity
    ----------
    O(2^n) images for each operation while n changes are not synced, and O(n) beyond
    `EXHAUSTIVE`; each is a copy of the folder.
    """
    for point in range(len(journal.ops) + 1):
        pending = _pending(journal.ops[:point])
        whole = tuple(_whole(journal.ops, index) for index in pending)
        for kept in _choices(journal, pending):
            image = image_of(journal, point, kept)
            yield CrashState(point, kept, image, kept == whole)


def image_of(journal: Journal, point: int, kept: Sequence[Sequence[int]]) -> Image:
    """Give what is found when of the first `point` operations `kept` and all synced arrived."""
    names: dict[str, int] = {path: number for number, path in enumerate(sorted(journal.base))}
    files = {number: bytearray(journal.base[path]) for path, number in names.items()}
    ops = journal.ops[:point]
    arrived = {index: (start, stop) for index, start, stop in kept}
    pending = set(_pending(ops))
    for index, op in enumerate(ops):
        if index not in pending:
            arrived[index] = _whole(ops, index)[1:]
        if index in arrived:
            _apply(op, arrived[index], files, names)
    return {path: bytes(files.get(names[path], b"")) for path in sorted(names)}


def folder_of(path: str) -> str:
    """Give the folder of a path, "" for the one that the journal is about."""
    return str(PurePosixPath(path).parent).removeprefix(".")


# ── inside ────────────────────────────────────────────────────────────────────────────────


def _apply(
    op: Op, part: tuple[int, int], files: dict[int, bytearray], names: dict[str, int]
) -> None:
    match op:
        case Data():
            start, stop = part
            file = files.setdefault(op.file, bytearray())
            # A write that was cut off has not reached the end of what it grows.
            end = op.offset + (len(op.data) if start == stop else stop)
            file.extend(bytes(max(0, end - len(file))))
            file[op.offset + start : op.offset + stop] = op.data[start:stop]
        case Size():
            file = files.setdefault(op.file, bytearray())
            file.extend(bytes(max(0, op.size - len(file))))
            del file[op.size :]
        case Names():
            for path, number in op.names:
                if number is None:
                    names.pop(path, None)
                else:
                    names[path] = number
        case Sync() | SyncNames():
            pass


def _pending(ops: Sequence[Op]) -> list[int]:
    """Give the changes that are not certain."""
    pending: list[int] = []
    for index, op in enumerate(ops):
        match op:
            case Sync(file):
                pending = [at for at in pending if getattr(ops[at], "file", None) != file]
            case SyncNames(folder):
                pending = [at for at in pending if getattr(ops[at], "folder", None) != folder]
            case Data(durable=True):
                pass
            case _:
                pending.append(index)
    return pending


def _whole(ops: Sequence[Op], index: int) -> Kept:
    op = ops[index]
    return index, 0, len(op.data) if isinstance(op, Data) else 0


def _choices(journal: Journal, pending: Sequence[int]) -> Iterator[tuple[Kept, ...]]:
    """Give what can have arrived: subsets, and one write in part with all or none beside it."""
    whole = [_whole(journal.ops, index) for index in pending]
    yield from _subsets(whole)
    for at, index in enumerate(pending):
        op = journal.ops[index]
        if isinstance(op, Data):
            for start, stop in _parts(op):
                part = (index, start, stop)
                yield (part,)
                if len(whole) > 1:
                    yield (*whole[:at], part, *whole[at + 1 :])


def _subsets(whole: Sequence[Kept]) -> Iterator[tuple[Kept, ...]]:
    size = len(whole)
    if size <= EXHAUSTIVE:
        for count in range(size + 1):
            yield from combinations(whole, count)
        return
    for count in range(size + 1):
        yield tuple(whole[:count])  # none, all, and every prefix; the first alone
    for at in range(size):
        if at:
            yield (whole[at],)
        if at < size - 1:
            yield (*whole[:at], *whole[at + 1 :])


def _parts(op: Data) -> Iterator[tuple[int, int]]:
    """Give what can arrive of a write in part: its size, or what is on one side of a sector's end.

    Of many sectors the first, the middle and the last one are where it ends.
    """
    yield 0, 0
    size = len(op.data)
    cuts = range(SECTOR - op.offset % SECTOR, size, SECTOR)
    for cut in sorted({cuts[0], cuts[len(cuts) // 2], cuts[-1]} if cuts else ()):
        yield 0, cut
        yield cut, size
