"""Walks: two evenly spaced layouts, met index by index on both sides at once.

What this is
    A walk is one axis: what each of its indices adds to the offset in the source and in
    the target. All walks together meet every element that moves. The innermost ones may
    fold into one piece that lies together on both sides; the others enumerate pieces.

Interface, as rules of use
    * `walks_between` → `fold` → `expand` what is not folded, and the first index of what is.
    * `by_address` first, if neighbours are to be joined: then no sort of the pieces is
      needed, because strides are nested and blocks are sorted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kvbm.layout import Label, Layout
from kvbm.transfer.checks import AxisRange
from kvbm.transfer.copies import Copies, Integers


@dataclass(frozen=True, eq=False, slots=True)
class Walk:
    """One axis, or the blocks, on both sides. Offsets and steps in bytes."""

    label: Label
    source: Integers  # int64[length]
    target: Integers
    source_step: int
    target_step: int
    source_storage: Integers | None = None  # where the axis picks the storage
    target_storage: Integers | None = None

    def __len__(self) -> int:
        return len(self.source)

    def first(self) -> Walk:
        """Give the walk that meets only the first index: where a folded axis starts."""
        return replace(self, source=self.source[:1], target=self.target[:1])


def walks_between(
    source: Layout,
    target: Layout,
    source_ids: Integers,
    target_ids: Integers,
    ranges: Mapping[Label, AxisRange],
) -> list[Walk]:
    """Give all axes, the blocks first and the rest in the order of the source."""
    theirs = {axis.label: axis for axis in target.axes()}
    walks = []
    for ours in sorted(source.axes(), key=lambda axis: axis.label is not Label.BLOCK):
        label, its = ours.label, theirs[ours.label]
        if label is Label.BLOCK:
            first, second = source_ids, target_ids
        else:
            part = ranges.get(label) or AxisRange(label, 0, 0, ours.size)
            first, second = (np.arange(part.length) + start for start in (part.source, part.target))
        walks.append(
            Walk(
                label,
                first * ours.stride,
                second * its.stride,
                ours.stride,
                its.stride,
                first if label is source.region_axis else None,
                second if label is target.region_axis else None,
            )
        )
    return walks


def fold(source: Layout, walks: Sequence[Walk]) -> tuple[int, set[Label]]:
    """Find the longest piece that is one on both sides: (bytes, the axes inside it).

    From the source's innermost axis outwards, as long as neighbours touch on both sides.
    Axes with one index do not count. A partly moved axis can only be the last, because
    the next one has a gap; the blocks and an axis that picks the storage end it too.
    """
    by_label = {walk.label: walk for walk in walks}
    inner_bytes = source.config.dtype.width
    folded: set[Label] = set()
    for axis in reversed(source.axes()):
        walk = by_label[axis.label]
        # The step of an axis that picks the storage is 0, which is never the bytes so far.
        together = walk.source_step == walk.target_step == inner_bytes
        if len(walk) == 1:
            continue
        if walk.label is Label.BLOCK or not together:
            break
        inner_bytes *= len(walk)
        folded.add(walk.label)
    return inner_bytes, folded


def by_address(walks: Sequence[Walk], region_axis: Label | None) -> list[Walk]:
    """Reorder axes and blocks so that they meet the source's addresses ascending."""
    blocks = next(walk for walk in walks if walk.label is Label.BLOCK)
    order = np.lexsort((blocks.target, blocks.source))
    steps = blocks.source_step, blocks.target_step
    ascending = Walk(Label.BLOCK, blocks.source[order], blocks.target[order], *steps)
    return sorted(
        [ascending if walk is blocks else walk for walk in walks],
        key=lambda walk: (walk.label is not region_axis, -walk.source_step),
    )


def expand(walks: Sequence[Walk], size: int) -> Copies:
    """Meet every combination of indices, the last walk fastest; each is a piece of `size`."""
    start = np.zeros(1, np.int64)
    copies = Copies(start, start, start, start, start + size)
    for walk in walks:
        still = np.zeros(len(walk), np.int64)
        copies = Copies(
            _each(copies.source_storage, still, walk.source_storage),
            _each(copies.source_offset, still, walk.source),
            _each(copies.target_storage, still, walk.target_storage),
            _each(copies.target_offset, still, walk.target),
            _each(copies.size, still, None),
        )
    return copies


def _each(column: Integers, still: Integers, added: Integers | None) -> Integers:
    return np.add.outer(column, still if added is None else added).ravel()
