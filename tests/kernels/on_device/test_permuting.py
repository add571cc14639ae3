"""Permutes: each head row lands where the layout says, and nothing else moves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kvbm_kernels.permuting import (
    block_from_universal,
    merge_heads,
    permute,
    slice_heads,
    transpose_nhd_hnd,
    universal_from_block,
)
from kvbm_kernels.rows import BlockShape, Order, paged, universal, whole

ROWS = (16, 48, 24, 20, 6, 3)
"""Bytes of a head row: what allows 16, 16, 8, 4, 2 and 1 bytes at a time."""

shapes = st.builds(
    BlockShape,
    layers=st.integers(1, 3),
    outer=st.integers(1, 2),
    tokens=st.integers(1, 5),
    heads=st.integers(1, 4),
    row=st.sampled_from(ROWS),
)
orders = st.sampled_from(Order)


def content(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def pages_of(blocks: int, layers: int, shape: BlockShape, order: Order) -> tuple[int, ...]:
    inner = (shape.tokens, shape.heads) if order is Order.NHD else (shape.heads, shape.tokens)
    return blocks, layers, shape.outer, *inner, shape.row


def as_tokens_heads(pages: np.ndarray, order: Order) -> np.ndarray:
    """(block, layer, outer, token, head, dim), whatever the order in memory."""
    return pages if order is Order.NHD else pages.swapaxes(3, 4)


@settings(max_examples=25)
@given(shapes, orders, st.integers(1, 2), st.data())
def test_blocks_become_universal_and_back(machine, shape, order, blocks, data) -> None:
    first = data.draw(st.integers(0, shape.layers - 1))
    layers = data.draw(st.integers(1, shape.layers - first))
    chosen = {"first_layer": first, "layers": layers, "blocks": data.draw(st.integers(1, 4))}
    offset = data.draw(st.sampled_from([0, 0, 8, 1]))
    pages = content(1, *pages_of(blocks, layers, shape, order))
    before = content(2, blocks, shape.heads, shape.layers, shape.outer, shape.tokens, shape.row)
    src, dst = machine.buffer(pages, offset), machine.buffer(before)
    machine.run(
        universal_from_block(dst.rows(shape.block), src.rows(shape.region), shape, order, **chosen)
    )
    want = before.copy()  # the twin: U[b, h, l, o, t, d] = P[b, l, o, t, h, d]
    want[:, :, first : first + layers] = as_tokens_heads(pages, order).transpose(0, 4, 1, 2, 3, 5)
    assert np.array_equal(dst.read(), want.ravel())

    back = machine.buffer(np.zeros_like(pages))
    machine.run(
        block_from_universal(back.rows(shape.region), dst.rows(shape.block), shape, order, **chosen)
    )
    assert np.array_equal(back.read(), pages.ravel())


@settings(max_examples=15)
@given(shapes, orders)
def test_tokens_and_heads_are_swapped_in_each_region(machine, shape, order) -> None:
    pages = content(3, *pages_of(1, shape.layers, shape, order))
    src, dst = machine.buffer(pages), machine.buffer(np.zeros_like(pages))
    machine.run(
        transpose_nhd_hnd(dst.rows(shape.region), src.rows(shape.region), shape, order, blocks=3)
    )
    assert np.array_equal(dst.read(), pages.swapaxes(3, 4).ravel())


@settings(max_examples=15)
@given(shapes, orders, orders, st.data())
def test_shards_of_all_ranks_make_the_whole_again(machine, shape, order, shard_order, data) -> None:
    """From one rank with all heads to several, whole blocks to pages, and back."""
    cuts = sorted(data.draw(st.sets(st.integers(1, shape.heads), max_size=2)) | {shape.heads})
    block = content(4, *pages_of(2, shape.layers, shape, order))
    src, back = machine.buffer(block), machine.buffer(np.zeros_like(block))
    start = 0
    for end in cuts:
        part = BlockShape(shape.layers, shape.outer, shape.tokens, end - start, shape.row)
        empty = np.zeros(pages_of(2, shape.layers, part, shard_order), np.uint8)
        shard = machine.buffer(empty)
        pages = paged(part, shard_order, shard.rows(part.region))
        machine.run(slice_heads(pages, whole(shape, order, src.rows(shape.block)), start, blocks=2))
        want = as_tokens_heads(block, order)[:, :, :, :, start:end]
        assert np.array_equal(shard.read(), as_tokens_heads(want, shard_order).ravel())
        machine.run(
            merge_heads(whole(shape, order, back.rows(shape.block)), pages, start, blocks=2)
        )
        start = end
    assert np.array_equal(back.read(), block.ravel())


@settings(max_examples=10)
@given(shapes, st.data())
def test_heads_of_universal_blocks_are_resharded_on_the_way_to_pages(machine, shape, data) -> None:
    start = data.draw(st.integers(0, shape.heads - 1))
    heads = data.draw(st.integers(1, shape.heads - start))
    part = BlockShape(shape.layers, shape.outer, shape.tokens, heads, shape.row)
    block = content(5, 2, shape.heads, shape.layers, shape.outer, shape.tokens, shape.row)
    src = machine.buffer(block)
    dst = machine.buffer(np.zeros(pages_of(2, shape.layers, part, Order.NHD), np.uint8))
    pages = paged(part, Order.NHD, dst.rows(part.region))
    machine.run(slice_heads(pages, universal(shape, src.rows(shape.block)), start, blocks=3))
    want = block[:, start : start + heads].transpose(0, 2, 3, 4, 1, 5)
    assert np.array_equal(dst.read(), want.ravel())


@pytest.mark.parametrize("order", Order)
def test_a_region_longer_than_four_rounds_of_threads_is_permuted(machine, order) -> None:
    """The geometry that matters: 16 tokens, 8 heads of 128 BF16 numbers."""
    shape = BlockShape(layers=1, outer=2, tokens=16, heads=8, row=256)
    pages = content(6, *pages_of(1, 1, shape, order))
    src, dst = machine.buffer(pages), machine.buffer(np.zeros_like(pages))
    target = universal(shape, dst.rows(shape.block))
    machine.run(permute(target, paged(shape, order, src.rows(shape.region)), blocks=2))
    want = as_tokens_heads(pages, order).transpose(0, 4, 1, 2, 3, 5)
    assert np.array_equal(dst.read(), want.ravel())
