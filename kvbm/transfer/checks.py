"""Checks: what must hold before the first byte moves.

What this is
    The refusals of the planner. They are always on: a wrong block id is a neighbour's
    data lost, and nobody notices before much later.

Interface, as rules of use
    * `plan` calls these; executors may trust a plan and need not check again.
    * Whether a source is still being written, and whether a target may be written, is
      asked of the blocks' handles, not here.

Clauses: KV-INT-05
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kvbm.errors import (
    BlockOutOfRange,
    CountMismatch,
    DuplicateDestinationBlocks,
    IncompatibleTypes,
    InvalidRange,
    OverlappingBlocks,
)
from kvbm.layout import Label, Layout

Integers: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class AxisRange:
    """A part of one axis: `length` indices, from `source` in the one, to `target` in the other."""

    label: Label
    source: int
    target: int
    length: int


def checked_ids(
    source: Layout,
    target: Layout,
    source_blocks: Sequence[int] | Integers,
    target_blocks: Sequence[int] | Integers,
    *,
    same_memory: bool,
) -> tuple[Integers, Integers]:
    """Give both lists as int64[pairs].

    Raises
    ------
    CountMismatch, BlockOutOfRange, DuplicateDestinationBlocks
    OverlappingBlocks
        A block is source and target in the same memory.
    IncompatibleTypes
        The same memory is to be read and written in two layouts.
    """
    if len(source_blocks) != len(target_blocks):
        raise CountMismatch(len(source_blocks), len(target_blocks))
    sources = _ids("source", source_blocks, source.config.num_blocks)
    targets = _ids("target", target_blocks, target.config.num_blocks)
    ascending = np.sort(targets)
    twice = ascending[1:][ascending[1:] == ascending[:-1]]
    if twice.size:
        raise DuplicateDestinationBlocks(np.unique(twice).tolist())
    if same_memory:
        if source != target:
            raise IncompatibleTypes("layout of one memory", source, target)
        both = np.intersect1d(sources, targets)
        if both.size:
            raise OverlappingBlocks(both.tolist())
    return sources, targets


def _ids(side: str, blocks: Any, count: int) -> Integers:
    ids = np.asarray(blocks)
    if not ids.size:
        return np.empty(0, np.int64)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        wrong = next((b for b in blocks if isinstance(b, bool) or not isinstance(b, int)), None)
        raise BlockOutOfRange(side, blocks[0] if wrong is None else wrong, count)
    outside = (ids < 0) | (ids >= count)
    if outside.any():
        raise BlockOutOfRange(side, int(ids[outside.argmax()]), count)
    return ids.astype(np.int64)


def checked_parts(
    source: Layout, target: Layout, layers: range | None, parts: Sequence[AxisRange]
) -> dict[Label, AxisRange]:
    """Give the parts by their axes.

    Raises
    ------
    InvalidRange
        A part is empty, outside, named twice, or of an axis that cannot be cut.
    """
    every = list(parts)
    if layers is not None:
        if layers.step != 1:
            raise InvalidRange("layer", f"{layers!r} has gaps")
        every.insert(0, AxisRange(Label.LAYER, layers.start, layers.start, len(layers)))
    ranges: dict[Label, AxisRange] = {}
    for part in every:
        name = part.label.value
        if part.label in ranges:
            raise InvalidRange(name, "is given twice")
        if part.label is Label.BLOCK:
            raise InvalidRange(name, "blocks are chosen by their ids")
        for side, start, size in (
            ("source", part.source, _size(source, part.label)),
            ("target", part.target, _size(target, part.label)),
        ):
            if size is None:
                raise InvalidRange(name, f"the {side} cannot be cut along it")
            if part.length < 1 or start < 0 or start + part.length > size:
                reason = f"{start} … {start + part.length - 1} is not in 0 … {size - 1}"
                raise InvalidRange(name, f"{reason} of the {side}")
        ranges[part.label] = part
    return ranges


def _size(layout: Layout, label: Label) -> int | None:
    """Size of an axis; None if it is not there or opaque."""
    if label is Label.LAYER:
        return layout.config.num_layers
    if label is Label.PAYLOAD or not layout.has_axes:
        return None
    return next((axis.size for axis in layout.axes() if axis.label is label), None)


def refuse_unlike(source: Layout, target: Layout, ranges: dict[Label, AxisRange]) -> None:
    """Compare what the blocks hold.

    Raises
    ------
    IncompatibleTypes
        Names the first field that differs.

    Clauses: KV-INT-05
    """
    ours, theirs = source.config, target.config
    fields: list[tuple[str, Label | None]] = [("dtype", None), ("num_layers", Label.LAYER)]
    fields += [("outer_dim", Label.OUTER), ("page_size", Label.PAGE)]
    if ours.order.known != theirs.order.known:
        raise IncompatibleTypes("order", ours.order, theirs.order)
    if ours.order.known:
        fields += [("num_heads", Label.HEAD), ("head_dim", Label.HEAD_DIM)]
    elif source.has_axes and target.has_axes:
        fields += [("inner_dim", None)]
    for field, label in fields:
        one, other = getattr(ours, field), getattr(theirs, field)
        if one != other and label not in ranges:
            raise IncompatibleTypes(field, one, other)
    part = ranges.get(Label.LAYER) or AxisRange(Label.LAYER, 0, 0, ours.num_layers)
    if Label.PAGE in ranges or Label.HEAD in ranges or Label.HEAD_DIM in ranges:
        return
    for i in range(part.length):
        one, other = source.region_bytes(part.source + i), target.region_bytes(part.target + i)
        if one != other:
            raise IncompatibleTypes(f"bytes of layer {part.source + i}", one, other)
