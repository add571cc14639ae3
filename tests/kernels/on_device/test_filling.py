"""Fills, patterns and digests: the device writes, finds and sums what the host does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kvbm_kernels.digest import checksum_blocks, digest
from kvbm_kernels.filling import (
    NONE_WRONG,
    fill_pattern,
    fill_words,
    verify_pattern,
    zero_blocks,
)
from kvbm_kernels.pattern import pattern
from kvbm_kernels.regions import Regions

offsets = st.sampled_from([0, 0, 8, 4, 1])
sizes = st.one_of(st.integers(1, 40), st.integers(1, 700))
numbers = st.integers(0, 2**64 - 1)
labels = st.lists(st.tuples(numbers, st.integers(0, 99), st.integers(0, 1)), min_size=1, max_size=3)


def content(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def columns(named: list[tuple[int, int, int]]) -> list[np.ndarray]:
    return [np.array(each, np.uint64) for each in zip(*named, strict=True)]


@settings(max_examples=15)
@given(st.integers(1, 3), sizes, st.integers(0, 5), offsets, numbers)
def test_words_are_written_up_to_the_last_byte_of_a_region(
    machine, count, size, gap, offset, word
) -> None:
    before = content(1, count, size + gap)
    dst = machine.buffer(before, offset)
    machine.run(fill_words(Regions.at(dst.rows(size + gap)), size, word, blocks=3))
    before[:, :size] = np.resize(np.array([word], "<u8").view(np.uint8), size)  # the twin
    assert np.array_equal(dst.read(), before.ravel())


def test_zeros_are_written(machine) -> None:
    dst = machine.buffer(content(2, 3, 100))
    machine.run(zero_blocks(Regions.at(dst.rows(100)), 100))
    assert not dst.read().any()


@settings(max_examples=15)
@given(labels, sizes, offsets)
def test_patterns_of_the_device_are_those_of_the_host(machine, named, size, offset) -> None:
    dst = machine.buffer(np.zeros((len(named), size), np.uint8), offset)
    machine.run(fill_pattern(Regions.at(dst.rows(size)), size, *columns(named), blocks=3))
    assert np.array_equal(dst.read(), np.concatenate([pattern(size, *each) for each in named]))


@settings(max_examples=20)
@given(labels, sizes, offsets, st.data())
def test_the_first_wrong_byte_of_each_region_is_found(machine, named, size, offset, data) -> None:
    regions = np.stack([pattern(size, *each) for each in named])
    want = []
    for region in regions:
        wrong = data.draw(st.sets(st.integers(0, size - 1), max_size=2))
        region[list(wrong)] ^= np.uint8(data.draw(st.integers(1, 255)))
        want.append(min(wrong, default=NONE_WRONG))
    src, found = machine.buffer(regions, offset), machine.buffer(np.zeros(8 * len(named), np.uint8))
    tables = Regions.at(src.rows(size))
    machine.run(verify_pattern(found.address, tables, size, *columns(named), blocks=3))
    assert found.read().view(np.uint64).tolist() == want


@settings(max_examples=10)
@given(st.integers(1, 2), st.integers(1, 3), sizes, offsets, st.integers(1, 6))
def test_digests_of_the_device_are_those_of_the_host(
    machine, count, per_block, size, offset, blocks
) -> None:
    data = content(3, count, per_block, size)
    src, found = machine.buffer(data, offset), machine.buffer(np.ones(8 * count, np.uint8))
    tables = Regions.at(src.rows(size * per_block), per_block, size)
    machine.run(checksum_blocks(found.address, tables, size, per_block, blocks=blocks))
    want = [digest([region.tobytes() for region in block]) for block in data]
    assert found.read().view(np.uint64).tolist() == want


@pytest.mark.parametrize("offset", [0, 8, 1])
def test_one_large_region_is_shared_by_many_cuda_blocks(machine, offset) -> None:
    """Each word is written, verified and counted by one of them, and the last bytes too."""
    size = 2005
    memory, first = machine.buffer(np.zeros(size, np.uint8), offset), [[3], [1], [0]]
    sum_at, wrong_at = (machine.buffer(np.zeros(8, np.uint8)) for _ in range(2))
    region = Regions.at([memory.address])
    works = (
        *fill_pattern(region, size, *first),
        *verify_pattern(wrong_at.address, region, size, *first),
        *checksum_blocks(sum_at.address, region, size, 1),
    )
    assert [work.blocks for work in works] == [3, 1, 3, 1, 3]
    machine.run(works)
    want = pattern(size, 3, 1, 0)
    assert np.array_equal(memory.read(), want)
    assert wrong_at.read().view(np.uint64).tolist() == [NONE_WRONG]
    assert sum_at.read().view(np.uint64).tolist() == [digest([want])]
