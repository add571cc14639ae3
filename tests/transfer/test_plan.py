"""Plans: the worked numbers, and every byte against a naive loop over elements."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm import transfer
from kvbm.errors import (
    BlockOutOfRange,
    CountMismatch,
    DuplicateDestinationBlocks,
    IncompatibleTypes,
    InvalidConfig,
    InvalidRange,
    OverlappingBlocks,
)
from kvbm.layout import (
    BlockOrder,
    CustomLayout,
    DType,
    FullyContiguous,
    Label,
    LayerSeparate,
    Layout,
    LayoutConfig,
    Paged,
    Ragged,
)
from kvbm.transfer import AxisRange, Copies, Direct, Plan, PlanPolicy, Transform

CONFIG = LayoutConfig(4, 3, 2, 16, 1024, num_heads=8, order=BlockOrder.NHD)
EXAMPLES = {
    "NHD": FullyContiguous(CONFIG),
    "HND": FullyContiguous(replace(CONFIG, order=BlockOrder.HND)),
    "Universal": FullyContiguous(replace(CONFIG, order=BlockOrder.UNIVERSAL)),
    "block-first": LayerSeparate(CONFIG),
    "outer-first": LayerSeparate(CONFIG, outer_contiguous=True),
}
NHD = EXAMPLES["NHD"]
Blocks = Sequence[int]
Memory = list[np.ndarray]


def between(source: Layout, target: Layout, sources: Any, targets: Any, **more: Any) -> Plan:
    return transfer.plan(source, target, sources, targets, **{"same_memory": False} | more)


# ── the worked numbers ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("source", "target", "targets", "inner", "pieces", "joined"),
    [
        ("NHD", "NHD", [0, 1], 196_608, 2, [393_216]),
        ("NHD", "NHD", [1, 0], 196_608, 2, [196_608] * 2),
        ("NHD", "block-first", [0, 1], 65_536, 6, [65_536] * 6),
        ("NHD", "outer-first", [0, 1], 32_768, 12, [32_768] * 12),
        ("block-first", "block-first", [0, 1], 65_536, 6, [131_072] * 3),
        ("outer-first", "outer-first", [0, 1], 32_768, 12, [65_536] * 6),
        ("block-first", "outer-first", [0, 1], 32_768, 12, [32_768] * 12),
        ("HND", "Universal", [0, 1], 4_096, 96, [4_096] * 95),
    ],
)
def test_direct_plans(
    source: str, target: str, targets: Blocks, inner: int, pieces: int, joined: list[int]
) -> None:
    plan = between(EXAMPLES[source], EXAMPLES[target], [0, 1], targets)
    assert isinstance(plan, Direct)
    assert (plan.inner_bytes, plan.pieces, plan.total_bytes) == (inner, pieces, 393_216)
    assert len(plan.copies) == len(joined)
    if len(joined) != 95:
        assert plan.copies.size.tolist() == joined
    apart = between(
        EXAMPLES[source], EXAMPLES[target], [0, 1], targets, policy=PlanPolicy(coalesce=False)
    )
    assert isinstance(apart, Direct)
    assert apart.copies.size.tolist() == [inner] * pieces


@pytest.mark.parametrize("target", ["HND", "Universal"])
def test_what_needs_a_transform(target: str) -> None:
    plan = between(EXAMPLES["NHD"], EXAMPLES[target], [0, 1], [0, 1])
    assert isinstance(plan, Transform)
    assert (plan.inner_bytes, plan.total_bytes, plan.width) == (256, 393_216, 2)
    assert plan.shape == (2, 16, 8, 128)
    copies = plan.copies()
    assert len(copies) == 1536
    assert set(copies.size.tolist()) == {256}


def test_a_transform_tells_an_executor_all() -> None:
    universal = EXAMPLES["Universal"]
    plan = between(LayerSeparate(CONFIG), universal, [3, 0], [1, 2], layers=range(1, 3))
    assert isinstance(plan, Transform)
    assert plan.labels == (Label.OUTER, Label.PAGE, Label.HEAD, Label.HEAD_DIM)
    assert plan.permutation == (3, 0, 1, 2, 4)
    source, target = plan.source, plan.target
    assert (source.order, target.order) == (BlockOrder.NHD, BlockOrder.UNIVERSAL)
    assert (source.blocks.tolist(), target.blocks.tolist()) == ([3, 0], [1, 2])
    assert (source.storage.tolist(), target.storage.tolist()) == ([1, 2], [0, 0])
    assert source.offset.tolist() == [[196_608, 196_608], [0, 0]]
    assert target.offset.tolist() == [[196_608 + 8192, 196_608 + 16384], [401_408, 409_600]]
    assert source.strides == (32_768, 2048, 256, 2)
    assert target.strides == (4096, 256, 24_576, 2)


@pytest.mark.parametrize(("least", "kind"), [(4096, Direct), (4097, Transform), (0, Direct)])
def test_the_policy_says_what_is_worth_a_copy(least: int, kind: type) -> None:
    policy = PlanPolicy(min_inner_bytes=least)
    plan = between(EXAMPLES["HND"], EXAMPLES["Universal"], [0], [0], policy=policy)
    assert isinstance(plan, kind)
    assert isinstance(between(EXAMPLES["NHD"], EXAMPLES["NHD"], [0], [0], policy=policy), Direct)


def test_a_region_that_stays_together_is_copied_however_small() -> None:
    tiny = LayoutConfig(4, 3, 2, 1, 2, DType.U8, num_heads=2, order=BlockOrder.NHD)
    plan = between(FullyContiguous(tiny), LayerSeparate(tiny, outer_contiguous=True), [0], [1])
    assert isinstance(plan, Direct)
    assert plan.copies.size.tolist() == [2] * 6


def test_orders_that_differ_in_name_alone_need_no_transform() -> None:
    one_head = replace(CONFIG, num_heads=1)
    for order in ("HND", "UNIVERSAL"):
        other = FullyContiguous(replace(one_head, order=BlockOrder.named(order)))
        plan = between(FullyContiguous(one_head), other, [0, 1], [2, 3])
        assert isinstance(plan, Direct)
        assert plan.copies.size.tolist() == [393_216]


def test_a_shard_of_heads_is_one_piece_in_the_universal_order() -> None:
    half = replace(CONFIG, num_heads=4, inner_dim=512, order=BlockOrder.UNIVERSAL)
    heads = [AxisRange(Label.HEAD, 4, 0, 4)]
    plan = between(EXAMPLES["Universal"], FullyContiguous(half), [1], [2], parts=heads)
    assert isinstance(plan, Direct)
    assert plan.copies.size.tolist() == [98_304]
    assert plan.copies.source_offset.tolist() == [196_608 + 98_304]
    assert plan.copies.target_offset.tolist() == [2 * 98_304]
    half = replace(half, order=BlockOrder.NHD)
    assert isinstance(between(NHD, FullyContiguous(half), [1], [2], parts=heads), Transform)


def test_no_blocks_are_done_at_once() -> None:
    ragged = Ragged(LayoutConfig(4, 2, 1, 2, 8), [32, 8])
    for one, two in [*itertools.product(EXAMPLES.values(), repeat=2), (ragged, ragged)]:
        for policy in (PlanPolicy(), PlanPolicy(coalesce=False)):
            plan = between(one, two, [], [], policy=policy)
            assert isinstance(plan, Direct)
            assert (len(plan.copies), plan.total_bytes, plan.pieces) == (0, 0, 0)


# ── every byte ────────────────────────────────────────────────────────────────────────────


def place(layout: Layout, b: int, l: int, o: int, t: int, h: int, d: int) -> tuple[int, int]:  # noqa: E741
    """Find an element, straight from the prose: (storage, offset)."""
    c = layout.config
    index = {"layer": l, "outer": o, "page": t, "head": h, "head_dim": d}
    sizes = {"layer": c.num_layers, "outer": c.outer_dim, "page": c.page_size}
    sizes |= {"head": c.num_heads or 1, "head_dim": c.inner_dim // (c.num_heads or 1)}
    nest = [label.value for label in c.order.labels if label is not Label.PAYLOAD]
    if not c.order.known:
        nest += ["page", "head", "head_dim"]
    width, page = c.dtype.width, c.alignment

    def dense(labels: list[str]) -> int:
        serial = 0
        for label in labels:
            serial = serial * sizes[label] + index[label]
        return serial * width

    def padded(size: int) -> int:
        return (size + page - 1) // page * page

    if isinstance(layout, FullyContiguous):
        return 0, b * padded(int(np.prod([*sizes.values()])) * width) + dense(nest)
    if isinstance(layout, LayerSeparate | Paged):
        region = c.page_size * c.inner_dim * width
        if layout.outer_contiguous:
            return l, (o * c.num_blocks + b) * padded(region) + dense(nest[2:])
        return l, b * padded(c.outer_dim * region) + o * region + dense(nest[2:])
    storage, start = layout.offset(b, l, o)
    return storage, start + (t * layout.region_shape(l)[1] + h * sizes["head_dim"] + d) * width


def memory_of(layout: Layout, seed: int) -> Memory:
    """Random bytes, with a guard of 64 bytes before and behind the data."""
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, size + 128, np.uint8) for size in layout.data_bytes]


def loop_over_elements(
    source: Layout,
    target: Layout,
    sources: Blocks,
    targets: Blocks,
    memory: Memory,
    into: Memory,
    parts: dict[str, tuple[int, int, int]],
) -> Memory:
    """Copy as slowly as can be."""
    expected = [piece.copy() for piece in into]
    config = source.config
    for s, t in zip(sources, targets, strict=True):
        first, second, count = parts.get("layer", (0, 0, config.num_layers))
        for layer in range(count):
            inner = source.region_shape(first + layer)[1:]
            whole = {
                "outer": (0, 0, config.outer_dim),
                "page": (0, 0, config.page_size),
                "head": (0, 0, inner[0] if config.order.known else 1),
                "head_dim": (0, 0, inner[-1]),
            } | parts
            axes = [whole[name] for name in ("outer", "page", "head", "head_dim")]
            for index in itertools.product(*(range(length) for _, _, length in axes)):
                here = [a[0] + i for a, i in zip(axes, index, strict=True)]
                there = [a[1] + i for a, i in zip(axes, index, strict=True)]
                one, start = place(source, s, first + layer, *here)
                two, end = place(target, t, second + layer, *there)
                width = config.dtype.width
                piece = memory[one][64 + start : 64 + start + width]
                expected[two][64 + end : 64 + end + width] = piece
    return expected


def execute(plan: Plan, memory: Memory, into: Memory) -> Memory:
    """Do what a plan says, with NumPy."""
    result = [piece.copy() for piece in into]
    if isinstance(plan, Direct):
        return execute_copies(plan.copies, memory, result)
    ours, theirs = plan.source, plan.target
    for pair, layer in np.ndindex(ours.offset.shape):
        here = elements(memory[ours.storage[layer]], int(ours.offset[pair, layer]), ours, plan)
        there = elements(
            result[theirs.storage[layer]], int(theirs.offset[pair, layer]), theirs, plan
        )
        there[...] = here
    return result


def elements(memory: np.ndarray, start: int, side: Any, plan: Transform) -> np.ndarray:
    shape, strides = (*plan.shape, plan.width), (*side.strides, 1)
    return np.lib.stride_tricks.as_strided(memory[64 + start :], shape, strides)


def execute_copies(copies: Copies, memory: Memory, result: Memory) -> Memory:
    columns = (
        copies.source_storage, copies.source_offset, copies.target_storage,
        copies.target_offset, copies.size,
    )  # fmt: skip
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    np.random.default_rng(0).shuffle(rows)  # in any order
    for one, start, two, end, size in rows:
        result[two][64 + end : 64 + end + size] = memory[one][64 + start : 64 + start + size]
    return result


def same(one: Memory, other: Memory) -> bool:
    return all((a == b).all() for a, b in zip(one, other, strict=True))


class Backwards:
    """A strategy with blocks from the end, one storage for each outer."""

    name = "backwards"

    def storage_bytes(self, config: LayoutConfig) -> list[int]:
        return [config.num_blocks * config.num_layers * config.region_bytes] * config.outer_dim

    def offset(self, config: LayoutConfig, block: int, layer: int, outer: int) -> tuple[int, int]:
        row = (config.num_blocks - 1 - block) * config.num_layers + layer
        return outer, row * config.region_bytes


KNOWN = [BlockOrder.NHD, BlockOrder.HND, BlockOrder.UNIVERSAL]
KNOWN += [BlockOrder.named("page-head-outer-layer"), BlockOrder.named("layer-page-outer-head")]


@st.composite
def sides(draw: Any, known: bool, shape: dict[str, Any] | None = None) -> Layout:
    """Draw a layout of this shape, in any kind and order."""
    config = LayoutConfig(
        num_blocks=draw(st.integers(1, 4)),
        **(shape or draw(shapes())),
        alignment=draw(st.sampled_from([1, 1, 8, 64])),
        order=draw(st.sampled_from(KNOWN)) if known else BlockOrder.UNKNOWN,
    )
    plain = replace(config, alignment=1)
    choices: list[Any] = [lambda: FullyContiguous(config)]
    if config.order.nesting[:2] == (Label.LAYER, Label.OUTER):
        for first in (True, False):
            choices += [
                lambda first=first: LayerSeparate(config, outer_contiguous=first),
                lambda first=first: Paged(plain, outer_contiguous=first),
            ]
    if not known:
        choices.append(lambda: CustomLayout(plain, Backwards()))
        if config.outer_dim == 1:
            sizes = [config.region_bytes] * config.num_layers
            choices.append(lambda: Ragged(plain, sizes))
    layout: Layout = draw(st.sampled_from(choices))()
    return layout


@st.composite
def shapes(draw: Any) -> dict[str, Any]:
    heads = draw(st.integers(1, 3))
    return {
        "num_layers": draw(st.integers(1, 3)),
        "outer_dim": draw(st.integers(1, 2)),
        "page_size": draw(st.sampled_from([1, 2, 3, 5])),
        "num_heads": heads,
        "inner_dim": heads * draw(st.integers(1, 3)),
        "dtype": draw(st.sampled_from([DType.U8, DType.BF16, DType.FP32, DType.I64])),
    }


@st.composite
def pairs(draw: Any, source: Layout, target: Layout) -> tuple[list[int], list[int]]:
    count = draw(st.integers(0, min(source.config.num_blocks, target.config.num_blocks)))
    targets = draw(st.permutations(range(target.config.num_blocks)))[:count]
    sources = draw(st.lists(st.integers(0, source.config.num_blocks - 1), min_size=count,
                            max_size=count))  # fmt: skip
    return sources, list(targets)


policies = st.builds(PlanPolicy, st.sampled_from([0, 2, 8, 4096]), st.booleans())


@pytest.mark.clause("KV-INT-01", "KV-TIR-08")
@given(data=st.data(), known=st.booleans(), policy=policies)
def test_a_plan_moves_what_a_loop_over_elements_moves(
    data: st.DataObject, known: bool, policy: PlanPolicy
) -> None:
    shape = data.draw(shapes())
    source, target = data.draw(sides(known, shape)), data.draw(sides(known, shape))
    ids = data.draw(pairs(source, target))
    memory, into = memory_of(source, 1), memory_of(target, 2)
    plan = between(source, target, *ids, policy=policy)
    expected = loop_over_elements(source, target, *ids, memory, into, {})
    assert same(execute(plan, memory, into), expected)
    assert plan.total_bytes == len(ids[0]) * source.bytes_per_block
    if isinstance(plan, Transform):
        spelled_out = execute_copies(plan.copies(), memory, [piece.copy() for piece in into])
        assert same(spelled_out, expected)


@pytest.mark.clause("KV-INT-01")
@given(data=st.data(), policy=policies)
def test_parts_of_axes_move_between_layouts_of_different_size(
    data: st.DataObject, policy: PlanPolicy
) -> None:
    names = {"layer": "num_layers", "outer": "outer_dim", "page": "page_size", "head": "num_heads"}
    shape = data.draw(shapes())
    other, parts = dict(shape), {}
    for axis in data.draw(st.sets(st.sampled_from([*names]))):
        field = names[axis]
        other[field] = data.draw(st.integers(1, 2 if axis == "outer" else 4))
        length = data.draw(st.integers(1, min(shape[field], other[field])))
        first, second = (data.draw(st.integers(0, s[field] - length)) for s in (shape, other))
        parts[axis] = (first, second, length)
    other["inner_dim"] = shape["inner_dim"] // shape["num_heads"] * other["num_heads"]
    source, target = data.draw(sides(True, shape)), data.draw(sides(True, other))
    ids = data.draw(pairs(source, target))
    memory, into = memory_of(source, 1), memory_of(target, 2)
    ranges = [AxisRange(Label(axis), *part) for axis, part in parts.items()]
    plan = between(source, target, *ids, parts=ranges, policy=policy)
    expected = loop_over_elements(source, target, *ids, memory, into, parts)
    assert same(execute(plan, memory, into), expected)


@given(data=st.data(), policy=policies)
def test_the_plans_of_single_layers_are_the_plan_of_all(
    data: st.DataObject, policy: PlanPolicy
) -> None:
    known, shape = data.draw(st.booleans()), data.draw(shapes())
    source, target = data.draw(sides(known, shape)), data.draw(sides(known, shape))
    ids = data.draw(pairs(source, target))
    memory, into = memory_of(source, 1), memory_of(target, 2)
    whole = execute(between(source, target, *ids, policy=policy), memory, into)
    step_by_step = into
    for layer in range(shape["num_layers"]):
        one = between(source, target, *ids, layers=range(layer, layer + 1), policy=policy)
        step_by_step = execute(one, memory, step_by_step)
    assert same(step_by_step, whole)


@pytest.mark.clause("KV-TIR-08")
@given(data=st.data(), known=st.booleans())
def test_there_and_back_is_where_one_was(data: st.DataObject, known: bool) -> None:
    shape = data.draw(shapes())
    layouts = [data.draw(sides(known, shape)) for _ in range(3)]
    count = min(layout.config.num_blocks for layout in layouts)
    routes = [data.draw(st.permutations(range(layout.config.num_blocks))) for layout in layouts]
    lists = [route[:count] for route in routes]
    start = memory_of(layouts[0], 1)
    moved = execute(between(layouts[0], layouts[1], lists[0], lists[1]), start,
                    memory_of(layouts[1], 2))  # fmt: skip
    moved = execute(between(layouts[1], layouts[2], lists[1], lists[2]), moved,
                    memory_of(layouts[2], 3))  # fmt: skip
    poisoned = memory_of(layouts[0], 4)
    back = execute(between(layouts[2], layouts[0], lists[2], lists[0]), moved, poisoned)
    for block in lists[0]:
        for l, o, t in np.ndindex(shape["num_layers"], shape["outer_dim"], shape["page_size"]):  # noqa: E741
            for h, d in np.ndindex(shape["num_heads"], shape["inner_dim"] // shape["num_heads"]):
                storage, at = place(layouts[0], block, l, o, t, h, d)
                at += 64
                assert back[storage][at] == start[storage][at]


def test_ragged_layers_move_as_they_are() -> None:
    config = LayoutConfig(4, 3, 1, 2, 8)
    one, two = Ragged(config, [32, 8, 16]), Ragged(replace(config, num_blocks=6), [32, 8, 16])
    plan = between(one, two, [2, 0, 1], [5, 3, 4])
    assert isinstance(plan, Direct)
    assert plan.copies.size.tolist() == [96, 24, 48]
    assert (plan.inner_bytes, plan.pieces) == (8, 9)
    memory, into = memory_of(one, 1), memory_of(two, 2)
    expected = loop_over_elements(one, two, [2, 0, 1], [5, 3, 4], memory, into, {})
    assert same(execute(plan, memory, into), expected)
    shifted = [AxisRange(Label.LAYER, 1, 1, 2)]
    cut = between(one, two, [0], [0], parts=shifted)
    assert isinstance(cut, Direct)
    assert cut.copies.size.tolist() == [8, 16]


def test_a_ragged_layer_may_move_to_another_one() -> None:
    config = LayoutConfig(4, 3, 1, 2, 8)
    one, two = Ragged(config, [8, 32, 16]), Ragged(config, [16, 8, 32])
    up = [AxisRange(Label.LAYER, 0, 1, 2)]
    apart = PlanPolicy(coalesce=False)
    plan = between(one, two, [1, 0], [1, 0], parts=up, policy=apart)
    assert isinstance(plan, Direct)
    columns = [column.tolist() for column in vars(plan.copies).values()]
    assert list(zip(*columns, strict=True)) == [
        (0, 8, 1, 8, 8), (1, 32, 2, 32, 32), (0, 0, 1, 0, 8), (1, 0, 2, 0, 32)
    ]  # fmt: skip
    joined = between(one, two, [1, 0], [1, 0], parts=up)
    assert isinstance(joined, Direct)
    assert joined.copies.size.tolist() == [16, 64]


# ── joining ───────────────────────────────────────────────────────────────────────────────


@given(data=st.data(), known=st.booleans())
def test_copies_are_joined_as_far_as_both_sides_allow(data: st.DataObject, known: bool) -> None:
    shape = data.draw(shapes())
    source, target = data.draw(sides(known, shape)), data.draw(sides(known, shape))
    ids = data.draw(pairs(source, target))
    ids = ([], []) if len(set(ids[0])) < len(ids[0]) else ids
    plan = between(source, target, *ids, policy=PlanPolicy(min_inner_bytes=0))
    assert isinstance(plan, Direct)
    rows = sorted(zip(*(c.tolist() for c in vars(plan.copies).values()), strict=True))
    assert rows == list(zip(*(c.tolist() for c in vars(plan.copies).values()), strict=True))
    for (one, start, two, end, size), after in itertools.pairwise(rows):
        assert after[:4] != (one, start + size, two, end + size)
    assert all(column.dtype == np.int64 for column in vars(plan.copies).values())


@pytest.mark.parametrize(
    ("second", "joined"),
    [
        ((0, 10, 0, 110), True),
        ((1, 10, 0, 110), False),
        ((0, 10, 1, 110), False),
        ((0, 11, 0, 110), False),
        ((0, 10, 0, 111), False),
    ],
)
def test_only_neighbours_on_both_sides_of_one_storage_are_joined(
    second: tuple[int, ...], joined: bool
) -> None:
    rows = np.array([(0, 0, 0, 100, 10), (*second, 5)]).T
    copies = Copies(*rows).joined()
    assert copies.size.tolist() == ([15] if joined else [10, 5])


def test_neighbouring_blocks_join_whatever_the_order_of_the_list() -> None:
    layout = EXAMPLES["NHD"]
    plan = between(layout, layout, [2, 0, 1], [3, 1, 2])
    assert isinstance(plan, Direct)
    assert plan.copies.size.tolist() == [3 * 196_608]


# ── refusals ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-INT-05")
@pytest.mark.parametrize(
    ("sources", "targets", "error", "message"),
    [
        ([0, 1], [0], CountMismatch, "2 source blocks, but 1 target blocks"),
        ([], [0], CountMismatch, "0 source blocks, but 1 target blocks"),
        ([4], [0], BlockOutOfRange, "source block 4 is outside 0 … 3"),
        ([-1], [0], BlockOutOfRange, "source block -1 is outside"),
        ([0], [4], BlockOutOfRange, "target block 4 is outside"),
        ([0], [-1], BlockOutOfRange, "target block -1 is outside"),
        ([0.0], [1], BlockOutOfRange, "source block 0.0"),
        ([True], [1], BlockOutOfRange, "source block True"),
        ([2**70], [1], BlockOutOfRange, "source block 1180591620717411303424"),
        (["0"], [1], BlockOutOfRange, "source block '0'"),
        ([0, 1, 2], [3, 3, 3], DuplicateDestinationBlocks, r"target blocks \[3\]"),
        ([0, 1, 2, 3], [2, 3, 3, 2], DuplicateDestinationBlocks, r"\[2, 3\]"),
    ],
)
def test_block_lists_that_cannot_be_are_refused(
    sources: Any, targets: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        between(NHD, NHD, sources, targets)
    if sources and type(sources[0]) is int and sources[0] < 2**60:
        with pytest.raises(error, match=message):
            between(NHD, NHD, np.array(sources), np.array(targets))


@pytest.mark.clause("KV-INT-05")
def test_a_block_is_not_source_and_target_in_one_memory() -> None:
    assert between(NHD, NHD, [0, 1], [1, 0]).total_bytes
    for sources, targets, both in [
        ([0, 1], [1, 2], [1]),
        ([0], [0], [0]),
        ([2, 1], [1, 2], [1, 2]),
    ]:
        with pytest.raises(OverlappingBlocks) as caught:
            between(NHD, NHD, sources, targets, same_memory=True)
        assert caught.value.blocks == both
    assert between(NHD, NHD, [0, 1], [2, 3], same_memory=True).total_bytes
    with pytest.raises(IncompatibleTypes, match="layout of one memory"):
        between(NHD, EXAMPLES["HND"], [0], [1], same_memory=True)


def test_one_source_may_have_several_targets() -> None:
    plan = between(NHD, NHD, [0, 0, 1], [3, 1, 2])
    assert plan.total_bytes == 3 * 196_608
    memory, into = memory_of(NHD, 1), memory_of(NHD, 2)
    result = execute(plan, memory, into)[0]
    size = 196_608
    for source, target in [(0, 3), (0, 1), (1, 2)]:
        assert (result[64 + target * size :][:size] == memory[0][64 + source * size :][:size]).all()


@pytest.mark.clause("KV-INT-05")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dtype": DType.BF16}, "dtype"),
        ({"dtype": DType.FP8}, "dtype"),
        ({"num_layers": 2}, "num_layers"),
        ({"outer_dim": 1}, "outer_dim"),
        ({"page_size": 8}, "page_size"),
        ({"num_heads": 4}, "num_heads"),
        ({"inner_dim": 512}, "head_dim"),
        ({"order": BlockOrder.UNKNOWN}, "order"),
        ({"page_size": 8, "inner_dim": 2048}, "page_size"),
    ],
)
def test_blocks_that_differ_are_refused_by_field(change: dict[str, Any], field: str) -> None:
    other = FullyContiguous(replace(CONFIG, **change))
    for one, two in [(NHD, other), (other, NHD)]:
        with pytest.raises(IncompatibleTypes, match=f"^{field} is ") as caught:
            between(one, two, [], [])  # the lists may even be empty
        assert caught.value.field == field


@pytest.mark.clause("KV-INT-05")
def test_opaque_blocks_are_compared_by_their_sizes() -> None:
    config = LayoutConfig(4, 2, 1, 4, 8)
    plain, ragged = FullyContiguous(config), Ragged(config, [64, 8])
    with pytest.raises(IncompatibleTypes, match=r"bytes of layer 1 is 64 .* and 8"):
        between(plain, ragged, [0], [0])
    assert between(plain, ragged, [0], [0], layers=range(1)).total_bytes == 64
    with pytest.raises(IncompatibleTypes, match="inner_dim is 8"):
        between(plain, FullyContiguous(replace(config, inner_dim=16)), [0], [0])
    known = replace(config, num_heads=1, order=BlockOrder.NHD)
    with pytest.raises(IncompatibleTypes, match="order is"):
        between(FullyContiguous(known), ragged, [0], [0])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"layers": range(0)}, "axis layer: 0 … -1"),
        ({"layers": range(2, 4)}, "2 … 3 is not in 0 … 2 of the source"),
        ({"layers": range(-1, 1)}, "-1 … 0"),
        ({"layers": range(0, 3, 2)}, "has gaps"),
        ({"layers": range(1), "parts": [AxisRange(Label.LAYER, 0, 0, 1)]}, "is given twice"),
        ({"parts": [AxisRange(Label.BLOCK, 0, 0, 1)]}, "axis block: blocks are chosen"),
        ({"parts": [AxisRange(Label.PAYLOAD, 0, 0, 1)]}, "source cannot be cut along it"),
        ({"parts": [AxisRange(Label.HEAD, 0, 4, 8)]}, "4 … 11 is not in 0 … 7 of the target"),
        ({"parts": [AxisRange(Label.HEAD, 1, 0, 8)]}, "1 … 8 is not in 0 … 7 of the source"),
        ({"parts": [AxisRange(Label.PAGE, 0, -1, 1)]}, "of the target"),
    ],
)
def test_parts_that_are_not_there_are_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRange, match=message):
        between(NHD, NHD, [0], [0], **more)


def test_opaque_regions_are_not_cut() -> None:
    config = LayoutConfig(4, 2, 1, 4, 8)
    for layout in (FullyContiguous(config), Ragged(config, [64, 8])):
        for label in (Label.PAGE, Label.HEAD, Label.PAYLOAD):
            with pytest.raises(InvalidRange, match="cannot be cut"):
                between(layout, layout, [0], [0], parts=[AxisRange(label, 0, 0, 1)])


def test_a_policy_is_checked() -> None:
    with pytest.raises(InvalidConfig, match="min_inner_bytes = -1"):
        PlanPolicy(min_inner_bytes=-1)


def test_whether_memory_is_shared_must_be_said() -> None:
    with pytest.raises(TypeError, match="same_memory"):
        transfer.plan(NHD, NHD, [0], [1])  # type: ignore[call-arg]
