"""Asking: questions to a hash, and what two answers must have to do with each other.

Interface, as rules of use
    * `ask` gives all keys, `last` the last one. An answer of the wrong form breaks KV-IDN-01.
    * `apart` breaks a clause if two questions have one last key, and writes down both.
    * Questions that were answered rightly are not written down: there are thousands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from kvbm_spec.identity import TEXTS, Hashing, Identity
from kvbm_spec.trial import Script

NAMED: Final = "KV-IDN-01"

TOKENS: Final = tuple(range(1, 13))
"""Three blocks of four."""

PLAIN: Final = Identity()
"""No field is given."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: the keys of a prompt."""

    tokens: tuple[int, ...] = TOKENS
    identity: Identity = PLAIN
    block_size: int = 4

    def __str__(self) -> str:
        fields = f", {self.identity}" if str(self.identity) else ""
        return f"keys({list(self.tokens)}, size {self.block_size}{fields})"


def hasher(script: Script) -> Hashing:
    """Give the subject as what it is in these trials."""
    assert isinstance(script.subject, Hashing), "asked only of subjects that hash"
    return script.subject


def texts(script: Script) -> list[str]:
    """Give the fields of the subject that are texts."""
    return [name for name in TEXTS if name in hasher(script).identity_fields()]


def has_field(script: Script, name: str) -> bool:
    """Tell whether the subject hashes a field."""
    return name in hasher(script).identity_fields()


def ask(script: Script, question: Question, hashing: Hashing | None = None) -> list[Any]:
    """Ask for the keys of all full blocks: the subject, or one of its schemes."""
    asked = hashing or hasher(script)
    try:
        keys = list(asked.block_keys(question.tokens, question.block_size, question.identity))
    except Exception as crash:
        script.expect(script.clause, False, f"{question} raised {crash!r}")
        raise
    full = len(question.tokens) // question.block_size
    if len(keys) != full or not all(isinstance(key, int | bytes) for key in keys):
        what = f"{question} gave {keys}; it has {full} full blocks, each with an int or bytes"
        script.expect(NAMED, False, what)
    return keys


def last(script: Script, question: Question) -> Any:
    """Ask for the key of the last full block."""
    return ask(script, question)[-1]


def apart(script: Script, clause: str, questions: Iterable[Question]) -> None:
    """Break `clause` if two different questions have one last key."""
    known: dict[Any, Question] = {}
    for question in questions:
        key = last(script, question)
        other = known.setdefault(key, question)
        if other != question:
            script.say(f"{other} -> … {key!r}")
            script.say(f"{question} -> … {key!r}")
            script.expect(clause, False, f"{other} and {question} have one key")
