"""Twin: the model, driven by the same operations as a subject.

What this is
    The reference model behind `Op` and `Outcome`: it predicts the outcome of every call,
    notes which situations a history has been in, and gives its state in a form that does
    not depend on the numbers of slots or handles.

Interface, as rules of use
    * `apply(op)` moves on and predicts; `copy()` is cheap, so every next call can be tried.
    * `canonical()` is equal for two states that no later call can tell apart.
    * `situations` is what a check needs to have seen: a clause about eviction says nothing
      in a history that never evicted.

Clauses: KV-LIF-02, KV-REG-03, KV-REG-06, KV-EVC-02
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Hashable
from typing import Any, Self

from kvbm_spec.model import Model, Refused
from kvbm_spec.operations import Op, Outcome, Symbol
from kvbm_spec.subject import Capabilities, Key, PoolConfig, SlotView

STATES = {"empty": "free", "reset": "mutable", "partial": "mutable", "complete": "staged"}
"""The model's words for the states of a slot, where they differ from the subject's."""


class Twin:
    """A model of the pool that `config` asks for, of a subject of these capabilities."""

    def __init__(self, config: PoolConfig, capabilities: Capabilities) -> None:
        self._made_of = config, capabilities
        self.model = Model(
            config.slots,
            block_size=config.block_size,
            policy=config.policy,
            allow_duplicates=config.duplicates == "allow",
            hold_parents=capabilities.holds_parents,
        )
        self.live: dict[Symbol, int] = {}  # symbol -> handle of the model
        self.dead: dict[Symbol, tuple[int, int]] = {}  # symbol -> slot, and its tenants then
        self.removed: frozenset[Key] = frozenset()  # was registered, and is no more
        self.discarded: frozenset[Key] = frozenset()  # was staged, and never registered
        self.situations: Counter[str] = Counter()
        self._given = 0

    def copy(self) -> Self:
        """Give a twin in the same state that goes its own way; its situations start anew."""
        other = copy.copy(self)
        other.model = self.model.copy()
        other.live, other.dead = {**self.live}, {**self.dead}
        other.situations = Counter()
        return other

    def fresh(self) -> Twin:
        """Give a twin of the same pool as it was opened."""
        return Twin(*self._made_of)

    # ── calls ─────────────────────────────────────────────────────────────────────────────

    def apply(self, op: Op) -> Outcome:
        """Make the call, and tell what it must answer."""
        before = len(self.model.events)
        free, resting = self.model.count("empty"), self.model.count("inactive")
        known = self.model.names()
        try:
            value, handles = getattr(self, f"_{op.name}")(op)
            error, read = None, tuple(self._key(self.model.handles[h]) for h in handles)
        except Refused as refusal:
            value, error, read = None, refusal.kind, ()
        if error == "Exhausted":
            error = None  # not enough is an answer
        events = tuple(
            ("Stored", item.name) if kind == "stored" else ("Removed", item)
            for kind, items in self.model.events[before:]
            for item in items
        )
        self._note(op, value, error, known, (free, resting))
        return Outcome(value, error, events, read)

    def _allocate(self, op: Op) -> tuple[Any, list[int]]:
        return [self._give(handle) for handle in self.model.allocate(op.n)], []

    def _stage(self, op: Op) -> tuple[Any, list[int]]:
        handle = self._handle(op)
        self.model.stage([handle], [op.keys[0]], op.parent)
        return self._exchange(op, handle), []

    def _register(self, op: Op) -> tuple[Any, list[int]]:
        handle = self._handle(op)
        slot = self.model.handles[handle]
        answer = self.model.register([handle])
        self._end(op, slot)
        return self._give(answer[0]), answer

    def _match(self, op: Op) -> tuple[Any, list[int]]:
        handles = self.model.match(op.keys)
        return [self._give(handle) for handle in handles], handles

    def _scan(self, op: Op) -> tuple[Any, list[int]]:
        found = self.model.scan(op.keys)
        return {key: self._give(handle) for key, handle in found.items()}, [*found.values()]

    def _release(self, op: Op) -> tuple[Any, list[int]]:
        handle = self._handle(op)
        self._forget(handle)
        slot = self.model.handles[handle]
        self.model.release([handle])
        self._end(op, slot)
        return None, []

    def _reset(self, op: Op) -> tuple[Any, list[int]]:
        handle = self._handle(op)
        if self.model.slots[self.model.handles[handle]].state in ("reset", "complete"):
            self._forget(handle)
        self.model.clear_block(handle)
        return self._exchange(op, handle), []

    def _write(self, op: Op) -> tuple[Any, list[int]]:
        """Overwrite a block: only the owner of an unregistered one may. KV-OWN-05"""
        self.model._owned(self._handle(op), "reset", "complete")
        return None, []

    # ── what can be asked ─────────────────────────────────────────────────────────────────

    def kind(self, symbol: Symbol) -> str:
        """Tell what a live handle holds: mutable, staged, active or duplicate."""
        return self.view(self.model.handles[self.live[symbol]]).state

    def view(self, slot: int) -> SlotView:
        """Show one slot in the words of a snapshot."""
        here = self.model.slots[slot]
        key = None if here.content is None else self._key(slot)
        return SlotView(STATES.get(here.state, here.state), key, len(here.holders))

    def known(self) -> set[Key]:
        """List what is registered."""
        return {name for name in self.model.names() if isinstance(name, int)}

    def inactive(self) -> list[Key]:
        """List the keys that can be evicted, the next victim first."""
        return [self._key(slot) for slot in self.model.order()]

    def canonical(self) -> Hashable:
        """Give all that decides about later calls, slots and handles without their numbers."""
        model = self.model
        resting = sorted(s.returned for s in model.slots if s.state == "inactive")
        leaves = sorted(s.leaf for s in model.slots if s.leaf is not None)
        counts = model.policy == "multi-lru"  # no other policy looks at uses
        slots = sorted(
            (
                *(s.state, repr(s.content), s.holds is not None, len(s.holders)),
                s.frequency if counts else 0,
                resting.index(s.returned) if s.state == "inactive" else -1,
                -1 if s.leaf is None else leaves.index(s.leaf),
            )
            for s in model.slots
        )
        ties = frozenset(model.ties.items())
        uses = frozenset(model.uses.items()) if counts else None
        return tuple(slots), ties, uses, self._last_dead(), bool(self.removed)

    def _last_dead(self) -> Hashable:
        """Tell where the last dead handle points: a mistake there shows once it is reused."""
        if not self.dead:
            return None
        slot, tenants = next(reversed(self.dead.values()))
        here = self.model.slots[slot]
        return here.state, here.tenants == tenants

    # ── inside ────────────────────────────────────────────────────────────────────────────

    def _handle(self, op: Op) -> int:
        if op.handle not in self.live:
            raise Refused("StaleHandle")
        return self.live[op.handle]

    def _give(self, handle: int) -> Symbol:
        symbol = f"h{self._given}"
        self._given += 1
        self.live[symbol] = handle
        return symbol

    def _exchange(self, op: Op, handle: int) -> Symbol:
        self._end(op, self.model.handles[handle])
        return self._give(handle)

    def _end(self, op: Op, slot: int) -> None:
        assert op.handle is not None, f"{op} has no handle"
        del self.live[op.handle]
        self.dead[op.handle] = slot, self.model.slots[slot].tenants

    def _forget(self, handle: int) -> None:
        """Note that the content of an owned block is thrown away."""
        here = self.model.slots[self.model.handles[handle]]
        if here.state == "complete" and here.content is not None:
            self.discarded |= {self._key(self.model.handles[handle])}

    def _key(self, slot: int) -> Key:
        key = self.model._content(slot).name
        assert isinstance(key, int), f"{key!r} is no key"
        return key

    def _note(
        self, op: Op, value: Any, error: str | None, known: set[Any], room: tuple[int, int]
    ) -> None:
        """Count the situations that this call was in."""
        now = self.model.names()
        free, resting = room
        victims = len(known - now)
        self.discarded -= frozenset(now)
        seen = {
            "stale": error == "StaleHandle",
            "stale, slot in use": error == "StaleHandle" and self._slot_is_used(op),
            "double release": error == "StaleHandle" and op.name == "release",
            "wrong state": error == "WrongState",
            "write refused": error == "WrongState" and op.name == "write",
            "looked for a removed key": bool(self.removed & {*op.keys}) and op.name == "match",
            "looked for a discarded key": bool(self.discarded & {*op.keys}) and op.name == "match",
            "hit": op.name == "match" and bool(value),
            "miss": op.name == "match" and not value,
            "gap": op.name == "match" and any(k in now for k in op.keys[len(value or ()) :]),
            "woken": op.name in ("match", "scan") and self.model.count("inactive") < resting,
            "shared": any(len(s.holders) > 1 for s in self.model.slots),
            "reset": op.name == "reset" and error is None,
        }
        if op.name == "allocate":
            seen |= {
                "allocated": bool(value),
                "exhausted": value is None,
                "partly available": value is None and free + resting > 0,
                "evicted": victims > 0,
                "chose a victim": 0 < victims < resting,
                "evicted beside active": victims > 0 and self.model.count("active") > 0,
                "free first": bool(value) and free > 0 and resting > 0,
            }
        if op.name == "register" and error is None:
            again = op.handle is not None and now == known
            seen |= {
                "registered": not again,
                "registered again": bool(self.removed & now),
                "deduplicated": again,
                "duplicate": again and self.model.allow_duplicates,
            }
        self.removed = (self.removed | known) - now
        self.situations.update(name for name, true in seen.items() if true)

    def _slot_is_used(self, op: Op) -> bool:
        slot, tenants = self.dead.get(op.handle or "", (0, 0))
        return self.model.slots[slot].tenants != tenants and bool(self.model.slots[slot].holders)
