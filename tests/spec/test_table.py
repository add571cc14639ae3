"""The table and the model say the same, and what is made from the table goes stale with it.

All steps of small pools are compared with the rows of `lifecycle.json`, in both directions:
no slot moves but as a row says, and no row is without a step that shows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from kvbm_spec import lifecycle, shortest, state
from kvbm_spec.lifecycle import Transition, load, refresh
from kvbm_spec.moves import Scope
from kvbm_spec.operations import Op
from kvbm_spec.perform import handle_of, perform
from kvbm_spec.reach import ALL_RULES, transitions
from kvbm_spec.state import Refused, Slot, State

HERE = Path(__file__).parents[2]
VECTORS = HERE / "spec" / "kvbm_spec" / "data" / "vectors" / "shortest"

NOT_CALLED = {"init_sequence", "add_tokens", "pop_tokens", "commit", "apply_token_block"} | {
    *("clear", "restore")
}
"""Operations that no call of the protocol performs: not every manager has them."""

NOT_REACHED = [("reset", "partial"), ("acquire", "duplicate"), ("release", "partial")]
"""No call of the protocol makes a block partial, or gives a duplicate a second reader."""


@dataclass(frozen=True, slots=True)
class Move:
    """What one call did to one slot that it changed, or gave to one holder more."""

    op: Op
    pool: State
    slot: int
    before: Slot
    after: Slot
    emits: tuple[str, ...]

    def is_of(self, row: Transition) -> bool:
        """Tell whether a row says this."""
        calls = {operation.name: operation.calls for operation in load().operations}
        return (
            self.op.name in calls[row.operation]
            and (row.state, row.next) == (self.before.state, self.after.state)
            and row.emits == self.emits
        )


def moves() -> Iterator[Move]:
    """Give what every call of small pools does, under all rules."""
    for rules in ALL_RULES:
        slots = 1 if rules.policy == "multi-lru" else 2
        for step in transitions(rules, Scope(slots=slots, keys=slots)):
            if step.refused is None:
                yield from _moves(step.before, step.op)


def _moves(pool: State, op: Op) -> Iterator[Move]:
    after, _, events = perform(pool, op)
    for slot, (old, new) in enumerate(zip(pool.slots, after.slots, strict=True)):
        given = slot in after.handles[len(pool.handles) :]
        if old.state != new.state or new.holders > old.holders or (given and op.name == "reset"):
            keys = {old.key, new.key} - {None}
            told = tuple(kind for kind, key in events if key in keys)
            yield Move(op, pool, slot, old, new, told if _is_found(old) != _is_found(new) else ())


def _is_found(slot: Slot) -> bool:
    return slot.state in ("active", "inactive")


@pytest.fixture(scope="module")
def all_moves() -> list[Move]:
    return list(moves())


@pytest.mark.clause("KV-LIF-01")
def test_no_slot_moves_but_as_a_row_says(all_moves: list[Move]) -> None:
    assert len(all_moves) > 2_000
    for move in all_moves:
        assert any(move.is_of(row) for row in load().transitions), move


@pytest.mark.clause("KV-LIF-01")
def test_every_row_is_shown_by_some_step(all_moves: list[Move]) -> None:
    shown = {(move.op.name, move.before.state, move.after.state, move.emits) for move in all_moves}
    calls = {operation.name: operation.calls for operation in load().operations}
    assert {name for name, those in calls.items() if not those} == NOT_CALLED
    missing = [
        (row.operation, row.state)
        for row in load().transitions
        if calls[row.operation]
        and not any(
            (call, row.state, row.next, row.emits) in shown for call in calls[row.operation]
        )
    ]
    assert missing == NOT_REACHED


@pytest.mark.clause("KV-LIF-01")
def test_every_call_of_an_operation_performs_it(all_moves: list[Move]) -> None:
    done = {
        (row.operation, m.op.name) for m in all_moves for row in load().transitions if m.is_of(row)
    }
    named = {(each.name, call) for each in load().operations for call in each.calls}
    assert done == named


@pytest.mark.clause("KV-LIF-01", "KV-LIF-02")
def test_a_call_is_refused_where_the_table_has_no_row_and_nowhere_else() -> None:
    seen = set()
    for rules in ALL_RULES:
        if rules.policy == "multi-lru":
            continue
        for step in transitions(rules, Scope(slots=2, keys=2)):
            handle = handle_of(step.op.handle)
            if not 0 <= handle < len(step.before.handles):
                continue
            slot = step.before.handles[handle]
            assert slot is not None
            here = step.before.slots[slot].state
            rows = [
                row
                for row in load().transitions
                if row.state == here
                and row.operation in shortest.operations_of(step.op.name)
                and row.operation != "acquire"
            ]
            assert step.refused == (None if rows else "WrongState"), step
            seen.add((step.op.name, here, step.refused))
    # Four calls on four states; and a registered block is not written.
    assert len(seen) == 4 * 4 + 2
    assert {kind for _, _, kind in seen} - {None} <= set(load().errors)


GUARDS: dict[str, Callable[[Move], bool]] = {
    "": lambda _: True,
    "longest empty first": lambda m: m.slot in m.pool.empty[: m.op.n],
    "evicted: no slot is empty": lambda m: m.op.n > len(m.pool.empty),
    "hash is new": lambda m: m.before.key not in m.pool.known,
    "hash is taken, allow": lambda m: _taken(m, "allow"),
    "hash is taken, reject": lambda m: _taken(m, "reject"),
    "match, scan, upgrade, register": lambda m: m.op.name in ("match", "scan", "register"),
    "one more holder": lambda m: m.after.holders > m.before.holders,
    "last holder": lambda m: m.after.holders == 0,
}


def _taken(move: Move, duplicates: str) -> bool:
    return move.before.key in move.pool.known and move.pool.rules.duplicates == duplicates


def test_every_guard_holds_where_its_row_was_taken(all_moves: list[Move]) -> None:
    for row in load().transitions:
        taken = [move for move in all_moves if move.is_of(row)]
        for move in taken:
            assert GUARDS[row.guard](move), (row, move)


# ── what is made from the table ───────────────────────────────────────────────────────────


def without(operation: str, name: str) -> tuple[Transition, ...]:
    return tuple(r for r in load().transitions if (r.operation, r.state) != (operation, name))


CHANGES = {
    "a row less": without("reset", "reset"),
    "another state": tuple(
        replace(row, next="reset") if row.operation == "register_rejected" else row
        for row in load().transitions
    ),
    "an event less": tuple(replace(row, emits=()) for row in load().transitions),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_page_goes_stale_with_the_table(monkeypatch, change: str) -> None:
    page = (HERE / "spec" / "lifecycle.md").read_text("utf-8")
    assert refresh(page) == page
    changed = replace(load(), transitions=CHANGES[change])
    monkeypatch.setattr(lifecycle, "load", lambda: changed)
    assert refresh(page) != page


@pytest.mark.parametrize("part", ["states", "operations", "errors"])
def test_a_page_goes_stale_with_the_names_in_the_table(monkeypatch, part: str) -> None:
    page = (HERE / "spec" / "lifecycle.md").read_text("utf-8")
    rows = list(getattr(load(), part))[1:]
    fewer = {key: load().errors[key] for key in rows} if part == "errors" else tuple(rows)
    changed = replace(load(), **{part: fewer})
    monkeypatch.setattr(lifecycle, "load", lambda: changed)
    assert refresh(page) != page


@pytest.mark.parametrize("change", CHANGES)
def test_vectors_go_stale_with_the_table(monkeypatch, change: str) -> None:
    """The model reads its moves from the table, and the vectors are what the model does."""
    rows = {(row.operation, row.state): row for row in CHANGES[change]}
    monkeypatch.setattr(state, "ROWS", rows)
    found = {file.stem: file.read_text("utf-8") for file in VECTORS.glob("*.json")}
    assert found != _made()


def _made() -> dict[str, str]:
    """Give the vectors as the model makes them, or none where it breaks on the way."""
    try:
        made = list(shortest.vectors())
    except (AssertionError, KeyError, Refused):
        return {}
    return {each.id.removeprefix("shortest/"): shortest.write(each) for each in made}


def test_the_diagram_of_the_documentation_is_the_diagram_of_the_table() -> None:
    page = (HERE / "docs" / "lifecycle.md").read_text("utf-8")
    (drawn,) = re.findall(r"```mermaid\nstateDiagram-v2\n.*?```", page, re.DOTALL)
    assert drawn.lower() == lifecycle.diagram().lower()
