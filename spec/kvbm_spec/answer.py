"""Answer: what a program said to one request, with its form checked where it is read.

What this is
    Between the bare lines of `pipe` and the calls of `process`. Whatever has another form
    than the protocol says stops the program and is an `AdapterError`.

Interface, as rules of use
    * An answer has `ok` or `error`, never both. `raise_refusal()` first, then the result.
    * Handles are strings; all handles of one answer are different.
"""

from __future__ import annotations

from typing import Any

from kvbm_spec.pipe import AdapterError, Pipe
from kvbm_spec.subject import KINDS, Event, Handle, Key, SubjectError


class Answer:
    """What came back of one request. Its form is checked where it is read."""

    def __init__(self, pipe: Pipe, operation: str, arguments: dict[str, Any]) -> None:
        self._operation = operation
        self._pipe = pipe
        self._answer = pipe.ask(operation, arguments)
        if ("ok" in self._answer) == ("error" in self._answer):
            raise self.broken("an answer has either ok or error")

    @property
    def result(self) -> Any:
        """What the call gave."""
        return self._answer.get("ok")

    def broken(self, reason: str) -> AdapterError:
        """Stop the program; give the error to raise."""
        self._pipe.stop()
        return AdapterError(f"{self._operation}: {reason}: {self._answer!r:.300}")

    def raise_refusal(self) -> None:
        """Raise what was refused."""
        if "error" in self._answer:
            kind = self._answer["error"]
            if kind not in KINDS:
                raise self.broken(f"there is no kind of refusal {kind!r}")
            raise SubjectError(kind, str(self._answer.get("reason", "")))

    def field(self, name: str, kind: type) -> Any:
        """Give a part of the result, which must be there."""
        value = self.result.get(name) if isinstance(self.result, dict) else None
        if not isinstance(value, kind):
            raise self.broken(f"{name!r} must be a {kind.__name__}")
        return value

    def events(self) -> list[Event]:
        """Give what happened during the call."""
        try:
            return [_event(*each) for each in self._answer.get("events", [])]
        except (TypeError, ValueError):
            raise self.broken("an event is [kind, key], or ['Cleared']") from None

    def handle(self) -> Handle:
        """Give the result, which must be a handle."""
        return self.handles([self.result])[0]

    def handles(self, values: Any) -> list[Handle]:
        """Give a list of handles, which are different words."""
        words = isinstance(values, list) and all(isinstance(each, str) for each in values)
        if not words or len(set(values)) < len(values):
            raise self.broken("handles are different strings")
        return list(values)

    def number(self) -> int:
        """Give the result, which must be a number."""
        return self.numbers([self.result])[0]

    def numbers(self, values: Any = None) -> list[int]:
        """Give a list of numbers; without one, the result."""
        listed = self.result if values is None else values
        if not isinstance(listed, list) or not all(type(each) is int for each in listed):
            raise self.broken("a number was expected")
        return list(listed)

    def pairs(self, values: Any) -> list[tuple[Key, Any]]:
        """Give a list of pairs that begin with a key."""
        if not isinstance(values, list) or not all(
            isinstance(each, list) and len(each) == 2 and isinstance(each[0], int)
            for each in values
        ):
            raise self.broken("pairs are [key, value]")
        return [(key, value) for key, value in values]


def _event(kind: str, key: Key | None = None) -> Event:
    if kind not in ("Stored", "Removed", "Cleared") or (key is None) != (kind == "Cleared"):
        raise ValueError(kind)
    return Event(kind, key)
