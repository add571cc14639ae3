"""Tuples: values that only a typed, length-prefixed encoding keeps apart.

What this is
    Whoever joins fields to one text loses where each began, and what it was. The same bytes
    are given here in another field, across another border, and as tokens.

Clauses: KV-IDN-04
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, Final

from kvbm_spec.identity import Identity, Media
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.asking import PLAIN, Question, apart, ask, has_field, texts

TYPED: Final = "KV-IDN-04"

SEPARATORS: Final = ("|", ",", ":", ";", "/", "-", "_", ".", "@", "#", "=", " ", "\n", "\0")

BLOCK: Final = (1, 2, 3, 4)


def no_two_tuples_are_one(script: Script) -> None:
    """Ask with every pair of texts that a join may confuse."""
    identities = {PLAIN: None}
    for name in texts(script):
        for value in ("", "x", "None", "null", "7", "abcd"):
            identities[PLAIN.having(**{name: value})] = None
    for one, other in combinations(texts(script), 2):
        identities |= dict.fromkeys(_confusable(one, other))
    if has_field(script, "media"):
        for content in (7, ord("x"), int.from_bytes(b"x" * 8)):
            identities[Identity(media=(Media(content, 0, 1),))] = None
        if texts(script):
            name = texts(script)[0]
            identities[PLAIN.having(**{name: "x"}, media=(Media(7, 0, 1),))] = None
    apart(script, TYPED, [Question(BLOCK, identity) for identity in identities])
    script.reached("joined fields")


def _confusable(one: str, other: str) -> Iterator[Identity]:
    """Give what two fields may be taken for."""

    def pair(mine: str | None, yours: str | None) -> Identity:
        return PLAIN.having(**{one: mine, other: yours})

    yield from (pair("", ""), pair("x", "x"), pair("y", "y"), pair("x", ""), pair("", "x"))
    yield from (pair("a", "bc"), pair("ab", "c"), pair("abc", ""), pair("", "abc"))
    yield from (pair("abc", None), pair(None, "abc"), pair("bc", "a"), pair("c", "ab"))
    yield pair("p", "q")
    for separator in SEPARATORS:
        yield pair(f"p{separator}q", "r")
        yield pair("p", f"q{separator}r")
    for quote in ("'", '"'):  # as a member of its own, for who writes an object by hand
        yield pair(f"p{quote},{quote}{other}{quote}:{quote}q", None)
        yield pair(f"p{quote}, {quote}{other}{quote}: {quote}q", None)
        yield pair(None, f"q{quote},{quote}{one}{quote}:{quote}p")


def tokens_are_nothing_but_tokens(script: Script) -> None:
    """Spell a field, or the parent, in tokens before and behind the block."""
    for question, value in _beside(script):
        spelt = [
            Question(tokens, block_size=len(tokens))
            for words in _spellings(value)
            for tokens in ((*words, *BLOCK), (*BLOCK, *words))
        ]
        apart(script, TYPED, [question, *spelt])
    script.reached("spelt in tokens")


def _beside(script: Script) -> Iterator[tuple[Question, Any]]:
    """Give questions with one thing beside the tokens, and that thing."""
    for name in texts(script):
        yield Question(BLOCK, PLAIN.having(**{name: "abcd"})), b"abcd"
    if has_field(script, "media"):
        yield Question(BLOCK, Identity(media=(Media(2**63 + 5, 0, 1),))), 2**63 + 5
    parent = ask(script, Question((5, 6, 7, 8)))[0]
    yield Question((5, 6, 7, 8, *BLOCK)), parent


def a_chain_is_no_block(script: Script) -> None:
    """Spell two keys in the tokens of one block: what a chain may hash, by the same hash."""
    first, own = ask(script, Question((5, 6, 7, 8)))[0], ask(script, Question(BLOCK))[0]
    pairs = zip(_spellings(first), _spellings(own), strict=True)
    forged = [Question((*one, *other), block_size=len(one + other)) for one, other in pairs]
    apart(script, TYPED, [Question((5, 6, 7, 8, *BLOCK)), *forged])
    script.reached("spelt a chain")


def _spellings(value: int | bytes) -> list[tuple[int, ...]]:
    """Give a value in words of 32 bits, in all orders that machines write."""
    if isinstance(value, bytes):
        written = [value + bytes(-len(value) % 4)]
    else:
        size = max(8, -(-value.bit_length() // 32) * 4)
        written = [value.to_bytes(size, "little"), value.to_bytes(size, "big")]
    return [
        struct.unpack(f"{order}{len(data) // 4}I", data) for data in written for order in ("<", ">")
    ]


TRIALS: Final[tuple[Trial, ...]] = (
    Scene("joined fields", (TYPED,), "hashing", no_two_tuples_are_one),
    Scene("spelt in tokens", (TYPED,), "hashing", tokens_are_nothing_but_tokens),
    Scene("spelt a chain", (TYPED,), "hashing", a_chain_is_no_block),
)

CHECKS: Final[Mapping[str, Check]] = {
    TYPED: Check(("joined fields", "spelt in tokens", "spelt a chain"), "hashing")
}
