"""The model is sound in all states of small pools, and a model that is not is caught."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from kvbm_spec import command, model
from kvbm_spec.invariants import broken
from kvbm_spec.moves import Scope
from kvbm_spec.orders import Memory
from kvbm_spec.perform import perform
from kvbm_spec.reach import ALL_RULES, reach, transitions
from kvbm_spec.state import Refused, Rules, Slot, State, canonical, clear, put, start

SMALL = Scope(slots=2, keys=2, clients=2)


@pytest.mark.parametrize("rules", [rules for rules in ALL_RULES if rules.policy != "multi-lru"])
def test_no_state_of_three_slots_breaks_a_clause(rules: Rules) -> None:
    found = reach(rules, Scope(slots=3, keys=2, clients=2))
    assert found.broken is None
    assert found.states >= 120
    assert found.transitions > 15 * found.states


def test_a_count_of_uses_ends_and_so_do_its_states() -> None:
    found = reach(Rules("multi-lru"), Scope(slots=2, keys=1))
    assert found.broken is None
    assert found.states > 100


def test_fifty_thousand_transitions_a_second_are_possible() -> None:
    """Half of it is asked for: a machine may be slower, and a test must not be."""
    runs = [reach(Rules(), Scope(slots=3, keys=2)) for _ in range(5)]
    assert max(run.transitions / run.seconds for run in runs) > 25_000


# ── defects, and what is said of them ─────────────────────────────────────────────────────


def still_in_the_order(state: State, slot: int) -> State:
    """Wake a block, and let it stay a victim."""
    if state.slots[slot].state == "inactive":
        return put(state, slot, state.slots[slot]._replace(state="active"))
    return state


def not_listed(state: State, slot: int, name: str) -> State:
    return put(state, slot, Slot(name))


def listed_twice(state: State, slot: int, name: str) -> State:
    state = clear(state, slot, name)
    return state._replace(empty=(slot, *state.empty))


def kept_key(state: State, slot: int, name: str) -> State:
    key = state.slots[slot].key
    return put(clear(state, slot, name), slot, Slot(name, key))


def uncounted(state: State, slot: int, primary: int) -> State:
    return put(state, slot, state.slots[slot]._replace(holds=state.slots[primary].key))


DEFECTS: list[tuple[str, Callable[..., object], Rules, str, int]] = [
    ("_wake", still_in_the_order, Rules(), "KV-EVC-01", 5),
    ("clear", not_listed, Rules(), "KV-CAP-02", 2),
    ("clear", listed_twice, Rules(), "KV-CAP-04", 2),
    ("clear", kept_key, Rules(), "KV-LIF-04", 3),
    ("_hold", uncounted, Rules(holds_parents=True), "KV-OWN-03", 5),
    ("_hold", uncounted, Rules(duplicates="allow"), "KV-OWN-03", 5),
    ("told", lambda _row, _key: (), Rules(), "KV-EVT-01", 3),
]


@pytest.mark.parametrize(
    ("part", "defect", "rules", "clause", "calls"),
    DEFECTS,
    ids=[f"{defect.__name__}-{rules.duplicates}" for _, defect, rules, _, _ in DEFECTS],
)
def test_the_shortest_history_to_a_defect_of_the_model_is_found(
    monkeypatch, part, defect, rules, clause, calls
) -> None:
    monkeypatch.setattr(model, part, defect)
    found = reach(rules, SMALL).broken
    assert (found.clause, len(found.ops)) == (clause, calls)
    state = start(2, rules)
    for op in found.ops[:-1]:
        state, _, _ = perform(state, op)
        assert broken(state) is None, "the history is no longer than it must be"
    perform(state, found.ops[-1])


def test_a_defect_is_told_as_a_history_that_a_manager_could_play(monkeypatch, capsys) -> None:
    monkeypatch.setattr(model, "_wake", still_in_the_order)
    assert command.main(["model", "--slots", "1", "--keys", "1"]) == 1
    assert (
        "FAIL KV-EVC-01: (0,) can be evicted, and other keys are inactive\n"
        "  1 allocate(1)\n"
        "  2 stage(h0, K0)\n"
        "  3 register(h1)\n"
        "  4 release(h2)\n"
        "  5 match([K0])\n"
    ) in capsys.readouterr().out


def test_the_command_tells_what_every_policy_was_tried_with(capsys) -> None:
    assert command.main(["model", "--slots", "1", "--keys", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(ALL_RULES) + 1
    assert lines[0].startswith("lru, duplicates reject, lets parents go: 6 states, ")
    assert lines[-1].startswith("all, 1 slots x 1 keys x 2 clients: ")
    assert all(line.endswith(" a second") for line in lines)


RESTING = Slot("inactive", 7)
SOUND = State((RESTING, Slot("active", 8, None, 1), Slot()), (2,), Memory((7,)), (1,), Rules())


@pytest.mark.parametrize(
    ("wrong", "clause"),
    [
        (put(SOUND, 2, Slot("left")), "KV-CAP-03"),
        (SOUND._replace(empty=()), "KV-CAP-02"),
        (SOUND._replace(empty=(1, 2)), "KV-CAP-02"),
        (SOUND._replace(empty=(2, 2)), "KV-CAP-04"),
        (SOUND._replace(memory=Memory((7, 7))), "KV-CAP-04"),
        (SOUND._replace(memory=Memory()), "KV-EVC-01"),
        (SOUND._replace(memory=Memory((7, 8))), "KV-EVC-01"),
        (put(SOUND, 1, Slot("active", 7, None, 1)), "KV-REG-04"),
        (put(SOUND, 2, Slot(key=7)), "KV-LIF-04"),
        (put(SOUND, 1, Slot("complete", None, None, 1)), "KV-LIF-04"),
        (put(SOUND, 1, Slot("duplicate", 9, None, 1)), "KV-REG-02"),
        (SOUND._replace(handles=()), "KV-OWN-03"),
        (put(SOUND, 1, Slot("active", 8, None, 2)), "KV-OWN-03"),
        (put(SOUND, 1, Slot("active", 8, None, 1, holds=7)), "KV-OWN-03"),
        (put(SOUND._replace(handles=(None,)), 1, Slot("active", 8)), "KV-OWN-03"),
        (put(SOUND._replace(handles=(1, 1)), 1, Slot("reset", None, None, 2)), "KV-OWN-01"),
    ],
)
def test_each_clause_that_a_state_can_break_is_named(wrong: State, clause: str) -> None:
    assert broken(SOUND) is None
    found = broken(wrong)
    assert found is not None
    assert found[0] == clause


# ── one of several states that are alike ──────────────────────────────────────────────────


@pytest.mark.parametrize("rules", [Rules(), Rules("lineage-fifo", "allow", True)])
def test_a_canonical_state_is_its_own_and_answers_as_any_that_it_stands_for(rules: Rules) -> None:
    for step in transitions(rules, SMALL):
        assert canonical(step.before) == step.before
        other = turned(step.before)
        assert canonical(other) == step.before
        if step.refused is not None:
            with pytest.raises(Refused, match=step.refused):
                perform(other, step.op)
            continue
        after, _, events = perform(other, step.op)
        assert (canonical(after), events) == (step.after, step.events)


def turned(state: State) -> State:
    """Give the same state with the slots numbered from the other end, and a dead handle."""
    last = len(state.slots) - 1
    return state._replace(
        slots=state.slots[::-1],
        empty=tuple(last - slot for slot in state.empty),
        handles=(*(None if slot is None else last - slot for slot in state.handles), None),
    )
