"""The frequency sketch: bounds, saturation, decay, and counters that are all used."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.pool.sketch import FrequencySketch, _ones


def keys(*names: int) -> np.ndarray:
    return np.array(names, np.uint64)


def counters(sketch: FrequencySketch) -> np.ndarray:
    """uint8[rows, 16]: every counter of the sketch."""
    shifts = np.arange(0, 64, 4, dtype=np.uint64)
    return ((sketch._rows[:, None] >> shifts) & np.uint64(15)).astype(np.uint8)


def test_one_key_saturates_at_15_and_the_decay_halves_it() -> None:
    sketch = FrequencySketch(1024)
    for _ in range(20):
        sketch.increment(keys(42))
    assert sketch.estimate(keys(42)).tolist() == [15]
    assert sketch.size == 15, "an increment that changes nothing is not counted"
    odd = int((counters(sketch) & 1).sum())
    assert odd == 4, "four distinct counters"
    sketch._decay()
    assert sketch.estimate(keys(42)).tolist() == [7]
    assert sketch.size == 15 // 2 - 4 // 4 == 6


def test_the_decay_comes_after_ten_increments_for_each_key_of_capacity() -> None:
    sketch = FrequencySketch(4)
    names = np.arange(100, dtype=np.uint64)
    sizes = []
    for name in names:
        sketch.increment(name[None])
        sizes.append(sketch.size)
    assert max(sizes) < 40
    drops = [index for index in range(1, 100) if sizes[index] < sizes[index - 1]]
    assert drops, "it decays"
    assert sizes[drops[0] - 1] == 39
    assert sizes[drops[0]] <= 20


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(1, 3))
def test_between_two_decays_an_estimate_is_never_too_low(names: list[int], parts: int) -> None:
    sketch = FrequencySketch(64)
    for part in range(parts):
        sketch.increment(keys(*names[part::parts]))
    counts = Counter(names)
    for name in range(31):
        (estimate,) = sketch.estimate(keys(name)).tolist()
        assert min(counts[name], 15) <= estimate <= 15


@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=300))
def test_a_batch_is_the_same_as_one_key_after_the_other(names: list[int]) -> None:
    together, single = FrequencySketch(8), FrequencySketch(8)
    together.increment(keys(*names))
    for name in names:
        single.increment(keys(name))
    assert together._rows.tolist() == single._rows.tolist()
    assert together.size == single.size


def test_few_keys_are_counted_exactly() -> None:
    sketch = FrequencySketch()
    for name in range(16):
        sketch.increment(np.full(name, name, np.uint64))
    assert sketch.estimate(np.arange(16, dtype=np.uint64)).tolist() == list(range(16))


@pytest.mark.parametrize("capacity", [4, 64, 1 << 12])
def test_all_sixteen_counters_of_a_row_are_used(capacity: int) -> None:
    """KVBM v2 picks row and counter by the same bits, and so uses one counter in sixteen."""
    sketch = FrequencySketch(capacity)
    sketch.increment(np.arange(4 * capacity, dtype=np.uint64))
    used = (counters(sketch) > 0).sum(axis=0)
    assert used.min() > 0.5 * used.max()
    assert (counters(sketch) > 0).mean() > 0.4
    if capacity == 1 << 12:
        assert (counters(sketch) > 0).sum(axis=1).min() > 4, "in every row"


def test_a_capacity_that_is_no_power_of_two_works() -> None:
    for capacity in (1, 3, 5, 13, 1000):
        sketch = FrequencySketch(capacity)
        sketch.increment(np.arange(3 * capacity, dtype=np.uint64))
        assert len(sketch._rows) == max(1, capacity // 4)
        assert sketch.estimate(keys(0))[0] >= 1 or sketch.size < 3 * capacity


@given(st.lists(st.integers(0, (1 << 16) - 1), min_size=1))
def test_ones_are_counted_row_by_row(patterns: list[int]) -> None:
    rows = [sum((p >> i & 1) << 4 * i for i in range(16)) for p in patterns]
    assert _ones(keys(*rows)).tolist() == [p.bit_count() for p in patterns]
