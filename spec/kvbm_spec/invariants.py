"""Invariants: what holds in every state of the model, whatever was called.

What this is
    The clauses that a single state can break, asked of the model itself: of a model that
    breaks one, no manager can be judged.

Interface, as rules of use
    * `broken(state)` gives the first clause that is broken and how, or None.

Clauses: KV-LIF-04, KV-OWN-01, KV-OWN-03, KV-CAP-02, KV-CAP-03, KV-CAP-04, KV-REG-02, KV-REG-04,
KV-EVC-01
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from kvbm_spec.lifecycle import load
from kvbm_spec.state import State

KINDS: Final = {kind.name: kind for kind in load().states}

FITS: Final = {
    "none": lambda holders: holders == 0,
    "one writer": lambda holders: holders == 1,
    "one or more readers": lambda holders: holders >= 1,
}
"""The words that the table has for how many hold a slot."""


def broken(state: State) -> tuple[str, str] | None:
    """Give the first clause that a state breaks, and how; None if it is sound."""
    return _lists(state) or _registry(state) or _holders(state)


def _lists(state: State) -> tuple[str, str] | None:
    """Ask whether every slot is in one state, and in the list of those that are in it."""
    slots, resting = state.slots, state.memory.resting
    if not all(slot.state in KINDS for slot in slots):
        return "KV-CAP-03", "a slot is in no state of the table"
    if len({*state.empty}) < len(state.empty) or len({*resting}) < len(resting):
        return "KV-CAP-04", f"listed twice in {state.empty} or {resting}"
    if {*state.empty} != {i for i, slot in enumerate(slots) if slot.state == "empty"}:
        return "KV-CAP-02", f"{state.empty} are listed as empty, and others are"
    if {*resting} != {slot.key for slot in slots if slot.state == "inactive"}:
        return "KV-EVC-01", f"{resting} can be evicted, and other keys are inactive"
    return None


def _registry(state: State) -> tuple[str, str] | None:
    """Ask whether a key has one primary at most, and no duplicate without one."""
    primaries = [slot.key for slot in state.slots if KINDS[slot.state].matched]
    if len({*primaries}) < len(primaries):
        return "KV-REG-04", f"a key of {primaries} has two primaries"
    for slot in state.slots:
        if (slot.key is not None) != KINDS[slot.state].key:
            return "KV-LIF-04", f"{slot} has no key, or should have none"
        if slot.state == "duplicate" and slot.key not in primaries:
            return "KV-REG-02", f"{slot} duplicates nothing"
    return None


def _holders(state: State) -> tuple[str, str] | None:
    """Ask whether a slot counts those who hold it, and whether its state allows as many."""
    holders: Counter[int | None] = Counter(state.handles)
    holders.update(state.known.get(slot.holds) for slot in state.slots if slot.holds is not None)
    for index, slot in enumerate(state.slots):
        if slot.holders != holders[index]:
            return "KV-OWN-03", f"{slot} has {holders[index]} holders"
        if not FITS[KINDS[slot.state].holders](slot.holders):
            clause = "KV-OWN-01" if slot.state in ("reset", "complete") else "KV-OWN-03"
            return clause, f"{slot} has {slot.holders} holders"
    return None
