"""Buckets that double in width."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.replay.histogram import Histogram

numbers = st.lists(st.integers(0, 2**53 - 1) | st.integers(0, 70), max_size=30)


def counted(values: list[int]) -> Histogram:
    return Histogram.of(np.array(values, np.int64))


@given(numbers)
def test_a_value_is_in_the_bucket_whose_span_holds_it(values: list[int]) -> None:
    histogram = counted(values)
    assert histogram.total == len(values)
    for bucket, count in enumerate(histogram.counts):
        low, high = Histogram.span(bucket)
        assert count == sum(low <= value <= high for value in values)


@given(numbers, numbers)
def test_a_sum_counts_both(first: list[int], second: list[int]) -> None:
    assert counted(first) + counted(second) == counted(first + second)


def test_a_negative_value_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="no negative value: -1"):
        counted([3, -1])
