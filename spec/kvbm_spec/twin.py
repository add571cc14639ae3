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

from kvbm_spec.operations import Op, Outcome, Symbol
from kvbm_spec.perform import handle_of, perform, symbol_of
from kvbm_spec.situations import situations
from kvbm_spec.state import Events, Refused, Rules, State, canonical, slot_of, start, victims
from kvbm_spec.subject import Capabilities, Key, PoolConfig, SlotView

VIEWS = {"empty": "free", "reset": "mutable", "complete": "staged"}
"""The model's words for the states of a slot, where they differ from the subject's."""


class Twin:
    """A model of the pool that `config` asks for, of a subject of these capabilities."""

    def __init__(self, config: PoolConfig, capabilities: Capabilities) -> None:
        rules = Rules(config.policy, config.duplicates, capabilities.holds_parents)
        self.model = start(config.slots, rules)
        self.dead: dict[Symbol, tuple[int, int]] = {}  # symbol -> slot, and its tenants then
        self.removed: frozenset[Key] = frozenset()  # was registered, and is no more
        self.discarded: frozenset[Key] = frozenset()  # was staged, and never registered
        self.situations: Counter[str] = Counter()
        self._tenants = (0,) * config.slots  # blocks that were in each slot so far

    def copy(self) -> Self:
        """Give a twin in the same state that goes its own way; its situations start anew."""
        other = copy.copy(self)  # whatever they share is replaced, and never changed
        other.situations = Counter()
        return other

    def fresh(self) -> Twin:
        """Give a twin of the same pool as it was opened."""
        rules = self.model.rules
        config = PoolConfig(
            slots=len(self.model.slots), policy=rules.policy, duplicates=rules.duplicates
        )
        return Twin(config, Capabilities(holds_parents=rules.holds_parents))

    # ── calls ─────────────────────────────────────────────────────────────────────────────

    def apply(self, op: Op) -> Outcome:
        """Make the call, and tell what it must answer."""
        before, slot = self.model, self._slot(op)
        value, error, events = None, None, Events()
        read: tuple[Key, ...] = ()
        try:
            self.model, answer, events = perform(before, op)
            value, read = self._in_symbols(op, answer)
        except Refused as refusal:
            # Not enough is an answer.
            error = None if refusal.kind == "Exhausted" else refusal.kind
        outcome = Outcome(value, error, events, read)
        lost = {"removed": self.removed, "discarded": self.discarded}
        for name in situations(op, outcome, before, self.model, **lost):
            self.situations[name] += 1
        if op.handle in self.dead and self._is_in_use(op.handle):
            self.situations["stale, slot in use"] += 1
        if error is None:
            self._remember(op, slot, before)
        return outcome

    def _in_symbols(self, op: Op, answer: Any) -> tuple[Any, tuple[Key, ...]]:
        """Give an answer as histories have it, and the keys whose bytes it hands out."""
        if op.name == "scan":
            return {key: symbol_of(handle) for key, handle in answer.items()}, tuple(answer)
        if op.name in ("allocate", "match"):
            return [symbol_of(handle) for handle in answer], op.keys[: len(answer)]
        if op.name == "register":
            return symbol_of(answer), (self.model.slots[slot_of(self.model, answer)].key,)
        return None if answer is None else symbol_of(answer), ()

    def _remember(self, op: Op, slot: int | None, before: State) -> None:
        """Note what a call that was not refused has used up, removed and discarded."""
        now = self.model.known.keys()
        if op.name == "allocate":
            given = Counter(self.model.handles[len(before.handles) :])
            self._tenants = tuple(n + given[i] for i, n in enumerate(self._tenants))
        if op.handle is not None and slot is not None and self.model is not before:
            self.dead = {**self.dead, op.handle: (slot, self._tenants[slot])}
            was = before.slots[slot]
            if was.state == "complete" and op.name in ("release", "reset"):
                self.discarded |= {was.key}
        self.discarded -= now
        self.removed = (self.removed | before.known.keys()) - now

    # ── what can be asked ─────────────────────────────────────────────────────────────────

    @property
    def live(self) -> dict[Symbol, int]:
        """The live handles, in the order in which they were given out, each with its slot."""
        handles = enumerate(self.model.handles)
        return {symbol_of(handle): slot for handle, slot in handles if slot is not None}

    def kind(self, symbol: Symbol) -> str:
        """Tell what a live handle holds: mutable, staged, active or duplicate."""
        return self.view(slot_of(self.model, handle_of(symbol))).state

    def view(self, slot: int) -> SlotView:
        """Show one slot in the words of a snapshot."""
        here = self.model.slots[slot]
        return SlotView(VIEWS.get(here.state, here.state), here.key, here.holders)

    def views(self) -> list[SlotView]:
        """Show all slots in the words of a snapshot."""
        return [self.view(slot) for slot in range(len(self.model.slots))]

    def where(self, symbol: Symbol) -> tuple[str, bool]:
        """Tell the state of the slot of a dead handle, and whether another block is there."""
        slot, tenants = self.dead[symbol]
        return self.model.slots[slot].state, self._tenants[slot] != tenants

    def known(self) -> set[Key]:
        """List what is registered."""
        return {*self.model.known}

    def inactive(self) -> list[Key]:
        """List the keys that can be evicted, the next victim first."""
        return victims(self.model)

    def canonical(self) -> Hashable:
        """Give all that decides about later calls, slots and handles without their numbers."""
        # A mistake with a dead handle may only show once its slot has another block.
        reused = any(self.where(symbol)[1] for symbol in [*self.dead][-1:])
        return canonical(self.model), reused, bool(self.removed)

    # ── inside ────────────────────────────────────────────────────────────────────────────

    def _slot(self, op: Op) -> int | None:
        handle = handle_of(op.handle)
        return self.model.handles[handle] if 0 <= handle < len(self.model.handles) else None

    def _is_in_use(self, symbol: Symbol) -> bool:
        """Tell whether somebody else holds the slot of a dead handle."""
        state, reused = self.where(symbol)
        return reused and state not in ("empty", "inactive")
