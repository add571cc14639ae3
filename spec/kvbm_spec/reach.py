"""Reach: every state that the model alone can be in, within a small scope.

What this is
    Breadth first, and without a subject: is the specification itself sound? In each state
    every call is tried, those that lead on and those that must be refused. States that
    differ only in the numbers of slots and handles are one.

Interface, as rules of use
    * `reach(rules, scope)` gives what was found. `broken` in it is the shortest history to a
      state that breaks a clause, and is None for a sound model.
    * `transitions(rules, scope)` gives all steps, for whoever wants to look at them.
    * `python -m kvbm_spec model --slots 3 --keys 2` does it for every policy.

Clauses: KV-OWN-03, KV-CAP-02, KV-CAP-03, KV-CAP-04, KV-REG-04, KV-EVC-01, KV-EVT-01
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from kvbm_spec.invariants import broken
from kvbm_spec.moves import Scope, idle, onward, stale
from kvbm_spec.operations import Op, Symbol
from kvbm_spec.orders import POLICIES
from kvbm_spec.perform import handle_of, perform, symbol_of
from kvbm_spec.state import Events, Refused, Rules, State, canonical, ranked, start

ALL_RULES: Final = tuple(
    itertools.starmap(Rules, itertools.product(POLICIES, ("reject", "allow"), (False, True)))
)


class Transition(NamedTuple):
    """One call, in a state; a refused one leaves it as it is."""

    before: State
    op: Op
    after: State
    events: Events = ()
    refused: str | None = None


@dataclass(slots=True)
class Broken:
    """A clause that the model breaks, and the shortest history to it."""

    clause: str
    what: str
    ops: tuple[Op, ...]

    def __str__(self) -> str:
        calls = [f"  {number} {op}" for number, op in enumerate(self.ops, start=1)]
        return "\n".join([f"{self.clause}: {self.what}", *calls])


@dataclass(slots=True)
class Reached:
    """What a search has seen."""

    states: int
    transitions: int
    seconds: float
    """Of this process, whatever else the machine does."""
    broken: Broken | None = None


def transitions(rules: Rules, scope: Scope) -> Iterator[Transition]:
    """Give every step from every state that can be reached, the nearest states first.

    Complexity
    ----------
    O(steps) calls of the model; all states are kept.
    """
    first = start(scope.slots, rules)
    seen, edge = {first}, deque([first])
    while edge:
        state = edge.popleft()
        for op in _calls(state, scope):
            try:
                after, _, events = perform(state, op)
            except Refused as refusal:
                yield Transition(state, op, state, refused=refusal.kind)
                continue
            after = canonical(after)
            yield Transition(state, op, after, events)
            if after not in seen:
                seen.add(after)
                edge.append(after)


def reach(rules: Rules, scope: Scope) -> Reached:
    """Visit everything, and stop at the first state that breaks a clause."""
    started = time.process_time()
    came: dict[State, Transition | None] = {start(scope.slots, rules): None}
    number, found = 0, None
    for step in transitions(rules, scope):
        number += 1
        wrong = None if step.refused else _untold(step)
        if step.after not in came:
            came[step.after] = step
            wrong = wrong or broken(step.after)
        if wrong is not None:
            found = Broken(*wrong, _history(came, step))
            break
    return Reached(len(came), number, time.process_time() - started, found)


def _untold(step: Transition) -> tuple[str, str] | None:
    """Ask whether the events of a call tell what it did to the registry. KV-EVT-01"""
    known = {*step.before.known}
    for kind, key in step.events:
        (known.add if kind == "Stored" else known.discard)(key)
    if known == step.after.known.keys():
        return None
    return "KV-EVT-01", f"{step.op} told {step.events}, and registered is {[*step.after.known]}"


def _history(came: dict[State, Transition | None], last: Transition) -> tuple[Op, ...]:
    """Give the calls that led to a state, with handles as a manager would have given them."""
    way: list[Transition] = []
    step: Transition | None = last
    while step is not None:
        way.append(step)
        step = came[step.before]
    ops: list[Op] = []
    names: list[Symbol] = []  # of the handles of the state that was reached
    given = 0
    for step in reversed(way):
        handle = handle_of(step.op.handle)
        name = names[handle] if 0 <= handle < len(names) else step.op.handle
        ops.append(replace(step.op, handle=name))
        if step.refused is None:
            after, _, _ = perform(step.before, step.op)
            names += [symbol_of(given + n) for n in range(len(after.handles) - len(names))]
            given += len(after.handles) - len(step.before.handles)
            names = [names[handle] for handle in ranked(after)]
    return tuple(ops)


def _calls(state: State, scope: Scope) -> Iterator[Op]:
    dead = symbol_of(len(state.handles))
    return itertools.chain(onward(state, scope), idle(state, scope, stores=True), stale(dead))


def main(scope: Scope) -> int:
    """Search under all rules, and print what was found; give the exit code."""
    everything = Reached(0, 0, 0.0)
    for rules in ALL_RULES:
        found = reach(rules, scope)
        parents = "holds parents" if rules.holds_parents else "lets parents go"
        name = f"{rules.policy}, duplicates {rules.duplicates}, {parents}"
        sys.stdout.write(f"{name}: {_told(found)}\n")
        everything.states += found.states
        everything.transitions += found.transitions
        everything.seconds += found.seconds
        everything.broken = everything.broken or found.broken
    sys.stdout.write(f"all, {scope}: {_told(everything)}\n")
    if everything.broken is not None:
        sys.stdout.write(f"FAIL {everything.broken}\n")
    return 0 if everything.broken is None else 1


def _told(found: Reached) -> str:
    rate = found.transitions / max(found.seconds, 1e-9)
    return (
        f"{found.states:,} states, {found.transitions:,} transitions, "
        f"{found.seconds:.2f} s, {rate:,.0f} a second"
    )
