"""Checked access to the fields of one line of a trace.

What this is
    Each function takes one value out of a JSON object, or says precisely why it cannot.

Interface, as rules of use
    * `Malformed` carries the reason only. Who knows the file and the line makes a
      `TraceError` of it.
    * `true` is no number, although Python thinks so.
"""

from __future__ import annotations

import math
from typing import Any

MOST_TOKENS = 2**31 - 1
"""A prompt that is longer than this is a typing error, and might not fit in memory as ids."""

MOST_ID = 2**64 - 1


class Malformed(ValueError):
    """One line of a trace cannot be used; the message is the reason."""


def field(record: dict[str, Any], key: str) -> Any:
    """Return `record[key]`, whatever it is."""
    try:
        return record[key]
    except KeyError:
        raise Malformed(f"the key {key!r} is missing") from None


def tokens(record: dict[str, Any], key: str, least: int = 0) -> int:
    """Return a number of tokens, or of blocks, that is at least `least`."""
    value = field(record, key)
    if type(value) is not int:
        raise Malformed(f"{key} = {shown(value)}: must be a whole number")
    if not least <= value <= MOST_TOKENS:
        raise Malformed(f"{key} = {shown(value)}: must be in {least} … {MOST_TOKENS}")
    return value


def time(record: dict[str, Any], key: str) -> float:
    """Return a time that is finite and not negative."""
    value = field(record, key)
    if type(value) not in {int, float}:
        raise Malformed(f"{key} = {shown(value)}: must be a number")
    # A whole number may be too large for a float, and then even isfinite() refuses it.
    if not 0 <= value < 2**63 or not math.isfinite(value):
        raise Malformed(f"{key} = {shown(value)}: must be finite and not negative")
    return float(value)


def entries(record: dict[str, Any], key: str) -> list[Any]:
    """Return a list, with whatever is in it."""
    value = field(record, key)
    if type(value) is not list:
        raise Malformed(f"{key} = {shown(value)}: must be a list")
    return value


def check_ids(ids: list[Any], key: str) -> None:
    """Accept whole numbers of at most 64 bits.

    Raises
    ------
    Malformed
        Names the first entry that is something else.

    Complexity
    ----------
    O(ids), a few passes in C.
    """
    if not ids or ({int}.issuperset(map(type, ids)) and min(ids) >= 0 and max(ids) <= MOST_ID):
        return
    for index, value in enumerate(ids):
        if type(value) is not int or not 0 <= value <= MOST_ID:
            raise Malformed(
                f"{key}[{index}] = {shown(value)}: an id must be a whole number in 0 … {MOST_ID}"
            )


def check_distinct(ids: list[int] | tuple[int, ...], key: str) -> None:
    """Accept a list in which each id occurs once; otherwise say where the first comes again."""
    if len(set(ids)) == len(ids):
        return
    seen: set[int] = set()
    for index, value in enumerate(ids):
        if value in seen:
            raise Malformed(f"{key}[{index}] repeats an id of the same request")
        seen.add(value)


def shown(value: Any) -> str:
    """Spell a value for a message, shortened when it is long."""
    if type(value) is int and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
