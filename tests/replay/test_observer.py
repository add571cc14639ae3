"""Samples stay few, evenly spaced and true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.replay.observer import MOST_SAMPLES, Observer


@given(st.integers(0, 6 * MOST_SAMPLES))
def test_samples_are_few_and_evenly_spaced(requests: int) -> None:
    observer = Observer()
    for index in range(requests):
        observer.after_request(index, empty=index, active=1, inactive=2)
    occupancy = observer.samples().occupancy
    indices = [sample.request for sample in occupancy]
    assert len(indices) <= MOST_SAMPLES
    assert indices[:1] == [0][:requests]
    assert len(set(np.diff(indices).tolist())) <= 1
    assert requests <= MOST_SAMPLES or len(indices) >= MOST_SAMPLES // 2
    assert all(sample == (sample.request, sample.request, 1, 2) for sample in occupancy)


def test_ages_add_up() -> None:
    observer = Observer()
    observer.evicted(np.array([1, 2, 3]))
    observer.evicted(np.array([], np.int64))
    observer.evicted(np.array([3, 0]))
    assert observer.samples().eviction_ages.counts == (1, 1, 3)


def test_samples_do_not_change_afterwards() -> None:
    observer = Observer()
    before = observer.samples()
    observer.after_request(0, 1, 2, 3)
    observer.evicted(np.array([5]))
    assert (before.occupancy, before.eviction_ages.total) == ((), 0)


def test_a_negative_age_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        Observer().evicted(np.array([-1]))
