"""How numbers are written for people, the same in tables and on pages.

What this is
    A few functions from a number to a text.

Interface, as rules of use
    * None is a dash: a number that does not exist is never written as 0.
"""

from __future__ import annotations

DASH = "—"


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share of one as per cent, `0.5213` as `52.1 %`."""
    return DASH if share is None else f"{100 * share:.{digits}f} %"


def whole(number: int | None) -> str:
    """Write every digit, `12031` as `12,031`."""
    return DASH if number is None else f"{number:,}"


def capacity(blocks: int | None) -> str:
    """Write a number of blocks; None is an infinite cache."""
    return "∞" if blocks is None else whole(blocks)


def short(number: float | None) -> str:
    """Write about three digits, `12031` as `12k` and `144793823` as `145M`.

    Examples
    --------
    >>> [short(n) for n in (0, 7, 950, 1024, 1536, 12_031, 999_700, 144_793_823, 3.2e9)]
    ['0', '7', '950', '1k', '1.5k', '12k', '1M', '145M', '3.2G']
    """
    if number is None:
        return DASH
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size * 0.9995:
            scaled = number / size
            text = f"{scaled:.1f}" if scaled < 9.95 else f"{scaled:.0f}"
            return text.removesuffix(".0") + unit
    return f"{number:.0f}"
