"""Plans: which bytes go where, decided before the first one moves.

What this is
    A pure function of two layouts and two lists of blocks. Its answer is

    Direct      copies of pieces that move as they are, joined with their neighbours as
                far as both sides allow
    Transform   the same elements lie in another order: shapes and strides of both sides,
                for an executor that permutes

    Everything is checked here, always (KV-INT-05): an executor may trust a plan.

Interface, as rules of use
    * Offsets count from the base of each storage, as those of layouts do. An executor
      adds `bound.base_offsets[storage]`.
    * Say with `same_memory` whether both layouts are bound to the same memories. Only the
      caller knows, and a block must not be source and target at once.
    * A part of a block is moved with `layers`, or with one `AxisRange` for each axis: a
      range of heads is how blocks change their tensor-parallel shard.

Clauses: KV-INT-01, KV-INT-05, KV-TIR-08
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from kvbm.errors import InvalidConfig
from kvbm.layout import BlockOrder, Label, Layout
from kvbm.transfer.checks import AxisRange, checked_ids, checked_parts, refuse_unlike
from kvbm.transfer.copies import Copies, Integers
from kvbm.transfer.walks import Walk, by_address, expand, fold, walks_between

__all__ = [
    "DEFAULT_POLICY",
    "AxisRange",
    "Copies",
    "Direct",
    "Integers",
    "Plan",
    "PlanPolicy",
    "Side",
    "Transform",
    "plan",
]

_REGION = {Label.PAGE, Label.HEAD, Label.HEAD_DIM, Label.PAYLOAD}


@dataclass(frozen=True)
class PlanPolicy:
    """What a plan may do.

    Parameters
    ----------
    min_inner_bytes : bytes
        Shortest piece of a scattered region that is still worth a copy of its own. Below
        it the plan is a Transform.
    coalesce
        Whether neighbouring pieces are joined.
    """

    min_inner_bytes: int = 4096
    coalesce: bool = True

    def __post_init__(self) -> None:
        if self.min_inner_bytes < 0:
            raise InvalidConfig("min_inner_bytes", self.min_inner_bytes, "must not be negative")


DEFAULT_POLICY = PlanPolicy()


@dataclass(frozen=True, eq=False)
class Direct:
    """Copies that can be made in any order.

    `inner_bytes` is the shortest piece before joining, `pieces` how many there were.
    """

    copies: Copies
    inner_bytes: int
    pieces: int

    @property
    def total_bytes(self) -> int:
        """Bytes that move."""
        return self.copies.total_bytes


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a Transform.

    The element (pair, layer, *index) lies in storage `storage[layer]`, at
    `offset[pair, layer] + index · strides`.
    """

    order: BlockOrder
    blocks: Integers  # int64[pairs]
    storage: Integers  # int64[layers]
    offset: Integers  # int64[pairs, layers], bytes
    strides: tuple[int, ...]  # bytes, of the axes in Transform.labels


@dataclass(frozen=True, eq=False)
class Transform:
    """Elements that change their order.

    Parameters
    ----------
    source, target
    labels, shape
        The axes inside a layer of a block, and how much of each is moved.
    permutation
        For `numpy.transpose`: takes a block in the order of the source to that of the
        target, both without the block axis, outermost first.
    width : bytes
        Of one element.
    inner_bytes : bytes
        Longest piece that lies together on both sides.
    walks
        The same once more, as `copies` needs it.
    """

    source: Side
    target: Side
    labels: tuple[Label, ...]
    shape: tuple[int, ...]
    permutation: tuple[int, ...]
    width: int
    inner_bytes: int
    walks: tuple[Walk, ...]

    @property
    def total_bytes(self) -> int:
        """Bytes that move."""
        return self.source.offset.size * int(np.prod(self.shape)) * self.width

    def copies(self) -> Copies:
        """Spell the same out as copies of `inner_bytes` each. O(bytes): for small plans."""
        return expand(self.walks, self.inner_bytes)


Plan: TypeAlias = Direct | Transform


