"""Moves: which calls are worth trying in a state.

What this is
    The choices of the explorer and of the state machines. Two calls that no outcome can
    tell apart are one choice: of several handles on the same block, the first is tried.

Interface, as rules of use
    * `changing` are calls that the model accepts and that lead to another state;
      `refused` are calls that must answer "no" and change nothing; `final` lets go of
      everything and takes the whole pool, which only works if nothing has leaked.
    * Keys are a chain: K0 is the parent of K1, and so on, where parents matter.

Clauses: KV-LIF-01, KV-LIF-02, KV-LIF-06, KV-OWN-05, KV-CAP-06, KV-CAP-10
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from typing import Any

from kvbm_spec.operations import Op, Symbol
from kvbm_spec.perform import symbol_of
from kvbm_spec.state import Rules, Slot, State
from kvbm_spec.subject import Key
from kvbm_spec.twin import Twin


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """How far to look: so many slots and keys, so many holders of a block, so many calls."""

    slots: int = 3
    keys: int = 2
    clients: int = 2
    depth: int | None = None
    """Longest history; None where the states are finite, and all are wanted."""
    paths: int = 4
    """To each state of a subject that shows no snapshot, if there is no `depth`."""

    def __str__(self) -> str:
        far = "" if self.depth is None else f", up to {self.depth} calls"
        return f"{self.slots} slots x {self.keys} keys x {self.clients} clients{far}"


def parent_of(key: Key, rules: Rules) -> Key | None:
    """Give the key before this one in the chain, where anybody looks at parents."""
    wanted = rules.holds_parents or rules.policy.startswith("lineage")
    return key - 1 if wanted and key > 0 else None


def changing(twin: Twin, scope: Scope) -> Iterator[Op]:
    """Give the calls that lead on."""
    return onward(twin.model, scope)


def refused(twin: Twin, scope: Scope, *, stores: bool) -> Iterator[Op]:
    """Give the calls that must change nothing, and the two that find nothing to do."""
    yield from idle(twin.model, scope, stores=stores)
    for symbol in {twin.where(symbol): symbol for symbol in twin.dead}.values():
        yield from stale(symbol)


def final(twin: Twin) -> Iterator[Op]:
    """Let go of everything, and take the whole pool. KV-CAP-10"""
    for symbol in twin.live:
        yield Op("release", handle=symbol)
    yield Op("allocate", n=len(twin.model.slots))


# ── from the model alone ──────────────────────────────────────────────────────────────────


def onward(state: State, scope: Scope) -> Iterator[Op]:
    """Give the calls that lead on from a state."""
    for n in range(1, state.available + 1):
        yield Op("allocate", n=n)
    known = state.known
    for symbol, here in _distinct(state):
        if here.state == "reset":
            for key in range(scope.keys):
                yield Op("stage", handle=symbol, keys=(key,), parent=parent_of(key, state.rules))
        if here.state == "complete":
            primary = known.get(here.key)
            if primary is None or state.slots[primary].holders < scope.clients:
                yield Op("register", handle=symbol)
        if here.state in ("reset", "complete"):
            yield Op("reset", handle=symbol)
        yield Op("release", handle=symbol)
    for name, keys in _questions(scope.keys):
        hits = _hits(known, name, keys)
        if _leads_on(name, keys, hits) and all(
            state.slots[known[key]].holders < scope.clients for key in hits
        ):
            yield Op(name, keys=keys)


def idle(state: State, scope: Scope, *, stores: bool = False) -> Iterator[Op]:
    """Give the calls that must change nothing in a state, all but those on dead handles."""
    yield Op("allocate", n=0)
    yield Op("allocate", n=state.available + 1)
    known = state.known
    for name, keys in _questions(scope.keys):
        if not _hits(known, name, keys):
            yield Op(name, keys=keys)
    for symbol, here in _distinct(state):
        if here.state != "complete":
            yield Op("register", handle=symbol)
        if here.state != "reset":
            yield Op("stage", handle=symbol, keys=(0,))
        if here.state not in ("reset", "complete"):
            yield Op("reset", handle=symbol)
            if stores:
                yield Op("write", handle=symbol)


def stale(symbol: Symbol) -> Iterator[Op]:
    """Give the calls on a dead handle."""
    yield Op("release", handle=symbol)
    yield Op("register", handle=symbol)
    yield Op("stage", handle=symbol, keys=(0,))
    yield Op("reset", handle=symbol)


# ── inside ────────────────────────────────────────────────────────────────────────────────


@cache
def _questions(keys: int) -> tuple[tuple[str, tuple[Key, ...]], ...]:
    every = tuple(range(keys))
    chains = (every, every[::-1]) if keys > 1 else ()
    matches = (*((key,) for key in every), *chains)
    return (*(("match", asked) for asked in matches), *(("scan", asked) for asked in chains[:1]))


def _hits(known: Mapping[Any, int], name: str, keys: tuple[Key, ...]) -> list[Key]:
    if name == "scan":
        return [key for key in keys if key in known]
    return list(takewhile(known.__contains__, keys))


def _leads_on(name: str, keys: tuple[Key, ...], hits: list[Key]) -> bool:
    """Tell whether a call finds something that no other call of the scope finds alike."""
    return bool(hits) and not (name == "match" and len(hits) < len(keys) and hits[0] == 0)


def _distinct(state: State) -> Iterator[tuple[Symbol, Slot]]:
    """Give one live handle of each slot, and of several owned slots that are alike, of one."""
    seen: set[Hashable] = set()
    for handle, slot in enumerate(state.handles):
        if slot is None:
            continue
        here = state.slots[slot]
        look = here if here.state in ("reset", "complete") else slot
        if look not in seen:
            seen.add(look)
            yield symbol_of(handle), here
