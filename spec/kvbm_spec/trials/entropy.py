"""Entropy: nothing of a field is lost on its way into the key.

What this is
    Many values of each field that differ in few bits, or in none once somebody has cut,
    folded, divided or rounded them.

Clauses: KV-IDN-08
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Final

from kvbm_spec.identity import Identity, Media
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.asking import PLAIN, Question, apart, has_field, texts

WHOLE: Final = "KV-IDN-08"

BLOCK: Final = (1, 2, 3, 4)

TEXTS_ALIKE: Final = (
    *("plumless", "buckeroo"),  # CRC-32
    *("costarring", "liquid"),  # FNV-1a, 32 bits
    *("creamwove", "quists"),  # FNV-1, 32 bits
    *("Aa", "BB"),  # times 31
    *("hetairas", "mentioner"),  # times 33
    *("bdb", "cbc"),  # Adler-32
    *("a", "\u0161", "é", "ü", "?"),  # cut to one byte, or replaced
)
"""Texts that a short hash or a poor encoding names alike."""

CUTS: Final = (7, 8, 15, 16, 31, 32, 63, 64, 127, 128, 255, 256, 1023, 4095)
"""Lengths to which somebody may cut a text."""


def no_field_is_cut(script: Script) -> None:
    """Ask with many values of a field, such as differ in few of their bits."""
    near = [2**24, 2**31, 2**32 - 64]
    tokens = [start + step for start in near for step in range(64)]
    apart(script, WHOLE, [Question((token, 0, 0, 0)) for token in tokens])
    for name in texts(script):
        values = [*TEXTS_ALIKE, *(f"tenant-{index}" for index in range(1024))]
        values += [long for cut in CUTS for long in ("x" * cut + "y", "x" * cut + "z")]
        asked = [Question(BLOCK, PLAIN.having(**{name: value})) for value in values]
        apart(script, WHOLE, asked)
    if has_field(script, "media"):
        contents = dict.fromkeys(content % 2**64 for content in _contents())
        media = [Identity(media=(Media(content, 0, 1),)) for content in contents]
        apart(script, WHOLE, [Question(BLOCK, identity) for identity in media])
    script.reached("many values of a field")


def _contents() -> Iterator[int]:
    """Give numbers that are alike once they are cut, folded, divided or rounded."""
    yield from (0, *(1 << bit for bit in range(64)))
    for step in range(1, 64):
        yield from (step << shift for shift in (0, 16, 32, 48))
        yield from (2**63 + step, 2**64 - step)
        yield from (step * size for size in (65521, 65535, 65537, 2**32 - 5, 2**32 - 1, 2**32 + 1))
        yield from (step * (2**61 - 1), step * (2**61 - 1) + 1)
    drawn = random.Random(0)  # noqa: S311 - the same numbers each time
    yield from (drawn.getrandbits(64) for _ in range(1024))


TRIALS: Final[tuple[Trial, ...]] = (
    Scene("values of a field", (WHOLE,), "hashing", no_field_is_cut),
)

CHECKS: Final[Mapping[str, Check]] = {WHOLE: Check(("many values of a field",), "hashing")}