def plan(
    source: Layout,
    target: Layout,
    source_blocks: Sequence[int] | Integers,
    target_blocks: Sequence[int] | Integers,
    *,
    same_memory: bool,
    layers: range | None = None,
    parts: Sequence[AxisRange] = (),
    policy: PlanPolicy = DEFAULT_POLICY,
) -> Plan:
    """Plan the copy of blocks from one layout to another.

    Parameters
    ----------
    source, target
        Layouts with blocks of the same shape and type, nested in any way.
    source_blocks, target_blocks
        Block i of the one goes to block i of the other.
    same_memory
        Whether both are bound to the same memories.
    layers
        Move only these, from and to the same layers.
    parts
        Move only a part of other axes, or between different parts.
    policy

    Returns
    -------
    Direct or Transform
        A Direct without copies if there are no blocks.

    Raises
    ------
    CountMismatch, BlockOutOfRange, DuplicateDestinationBlocks, OverlappingBlocks
        The blocks cannot be moved so.
    IncompatibleTypes
        The blocks differ in what they hold. Names the field.
    InvalidRange
        A part is not there, or nobody may cut there.

    Complexity
    ----------
    O(copies) before joining, in NumPy.

    Examples
    --------
    >>> from kvbm.layout import FullyContiguous, LayerSeparate, LayoutConfig
    >>> config = LayoutConfig(4, 3, 2, 16, 1024)
    >>> there = plan(FullyContiguous(config), LayerSeparate(config), [0, 1], [2, 3],
    ...              same_memory=False)
    >>> there.inner_bytes, len(there.copies), there.total_bytes
    (65536, 6, 393216)
    """
    ids = checked_ids(source, target, source_blocks, target_blocks, same_memory=same_memory)
    ranges = checked_parts(source, target, layers, parts)
    refuse_unlike(source, target, ranges)
    if not (source.has_axes and target.has_axes):
        return _plan_by_region(source, target, ids, ranges, policy)
    walks = walks_between(source, target, *ids, ranges)
    inner_bytes, folded = fold(source, walks)
    rest = [walk.first() if walk.label in folded else walk for walk in walks]
    scattered = any(walk.label in _REGION and len(walk) > 1 for walk in rest)
    if scattered and len(ids[0]) and inner_bytes < policy.min_inner_bytes:
        return _transform(source, target, walks, rest, ids, inner_bytes)
    if not policy.coalesce:
        copies = expand(rest, inner_bytes)
        return Direct(copies, inner_bytes, len(copies))
    copies = expand(by_address(rest, source.region_axis), inner_bytes)
    return Direct(copies.joined(), inner_bytes, len(copies))


def _transform(
    source: Layout,
    target: Layout,
    walks: list[Walk],
    rest: list[Walk],
    ids: tuple[Integers, Integers],
    inner_bytes: int,
) -> Transform:
    labels = (Label.OUTER, Label.PAGE, Label.HEAD, Label.HEAD_DIM)
    by_label = {walk.label: walk for walk in walks}
    blocks, layers = by_label[Label.BLOCK], by_label[Label.LAYER]
    inside = [by_label[label] for label in labels]
    one = np.zeros(len(layers), np.int64)
    first_source = sum(int(walk.source[0]) for walk in inside)
    first_target = sum(int(walk.target[0]) for walk in inside)
    ours, theirs = source.config.order, target.config.order
    return Transform(
        source=Side(
            order=ours,
            blocks=ids[0],
            storage=one if layers.source_storage is None else layers.source_storage,
            offset=np.add.outer(blocks.source + first_source, layers.source),
            strides=tuple(walk.source_step for walk in inside),
        ),
        target=Side(
            order=theirs,
            blocks=ids[1],
            storage=one if layers.target_storage is None else layers.target_storage,
            offset=np.add.outer(blocks.target + first_target, layers.target),
            strides=tuple(walk.target_step for walk in inside),
        ),
        labels=labels,
        shape=tuple(len(walk) for walk in inside),
        permutation=tuple(ours.labels.index(label) for label in theirs.labels),
        width=source.config.dtype.width,
        inner_bytes=inner_bytes,
        walks=tuple(rest),
    )


def _plan_by_region(
    source: Layout,
    target: Layout,
    ids: tuple[Integers, Integers],
    ranges: dict[Label, AxisRange],
    policy: PlanPolicy,
) -> Direct:
    """Plan where regions are not evenly spaced: each is a piece."""
    config = source.config
    layer = ranges.get(Label.LAYER) or AxisRange(Label.LAYER, 0, 0, config.num_layers)
    layers, outers = np.arange(layer.length)[:, None], np.arange(config.outer_dim)
    sizes = np.array([source.region_bytes(layer.source + i) for i in range(layer.length)])
    columns = [
        *source.offsets(ids[0][:, None, None], layers + layer.source, outers),
        *target.offsets(ids[1][:, None, None], layers + layer.target, outers),
    ]
    columns.append(np.broadcast_to(sizes[:, None], columns[0].shape))
    copies = Copies(*(column.ravel() for column in columns))
    joined = copies.ascending().joined() if policy.coalesce else copies
    return Direct(joined, int(sizes.min()), len(copies))
