"""Which blocks go into one request: runs, limits, order, and no overlap."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import InvalidStorageConfig
from kvbm.storage.coalesce import coalesce, need_apart

blocks = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9), st.integers(1, 3)), max_size=30)
"""(gap before the block, its size, its buffers)"""


def columns(drawn: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    gaps, sizes, counts = np.array(drawn, np.int64).reshape(-1, 3).T
    return np.cumsum(gaps) + np.cumsum(sizes) - sizes, sizes, counts


@given(blocks, st.integers(1, 40), st.integers(1, 8), st.randoms(use_true_random=False))
def test_every_group_is_a_run_within_limits_and_as_long_as_can_be(
    drawn, most_bytes, most_buffers, random
) -> None:
    offsets, sizes, counts = columns(drawn)
    order = list(range(len(drawn)))
    random.shuffle(order)
    offsets, sizes, counts = offsets[order], sizes[order], counts[order]
    groups = coalesce(offsets, sizes, counts, most_bytes, most_buffers)
    everything = [index for group in groups for index in group.tolist()]
    assert sorted(everything) == list(range(len(drawn)))
    assert [int(offsets[index]) for index in everything] == sorted(offsets.tolist())
    for group in groups:
        ends = offsets[group] + sizes[group]
        assert (offsets[group][1:] == ends[:-1]).all()
        if len(group) > 1:
            assert sizes[group].sum() <= most_bytes
            assert counts[group].sum() <= most_buffers
    for group, after in pairwise(groups):
        grown = np.append(group, after[0])
        assert (
            offsets[after[0]] != offsets[group[-1]] + sizes[group[-1]]
            or sizes[grown].sum() > most_bytes
            or counts[grown].sum() > most_buffers
        )


@pytest.mark.parametrize(
    ("slots", "bytes_", "expected"),
    [
        ([], 4, []),
        ([7], 4, [[0]]),
        ([3, 2, 1, 0], 4, [[3, 2, 1, 0]]),
        ([0, 1, 2, 3, 4], 2, [[0, 1], [2, 3], [4]]),
        ([0, 2, 4], 9, [[0], [1], [2]]),
        ([5, 5, 6], 9, [[0], [1, 2]]),
        ([0, 1], 0, [[0], [1]]),
    ],
)
def test_small_batches_by_hand(slots, bytes_, expected) -> None:
    ones = np.ones(len(slots), np.int64)
    groups = coalesce(np.array(slots, np.int64), ones, ones, bytes_, 1024)
    assert [group.tolist() for group in groups] == expected
    assert all(group.dtype == np.int64 for group in groups)


def test_at_most_so_many_buffers_go_into_a_call() -> None:
    ones = np.ones(1025, np.int64)
    groups = coalesce(np.arange(1025), ones, ones, 1 << 30, 1024)
    assert [len(group) for group in groups] == [1024, 1]


@pytest.mark.clause("KV-TIR-04")
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 4)), max_size=8))
def test_overlap_is_what_a_set_of_bytes_says(drawn) -> None:
    offsets, sizes = np.array(drawn, np.int64).reshape(-1, 2).T
    touched = [byte for offset, size in drawn for byte in range(offset, offset + size)]
    if len(touched) == len(set(touched)):
        need_apart(offsets, sizes)
    else:
        with pytest.raises(InvalidStorageConfig, match=r"offsets\[\d\] = .* reaches into it"):
            need_apart(offsets, sizes)
