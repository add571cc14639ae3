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

from collections.abc import Iterator
from dataclasses import dataclass

from kvbm_spec.operations import Op, Symbol
from kvbm_spec.subject import Capabilities, Key, PoolConfig
from kvbm_spec.twin import Twin


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """How far to look: so many slots and keys, so many holders of a block, so many calls."""

    slots: int = 3
    keys: int = 2
    clients: int = 2
    depth: int | None = None
    """Longest history; None where the states are finite, and all are wanted."""

    def __str__(self) -> str:
        far = "" if self.depth is None else f", up to {self.depth} calls"
        return f"{self.slots} slots x {self.keys} keys x {self.clients} clients{far}"


def parent_of(key: Key, config: PoolConfig, capabilities: Capabilities) -> Key | None:
    """Give the key before this one in the chain, where the subject looks at parents."""
    wanted = capabilities.holds_parents or config.policy.startswith("lineage")
    return key - 1 if wanted and key > 0 else None


def changing(
    twin: Twin, scope: Scope, config: PoolConfig, capabilities: Capabilities
) -> Iterator[Op]:
    """Give the calls that lead on."""
    room = twin.model.available
    for n in range(1, room + 1):
        yield Op("allocate", n=n)
    for symbol, kind in _distinct(twin):
        if kind == "mutable":
            for key in range(scope.keys):
                above = parent_of(key, config, capabilities)
                yield Op("stage", handle=symbol, keys=(key,), parent=above)
        if kind == "staged":
            if not _crowded(twin, scope, symbol):
                yield Op("register", handle=symbol)
            yield Op("reset", handle=symbol)
        yield Op("release", handle=symbol)
    for name, keys in _questions(scope):
        if _answers(twin, scope, name, keys):
            yield Op(name, keys=keys)


def refused(twin: Twin, scope: Scope, *, stores: bool) -> Iterator[Op]:
    """Give the calls that must change nothing, and the two that find nothing to do."""
    yield Op("allocate", n=0)
    yield Op("allocate", n=twin.model.available + 1)
    for name, keys in _questions(scope):
        if not _hits(twin, name, keys):
            yield Op(name, keys=keys)
    for symbol, kind in _distinct(twin):
        if kind != "staged":
            yield Op("register", handle=symbol)
        if kind != "mutable":
            yield Op("stage", handle=symbol, keys=(0,))
        if kind not in ("mutable", "staged"):
            yield Op("reset", handle=symbol)
            if stores:
                yield Op("write", handle=symbol)
    for symbol in [*twin.dead][-1:]:
        yield Op("release", handle=symbol)
        yield Op("register", handle=symbol)
        yield Op("stage", handle=symbol, keys=(0,))
        yield Op("reset", handle=symbol)


def final(twin: Twin) -> Iterator[Op]:
    """Let go of everything, and take the whole pool. KV-CAP-10"""
    for symbol in [*twin.live]:
        yield Op("release", handle=symbol)
    yield Op("allocate", n=len(twin.model.slots))


def _questions(scope: Scope) -> Iterator[tuple[str, tuple[Key, ...]]]:
    for key in range(scope.keys):
        yield "match", (key,)
    if scope.keys > 1:
        every = tuple(range(scope.keys))
        yield "match", every
        yield "match", every[::-1]
        yield "scan", every


def _hits(twin: Twin, name: str, keys: tuple[Key, ...]) -> list[Key]:
    known = twin.model.names()
    if name == "scan":
        return [key for key in keys if key in known]
    absent = next((index for index, key in enumerate(keys) if key not in known), len(keys))
    return list(keys[:absent])


def _answers(twin: Twin, scope: Scope, name: str, keys: tuple[Key, ...]) -> bool:
    """Tell whether the call finds something, and no block gets more holders than clients.

    A call whose first miss comes before a hit, or whose hits another call of the scope
    finds alike, is left to `refused` or to that other call.
    """
    hits = _hits(twin, name, keys)
    if not hits or (name == "match" and len(hits) < len(keys) and hits[0] == 0):
        return False
    holders = [twin.model.slots[twin.model.registry[key]].holders for key in hits]
    return all(len(each) < scope.clients for each in holders)


def _crowded(twin: Twin, scope: Scope, symbol: Symbol) -> bool:
    """Tell whether registering would give the first block of that key one holder too many."""
    primary = twin.model.registry.get(twin.view(twin.model.handles[twin.live[symbol]]).key)
    return primary is not None and len(twin.model.slots[primary].holders) >= scope.clients


def _distinct(twin: Twin) -> Iterator[tuple[Symbol, str]]:
    """Give one live handle of each slot, and of several slots that are alike, of one."""
    seen = set()
    for symbol, handle in twin.live.items():
        slot = twin.model.handles[handle]
        here = twin.model.slots[slot]
        owned = here.state in ("reset", "complete")
        look = (here.state, here.content) if owned else (slot, None)
        if look not in seen:
            seen.add(look)
            yield symbol, twin.kind(symbol)
