"""Transfer engine: copies of blocks, checked, ordered and answered.

What this is
    The face of this room. A call is checked and planned at once; the copy runs when all
    earlier ones that touch the same blocks have ended, on a few threads or on an executor
    that the caller brings.

        with TransferEngine() as engine:
            transfer = engine.transfer(host, [0, 1], disk, [7, 3])
            transfer.result()

Interface, as rules of use
    * transfer() raises for what cannot be copied, before anything happens. What goes wrong
      later is the outcome of the Transfer.
    * Order is by blocks (see `ordering`). `after` is for dependencies that blocks do not
      show: if one of them does not succeed, this copy is not made, and fails.
    * One engine for one memory: two engines know nothing of each other's copies.
    * Neither source nor target may be reused before `Transfer.finished` is done.
    * close() cancels what has not begun, waits for what runs, and says what it abandoned.

Clauses: KV-TIR-02, KV-TIR-04, KV-TIR-05, KV-TIR-08, KV-TIR-09, KV-INT-03, KV-INT-05,
KV-CON-03, KV-LIV-01, KV-LIV-04, KV-SHD-01, KV-SHD-02, KV-SHD-04, KV-SHD-05
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final, Literal, Self, TypeAlias, final

import numpy as np

from kvbm.errors import InvalidConfig, TransferEngineClosed, TransfersAbandoned
from kvbm.layout import BoundLayout
from kvbm.storage import DiskStorage
from kvbm.storage.base import Bytes
from kvbm.storage.disk_engine import DEADLINE
from kvbm.transfer.bounce import BOUNCE_BYTES, BounceBuffers
from kvbm.transfer.checks import checked_ids, checked_parts, refuse_unlike
from kvbm.transfer.checksums import Checks
from kvbm.transfer.copying import STREAM
from kvbm.transfer.disk import DiskExecutor
from kvbm.transfer.faults import Faults
from kvbm.transfer.handle import Transfer
from kvbm.transfer.manual import Submitter
from kvbm.transfer.ordering import Footprint, conflict, overlap, spans
from kvbm.transfer.piece import Piece, place_of
from kvbm.transfer.plan import Integers
from kvbm.transfer.strategy import Capabilities, Place
from kvbm.transfer.task import Task
from kvbm.transfer.way import Ended, Way, way_of

ChecksumMode: TypeAlias = Literal["disk", "memory"] | bool

_CHECK: Final = os.environ.get("KVBM_CHECK", "0") not in ("", "0")
"""Whether every submission ends with `_check()`."""


@final
@dataclass(frozen=True, slots=True)
class TransferStatistics:
    """What an engine looked like at one moment. Safe to keep; it never changes."""

    submitted: int
    completed: int
    failed: int
    cancelled: int
    unfinished: int
    """Transfers that wait or run, or are late."""
    size: int
    """Bytes of completed transfers."""


@final
class TransferEngine:
    """Copies blocks between bound layouts.

    Parameters
    ----------
    threads
        Copies at a time, and parts that one large copy is cut into.
    checksums
        False: none. "disk": of all copies from or to a disk. "memory" or True: of all.
    capabilities
        What the machine was found to do beyond what always works.
    queue_depth
        Requests that each disk sees at a time.
    deadline : seconds
        How long one disk request may take; None for ever.
    bounce_bytes : bytes
        Size of a bounce buffer; at most one for each thread is in use.
    executor
        Who runs copies instead of threads of our own. Stays the caller's.
    faults
        What shall go wrong, for tests.

    Raises
    ------
    InvalidConfig

    Examples
    --------
    >>> from kvbm.layout import FullyContiguous, LayerSeparate, LayoutConfig
    >>> from kvbm.storage import SystemAllocator
    >>> def bound(layout):
    ...     return layout.bind([SystemAllocator().allocate(n) for n in layout.required_sizes()])
    >>> config = LayoutConfig(4, 3, 2, 16, 64)
    >>> one, other = bound(FullyContiguous(config)), bound(LayerSeparate(config))
    >>> one.layer_view(2, 1, 0).numpy()[:] = 7
    >>> with TransferEngine() as engine:
    ...     engine.transfer(one, [2], other, [0]).result()
    >>> float(other.layer_view(0, 1, 0).numpy().min())
    7.0
    """

    def __init__(
        self,
        threads: int = 2,
        *,
        checksums: ChecksumMode = False,
        capabilities: Capabilities | None = None,
        queue_depth: int = 4,
        deadline: float | None = DEADLINE,
        bounce_bytes: int = BOUNCE_BYTES,
        executor: Submitter | None = None,
        faults: Faults | None = None,
    ) -> None:
        if threads < 1:
            raise InvalidConfig("threads", threads, "must be at least 1")
        if queue_depth < 1:
            raise InvalidConfig("queue_depth", queue_depth, "must be at least 1")
        if deadline is not None and not deadline > 0:
            raise InvalidConfig("deadline", deadline, "must be a time above 0, or None")
        if checksums not in (False, True, "disk", "memory"):
            raise InvalidConfig("checksums", checksums, 'must be a boolean, "disk" or "memory"')
        self._checksums = checksums
        self._capabilities = capabilities or Capabilities()
        self._bounce = BounceBuffers(bounce_bytes)
        self._disk = DiskExecutor(queue_depth, deadline)
        self._faults = faults or Faults()
        self._own: ThreadPoolExecutor | None = None
        if executor is None:
            executor = self._own = ThreadPoolExecutor(threads, "kvbm-transfer")
        self._executor: Submitter = executor
        self._parts = threads if self._own is not None else 1  # a foreign executor: one step
        self._unfinished: dict[Task, int] = {}  # oldest first; the value is bytes
        self._submitted = self._completed = self._failed = self._cancelled = self._size = 0
        self._open = True
        self._lock = threading.Lock()

    def transfer(
        self,
        source: BoundLayout,
        source_ids: Sequence[int] | Integers,
        target: BoundLayout,
        target_ids: Sequence[int] | Integers,
        layers: range | None = None,
        *,
        after: Iterable[Transfer] = (),
        expected: Sequence[bytes | None] | None = None,
    ) -> Transfer:
        """Copy block `source_ids[i]` to block `target_ids[i]`, for every i.

        Parameters
        ----------
        source, target
            Layouts whose blocks hold the same; nested and placed in any way.
        source_ids, target_ids : int64[pairs]
            Targets are distinct; no block is source and target. Sources may repeat.
        layers
            Only these, to the same layers. By default all.
        after
            Transfers that must have succeeded before.
        expected : bytes[16] or None, of each pair
            Checksums that were once kept. What differs is a CorruptBlock.

        Returns
        -------
        Transfer
            Done at once if there are no pairs.

        Raises
        ------
        CountMismatch, BlockOutOfRange, DuplicateDestinationBlocks, OverlappingBlocks
        IncompatibleTypes, UnsupportedTransfer, InvalidRange
        InvalidConfig
            `expected` has another length.
        StorageClosed, TransferEngineClosed

        Complexity
        ----------
        O(pairs + unfinished transfers); waits for nothing.

        Clauses: KV-INT-05, KV-TIR-04
        """
        piece = _checked(source, source_ids, target, target_ids, layers)
        disk = Place.DISK in (place_of(source)[0], place_of(target)[0])
        on = self._checksums in (True, "memory") or (self._checksums == "disk" and disk)
        checks = Checks(len(piece), layers, on, expected)
        way = way_of(piece, self._capabilities, self._disk, self._bounce)
        sources, targets = piece.source_ids.tolist(), piece.target_ids.tolist()
        footprint = Footprint.of(source, sources, target, targets)
        size = _bytes_of(piece)
        keep = (source, target, _arrays(source), _arrays(target))
        with self._lock:
            if not self._open:
                raise TransferEngineClosed
            number = self._submitted
            self._submitted += 1
            what = (
                f"transfer {number} of {len(piece)} blocks from {place_of(source)[0]} "
                f"to {place_of(target)[0]}"
            )
            transfer = Transfer(number, what)
            if not len(piece):
                self._completed += 1
                return _done(transfer, checks)
            pieces = self._cut(piece, size, disk=disk)
            move = partial(self._move, number, way, checks)
            task = Task(transfer, footprint, pieces, move, checks, self._executor, keep)
            before = [each for each in self._unfinished if conflict(each.footprint, footprint)]
            self._unfinished[task] = size
        transfer.finished.add_done_callback(lambda _future: self._forget(task))
        for earlier in before:
            task.hold(earlier.transfer, needed=False)
        for needed in after:
            task.hold(needed, needed=True)
        task.release()
        if _CHECK:
            self._check()
        return transfer

    def _cut(self, piece: Piece, size: int, *, disk: bool) -> list[Piece]:
        """Cut a large copy in memory into parts for several threads."""
        parts = 1 if disk else min(self._parts, len(piece), max(1, size // STREAM))
        cuts = np.linspace(0, len(piece), max(1, parts) + 1).astype(int)
        return [piece.take(slice(a, b)) for a, b in pairwise(cuts)]

    def _move(self, number: int, way: Way, checks: Checks, piece: Piece) -> Ended:
        """Move one part, with all that shall go wrong. Raises nothing."""
        faults = self._faults
        try:
            faults.begin(number)
            limit = faults.limit(number)
            rest: set[int] = set()
            if limit is not None:
                rest = set(piece.positions[limit:].tolist())
                piece = piece.take(slice(0, limit))
            ended = way.move(piece, checks, partial(faults.touch, number))
            if rest:
                ended.fail(rest, OSError(f"stopped after {limit} blocks"))
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the outcome
            ended = Ended()
            ended.fail(set(piece.positions.tolist()), error)
        return ended

    def _forget(self, task: Task) -> None:
        future = task.transfer.future
        with self._lock:
            size = self._unfinished.pop(task)
            if future.cancelled():
                self._cancelled += 1
            elif future.exception() is not None:
                self._failed += 1
            else:
                self._completed += 1
                self._size += size

    # ── its end ───────────────────────────────────────────────────────────────────────

    def close(self, timeout: float | None = None) -> None:
        """Cancel what has not begun, wait for what runs, end the threads. Idempotent.

        Parameters
        ----------
        timeout : seconds
            How long to wait; by default as long as it takes.

        Raises
        ------
        TransfersAbandoned
            Some copies are stuck. Their waiters have got the same error; their memory stays
            in use until they end, which `finished` tells.

        Clauses: KV-SHD-01, KV-SHD-02, KV-SHD-04, KV-SHD-05
        """
        with self._lock:
            if not self._open:
                return
            self._open = False
            tasks = list(self._unfinished)
        until = None if timeout is None else time.monotonic() + timeout
        for task in reversed(tasks):  # those that wait for others first
            task.transfer.cancel()
        _, stuck = wait_for([task.transfer.finished for task in tasks], timeout)
        left = [task for task in tasks if task.transfer.finished in stuck]
        for task in left:
            task.abandon()
        self._disk.close(None if until is None else max(0.0, until - time.monotonic()))
        if self._own is not None:
            self._own.shutdown(wait=not left)
        self._bounce.close()
        if left:
            raise TransfersAbandoned([task.transfer.what for task in left])

    def statistics(self) -> TransferStatistics:
        """Copy the few numbers that are worth watching."""
        with self._lock:
            return TransferStatistics(
                self._submitted,
                self._completed,
                self._failed,
                self._cancelled,
                len(self._unfinished),
                self._size,
            )

    def _check(self) -> None:
        """Assert every invariant of this object."""
        now = self.statistics()
        ended = now.completed + now.failed + now.cancelled
        assert now.submitted == ended + now.unfinished, f"KV-LIV-01: a transfer is lost: {now}"
        with self._lock:
            tasks = list(self._unfinished)
        for task in tasks:
            task._check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _checked(
    source: BoundLayout,
    source_ids: Sequence[int] | Integers,
    target: BoundLayout,
    target_ids: Sequence[int] | Integers,
    layers: range | None,
) -> Piece:
    """Check all that can be checked, without planning; see `TransferEngine.transfer`."""
    sources, targets = checked_ids(
        source.layout,
        target.layout,
        source_ids,
        target_ids,
        same_memory=overlap(spans(source), spans(target)),
    )
    ranges = checked_parts(source.layout, target.layout, layers, ())
    refuse_unlike(source.layout, target.layout, ranges)
    return Piece(source, sources, target, targets, layers, np.arange(len(sources)))


def _arrays(bound: BoundLayout) -> list[Bytes]:
    """Give what keeps the memory, also if its storage is closed meanwhile."""
    return [each.array() for each in bound.memories if not isinstance(each, DiskStorage)]


def _done(transfer: Transfer, checks: Checks) -> Transfer:
    transfer.future.set_running_or_notify_cancel()
    transfer.future.set_result(checks.result)
    transfer.finished.set_result(None)
    return transfer


def _bytes_of(piece: Piece) -> int:
    """Bytes that move."""
    layout = piece.source.layout
    layers = range(layout.config.num_layers) if piece.layers is None else piece.layers
    regions = sum(layout.region_bytes(layer) for layer in layers)
    return len(piece) * layout.config.outer_dim * regions
