"""Checksums: is what arrived what was sent?

What this is
    XXH3-128 of a block in the canonical order (layer, outer, token, head, dim): equal for
    equal content, however the block is laid out. It finds accidents; it does not stop
    somebody who forges on purpose.

Interface, as rules of use
    * `block_checksum(bound, block)`, for memory that the host can reach.
    * A Checks belongs to one transfer. look() at a place remembers the checksums of its
      blocks, or compares them with those remembered, and gives the positions that differ.
    * Keep the checksums that a transfer gives beside the block, and pass them as `expected`
      when it comes back.

Clauses: KV-INT-03
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import final

import numpy as np
import xxhash

from kvbm.errors import InvalidConfig
from kvbm.layout import BlockOrder, BoundLayout
from kvbm.storage.base import Bytes
from kvbm.transfer.plan import Integers


def block_checksum(bound: BoundLayout, block: int, layers: range | None = None) -> bytes:
    """Give the checksum of one block, or of some layers of it.

    Returns
    -------
    bytes[16]
        XXH3-128, most significant byte first.

    Raises
    ------
    InvalidBlockIndex, InvalidLayerIndex
    NotAccessible
        The bytes are on disk or on a device. Copy them to the host first.

    Complexity
    ----------
    O(bytes); without a copy where the order is the canonical one.
    """
    layout = bound.layout
    layout.check_index(block)
    chosen = range(bound.config.num_layers) if layers is None else layers
    digest = xxhash.xxh3_128()
    canonical = bound.config.order in (BlockOrder.NHD, BlockOrder.UNKNOWN)
    for part in _pieces(bound, block, chosen) if canonical else _regions(bound, block, chosen):
        digest.update(part.data)
    return digest.digest()


def _pieces(bound: BoundLayout, block: int, layers: range) -> Iterator[Bytes]:
    """Give the bytes as they are, in pieces as large as they are in memory."""
    outers = range(bound.config.outer_dim)
    held, start, stop = -1, 0, 0
    for layer, outer in product(layers, outers):
        storage, offset = bound.layout.offset(block, layer, outer)
        if (storage, offset) != (held, stop):
            if stop > start:
                yield _slice(bound, held, start, stop)
            held, start = storage, offset
        stop = offset + bound.layout.region_bytes(layer)
    yield _slice(bound, held, start, stop)


def _slice(bound: BoundLayout, storage: int, start: int, stop: int) -> Bytes:
    base = bound.base_offsets[storage]
    return bound.memories[storage].array()[base + start : base + stop]


def _regions(bound: BoundLayout, block: int, layers: range) -> Iterator[Bytes]:
    """Give the bytes region by region, brought into the canonical order."""
    layout = bound.layout
    for layer, outer in product(layers, range(bound.config.outer_dim)):
        storage, offset = layout.offset(block, layer, outer)
        start = bound.base_offsets[storage] + offset
        memory = bound.memories[storage].array()
        shape, strides = layout.region_shape(layer), layout.region_strides(layer)
        scattered = np.ndarray(shape, f"u{bound.config.dtype.width}", memory, start, strides)
        yield np.ascontiguousarray(scattered).reshape(-1).view(np.uint8)


@final
class Checks:
    """The checksums of one transfer, by position. Does nothing if they are off.

    Raises
    ------
    InvalidConfig
        There are not as many expected checksums as pairs.
    """

    def __init__(
        self, pairs: int, layers: range | None, on: bool, expected: Sequence[bytes | None] | None
    ) -> None:
        if expected is not None and len(expected) != pairs:
            raise InvalidConfig("expected", len(expected), f"must have an entry for {pairs} pairs")
        self._on = on or expected is not None
        self._layers = layers
        self._sums: list[bytes | None] = [None] * pairs if expected is None else list(expected)

    def look(self, bound: BoundLayout, ids: Integers, positions: Integers) -> list[int]:
        """Compare the blocks at one place with what was seen before; give what differs."""
        if not self._on:
            return []
        wrong = []
        for block, position in zip(ids.tolist(), positions.tolist(), strict=True):
            seen = block_checksum(bound, block, self._layers)
            if self._sums[position] is None:
                self._sums[position] = seen
            elif self._sums[position] != seen:
                wrong.append(position)
        return wrong

    @property
    def result(self) -> list[bytes] | None:
        """All checksums; None if they are off."""
        return [each or b"" for each in self._sums] if self._on else None
