"""Index: which block lies in which slot of a file, so that a crash at any moment leaves it true.

What this is
    A journal in a file of its own. It begins with the identity of the blocks, and a record
    follows for each block that is stored and for each slot that is emptied. Reading it again
    from the start, up to the first record that is not whole, gives what there is.

        stored 3 ── stored 0 ── emptied 3 ── stored 3 ── sto┆
                                                            ╰ torn by a crash: not there

    It need not be perfect. Each record carries the checksum of its block, and whoever loads
    the block compares it. So a record that is missing, or that a crash of the machine has
    brought back, costs a miss and never gives a wrong byte.

Interface, as rules of use
    * A block first, and its record after that. A slot's `emptied` first, and its next
      tenant's bytes after that.
    * Whoever calls holds the lock of the pool, or is the only one.
    * Nothing raises for what a disk does. What could not be written is counted in
      `statistics()`; it lives on in this process, and the next rewrite may save it.
    * A file of another identity is not read; the log says why, and it is replaced.
    * The file is replaced as a whole: new name, fsync, rename, fsync of the directory.

Clauses: KV-PER-01, KV-PER-02, KV-PER-03, KV-PER-04, KV-PER-05, KV-PER-06, KV-PER-07, KV-ISO-06
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, final

from kvbm.blocks import SequenceHash
from kvbm.tiering.records import (
    LONGEST_HEADER,
    Identity,
    KeptBlock,
    RecordForm,
    difference,
    header,
)

logger = logging.getLogger(__name__)

SLACK: Final = 1024
DEAD_PER_LIVE: Final = 3
"""The journal is rewritten after `SLACK` changes, and this many for each block in it."""

_FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class IndexCalls:
    """The calls that change files. Replace them to see what happens when a disk fails.

    By default those that `os` has when this is made, so that whoever watches `os` sees them.
    """

    write: Callable[[int, memoryview, int], int] = field(default_factory=lambda: os.pwrite)
    fsync: Callable[[int], None] = field(default_factory=lambda: os.fsync)
    rename: Callable[[Path, Path], None] = field(default_factory=lambda: os.replace)


@final
@dataclass(frozen=True, slots=True)
class IndexStatistics:
    """What an index looked like at one moment. Safe to keep; it never changes."""

    blocks: int  # that it would give back now
    recovered: int  # that it found when it was opened
    records: int  # in the journal
    rewritten: int  # times that the journal was replaced
    failures: int  # calls of the disk that failed
    lost: int  # changes that are not in the journal because of that


@final
class BlockIndex:
    """The index at `path`, for slots 0 … `slots` - 1.

    Parameters
    ----------
    path
        Made if it is missing. The caller sees to it that nobody else has it.
    identity
        What must be equal for the blocks in it to mean anything.
    bits
        Length of a hash.
    slots
        Blocks beyond are dropped.
    empty
        The blocks themselves are gone: begin anew, whatever the file says.

    Complexity
    ----------
    O(records) to open; O(1) a change, rewriting included.
    """

    def __init__(
        self,
        path: Path,
        identity: Identity,
        *,
        bits: int,
        slots: int,
        empty: bool = False,
        calls: IndexCalls | None = None,
    ) -> None:
        self._path = path
        self._header = header(identity)
        self._form = RecordForm(bits)
        self._slots = slots
        self._calls = calls or IndexCalls()
        # slot → body of its record, and hash → slot; the last stored is the last.
        self._bodies: dict[int, bytes] = {}
        self._slot_of: dict[SequenceHash, int] = {}
        self._journal: int | None = None  # descriptor, while there is a file to append to
        self._end = self._crc = 0  # where the next record goes, and what it goes on from
        self._records = self._since = 0  # in the journal, and since the last rewrite
        self._rewritten = self._failures = self._lost = 0
        self._open = True
        whole = self._recover(empty)
        self._recovered = len(self._bodies)
        if not whole:
            self._rewrite()

    def blocks(self) -> list[KeptBlock]:
        """List the blocks, the one that was stored first first. O(blocks)."""
        kept = map(self._form.read, self._bodies.values())
        return [block for block in kept if isinstance(block, KeptBlock)]

    def store(self, blocks: Iterable[KeptBlock]) -> None:
        """Note blocks whose bytes are in their slots. O(blocks). Clauses: KV-PER-02"""
        bodies = []
        for block in blocks:
            body = self._form.stored(block)
            if body is not None:
                self._put(block, body)
                bodies.append(body)
        self._append(bodies)

    def remove(self, names: Iterable[SequenceHash]) -> None:
        """Note that slots lose their blocks. Unknown hashes are ignored. O(hashes)."""
        slots = [self._slot_of[name] for name in names if name in self._slot_of]
        for slot in slots:
            self._empty(slot)
        self._append([self._form.emptied(slot) for slot in slots])

    def statistics(self) -> IndexStatistics:
        """Copy the few numbers that are worth watching."""
        return IndexStatistics(
            len(self._bodies),
            self._recovered,
            self._records,
            self._rewritten,
            self._failures,
            self._lost,
        )

    def close(self) -> None:
        """Bring what was written to the disk, and let go of the file. Idempotent."""
        self._open = False
        if self._journal is not None:
            try:
                self._calls.fsync(self._journal)
            except OSError as error:
                self._failed(error)
            os.close(self._journal)
            self._journal = None

    # ── what there is ─────────────────────────────────────────────────────────────────

    def _put(self, block: KeptBlock, body: bytes) -> None:
        self._empty(block.slot)
        if block.name in self._slot_of:  # the newest is the one that counts
            self._empty(self._slot_of[block.name])
        self._bodies[block.slot] = body
        self._slot_of[block.name] = block.slot

    def _empty(self, slot: int) -> None:
        body = self._bodies.pop(slot, None)
        if body is not None:
            block = self._form.read(body)
            assert isinstance(block, KeptBlock), f"slot {slot} is kept without a block"
            del self._slot_of[block.name]

    # ── recovery ──────────────────────────────────────────────────────────────────────

    def _recover(self, empty: bool) -> bool:
        """Read what there is; tell whether the file can be gone on with as it is."""
        try:
            descriptor = os.open(self._path, _FLAGS)
        except FileNotFoundError:
            return False
        except OSError as error:
            self._failed(error)
            return False
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            try:
                whole = self._read(file, empty)
            except OSError as error:
                self._failed(error)
                whole = False
        if self._end:
            self._journal = descriptor
        else:
            os.close(descriptor)
        return whole

    def _read(self, file: BinaryIO, empty: bool) -> bool:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(self._path))
        line = file.readline(LONGEST_HEADER)
        if line != self._header or empty:
            same = line == self._header
            reason = "its blocks are gone" if same else difference(self._header, line)
            logger.warning("%s is not used: %s; the cache starts empty", self._path, reason)
            return False
        self._end, self._crc = len(line), zlib.crc32(line)
        beyond = 0
        while record := file.read(self._form.size):
            unsealed = self._form.unseal(record, self._crc)
            if unsealed is None:
                logger.warning("%s ends in a record that is not whole", self._path)
                return False
            body, self._crc = unsealed
            self._end += len(record)
            self._records += 1
            block = self._form.read(body)
            if isinstance(block, int):
                self._empty(block)
            elif block.slot < self._slots:
                self._put(block, body)
            else:
                beyond += 1
        if beyond:
            logger.info("%s: %d records are of slots that are no more", self._path, beyond)
        self._since = self._records - len(self._bodies)
        return not beyond and not self._is_long

    # ── the file ──────────────────────────────────────────────────────────────────────

    @property
    def _is_long(self) -> bool:
        return self._since > SLACK + DEAD_PER_LIVE * len(self._bodies)

    def _append(self, bodies: Sequence[bytes]) -> None:
        if not bodies or not self._open:
            return
        self._since += len(bodies)
        if self._is_long and self._rewrite():
            return  # with what has just changed
        written = 0
        if self._journal is not None:
            data, crcs = self._form.seal(bodies, self._crc)
            # At an offset, and not at the end: the next record goes over the rest of one
            # that could be written in part only.
            size, error = self._write(self._journal, data, self._end)
            if error is not None:
                self._failed(error)
            written = size // self._form.size
            if written:
                self._end += written * self._form.size
                self._crc = crcs[written - 1]
                self._records += written
        self._lost += len(bodies) - written

    def _write(self, descriptor: int, data: bytes, offset: int) -> tuple[int, OSError | None]:
        """Write all of `data`, or as much as can be: how many bytes, and why not more."""
        view = memoryview(data)
        written = 0
        try:
            while written < len(data):
                step = self._calls.write(descriptor, view[written:], offset + written)
                if not step:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                written += step
        except OSError as error:
            return written, error
        return written, None

    def _rewrite(self) -> bool:
        """Put a journal of what there is in the place of the old one; tell whether it is there.

        Until the rename the old one counts, from then on the new one, whatever happens.
        Clauses: KV-PER-01, KV-PER-03
        """
        self._since = 0  # after a failure as well: the next try is as far away
        records, crcs = self._form.seal(list(self._bodies.values()), zlib.crc32(self._header))
        data = self._header + records
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            descriptor = self._replace(fresh, data)
        except OSError as error:
            self._failed(error)
            with suppress(OSError):
                fresh.unlink()
            return False
        if self._journal is not None:
            os.close(self._journal)
        self._journal = descriptor
        self._end, self._crc = len(data), crcs[-1] if crcs else zlib.crc32(self._header)
        self._records = len(crcs)
        self._rewritten += 1
        self._sync_directory()
        return True

    def _replace(self, fresh: Path, data: bytes) -> int:
        """Write a new file, make it last, then give it our name; return its descriptor."""
        with suppress(FileNotFoundError):
            fresh.unlink()  # a crash has left it
        descriptor = os.open(fresh, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _, error = self._write(descriptor, data, 0)
            if error is not None:
                raise error
            self._calls.fsync(descriptor)
            self._calls.rename(fresh, self._path)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _sync_directory(self) -> None:
        """Make the rename last. If that fails the old journal may come back, which is no harm."""
        try:
            directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self._failed(error)
            return
        try:
            self._calls.fsync(directory)
        except OSError as error:
            self._failed(error)
        finally:
            os.close(directory)

    def _failed(self, error: OSError) -> None:
        self._failures += 1
        if self._failures == 1:
            logger.warning(
                "%s: %s; blocks may be forgotten when this process ends", self._path, error
            )

    def _check(self) -> None:
        """Assert that hashes and slots are the same pairs."""
        kept = {block.name: block.slot for block in self.blocks()}
        assert kept == self._slot_of, f"KV-REG-04: {kept} differs from {self._slot_of}"
        assert all(0 <= slot < self._slots for slot in self._bodies), f"KV-PER-07: {kept}"
