"""Model: what one tier of a block manager does, as pure functions over immutable states.

What this is
    The specification of the calls, to be read from top to bottom. Each takes a state, and
    gives the state after it, the answer, and the events that it sends: all that can be
    seen. A manager is right when it cannot be told from this, call by call. Which states
    a slot can be in, and what leads from one to another, comes from `lifecycle.json`.

Interface, as rules of use
    * `state.start(slots, rules)` is the empty pool. `allocate(state, 2)` and the other calls
      never change the state that they are given; keep it, and try another call from it.
    * A refused call raises `Refused` with the language-neutral kind. There is no state
      after it, so it has changed nothing.
    * Handle n is the n-th that was given out. `stage`, `register`, `reset` and `release`
      use theirs up; the first three give another one for the block.
    * Keys are whatever the subject's are. The model computes none.

Clauses: KV-LIF-01, KV-LIF-02, KV-LIF-04, KV-LIF-05, KV-LIF-06, KV-LIF-08, KV-OWN-01, KV-OWN-03,
KV-CAP-02, KV-CAP-03, KV-CAP-05, KV-CAP-06, KV-CAP-08, KV-REG-01, KV-REG-02, KV-REG-03, KV-REG-04,
KV-EVC-01, KV-EVC-03, KV-EVC-05, KV-EVC-06, KV-EVT-01, KV-EVT-02, KV-EVT-04
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

from kvbm_spec.orders import Key
from kvbm_spec.state import (
    Events,
    Handle,
    Refused,
    Slot,
    State,
    become,
    clear,
    count_holders,
    give,
    put,
    row,
    slot_of,
    told,
    use_up,
)

# ── the owner's calls ─────────────────────────────────────────────────────────────────────


def allocate(state: State, n: int) -> tuple[State, list[Handle], Events]:
    """Hand out slots to write: the longest empty first, then victims. All or nothing."""
    if n > state.available:
        raise Refused("Exhausted")
    events: Events = ()
    taken = state.empty[:n]
    state = state._replace(empty=state.empty[n:])
    while len(taken) < n:  # only when no slot is empty, and no more than are needed
        victim = state.policy.victim(state.memory)
        slot = state.known[victim]
        events += told(row("allocate", state, slot), victim)
        state = _forget(state, slot)
        taken += (slot,)
    handles = []
    for slot in taken:
        state = put(state, slot, Slot(row("allocate", state, slot).next))
        state, handle = give(state, slot)
        handles.append(handle)
    return state, handles, events


def stage(
    state: State, handle: Handle, key: Key, parent: Key | None = None
) -> tuple[State, Handle, Events]:
    """Fix the content of a block that was written: give it a key."""
    state, slot = use_up(state, handle)
    then = row("stage", state, slot)
    state, handle = give(put(state, slot, Slot(then.next, key, parent)), slot)
    return state, handle, told(then, key)


def reset(state: State, handle: Handle) -> tuple[State, Handle, Events]:
    """Throw the content of an owned block away; it can be written again."""
    state, slot = use_up(state, handle)
    then = row("reset", state, slot)
    state, handle = give(put(state, slot, Slot(then.next)), slot)
    return state, handle, told(then, None)


def write(state: State, handle: Handle) -> tuple[State, None, Events]:
    """Change the bytes of an owned block. They are no part of the state. KV-OWN-05"""
    if state.slots[slot_of(state, handle)].state not in ("reset", "complete"):
        raise Refused("WrongState")
    return state, None, ()


def register(state: State, handle: Handle) -> tuple[State, Handle, Events]:
    """Publish a staged block, or share the one that is there, as the pool was declared."""
    state, slot = use_up(state, handle)
    key = state.slots[slot].key
    primary = state.known.get(key)
    if primary is None:
        then = row("register", state, slot)
        state = become(_hold_parent(state, slot), slot, then.next)
    elif state.rules.duplicates == "allow":
        then = row("register_duplicate", state, slot)
        state = become(_hold(_wake(state, primary), slot, primary), slot, then.next)
    else:
        then = row("register_rejected", state, slot)
        state, slot = _wake(clear(state, slot, then.next), primary), primary
    state = state._replace(memory=state.policy.use(state.memory, key))
    state, handle = give(state, slot)
    return state, handle, told(then, key)


# ── the readers' calls ────────────────────────────────────────────────────────────────────


def match(state: State, keys: Sequence[Key]) -> tuple[State, list[Handle], Events]:
    """Hold the longest registered prefix."""
    handles = []
    for key in takewhile(state.known.__contains__, keys):
        state, handle = _acquire(state, key)
        handles.append(handle)
    return state, handles, ()


def scan(state: State, keys: Sequence[Key]) -> tuple[State, dict[Key, Handle], Events]:
    """Hold all that are registered, each once, wherever they are."""
    handles = {}
    for key in dict.fromkeys(keys):
        if key in state.known:
            state, handles[key] = _acquire(state, key)
    return state, handles, ()


def release(state: State, handle: Handle) -> tuple[State, None, Events]:
    """Let go of a block. An owned one is lost; a registered one rests when nobody holds it."""
    return _let_go(*use_up(state, handle)), None, ()


CALLS: Final[Mapping[str, Callable[..., tuple[State, Any, Events]]]] = {
    call.__name__: call for call in (allocate, write, stage, reset, register, match, scan, release)
}
"""All calls, by their names in the protocol."""


# ── what the calls share: who holds a slot, and what becomes of it when nobody does ────────


def _acquire(state: State, key: Key) -> tuple[State, Handle]:
    """Use a registered block: hold its primary."""
    state = state._replace(memory=state.policy.use(state.memory, key))
    slot = state.known[key]
    return give(_wake(state, slot), slot)


def _wake(state: State, slot: int) -> State:
    """Take a primary that rests out of the order of eviction. KV-LIF-05"""
    then = row("acquire", state, slot)
    if then.state == then.next:
        return state
    return become(_hold_parent(_forget(state, slot), slot), slot, then.next)


def _hold_parent(state: State, slot: int) -> State:
    """Keep the parent of a block that becomes active, where that is declared and it is so."""
    parent = state.known.get(state.slots[slot].parent)
    if not state.rules.holds_parents or parent is None or state.slots[parent].state != "active":
        return state
    return _hold(state, slot, parent)


def _hold(state: State, slot: int, primary: int) -> State:
    """Let one slot hold another for as long as it is held itself."""
    state = count_holders(state, primary, +1)
    return put(state, slot, state.slots[slot]._replace(holds=state.slots[primary].key))


def _let_go(state: State, slot: int) -> State:
    """If nobody holds a slot any more, let it rest or empty it; then what it held, and so on."""
    here = state.slots[slot]
    if here.holders:
        return state
    then = row("release", state, slot)
    if then.next == "inactive":
        state = put(state, slot, Slot(then.next, here.key, here.parent))
        state = state._replace(memory=state.policy.rest(state.memory, here.key, here.parent))
    else:
        state = clear(state, slot, then.next)
    if here.holds is None:
        return state
    held = state.known[here.holds]
    return _let_go(count_holders(state, held, -1), held)


def _forget(state: State, slot: int) -> State:
    """Take a slot out of the order of eviction."""
    return state._replace(memory=state.policy.leave(state.memory, state.slots[slot].key))
