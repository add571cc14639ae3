"""Operations: calls and their outcomes as values, to be compared, printed and stored.

What this is
    The words of a history. Handles are symbols, `h0`, `h1`, … in the order in which they
    are given out, so that no history depends on what a subject's handles are; keys are
    numbers, written `K0`, `K1`. A stored history is a vector: any subject can be asked it.

Interface, as rules of use
    * `Op` is one call, `Outcome` all that can be seen of it, `Step` a call with both the
      outcome that the model predicts and the one that was seen.
    * `str()` is for people; `to_json` and `from_json` are for files.

Clauses: KV-EVC-08
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias

from kvbm_spec.subject import Key

Symbol: TypeAlias = str
"""A handle of a history: `h0`, `h1`, …"""


def key_text(key: Key | None) -> str:
    """Write a key as people read it."""
    return "None" if key is None else f"K{key}"


def key_from(text: str | None) -> Key | None:
    """Read what `key_text` wrote."""
    return None if text is None or text == "None" else int(text.removeprefix("K"))


@dataclass(frozen=True, slots=True)
class Op:
    """One call: its name, and of the arguments those that it has."""

    name: str
    handle: Symbol | None = None
    keys: tuple[Key, ...] = ()
    parent: Key | None = None
    n: int = 0

    def __str__(self) -> str:
        if self.name == "allocate":
            return f"allocate({self.n})"
        names = [key_text(key) for key in self.keys]
        if self.name in ("match", "scan"):
            return f"{self.name}([{', '.join(names)}])"
        above = [] if self.parent is None else [f"parent={key_text(self.parent)}"]
        return f"{self.name}({', '.join([str(self.handle), *names, *above])})"

    def to_json(self) -> dict[str, Any]:
        """Give the call as one step of a vector."""
        arguments: dict[str, Any] = {}
        if self.name == "allocate":
            arguments["n"] = self.n
        elif self.name in ("match", "scan"):
            arguments["keys"] = [key_text(key) for key in self.keys]
        else:
            arguments["handle"] = self.handle
        if self.name == "stage":
            arguments["key"] = key_text(self.keys[0])
            if self.parent is not None:
                arguments["parent"] = key_text(self.parent)
        return {"op": self.name, "args": arguments}

    @classmethod
    def from_json(cls, step: dict[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        arguments = step["args"]
        texts = arguments.get("keys", [arguments["key"]] if "key" in arguments else [])
        return cls(
            step["op"],
            handle=arguments.get("handle"),
            keys=tuple(int(text.removeprefix("K")) for text in texts),
            parent=key_from(arguments.get("parent")),
            n=arguments.get("n", 0),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one call answered: a value of symbols, or a kind of refusal, and what it told."""

    value: Any = None
    error: str | None = None
    events: tuple[tuple[str, Key | None], ...] = ()
    read: tuple[Key, ...] | None = None
    """The keys whose bytes the new handles hold; None where the subject shows no bytes."""

    def __str__(self) -> str:
        answer = self.error or _value_text(self.value)
        told = [f"{kind}({key_text(key)})" for kind, key in self.events]
        return f"{answer}  {' '.join(told)}" if told else answer

    def to_json(self) -> dict[str, Any]:
        """Give what a vector expects of a step."""
        value = self.value
        if isinstance(value, dict):
            value = {key_text(key): symbol for key, symbol in value.items()}
        expect = {"ok": value} if self.error is None else {"error": self.error}
        events = [[kind, *([] if key is None else [key_text(key)])] for kind, key in self.events]
        return {"expect": expect, "events": events}

    def without_bytes(self) -> Outcome:
        """Forget the bytes, for a subject that shows none."""
        return replace(self, read=None)

    def without_events(self) -> Outcome:
        """Forget what was told, for a subject that tells nothing."""
        return replace(self, events=())


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a history, with what the model says and what the subject did."""

    op: Op
    expected: Outcome
    got: Outcome

    @property
    def wrong(self) -> bool:
        """Whether the subject did something else than the model."""
        return self.expected != self.got

    def __str__(self) -> str:
        return f"{self.op} -> {self.got}" + (f"   expected: {self.expected}" if self.wrong else "")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a trial: what was done and seen, for people."""

    text: str
    wrong: bool = False

    def __str__(self) -> str:
        return self.text


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key_text(k)}: {v}" for k, v in value.items()) + "}"
    return str(value)
