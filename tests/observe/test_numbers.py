"""Numbers for people."""

from __future__ import annotations

from kvbm.observe.numbers import capacity, percent, short, whole


def test_what_does_not_exist_is_a_dash() -> None:
    assert percent(None) == whole(None) == short(None) == "—"


def test_an_infinite_cache_has_a_sign() -> None:
    assert (capacity(None), capacity(1234)) == ("∞", "1,234")


def test_a_share_is_per_cent() -> None:
    assert (percent(0.5213), percent(0.5213, 0), percent(1.0, 2)) == ("52.1 %", "52 %", "100.00 %")
