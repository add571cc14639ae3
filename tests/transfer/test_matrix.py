"""Every layout to every layout, over every kind of memory, against a plain loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvbm.layout import (
    BlockOrder,
    CustomLayout,
    DType,
    FullyContiguous,
    LayerSeparate,
    Layout,
    LayoutConfig,
    Paged,
    Ragged,
)
from kvbm.storage import DiskStorage
from kvbm.transfer import TransferEngine, block_checksum

KINDS = ("system", "pinned", "device", "device 1", "disk", "skewed")
ORDERS = (
    BlockOrder.NHD,
    BlockOrder.HND,
    BlockOrder.UNIVERSAL,
    BlockOrder.named("page-head-outer-layer"),
)
WIDTHS = (DType.U8, DType.BF16, DType.FP32, DType.I64)
SLOW = settings(
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Backwards:
    """A strategy of one storage in which layers run backwards, with a gap after each."""

    name = "backwards"

    def storage_bytes(self, config: LayoutConfig) -> list[int]:
        step = config.region_bytes + config.dtype.width
        return [config.num_blocks * config.num_layers * config.outer_dim * step]

    def offset(self, config: LayoutConfig, block: int, layer: int, outer: int) -> tuple[int, int]:
        step = config.region_bytes + config.dtype.width
        index = (block * config.num_layers + config.num_layers - 1 - layer) * config.outer_dim
        return 0, (index + outer) * step


def layouts_of(config: LayoutConfig) -> list[Layout]:
    made: list[Layout] = [FullyContiguous(config)]
    if not config.order.known:
        made.append(CustomLayout(config, Backwards()))
    if config.order.labels[:2] == BlockOrder.NHD.labels[:2]:
        made += [LayerSeparate(config), LayerSeparate(config, outer_contiguous=True)]
        if config.alignment == 1:
            made.append(Paged(config, outer_contiguous=True))
    return made


@st.composite
def pairs_of_layouts(draw: Any) -> tuple[Layout, Layout]:
    """Two layouts whose blocks hold the same, with different counts, alignments, orders."""
    heads = draw(st.none() | st.integers(1, 3))
    shape = LayoutConfig(
        num_blocks=1,
        num_layers=draw(st.integers(1, 4)),
        outer_dim=draw(st.integers(1, 2)),
        page_size=draw(st.sampled_from([1, 3, 4, 16])),
        inner_dim=(heads or 1) * draw(st.sampled_from([1, 2, 5, 16])),
        dtype=draw(st.sampled_from(WIDTHS)),
        num_heads=heads,
    )
    if draw(st.booleans()) and draw(st.booleans()):  # whole pages: the straight way to a disk
        inner = 4096 // shape.dtype.width
        shape = replace(shape, page_size=1, inner_dim=inner, num_heads=heads and 2)
    return tuple(  # type: ignore[return-value]  # of two
        draw(
            st.sampled_from(
                layouts_of(
                    replace(
                        shape,
                        num_blocks=draw(st.integers(2, 6)),
                        alignment=draw(st.sampled_from([1, 1, 8, 64, 4096])),
                        order=draw(st.sampled_from(ORDERS)) if heads else BlockOrder.UNKNOWN,
                    )
                )
            )
        )
        for _ in range(2)
    )


@st.composite
def copies(draw: Any) -> tuple[Layout, Layout, list[int], list[int], range | None]:
    source, target = draw(pairs_of_layouts())
    count, targets = source.config.num_blocks, target.config.num_blocks
    ids = draw(st.permutations(range(targets)))[: draw(st.integers(0, targets))]
    sources = draw(st.lists(st.integers(0, count - 1), min_size=len(ids), max_size=len(ids)))
    layers = source.config.num_layers
    start = draw(st.integers(0, layers - 1))
    part = draw(st.none() | st.integers(start + 1, layers).map(lambda stop: range(start, stop)))
    return source, target, sources, list(ids), part


@SLOW
@given(copies(), st.sampled_from(KINDS), st.sampled_from(KINDS), st.integers(1, 70), st.booleans())
@pytest.mark.clause("KV-TIR-08")
def test_exactly_the_bytes_of_the_copy_arrive_and_no_other_byte_changes(
    new_world, expected_copy, bytes_of, copy, one, other, skew, checked
) -> None:
    source_layout, target_layout, source_ids, target_ids, layers = copy
    world = new_world(skew)
    with TransferEngine(checksums=checked, bounce_bytes=8192) as engine:
        source = world.bind(source_layout, one, skew)
        target = world.bind(target_layout, other, skew)
        wanted, before = (
            expected_copy(source, source_ids, target, target_ids, layers),
            bytes_of(source),
        )
        result = engine.transfer(source, source_ids, target, target_ids, layers).result(10)
        got = bytes_of(target)
        if "disk" in (one, other):  # the padding behind a block may go with it
            got, wanted = (_without_padding(target, each) for each in (got, wanted))
        assert all(map(np.array_equal, got, wanted))
        assert all(map(np.array_equal, bytes_of(source), before))
        assert (result is None) is not checked
        if checked and one != "disk":
            assert result == [block_checksum(source, i, layers) for i in source_ids]
    world.close()


def _without_padding(bound, memories):
    """Clear what no element of any block is in."""
    layout = bound.layout
    kept = [np.zeros_like(each) for each in memories]
    for block in range(bound.config.num_blocks):
        for layer in range(bound.config.num_layers):
            for outer in range(bound.config.outer_dim):
                storage, start = layout.offset(block, layer, outer)
                start += bound.base_offsets[storage]
                shape, strides = layout.region_shape(layer), layout.region_strides(layer)
                kind = f"u{bound.config.dtype.width}"
                args = (shape, kind, memories[storage], start, strides)
                np.ndarray(shape, kind, kept[storage], start, strides)[...] = np.ndarray(*args)
    return kept


@settings(SLOW, max_examples=40)
@given(pairs_of_layouts(), st.permutations(KINDS), st.integers(0, 1000))
@pytest.mark.clause("KV-TIR-08")
def test_three_legs_bring_everything_back(new_world, two, kinds, seed) -> None:
    layout, between = two
    world = new_world(seed)
    count = min(layout.config.num_blocks, between.config.num_blocks)
    ids = range(count)
    with TransferEngine() as engine:
        first, second, third = (
            world.bind(each, kind, 8)
            for each, kind in zip((layout, between, layout), kinds, strict=False)
        )
        sums = [_sum(engine, world, first, block) for block in ids]
        back = world.random.permutation(count)
        engine.transfer(first, ids, second, back)
        engine.transfer(second, back, third, ids).result(10)
        world.scramble(first)
        engine.transfer(third, ids, first, ids).result(10)
        assert [_sum(engine, world, first, block) for block in ids] == sums
        assert [_sum(engine, world, second, block) for block in back] == sums
    world.close()


def _sum(engine, world, bound, block):
    if not isinstance(bound.memories[0], DiskStorage):
        return block_checksum(bound, int(block))
    host = world.bind(bound.layout)
    engine.transfer(bound, [block], host, [0]).result(10)
    return block_checksum(host, 0)


@settings(SLOW, max_examples=40)
@given(pairs_of_layouts(), st.sampled_from(KINDS), st.sampled_from(KINDS), st.integers(0, 1000))
def test_the_copies_of_all_single_layers_are_the_whole_copy(
    new_world, two, one, other, seed
) -> None:
    world = new_world(seed)
    with TransferEngine() as engine:
        source, target, whole = (
            world.bind(each, kind)
            for each, kind in zip((two[0], two[1], two[1]), (one, other, "system"), strict=True)
        )
        engine.transfer(source, [1, 0], whole, [0, 1]).result(10)
        for layer in range(two[0].config.num_layers):
            engine.transfer(source, [1, 0], target, [0, 1], range(layer, layer + 1)).result(10)
        assert [_sum(engine, world, target, i) for i in (0, 1)] == [
            block_checksum(whole, i) for i in (0, 1)
        ]
    world.close()


@pytest.mark.parametrize("layers", [None, range(1), range(1, 2)])
@pytest.mark.parametrize(("one", "other"), [("system", "disk"), ("disk", "system")])
@pytest.mark.parametrize("tight", [False, True])
def test_padding_goes_along_only_where_it_is_the_blocks_own(
    world, expected_copy, bytes_of, layers, one, other, tight
) -> None:
    """Odd blocks that start at pages; tight memory has no room behind the last one."""
    layout = FullyContiguous(LayoutConfig(3, 2, 1, 3, 700, DType.U8, 4096))
    sizes = layout.data_bytes if tight else layout.required_sizes()
    source, target = world.bind(layout, one, sizes=sizes), world.bind(layout, other, sizes=sizes)
    wanted = expected_copy(source, [2, 0], target, [0, 2], layers)
    with TransferEngine() as engine:
        engine.transfer(source, [2, 0], target, [0, 2], layers).result(10)
    got, wanted = [_without_padding(target, each) for each in (bytes_of(target), wanted)]
    assert all(map(np.array_equal, got, wanted))


@pytest.mark.parametrize("one", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_ragged_layers_arrive(world, expected_copy, bytes_of, one, other) -> None:
    config = LayoutConfig(4, 3, 1, 4, 1024, DType.U8)
    layout = Ragged(config, [4096, 400, 12])
    source, target = world.bind(layout, one, 3), world.bind(layout, other, 5)
    wanted = expected_copy(source, [0, 3, 3], target, [2, 1, 0])
    with TransferEngine() as engine:
        engine.transfer(source, [0, 3, 3], target, [2, 1, 0]).result(10)
    assert all(map(np.array_equal, bytes_of(target), wanted))


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.name)
@pytest.mark.parametrize("dtype", WIDTHS, ids=lambda dtype: dtype.name)
def test_a_large_copy_streams_and_is_exact(world, order, dtype) -> None:
    config = LayoutConfig(9, 2, 2, 16, 4 * 8200, dtype, 1, 4, BlockOrder.NHD)
    source = world.bind(FullyContiguous(config), "skewed", 3 * dtype.width)
    target = world.bind(FullyContiguous(replace(config, order=order)), "skewed", 5 * dtype.width)
    with TransferEngine(2) as engine:
        engine.transfer(source, range(8), target, range(8, 0, -1)).result()
    for block in range(8):
        assert block_checksum(target, 8 - block) == block_checksum(source, block)


@pytest.mark.parametrize(
    ("one", "other"), [("system", "disk"), ("disk", "system"), ("disk", "disk")]
)
def test_some_layers_go_to_a_disk_whose_order_scatters_them(
    world, expected_copy, bytes_of, one, other
) -> None:
    config = LayoutConfig(3, 3, 2, 4, 6, DType.FP16, 1, 2, BlockOrder.UNIVERSAL)
    source, target = (
        world.bind(FullyContiguous(config), one),
        world.bind(FullyContiguous(config), other),
    )
    wanted = expected_copy(source, [0, 2], target, [1, 0], range(1, 2))
    with TransferEngine() as engine:
        engine.transfer(source, [0, 2], target, [1, 0], range(1, 2)).result(10)
    assert all(map(np.array_equal, bytes_of(target), wanted))
