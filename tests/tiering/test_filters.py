from __future__ import annotations

import numpy as np
import pytest

from kvbm.errors import InvalidConfig
from kvbm.pool.sketch import FrequencySketch
from kvbm.tiering import FrequencyFilter, TinyLfuFilter


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("least", "first_yes"),
    [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (8, 4), (9, 5), (16, 5)],
)
def test_a_count_doubles_until_it_is_enough(least, first_yes):
    asked = FrequencyFilter(least, clock=Clock())
    answers = [asked.refuses(7, 0) is None for _ in range(first_yes)]
    assert answers == [False] * (first_yes - 1) + [True]


def test_too_many_entries_decay_early():
    asked = FrequencyFilter(4, most_entries=2, clock=Clock())
    answers = [asked.refuses(name, 0) is None for name in (0, 0, 1, 1, 0)]
    assert answers == [False, False, False, False, True]
    assert asked.counts == {0: 4, 1: 2}
    assert asked.refuses(2, 0) is not None
    assert asked.counts == {0: 3, 1: 1}
    assert asked.refuses(1, 0) is not None
    assert asked.counts == {0: 3, 1: 2}


def test_counts_fall_by_one_an_interval_and_the_first_decay_takes_a_whole_one():
    clock = Clock()
    asked = FrequencyFilter(99, interval=10, clock=clock)
    for _ in range(3):
        asked.refuses(0, 0)
    assert asked.counts[0] == 4
    clock.now += 9.9
    asked.refuses(1, 0)
    assert asked.counts[0] == 4
    for left in (3, 2, 1):
        clock.now += 10
        asked.refuses(1, 0)
        assert asked.counts[0] == left
    clock.now += 10
    asked.refuses(1, 0)
    assert 0 not in asked.counts


def test_a_reason_is_given():
    assert FrequencyFilter(2, clock=Clock()).refuses(5, 0) == "frequency 1 < 2"


@pytest.mark.parametrize(
    ("field", "options"),
    [("least", {"least": 0}), ("interval", {"interval": 0}), ("most_entries", {"most_entries": 0})],
)
def test_settings_are_checked(field, options):
    with pytest.raises(InvalidConfig, match=field):
        FrequencyFilter(**{"least": 1, "clock": Clock()} | options)


def test_tiny_lfu_wants_strictly_more_uses():
    sketch = FrequencySketch(1024)
    asked = TinyLfuFilter(1, sketch)
    key = np.array([5], np.uint64)
    sketch.increment(key)
    assert asked.refuses(5, 0) == "used 1 times, not more than 1"
    sketch.increment(key)
    assert asked.refuses(5, 0) is None
    assert TinyLfuFilter(1, sketch, bits=128).refuses(5, 0) is None


def test_a_filter_that_wants_a_second_look_loses_the_first_reuse_of_every_block():
    """The trap: however large the target, what is seen once is never there the next time."""
    asked = FrequencyFilter(2, clock=Clock())
    stored, hits = set(), 0
    for name in [*range(50), *range(50), *range(50)]:
        hits += name in stored
        if name not in stored and asked.refuses(name, 0) is None:
            stored.add(name)
    assert hits == 50  # of 100 reuses


def test_after_a_long_silence_all_rounds_of_decay_come_at_once():
    now = [1e6]
    frequency = FrequencyFilter(2, interval=1e-12, clock=lambda: now[0])
    frequency.refuses(1, 0)
    now[0] += 3600.0
    assert frequency.refuses(1, 0) == "frequency 1 < 2"


def test_after_an_early_decay_the_interval_starts_anew():
    now = [0.0]
    frequency = FrequencyFilter(2, interval=10.0, most_entries=2, clock=lambda: now[0])
    for name in (0, 0, 0, 1, 1, 1):
        frequency.refuses(name, 0)
    now[0] = 9.0
    frequency.refuses(2, 0)
    assert frequency.counts == {0: 3, 1: 3}
    now[0] = 11.0
    frequency.refuses(0, 0)
    assert frequency.counts == {0: 6, 1: 3}
    now[0] = 19.0
    frequency.refuses(0, 0)
    assert frequency.counts == {0: 10, 1: 2}
