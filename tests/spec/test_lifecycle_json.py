"""The table of the specification, the product's table, and the wide oracle say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kvbm_spec import lookup
from kvbm_spec.lifecycle import load, refresh
from wide_pool import Content, Model, Refused, Weak

from kvbm.blocks.lifecycle import TABLE, Operation, State
from kvbm.errors import ErrorKind

PAGE = Path(__file__).parents[2] / "spec" / "lifecycle.md"

BY_HANDLE: dict[str, Callable[[Model, int], Any]] = {
    "begin": lambda model, handle: model.begin(handle),
    "add_tokens": lambda model, handle: model.add_tokens(handle, [7]),
    "pop_tokens": lambda model, handle: model.pop_tokens(handle, 1),
    "commit": lambda model, handle: model.commit(handle, lambda tokens: "a" * len(tokens)),
    "fill": lambda model, handle: model.fill([handle], [Content("b", "a", 1)]),
    "stage": lambda model, handle: model.stage([handle], ["a"]),
    "clear_block": lambda model, handle: model.clear_block(handle),
    "set_priority": lambda model, handle: model.set_priority([handle], 1),
    "register": lambda model, handle: model.register([handle]),
    "clone": lambda model, handle: _registered(model, handle) and model.clone(handle),
    "downgrade": lambda model, handle: _registered(model, handle) and model.downgrade(handle),
    "release": lambda model, handle: model.release([handle]),
    "try_return": lambda model, handle: model.try_return(handle),
}

OF_THE_POOL: dict[str, Callable[[Model], Any]] = {
    "allocate": lambda model: model.allocate(1),
    "match": lambda model: model.match(["a", "b"]),
    "match_contents": lambda model: model.match_contents([Content("a")]),
    "scan": lambda model: model.scan(["b"]),
    "upgrade": lambda model: model.upgrade(Weak(0, 1, Content("a"))),
    "pin": lambda model: model.pin(["a"]),
    "unpin": lambda model: model.unpin(["a"]),
    "touch": lambda model: model.touch(["a"]),
    "evict": lambda model: model.evict(1),
    "reset": lambda model: model.reset(),
    "reset_blocks": lambda model: model.reset_blocks(["a", "b"]),
}


def _registered(model: Model, handle: int) -> bool:
    """The model leaves to its caller's types that only a registered block has more readers."""
    if model.slots[model.slot_of(handle)].state not in ("active", "duplicate"):
        raise Refused("WrongState")
    return True


def calls(model: Model) -> Iterator[tuple[str, int | None, Callable[[Model], Any]]]:
    """Give all that can be called, with the slot that a handle leads to."""
    yield from ((name, None, call) for name, call in OF_THE_POOL.items())
    for handle, slot in model.handles.items():
        for name, act in BY_HANDLE.items():
            yield name, slot, lambda twin, act=act, handle=handle: act(twin, handle)


def seen(allow: bool, depth: int) -> set[tuple[str, str, str]]:
    """Give (call, state, next) of all slots that some short history of the model moves."""
    start = Model(2, block_size=1, allow_duplicates=allow)
    edge, states, moves = [start], {start.state()}, set()
    for _ in range(depth):
        following = []
        for model in edge:
            for name, slot, call in calls(model):
                twin = model.copy()
                try:
                    call(twin)
                except Refused:
                    continue
                for index, (old, new) in enumerate(zip(model.slots, twin.slots, strict=True)):
                    grew = len(new.holders) > len(old.holders)
                    if old.state != new.state or grew or index == slot:
                        moves.add((name, old.state, new.state))
                if len(twin.handles) <= 3 and twin.state() not in states:
                    states.add(twin.state())
                    following.append(twin)
        edge = following
    return moves


@pytest.fixture(scope="module")
def moves() -> set[tuple[str, str, str]]:
    return seen(allow=False, depth=9) | seen(allow=True, depth=9)


DOES = {
    "init_sequence": ("begin",),
    "add_tokens": ("add_tokens",),
    "pop_tokens": ("pop_tokens",),
    "commit": ("commit",),
    "apply_token_block": ("fill",),
    "reset": ("clear_block",),
    "acquire": ("match_contents", "clone", "upgrade", "pin"),
    "release": ("try_return", "downgrade", "unpin"),
    "clear": ("evict", "reset", "reset_blocks"),
}
"""What the wide pool calls an operation, beside the calls that every manager has."""


def done_by() -> dict[str, set[str]]:
    """Give the calls of the wide pool that perform an operation."""
    protocol = {operation.name: {*operation.calls} for operation in load().operations}
    protocol["reset"].clear()  # it is of a block there, and of the whole pool here
    return {name: calls | {*DOES.get(name, ())} for name, calls in protocol.items()}


def test_the_product_has_the_same_rows_in_the_same_order() -> None:
    assert [(r.operation, r.state, r.next, r.guard) for r in load().transitions] == [
        (row.operation.label, str(row.source), str(row.target), row.guard) for row in TABLE
    ]


def test_the_product_has_the_same_states_and_operations_and_knows_every_kind_of_refusal() -> None:
    assert [(s.name, s.block, s.role) for s in load().states] == [
        (str(state), state.block_state, state.role) for state in State
    ]
    assert [operation.name for operation in load().operations] == [o.label for o in Operation]
    assert {kind.value for kind in ErrorKind} >= set(load().errors)


@pytest.mark.clause("KV-LIF-01")
def test_the_wide_pool_moves_no_slot_but_as_a_row_says(moves) -> None:
    moved = {move for move in moves if move[1] != move[2]}
    calls = done_by()
    assert not moved - {
        (call, row.state, row.next) for row in load().transitions for call in calls[row.operation]
    }


def test_the_wide_pool_shows_every_row_but_that_of_a_restart(moves) -> None:
    calls = done_by()
    missing = [
        row.operation
        for row in load().transitions
        if not any((call, row.state, row.next) in moves for call in calls[row.operation])
    ]
    assert missing == ["restore"]


def test_the_file_refers_only_to_what_it_defines() -> None:
    table = load()
    states = {state.name for state in table.states}
    assert {row.state for row in table.transitions} | {r.next for r in table.transitions} == states
    assert {row.operation for row in table.transitions} == {o.name for o in table.operations}
    assert {event for row in table.transitions for event in row.emits} <= set(table.events)
    assert all(lookup(clause) for row in table.transitions for clause in row.clauses)
    assert all(row.clauses for row in table.transitions)


def test_what_enters_the_registry_is_told_and_what_leaves_it_too() -> None:
    found = {state.name for state in load().states if state.matched}
    for row in load().transitions:
        told = {(False, True): ("Stored",), (True, False): ("Removed",)}
        assert row.emits == told.get((row.state in found, row.next in found), ())


def test_the_page_is_fresh() -> None:
    page = PAGE.read_text("utf-8")
    assert page.count("<!-- lifecycle.json: ") == 4
    assert refresh(page) == page, "stale; run python -m kvbm_spec.lifecycle spec/lifecycle.md"


def test_a_stale_section_is_made_anew_and_the_rest_stays() -> None:
    stale = "Before.\n<!-- lifecycle.json: diagram -->\nold\n<!-- end -->\nAfter.\n"
    fresh = refresh(stale)
    assert "old" not in fresh
    assert "empty --> reset: allocate" in fresh
    assert (fresh[:7], fresh[-7:]) == ("Before.", "After.\n")
