"""Disk executor: blocks of a file to and from host memory.

What this is
    Rows of a plan become requests of the storage room's engine, which joins neighbours in
    the file. What is in whole pages on both sides goes straight to and from its place; the
    rest takes the storage's own bounce path, page by page.

Interface, as rules of use
    * `fits(piece)` says whether everything is in whole pages and in one order. If not, go
      over a bounce buffer: it has the order of the disk, and starts its blocks at pages.
    * start() gives one Request for each disk request; wait for `finished` before memory or
      file range is used again.
    * One DiskEngine for each storage, made on first use and kept until close().

Clauses: KV-TIR-02, KV-TIR-05, KV-LIV-04, KV-SHD-02
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from kvbm.errors import DiskIoTimeout, KvbmError, TransferEngineClosed
from kvbm.layout import BoundLayout, FullyContiguous
from kvbm.storage import PAGE, DiskEngine, DiskStorage
from kvbm.storage.base import Bytes
from kvbm.storage.pages import up_to_page
from kvbm.transfer.piece import Piece, addresses
from kvbm.transfer.plan import Direct, Integers, PlanPolicy
from kvbm.transfer.request import Request, ended

APART: Final = PlanPolicy(coalesce=False)
"""Copies in the order of the pairs; the disk engine joins them in the file."""

EVERY_PIECE: Final = PlanPolicy(min_inner_bytes=0, coalesce=False)
"""The same, however short the pieces are: some layers, in an order with heads outside."""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Copies between a file and memory, int64[rows] each."""

    storage: Integers  # on disk, by index
    offset: Integers  # in the file, bytes
    memory: Integers  # of the other side, by index
    address: Integers
    size: Integers
    pair: Integers  # index in the piece
    straight: NDArray[np.bool_]  # in whole pages on both sides

    @classmethod
    def of(cls, piece: Piece, operation: str, policy: PlanPolicy = APART) -> Rows | None:
        """Plan a piece; None if it falls into pieces that are too short for the policy."""
        plan = piece.plan(policy)
        if not isinstance(plan, Direct):
            return None
        copies = plan.copies
        source = addresses(piece.source, copies.source_storage, copies.source_offset)
        target = addresses(piece.target, copies.target_storage, copies.target_offset)
        size = _padded(piece, copies.size, (source, target))
        ends = (copies.source_storage, source), (copies.target_storage, target)
        disk, memory = ends if operation == "read" else ends[::-1]
        pair = np.arange(len(copies)) // max(1, len(copies) // max(1, len(piece)))
        straight = (disk[1] | memory[1] | size) % PAGE == 0
        return cls(*disk, *memory, size, pair, straight)


def _padded(piece: Piece, sizes: Integers, places: tuple[Integers, Integers]) -> Integers:
    """Take along the padding behind whole blocks, where it belongs to the block on both sides."""
    padded = up_to_page(piece.source.layout.bytes_per_block)
    whole = sizes == piece.source.layout.bytes_per_block
    for bound, place in zip((piece.source, piece.target), places, strict=True):
        if not isinstance(bound.layout, FullyContiguous) or bound.config.alignment % PAGE:
            return sizes
        memory = bound.memories[0]
        whole = whole & (place + padded <= memory.addr + memory.size)
    return np.where(whole, padded, sizes)


@final
class DiskExecutor:
    """Reads or writes, on `queue_depth` threads for each storage."""

    def __init__(self, queue_depth: int, deadline: float | None) -> None:
        self._queue_depth = queue_depth
        self._deadline = deadline
        self._engines: dict[DiskStorage, DiskEngine] = {}
        self._open = True
        self._lock = threading.Lock()

    def fits(self, piece: Piece, operation: str) -> bool:
        """Whether the pairs can go straight from file to memory, or back."""
        rows = Rows.of(piece, operation)
        return rows is not None and bool(rows.straight.all())

    def start(self, piece: Piece, operation: str) -> list[Request]:
        """Begin to read or write all pairs."""
        rows = Rows.of(piece, operation, EVERY_PIECE)
        assert rows is not None, "no piece is too short for this policy"
        disk, memory = piece.source, piece.target
        if operation == "write":
            disk, memory = memory, disk
        requests: list[Request] = []
        for index, storage in enumerate(disk.memories):
            assert isinstance(storage, DiskStorage), f"{storage!r} is no disk"
            here = rows.storage == index
            chosen = np.flatnonzero(here & rows.straight)
            if chosen.size:
                positions = piece.positions[rows.pair[chosen]]
                try:
                    engine = self._engine(storage)
                    buffers = [[each] for each in _buffers(memory, rows, chosen)]
                    begin = engine.read if operation == "read" else engine.write
                    for made in begin(rows.offset[chosen], buffers):
                        pairs = frozenset(positions[made.indices].tolist())
                        requests.append(Request(pairs, made.answer, made.finished))
                except KvbmError as error:  # another storage may be on its way already
                    requests.append(ended(positions.tolist(), error))
            requests += [
                _bounced(storage, operation, piece, memory, rows, row)
                for row in np.flatnonzero(here & ~rows.straight)
            ]
        return requests

    def _engine(self, storage: DiskStorage) -> DiskEngine:
        with self._lock:
            if not self._open:
                raise TransferEngineClosed
            if storage not in self._engines:
                self._engines[storage] = DiskEngine(
                    storage, threads=self._queue_depth, deadline=self._deadline
                )
            return self._engines[storage]

    def close(self, timeout: float | None) -> list[str]:
        """End all engines within `timeout` seconds; give what they abandoned."""
        with self._lock:
            self._open = False
            engines = list(self._engines.values())
            self._engines.clear()
        until = None if timeout is None else time.monotonic() + timeout
        left = []
        for engine in engines:
            try:
                engine.close(None if until is None else max(0.0, until - time.monotonic()))
            except DiskIoTimeout as error:
                left.append(str(error))
        return left


def _buffers(memory: BoundLayout, rows: Rows, chosen: Integers) -> Iterator[Bytes]:
    arrays = [each.array() for each in memory.memories]
    firsts = [each.addr for each in memory.memories]
    for index, address, size in zip(
        rows.memory[chosen].tolist(),
        rows.address[chosen].tolist(),
        rows.size[chosen].tolist(),
        strict=True,
    ):
        start = address - firsts[index]
        yield arrays[index][start : start + size]


def _bounced(
    storage: DiskStorage,
    operation: str,
    piece: Piece,
    memory: BoundLayout,
    rows: Rows,
    row: np.int64,
) -> Request:
    """Move one row that is not in whole pages. Done when this returns."""
    (buffer,) = _buffers(memory, rows, np.array([row]))
    move = storage.read if operation == "read" else storage.write
    error: BaseException | None = None
    try:
        move(int(rows.offset[row]), [buffer], bounce=True)
    except KvbmError as raised:
        error = raised
    return ended([int(piece.positions[rows.pair[row]])], error)
