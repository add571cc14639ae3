"""Lifecycle: the table of what may happen to a slot, read from `data/lifecycle.json`.

What this is
    The only hand-written transition table of the specification. It is data, so that a
    manager in any language can read it; the page `spec/lifecycle.md` is made from it.

Interface, as rules of use
    * `load()` gives the table. A (operation, state) pair without a row is `WrongState`.
    * `diagram()`, `table()` and `names()` render it; `refresh(page)` puts them into a page.
    * `python -m kvbm_spec.lifecycle PAGE` brings a page up to date. A test tells a stale one.

Clauses: KV-LIF-01
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

_SECTION: Final = re.compile(r"(<!-- lifecycle\.json: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class State:
    """A state of a slot."""

    name: str
    block: str
    """State of the block that it holds, in the words of the documented API."""
    role: str
    """What the slot is to its pool."""
    holders: str
    key: bool
    """Whether the slot has a key."""
    matched: bool
    """Whether that key finds this slot."""
    aliases: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Operation:
    """What can happen to a slot; `calls` of the protocol do it, or none that every manager has."""

    name: str
    calls: tuple[str, ...]
    aliases: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Transition:
    """`operation` leads from `state` to `next` when `guard` holds."""

    operation: str
    state: str
    guard: str
    next: str
    effects: tuple[str, ...]
    emits: tuple[str, ...]
    clauses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The whole table. `events` and `errors` map a name to what it means."""

    spec: str
    states: tuple[State, ...]
    operations: tuple[Operation, ...]
    events: Mapping[str, str]
    errors: Mapping[str, str]
    transitions: tuple[Transition, ...]


@cache
def load() -> Lifecycle:
    """Give the table. Read once; the result never changes.

    Examples
    --------
    >>> [(row.operation, row.next) for row in load().transitions if row.state == "complete"][:3]
    [('reset', 'reset'), ('register', 'active'), ('register_duplicate', 'duplicate')]
    """
    source = resources.files("kvbm_spec").joinpath("data", "lifecycle.json")
    data = json.loads(source.read_text("utf-8"))
    return Lifecycle(
        spec=data["spec"],
        states=tuple(State(**row) for row in data["states"]),
        operations=tuple(Operation(**_frozen(row)) for row in data["operations"]),
        events={row["name"]: row["meaning"] for row in data["events"]},
        errors={row["kind"]: row["meaning"] for row in data["errors"]},
        transitions=tuple(Transition(**_frozen(row)) for row in data["transitions"]),
    )


def diagram() -> str:
    """Render the transitions as a Mermaid state diagram, one arrow a pair of states."""
    labels: dict[tuple[str, str], list[str]] = {}
    for row in load().transitions:
        labels.setdefault((row.state, row.next), []).append(row.operation)
    arrows = [f"    {a} --> {b}: {', '.join(names)}" for (a, b), names in labels.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> empty", *arrows, "```"])


def table() -> str:
    """Render the transitions as a Markdown table."""
    return _markdown(
        ["operation", "from", "when", "to", "effects", "emits", "clauses"],
        [
            [
                *(f"`{row.operation}`", row.state, row.guard, row.next),
                *("; ".join(row.effects), ", ".join(row.emits), ", ".join(row.clauses)),
            ]
            for row in load().transitions
        ],
    )


def names() -> str:
    """Render the names that states and operations have in print."""
    states = [
        [state.name, state.block, *state.aliases.values(), state.holders] for state in load().states
    ]
    operations = [[f"`{each.name}`", *each.aliases.values()] for each in load().operations]
    return "\n\n".join(
        [
            _markdown(["state", "block", "v1", "v2", "block pool page", "holders"], states),
            _markdown(["operation", "v1", "v2"], operations),
        ]
    )


def errors() -> str:
    """Render the kinds of refusal."""
    return _markdown(["kind", "meaning"], [[f"`{k}`", text] for k, text in load().errors.items()])


_SECTIONS: Final[Mapping[str, Callable[[], str]]] = {
    "diagram": diagram,
    "table": table,
    "names": names,
    "errors": errors,
}


def refresh(page: str) -> str:
    """Give the page with its sections made anew from the table."""
    return _SECTION.sub(lambda found: f"{found[1]}{_SECTIONS[found[2]]()}\n{found[3]}", page)


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _frozen(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(each) if isinstance(each, list) else each for key, each in row.items()}


def main() -> None:
    """Bring the pages that are named on the command line up to date."""
    for page in map(Path, sys.argv[1:]):
        page.write_text(refresh(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
