"""History: calls that were recorded somewhere, read from NDJSON.

What this is
    For a manager that cannot be driven, only watched. Each call writes `invoke` and later
    exactly one of `ok`, `fail` (refused, nothing changed) or `info` (nobody knows whether
    it happened). Several clients may have a call open at once, one each.

        {"type": "config", "slots": 2, "policy": "lru"}
        {"seq": 1, "client": "a", "op": "allocate", "type": "invoke", "args": {"n": 1}}
        {"seq": 2, "client": "a", "op": "allocate", "type": "ok", "result": ["s7"], "events": []}

Interface, as rules of use
    * `read(lines)` gives a `History`, or raises `Malformed` with the number of the line.
    * Handles are the recorded ones: strings, never the same twice. Keys are integers or
      strings.
    * `events` may be left out; where they are, they are those of this call.
    * `linear.check(history)` judges it.

Clauses: KV-CON-01
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kvbm_spec import schema

ARGUMENTS = {
    "allocate": {"n"},
    "stage": {"handle", "key"},
    "register": {"handle"},
    "match": {"keys"},
    "scan": {"keys"},
    "release": {"handle"},
    "reset": {"handle"},
}
"""What each call must have been given; `stage` may have a `parent` too."""


class Malformed(ValueError):
    """The file is no history. Nothing was learned about the manager."""


@dataclass(slots=True)
class Call:
    """One call of one client. It took effect, if it did, between its two lines."""

    client: str
    op: str
    args: dict[str, Any]
    invoked: int
    """`seq` of its first line."""
    ended: int | None = None
    """`seq` of its second line; None where nobody knows how it ended."""
    result: Any = None
    error: str | None = None
    events: list[tuple[str, Any]] | None = None

    def __str__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.args.items())
        return f"client {self.client}: {self.op}({given})"


@dataclass(slots=True)
class History:
    """A pool, and its calls in the order in which they were begun."""

    slots: int
    duplicates: str = "reject"
    policy: str = "lru"
    holds_parents: bool = False
    calls: list[Call] = field(default_factory=list)


def read(lines: Iterable[str]) -> History:
    """Read a history. Empty lines are skipped.

    Raises
    ------
    Malformed
        A line is no JSON or has another form; the sequence does not grow; a call ends that
        was not begun, or a client begins one while it has another.
    """
    history: History | None = None
    opened: dict[str, Call] = {}
    last = -1
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = _line(text)
            if line["type"] == "config":
                _need(history is None, "a history has one config, at its start")
                del line["type"]
                history = History(**line)
                continue
            _need(history is not None, "the first line must be the config")
            _need(line["seq"] > last, f"seq {line['seq']} comes after {last}")
            last = line["seq"]
            if line["type"] == "invoke":
                call = _begun(line, opened)
                assert history is not None
                history.calls.append(call)
            else:
                _end(line, opened)
        except ValueError as error:
            raise Malformed(f"line {number}: {error}") from None
    if history is None:
        raise Malformed("there is no line at all")
    return history


def _line(text: str) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(text)
    schema.check(line, "history")
    return line


def _begun(line: dict[str, Any], opened: dict[str, Call]) -> Call:
    client, op, args = line["client"], line["op"], line["args"]
    _need(client not in opened, f"client {client} has a call open")
    allowed = ARGUMENTS[op] | ({"parent"} if op == "stage" else set())
    _need(ARGUMENTS[op] <= args.keys() <= allowed, f"{op} has other arguments: {args}")
    opened[client] = Call(client, op, args, line["seq"])
    return opened[client]


def _end(line: dict[str, Any], opened: dict[str, Call]) -> None:
    call = opened.pop(line["client"], None)
    _need(call is not None and call.op == line["op"], "this call was not begun")
    assert call is not None
    if line["type"] == "info":  # the client goes on, and this call may happen at any time
        return
    fits = line["type"] == "fail" or _is_of(call.op, line["result"])
    _need(fits, f"{call.op} has no such result: {line.get('result')!r}")
    call.ended = line["seq"]
    call.result, call.error = line.get("result"), line.get("error")
    if "events" in line:
        call.events = [(kind, key) for kind, key in line["events"]]


def _is_of(op: str, result: Any) -> bool:
    """Tell whether a call can have such a result: handles are strings."""
    if op == "release" or (op == "allocate" and result is None):
        return result is None
    if op in ("allocate", "match", "scan"):
        kind = list if op == "scan" else str
        return isinstance(result, list) and all(isinstance(each, kind) for each in result)
    return isinstance(result, str)


def _need(fact: bool, otherwise: str) -> None:
    if not fact:
        raise ValueError(otherwise)
