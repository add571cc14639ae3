"""State: a pool of the model between two calls, as a value, and how such a value is changed.

What this is
    Tuples in tuples: slots, the queue of empty ones, handles, and what the order of eviction
    remembers. What a slot can be, and what leads on from there, comes from `lifecycle.json`.

Interface, as rules of use
    * `model` is what you want; read this second.
    * Nothing changes a state. `put` and the others give another one.
    * `row(operation, state, slot)` is the one way to ask what may happen to a slot.
    * Handle n is the n-th that was given out.

Clauses: KV-LIF-01, KV-LIF-02, KV-LIF-04, KV-CAP-05, KV-REG-04
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from kvbm_spec.lifecycle import Transition, load
from kvbm_spec.orders import POLICIES, Key, Memory, Policy

Handle: TypeAlias = int

Events: TypeAlias = tuple[tuple[str, Key], ...]
"""("Stored", key) or ("Removed", key), in the order in which they happened."""

ROWS: Final = {(row.operation, row.state): row for row in load().transitions}
"""The table: what may happen to a slot in a state. What has no row is `WrongState`."""


class Refused(Exception):
    """The call was refused, for the reason `kind`, and changed nothing."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Slot(NamedTuple):
    """One place for a block."""

    state: str = "empty"
    """One of `lifecycle.json`."""
    key: Key = None
    parent: Key = None
    holders: int = 0
    """Live handles on it, and other slots that hold it."""
    holds: Key = None
    """The key whose primary this slot keeps active: its parent, or of a duplicate its own."""


class Rules(NamedTuple):
    """What a manager declares, and a pool keeps for its whole life."""

    policy: str = "lru"
    duplicates: str = "reject"
    holds_parents: bool = False


class State(NamedTuple):
    """A pool between two calls.

    There is no registry beside the slots: the *primary* of a key, the one that is found, is
    the slot that is active or inactive with it.
    """

    slots: tuple[Slot, ...]
    empty: tuple[int, ...]
    """The empty slots, the longest empty first."""
    memory: Memory
    """What the order of eviction remembers."""
    handles: tuple[int | None, ...]
    """The slot of each handle, by its number; None once it was used up."""
    rules: Rules

    @property
    def policy(self) -> Policy:
        """The order of eviction."""
        return POLICIES[self.rules.policy]

    @property
    def available(self) -> int:
        """How many slots a maximal allocate() would give. KV-CAP-05"""
        return len(self.empty) + len(self.memory.resting)

    @property
    def known(self) -> dict[Key, int]:
        """The primary of each registered key."""
        return {
            slot.key: index
            for index, slot in enumerate(self.slots)
            if slot.state in ("active", "inactive")
        }


def start(slots: int, rules: Rules) -> State:
    """Give a pool in which every slot is empty."""
    return State((Slot(),) * slots, tuple(range(slots)), Memory(), (), rules)


def canonical(state: State) -> State:
    """Give the state with slots and handles numbered by what they are, and no dead handles.

    No later call can tell the two apart, but by the numbers in its answers.
    """
    place = _places(state)
    return state._replace(
        slots=tuple(sorted(state.slots, key=_text)),
        empty=tuple(sorted(place[slot] for slot in state.empty)),
        handles=tuple(sorted(place[slot] for slot in state.handles if slot is not None)),
    )


def ranked(state: State) -> list[Handle]:
    """List the live handles in the order in which `canonical` numbers them."""
    place = _places(state)
    live = [(place[slot], n) for n, slot in enumerate(state.handles) if slot is not None]
    return [handle for _, handle in sorted(live)]


def _places(state: State) -> dict[int, int]:
    """Give each slot the place that it has among all, by what it is."""
    texts = [*map(_text, state.slots)]
    ordered = sorted(range(len(texts)), key=texts.__getitem__)
    return {slot: place for place, slot in enumerate(ordered)}


@lru_cache(maxsize=65_536)
def _text(slot: Slot) -> str:
    """Write a slot, to compare it with others: keys of several types have no order."""
    return repr(slot)


def victims(state: State) -> list[Key]:
    """List the keys that rest, the next victim first."""
    memory, keys = state.memory, []
    while memory.resting:
        keys.append(state.policy.victim(memory))
        memory = state.policy.leave(memory, keys[-1])
    return keys


# ── the table ─────────────────────────────────────────────────────────────────────────────


def row(operation: str, state: State, slot: int) -> Transition:
    """Look up what an operation does to a slot. KV-LIF-01"""
    found = ROWS.get((operation, state.slots[slot].state))
    if found is None:
        raise Refused("WrongState")
    return found


def told(row: Transition, key: Key) -> Events:
    """Give what a row of the table says about the key of its slot."""
    return tuple((kind, key) for kind in row.emits)


# ── slots ─────────────────────────────────────────────────────────────────────────────────


def put(state: State, slot: int, there: Slot) -> State:
    """Change one slot. Every call does it by this."""
    slots = (*state.slots[:slot], there, *state.slots[slot + 1 :])
    return State(slots, *state[1:])


def become(state: State, slot: int, name: str) -> State:
    """Change the state of one slot, and nothing else of it."""
    return put(state, slot, state.slots[slot]._replace(state=name))


def clear(state: State, slot: int, name: str) -> State:
    """Forget what was in a slot; of the empty ones, it is used again last. KV-LIF-04"""
    state = put(state, slot, Slot(name))
    return state._replace(empty=(*state.empty, slot))


# ── handles ───────────────────────────────────────────────────────────────────────────────


def slot_of(state: State, handle: Handle) -> int:
    """Find the slot of a handle, which must be live. KV-LIF-02"""
    slot = state.handles[handle] if 0 <= handle < len(state.handles) else None
    if slot is None:
        raise Refused("StaleHandle")
    return slot


def give(state: State, slot: int) -> tuple[State, Handle]:
    """Make a handle of a slot. It is one more holder."""
    state = count_holders(state, slot, +1)
    return state._replace(handles=(*state.handles, slot)), len(state.handles)


def use_up(state: State, handle: Handle) -> tuple[State, int]:
    """End a handle; tell its slot, which has one holder less."""
    slot = slot_of(state, handle)
    handles = (*state.handles[:handle], None, *state.handles[handle + 1 :])
    return count_holders(state._replace(handles=handles), slot, -1), slot


def count_holders(state: State, slot: int, change: int) -> State:
    """Count one holder more or less."""
    name, key, parent, holders, holds = state.slots[slot]
    return put(state, slot, Slot(name, key, parent, holders + change, holds))
