"""Disk engine: batches of blocks to and from a file, on a few threads.

What this is
    A batch of block reads or writes becomes a few large requests (`coalesce`), each of
    which one thread hands to the kernel in one vectored call, and each of which answers for
    itself (`deadlines`). The kernel lets go of the interpreter meanwhile, so threads overlap.

        with DiskEngine(storage, threads=4) as engine:
            requests = engine.write_rows(slots, memory, rows)
            wait(requests)

Interface, as rules of use
    * A request is over for its reader when `answer` is done, with the bytes moved or an error.
    * Memory and file range of a request may be used again when `finished` is done, not
      before. That is later than the answer only when the answer is `DiskIoTimeout`.
    * Requests have no order among each other. Wait before you touch the same bytes again.
    * Bad input is refused as a whole, before the first byte moves.
    * `threads` is the queue depth that the disk sees: each holds one request at a time.

Clauses: KV-TIR-02, KV-TIR-05, KV-PER-05, KV-LIV-01, KV-LIV-04, KV-SHD-01, KV-SHD-02, KV-SHD-03,
KV-SHD-05
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_all
from dataclasses import dataclass
from typing import Final, Self, final

from numpy.typing import ArrayLike

from kvbm.errors import DiskIoTimeout, InvalidStorageConfig, StorageClosed
from kvbm.storage.base import Bytes, checked_integer
from kvbm.storage.coalesce import Numbers, coalesce
from kvbm.storage.deadlines import Desk, Job
from kvbm.storage.disk import DiskStorage
from kvbm.storage.disk_batch import DiskBatch
from kvbm.storage.pages import PAGE
from kvbm.storage.vectors import IOV_MAX

REQUEST: Final = 2 << 20
DEADLINE: Final = 30.0


@final
@dataclass(frozen=True, slots=True, eq=False)
class DiskRequest:
    """One request of a batch: which blocks, where, and its two ends."""

    indices: Numbers
    """int64[any length]: positions in the batch of the blocks that it covers, in file order."""
    offset: int
    """Bytes from the start of the file."""
    size: int
    """Bytes."""
    answer: Future[int]
    """The bytes moved, or `DiskIoFailed`, or `DiskIoTimeout`. Cannot be cancelled."""
    finished: Future[int]
    """Done, always without error, when nobody touches buffers and file range any more."""


@final
@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """What an engine looked like at one moment. Safe to keep; it never changes."""

    blocks: int
    """Blocks that were asked for, so far."""
    requests: int
    """Requests that they became."""
    size: int
    """Bytes that were asked for."""
    waiting: int
    running: int
    late: int
    """Requests that were answered with `DiskIoTimeout` and whose call has not returned."""


@final
class DiskEngine:
    """Reads and writes blocks of one `DiskStorage`. The storage stays the caller's.

    Parameters
    ----------
    storage
        Where the blocks are.
    threads
        Requests that the disk sees at a time.
    request_bytes : bytes
        Most bytes of a request, unless a single block has more. 1 to 4 MiB are good.
    deadline : seconds
        How long one request may take; None for ever.

    Examples
    --------
    >>> from kvbm.storage import DiskAllocator, pages
    >>> memory = pages(4 * PAGE).reshape(4, PAGE)
    >>> memory[2] = 9
    >>> with DiskAllocator().allocate(8 * PAGE) as storage, DiskEngine(storage) as engine:
    ...     wait(engine.write_rows([5], memory, [2])), wait(engine.read_rows([5], memory, [0]))
    (4096, 4096)
    >>> int(memory[0, 0])
    9
    """

    def __init__(
        self,
        storage: DiskStorage,
        *,
        threads: int = 4,
        request_bytes: int = REQUEST,
        deadline: float | None = DEADLINE,
    ) -> None:
        threads = checked_integer("threads", threads, 1)
        if deadline is not None and not deadline > 0:
            raise InvalidStorageConfig("deadline", deadline, "must be a time above 0, or None")
        self._storage = storage
        self._request_bytes = checked_integer("request_bytes", request_bytes, PAGE, "bytes")
        self._desk = Desk(threads, deadline)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="kvbm-disk")
        self._blocks = self._requests = self._size = 0
        self._lock = threading.Lock()
        self._end = weakref.finalize(self, _let_go, self._threads, self._desk)

    def read(self, offsets: ArrayLike, buffers: Sequence[Sequence[Bytes]]) -> list[DiskRequest]:
        """Start to read blocks.

        Parameters
        ----------
        offsets : int64[blocks]
            Where each block starts in the file, in whole pages.
        buffers : for each block, a list of uint8[any length]
            The memory of each block in file order, in whole pages.

        Returns
        -------
        list of DiskRequest
            Each block is in exactly one of them.

        Raises
        ------
        InvalidStorageConfig, OutOfBounds
            A block cannot be read like this. Nothing was started.

        Complexity
        ----------
        O(blocks log blocks + buffers); waits for nothing.
        """
        return self._start(DiskBatch.of_buffers("read", offsets, buffers))

    def write(self, offsets: ArrayLike, buffers: Sequence[Sequence[Bytes]]) -> list[DiskRequest]:
        """Start to write blocks; see read(). Blocks must not overlap in the file."""
        return self._start(DiskBatch.of_buffers("write", offsets, buffers))

    def read_rows(self, slots: ArrayLike, memory: Bytes, rows: ArrayLike) -> list[DiskRequest]:
        """Start to read slots of the file into rows of memory.

        Parameters
        ----------
        slots : int64[blocks]
            Slot i is the bytes from i times the row's size on.
        memory : uint8[rows, bytes of a slot]
            Page-aligned; a row is whole pages.
        rows : int64[blocks]
            The row of each block, each row once.
        """
        return self._start(DiskBatch.of_rows("read", slots, memory, rows))

    def write_rows(self, slots: ArrayLike, memory: Bytes, rows: ArrayLike) -> list[DiskRequest]:
        """Start to write rows of memory into slots of the file; see read_rows()."""
        return self._start(DiskBatch.of_rows("write", slots, memory, rows))

    def _start(self, batch: DiskBatch) -> list[DiskRequest]:
        batch.need_inside(self._storage.size)
        groups = coalesce(batch.offsets, batch.sizes, batch.pieces, self._request_bytes, IOV_MAX)
        with self._lock:  # so that close() is before or after a batch, and not within
            if not self._end.alive:
                raise StorageClosed("disk engine")
            self._blocks += len(batch.offsets)
            self._requests += len(groups)
            self._size += int(batch.sizes.sum())
            return [self._submit(batch, indices) for indices in groups]

    def _submit(self, batch: DiskBatch, indices: Numbers) -> DiskRequest:
        operation, offset = batch.operation, int(batch.offsets[indices[0]])
        size = int(batch.sizes[indices].sum())
        job = Job(f"{operation} of {size} bytes at {offset}")
        if self._desk.enter(job):
            buffers = batch.buffers_of(indices.tolist())
            self._threads.submit(_run, self._desk, job, self._storage, operation, offset, buffers)
        return DiskRequest(indices, offset, size, job.answer, job.finished)

    # ── its end ───────────────────────────────────────────────────────────────────────

    def close(self, timeout: float | None = None) -> None:
        """Wait for all that was started, and end the threads. Idempotent.

        Parameters
        ----------
        timeout : seconds
            How long to wait; by default as long as it takes.

        Raises
        ------
        DiskIoTimeout
            Not everything came to an end; the message says what. What had not started is
            answered and finished. What runs keeps its buffers until its call returns.

        Clauses: KV-SHD-01, KV-SHD-02, KV-SHD-05
        """
        with self._lock:
            self._end.detach()
        left = self._desk.close(timeout)
        self._threads.shutdown(wait=not left)
        if left:
            raise DiskIoTimeout(f"closed the disk engine and abandoned {'; '.join(left)}")

    def statistics(self) -> EngineStatistics:
        """Copy the few numbers that are worth watching."""
        with self._lock:
            return EngineStatistics(self._blocks, self._requests, self._size, *self._desk.counts())

    def _check(self) -> None:
        """Assert every invariant of this object."""
        now = self.statistics()
        assert 0 <= now.waiting + now.running + now.late <= now.requests <= now.blocks, f"{now}"
        self._desk._check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def wait(requests: Iterable[DiskRequest]) -> int:
    """Wait for the answers of all `requests`; give the bytes moved, or raise the first error.

    An error is raised after all have answered, so none is still on its way in time.
    """
    answers = [request.answer for request in requests]
    wait_for_all(answers)  # wakes once, not at each answer, which would disturb the threads
    return sum(answer.result() for answer in answers)


def _run(
    desk: Desk, job: Job, storage: DiskStorage, operation: str, offset: int, buffers: list[Bytes]
) -> None:
    if not desk.start(job):
        return
    try:
        moved = storage.transfer(operation, offset, buffers)
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is the answer
        desk.finish(job, error)
    else:
        desk.finish(job, moved)


def _let_go(threads: ThreadPoolExecutor, desk: Desk) -> None:
    # The engine was dropped. What was started still gets its answer; then the threads end.
    threads.shutdown(wait=False)
    desk.retire()
