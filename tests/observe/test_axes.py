"""Scales, ticks and labels that keep out of each other's way."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kvbm.observe.axes import Frame, linear, logarithmic, round_ticks, spread


@given(st.floats(1e-6, 1e12), st.integers(1, 8))
def test_ticks_are_few_and_reach_the_highest_value(high: float, most: int) -> None:
    ticks = round_ticks(high, most)
    assert ticks[0] == 0
    assert 2 <= len(ticks) <= most + 1
    assert ticks[-1] >= high * (1 - 1e-8)
    assert ticks[-2] < high


def test_ticks_of_nothing() -> None:
    assert round_ticks(0, 4) == [0, 1]


@given(st.lists(st.floats(-50, 150), max_size=6).map(sorted))
def test_spread_labels_are_apart_in_order_and_inside(wanted: list[float]) -> None:
    places = spread(wanted, apart=16, low=0, high=100)
    assert all(later - earlier >= 16 - 1e-9 for earlier, later in pairwise(places))
    assert all(-1e-9 <= place <= 100 for place in places)


@given(st.lists(st.integers(0, 5).map(lambda n: n * 20.0), unique=True, max_size=6).map(sorted))
def test_labels_with_room_stay_where_they_belong(wanted: list[float]) -> None:
    assert spread(wanted, apart=16, low=0, high=100) == wanted


def test_scales_map_their_ends() -> None:
    falling = linear(2, 4, 100, 0)
    assert (falling(2), falling(3), falling(4)) == (100, 50, 0)
    doubling = logarithmic(1, 16, 0, 100)
    assert doubling(1) == 0
    assert math.isclose(doubling(4), 50)
    assert linear(3, 3, 0, 100)(3) == 0


def test_labels_too_close_to_the_last_one_are_left_out() -> None:
    drawn = Frame(0, 100, 0, 50).bottom_labels([(0, "a"), (20, "b"), (38, "c")], "t", apart=38)
    assert ">a<" in drawn
    assert ">b<" not in drawn
    assert ">c<" in drawn
