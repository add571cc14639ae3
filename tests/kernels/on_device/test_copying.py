"""Copies: every byte arrives, once, and no other is touched."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from kvbm_kernels.copying import copy_blocks
from kvbm_kernels.regions import Regions

offsets = st.sampled_from([0, 0, 8, 4, 2, 1])
sizes = st.one_of(st.integers(1, 40), st.integers(1, 2000), st.just(1024))


def content(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@settings(max_examples=25)
@given(sizes, st.integers(0, 3), offsets, offsets, st.permutations(range(4)), st.integers(1, 5))
def test_scattered_blocks_are_gathered_in_the_order_of_the_table(
    machine, size, count, dst_offset, src_offset, order, blocks
) -> None:
    source, empty = content(1, 4, size), np.zeros((3, size), np.uint8)
    src, dst = machine.buffer(source, src_offset), machine.buffer(empty, dst_offset)
    tables = Regions.at(dst.rows(size)[:count]), Regions.at(src.rows(size)[order[:count]])
    machine.run(copy_blocks(*tables, size, blocks=blocks))
    want = np.concatenate([source[order[:count]], empty[count:]])  # the twin
    assert np.array_equal(dst.read(), want.ravel())
    assert np.array_equal(src.read(), source.ravel())


@settings(max_examples=20)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=5), offsets, st.integers(1, 9))
def test_ragged_regions_are_copied_each_to_its_own_length(machine, sizes, offset, blocks) -> None:
    source = content(2, len(sizes), 701)
    src, dst = machine.buffer(source), machine.buffer(np.zeros_like(source), offset)
    tables = Regions.at(dst.rows(701)), Regions.at(src.rows(701))
    machine.run(copy_blocks(*tables, sizes, blocks=blocks))
    want = np.where(np.arange(701) < np.array(sizes)[:, None], source, 0)
    assert np.array_equal(dst.read(), want.ravel())


@settings(max_examples=10)
@given(st.integers(1, 3), st.sampled_from([48, 50]), st.booleans())
def test_paged_layers_and_whole_blocks_are_copied_into_each_other(
    machine, layers, size, gather
) -> None:
    """Pages: one base for each (block, layer). Blocks: one base each, layers 64 bytes apart."""
    pages, block = content(3, 2 * layers, size), content(4, 2, layers, 64)
    paged, whole = machine.buffer(pages), machine.buffer(block)
    several = Regions.at(whole.rows(64 * layers), parts=layers, stride=64)
    single = Regions.at(paged.rows(size))
    machine.run(copy_blocks(*((several, single) if gather else (single, several)), size, blocks=2))
    if gather:
        block[:, :, :size] = pages.reshape(2, layers, size)
    else:
        pages = block[:, :, :size]
    assert np.array_equal(whole.read(), block.ravel())
    assert np.array_equal(paged.read(), pages.ravel())


def test_one_large_region_is_shared_by_many_cuda_blocks(machine) -> None:
    source = content(5, 1, 40_007)
    src, dst = machine.buffer(source), machine.buffer(np.zeros_like(source))
    (work,) = copy_blocks(Regions.at(dst.rows(40_007)), Regions.at(src.rows(40_007)), 40_007)
    assert work.blocks > 1
    machine.run((work,))
    assert np.array_equal(dst.read(), source.ravel())
