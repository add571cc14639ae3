"""Situations: what a call shows, so that a clause about it is not passed in silence.

What this is
    A clause about eviction says nothing in a history that never evicted. Here each call is
    looked at together with the model before and after it, and told by the situations that
    it was in. `checks` says which of them a clause needs.

Interface, as rules of use
    * `situations(...)` gives names; one call can be in several.
    * `removed` are keys that were registered once and are no more, `discarded` keys that
      were staged and never registered, both as they were before the call.

Clauses: KV-LIF-02, KV-LIF-08, KV-REG-02, KV-REG-03, KV-REG-06, KV-EVC-01, KV-EVC-05
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from kvbm_spec.operations import Op, Outcome
from kvbm_spec.orders import Key
from kvbm_spec.state import State


def situations(
    op: Op,
    outcome: Outcome,
    before: State,
    after: State,
    *,
    removed: AbstractSet[Key],
    discarded: AbstractSet[Key],
) -> Iterator[str]:
    """Name the situations that a call was in."""
    if outcome.error is not None:
        yield from _refused(op, outcome.error)
    elif op.name in ("match", "scan"):
        if len(after.memory.resting) < len(before.memory.resting):
            yield "woken"
        if op.name == "match":
            yield from _matched(op, outcome, after, removed, discarded)
    elif op.name == "allocate":
        yield from _allocated(outcome, before, after)
    elif op.name == "register":
        yield from _registered(before, after, removed)
    elif op.name == "reset":
        yield "reset"
    if any(slot.holders > 1 for slot in after.slots):
        yield "shared"


def _refused(op: Op, kind: str) -> Iterator[str]:
    if kind == "StaleHandle":
        yield "stale"
        if op.name == "release":
            yield "double release"
    if kind == "WrongState":
        yield "wrong state"
        if op.name == "write":
            yield "write refused"


def _matched(
    op: Op,
    outcome: Outcome,
    after: State,
    removed: AbstractSet[Key],
    discarded: AbstractSet[Key],
) -> Iterator[str]:
    known = after.known
    yield "hit" if outcome.value else "miss"
    if not known.keys().isdisjoint(op.keys[len(outcome.value) :]):
        yield "gap"
    if not removed.isdisjoint(op.keys):
        yield "looked for a removed key"
    if not discarded.isdisjoint(op.keys):
        yield "looked for a discarded key"


def _allocated(outcome: Outcome, before: State, after: State) -> Iterator[str]:
    resting = len(before.memory.resting)
    victims = resting - len(after.memory.resting)
    if outcome.value is None:
        yield "exhausted"
        if before.available:
            yield "partly available"
        return
    if outcome.value:
        yield "allocated"
        if before.empty and resting:
            yield "free first"
    if victims:
        yield "evicted"
        if victims < resting:
            yield "chose a victim"
        if any(slot.state == "active" for slot in after.slots):
            yield "evicted beside active"


def _registered(before: State, after: State, removed: AbstractSet[Key]) -> Iterator[str]:
    if before.known.keys() == after.known.keys():
        yield "deduplicated"
        if after.rules.duplicates == "allow":
            yield "duplicate"
    else:
        yield "registered"
    if removed & after.known.keys():
        yield "registered again"
