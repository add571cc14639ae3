"""Disk batch: many blocks that go to or from a file, checked, before anything starts.

What this is
    The two ways to say where blocks are in memory, as lists of buffers or as rows of one
    array, become one value: offsets, sizes, and a way to get at the buffers of some of them.

Interface, as rules of use
    * of_buffers() or of_rows(), then `requests`. A batch that came to be is a good one,
      but for the end of the file, which needs the storage: need_inside().
    * Buffers are looked up when a request is built, since rows need no list before.

Clauses: KV-INT-05, KV-TIR-04
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
from numpy.typing import ArrayLike

from kvbm.errors import InvalidStorageConfig, OutOfBounds
from kvbm.storage.base import Bytes
from kvbm.storage.coalesce import Numbers, need_apart
from kvbm.storage.pages import PAGE
from kvbm.storage.region import address_of
from kvbm.storage.vectors import need_aligned, need_buffers


@final
@dataclass(frozen=True, slots=True, eq=False)
class DiskBatch:
    """Blocks, where they are in the file, and their memory."""

    operation: str
    """Either "read" or "write"."""
    offsets: Numbers
    """int64[blocks], bytes."""
    sizes: Numbers
    """int64[blocks], bytes."""
    pieces: Numbers
    """int64[blocks]: of how many buffers each block is made."""
    buffers_of: Callable[[list[int]], list[Bytes]]
    """Gives the buffers of some blocks, by position, in the order given."""

    @classmethod
    def of_buffers(
        cls, operation: str, offsets: ArrayLike, buffers: Sequence[Sequence[Bytes]]
    ) -> Self:
        """Check blocks that are lists of buffers; see `DiskEngine.read`."""
        starts = _numbers("offsets", offsets)
        _need_equal("buffers", len(buffers), len(starts))
        sizes = np.empty(len(starts), np.int64)
        for index, (start, block) in enumerate(zip(starts.tolist(), buffers, strict=True)):
            name = f"buffers[{index}]"
            sizes[index] = need_buffers(block, writable=operation == "read", name=name)
            need_aligned(start, block, name)
        pieces = np.array([len(block) for block in buffers], np.int64)

        def buffers_of(indices: list[int]) -> list[Bytes]:
            return [piece for index in indices for piece in buffers[index]]

        return cls(operation, starts, sizes, pieces, buffers_of)

    @classmethod
    def of_rows(cls, operation: str, slots: ArrayLike, memory: Bytes, rows: ArrayLike) -> Self:
        """Check blocks that are rows of one array; see `DiskEngine.read_rows`."""
        _need_rows(memory, writable=operation == "read")
        size = memory.shape[1]
        starts = _numbers("slots", slots) * size
        picked = _numbers("rows", rows)
        _need_equal("rows", len(picked), len(starts))
        outside = np.flatnonzero((picked < 0) | (picked >= len(memory)))
        if outside.size:
            number = int(picked[outside[0]])
            raise InvalidStorageConfig("rows", number, f"there are rows 0 … {len(memory) - 1}")
        if operation == "read" and len(np.unique(picked)) != len(picked):
            raise InvalidStorageConfig("rows", picked.tolist(), "a row can hold one block only")
        numbers, ones = picked.tolist(), np.ones(len(starts), np.int64)

        def buffers_of(indices: list[int]) -> list[Bytes]:
            return [memory[numbers[index]] for index in indices]

        return cls(operation, starts, ones * size, ones, buffers_of)

    def need_inside(self, limit: int) -> None:
        """Raise unless all blocks are within `limit` bytes and, to be written, apart."""
        outside = np.flatnonzero((self.offsets < 0) | (self.offsets + self.sizes > limit))
        if outside.size:
            first = outside[0]
            offset, size = int(self.offsets[first]), int(self.sizes[first])
            raise OutOfBounds(self.operation, offset, size, limit)
        if self.operation == "write":
            need_apart(self.offsets, self.sizes)


def _numbers(field: str, values: ArrayLike) -> Numbers:
    array: Any = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InvalidStorageConfig(field, values, "must be a list of integers")
    numbers: Numbers = array.astype(np.int64)
    return numbers


def _need_equal(field: str, length: int, blocks: int) -> None:
    if length != blocks:
        raise InvalidStorageConfig(
            field, length, f"must have one entry for each of {blocks} blocks"
        )


def _need_rows(memory: Bytes, *, writable: bool) -> None:
    shape = getattr(memory, "shape", None)
    if getattr(memory, "dtype", None) != np.uint8 or len(memory.shape) != 2:
        raise InvalidStorageConfig("memory", shape, "must be uint8[rows, bytes of a slot]")
    if memory.strides[1] != 1 or any(
        number % PAGE for number in (address_of(memory), memory.strides[0], memory.shape[1])
    ):
        rule = f"address and rows must be in whole pages of {PAGE} bytes; use pages()"
        raise InvalidStorageConfig("memory", shape, rule)
    if writable and not memory.flags.writeable:
        raise InvalidStorageConfig("memory", shape, "is read-only")
