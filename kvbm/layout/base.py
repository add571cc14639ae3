"""Layout: where each block's bytes lie, as arithmetic without memory.

What this is
    For each layer one row of numbers. The bytes of (block, layer, outer) start at

        start[layer] + block · block_stride[layer] + outer · outer_stride[layer]

    in storage `storage[layer]`. The kinds of layout differ in how they fill this table,
    and in nothing else.

Interface, as rules of use
    * Make a FullyContiguous, LayerSeparate, Paged, Ragged or CustomLayout.
    * `required_sizes()` says what to allocate; `bind(memories)` joins layout and memory.
    * Offsets count from the first aligned byte of a storage. Only a bound layout knows
      how far that is from the storage's own first byte.
    * Indices are checked in the order block, layer, outer.

Clauses: KV-INT-01, KV-INT-05
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kvbm.errors import (
    AxesNotAvailable,
    InvalidBlockIndex,
    InvalidConfig,
    InvalidLayerIndex,
    InvalidOuterIndex,
)
from kvbm.identity.tokens import exact_integer
from kvbm.layout.axes import Axis, Label
from kvbm.layout.bound import BoundLayout
from kvbm.layout.config import LARGEST, LayoutConfig
from kvbm.layout.descriptor import LayoutDescriptor
from kvbm.layout.kinds import LayoutType
from kvbm.layout.memory import Memory

Integers: TypeAlias = NDArray[np.int64]


def up(value: int, alignment: int) -> int:
    """Give the next multiple of `alignment`, a power of two.

    >>> up(257, 256), up(256, 256), up(0, 256)
    (512, 256, 0)
    """
    return -(-value // alignment) * alignment


@dataclass(frozen=True, slots=True)
class LayerRow:
    """Where one layer lies. All but `storage` in bytes."""

    storage: int
    start: int
    block_stride: int
    outer_stride: int
    region: int


class Layout:
    """What all layouts share. Immutable; two layouts with equal descriptors are equal.

    Parameters
    ----------
    kind
    config
    rows
        One for each layer.
    data_bytes
        Bytes from the first to the last one of each storage, without room for alignment.
    axes
        Labelled axes, outermost first; None where regions are not evenly spaced.
    details
        What the descriptor says beyond kind and config.
    """

    def __init__(
        self,
        kind: LayoutType,
        config: LayoutConfig,
        rows: Sequence[LayerRow],
        data_bytes: Sequence[int],
        axes: Sequence[Axis] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        for storage, size in enumerate(data_bytes):
            if size + config.alignment > LARGEST:
                raise InvalidConfig(f"bytes of storage {storage}", size, "must fit 63 bits")
        self.kind = kind
        self.config = config
        self.rows = tuple(rows)
        self.data_bytes = tuple(data_bytes)
        self._axes = None if axes is None else tuple(axes)
        self._details = dict(details or {})

    @property
    def num_storages(self) -> int:
        """How many memories `bind` wants."""
        return len(self.data_bytes)

    @property
    def bytes_per_block(self) -> int:
        """Bytes of one block, without padding."""
        return self.config.outer_dim * sum(row.region for row in self.rows)

    def required_sizes(self) -> tuple[int, ...]:
        """Bytes to allocate for each storage, wherever the allocator puts it."""
        return tuple(size + self.config.alignment - 1 for size in self.data_bytes)

    def region_bytes(self, layer: int = 0) -> int:
        """Bytes of one (block, outer) in this layer."""
        return self.rows[layer].region

    def region_shape(self, layer: int = 0) -> tuple[int, ...]:
        """Shape of one region: (tokens, inner), or (tokens, heads, head_dim) in a known order."""
        del layer  # Ragged looks at it
        return (self.config.page_size, *self.config.token_shape)

    def region_strides(self, layer: int = 0) -> tuple[int, ...]:
        """Distances that go with `region_shape`, in bytes: the true ones, in every order."""
        width = self.config.dtype.width
        if not self.config.order.known:
            return (self.region_shape(layer)[1] * width, width)
        strides = {axis.label: axis.stride for axis in self.axes()}
        return strides[Label.PAGE], strides[Label.HEAD], strides[Label.HEAD_DIM]

    @property
    def whole_regions(self) -> bool:
        """Whether one (block, layer, outer) is one piece of memory."""
        return self.config.order.whole_regions

    def axes(self) -> tuple[Axis, ...]:
        """Give the labelled axes, outermost first.

        Raises
        ------
        AxesNotAvailable
            The regions are not evenly spaced.
        """
        if self._axes is None:
            raise AxesNotAvailable(self.kind.name)
        return self._axes

    @property
    def has_axes(self) -> bool:
        """Whether `axes()` has an answer."""
        return self._axes is not None

    @property
    def region_axis(self) -> Label | None:
        """The axis whose index picks the storage: LAYER, or None where there is one storage."""
        return Label.LAYER if any(row.storage for row in self.rows) else None

    def check_index(self, block: object, layer: object = 0, outer: object = 0) -> None:
        """Refuse an index that is outside. O(1).

        Raises
        ------
        InvalidBlockIndex, InvalidLayerIndex, InvalidOuterIndex
            Checked in this order. Negative indices and booleans are refused too.
        """
        config = self.config
        if not _within(block, config.num_blocks):
            raise InvalidBlockIndex(block, config.num_blocks)
        if not _within(layer, config.num_layers):
            raise InvalidLayerIndex(layer, config.num_layers)
        if not _within(outer, config.outer_dim):
            raise InvalidOuterIndex(outer, config.outer_dim)

    def offset(self, block: int, layer: int, outer: int) -> tuple[int, int]:
        """Find a region: (index of its storage, byte offset in it). O(1)."""
        self.check_index(block, layer, outer)
        row = self.rows[layer]
        start = row.start + int(block) * row.block_stride + int(outer) * row.outer_stride
        return row.storage, start

    def offsets(
        self, blocks: ArrayLike, layers: ArrayLike, outers: ArrayLike
    ) -> tuple[Integers, Integers]:
        """Find many regions at once: `offset` for arrays, broadcast, indices not checked."""
        table = self._table
        layer = np.asarray(layers, np.int64)
        start = table["start"][layer] + np.asarray(blocks, np.int64) * table["block_stride"][layer]
        offsets = start + np.asarray(outers, np.int64) * table["outer_stride"][layer]
        return np.broadcast_to(table["storage"][layer], offsets.shape), offsets

    @cached_property
    def _table(self) -> dict[str, Integers]:
        names = ("storage", "start", "block_stride", "outer_stride")
        return {n: np.array([getattr(row, n) for row in self.rows], np.int64) for n in names}

    def bind(self, memories: Sequence[Memory]) -> BoundLayout:
        """Lay the blocks out in memory, one memory for each storage.

        Raises
        ------
        InvalidConfig
            There are too many or too few memories, or one is too small.
        """
        return BoundLayout(self, memories)

    def descriptor(self) -> str:
        """Describe the layout completely, as JSON. See `LayoutDescriptor`."""
        return LayoutDescriptor(self.kind, self.config, self._details).json()

    def has_same_block_shape(self, other: Layout) -> bool:
        """Whether a block here has the bytes of a block there, in the same order."""
        rows = [row.region for row in self.rows] == [row.region for row in other.rows]
        return rows and not self.config.first_difference(other.config, "num_blocks", "alignment")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and self.descriptor() == other.descriptor()

    def __hash__(self) -> int:
        return hash(self.descriptor())

    def __repr__(self) -> str:
        return f"{self.kind.name}({self.config})"


def _within(index: object, count: int) -> bool:
    number = exact_integer(index)
    return number is not None and 0 <= number < count
