"""Witness: the model, asked whether a recorded call can have been.

What this is
    The reference model with the handles of a record: strings that its manager gave out.
    `linear` tries orders of calls on it.

Interface, as rules of use
    * `apply(call)` lets a call happen, and gives None if it answers as recorded, else what
      it answers instead. After a wrong answer throw the witness away.
    * `copy()` goes its own way; two of equal `state()` answer every later call alike.

Clauses: KV-LIF-02, KV-REG-01, KV-EVT-04
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any

from kvbm_spec.history import Call, History
from kvbm_spec.model import Model, Refused


class Witness:
    """The model, with the handles of the record."""

    def __init__(self, history: History) -> None:
        self.model = Model(
            history.slots,
            policy=history.policy,
            allow_duplicates=history.duplicates == "allow",
            hold_parents=history.holds_parents,
        )
        self.handles: dict[str, int] = {}  # live recorded handle -> handle of the model
        self.given: set[str] = set()

    def copy(self) -> Witness:
        """Give a pool in the same state that goes its own way."""
        twin = Witness.__new__(Witness)
        twin.model, twin.handles, twin.given = self.model.copy(), {**self.handles}, {*self.given}
        return twin

    def state(self) -> Hashable:
        """Give all that decides about later answers. Nobody sees the number of a slot."""
        model = self.model
        names: dict[int, list[str]] = {}
        for name, handle in sorted(self.handles.items()):
            names.setdefault(model.handles[handle], []).append(name)
        resting = sorted(slot.returned for slot in model.slots if slot.state == "inactive")
        leaves = sorted(slot.leaf for slot in model.slots if slot.leaf is not None)
        slots = Counter(
            (
                *(slot.state, slot.content, len(slot.holders), tuple(names.get(index, ()))),
                None if slot.holds is None else model.slots[slot.holds].content,
                resting.index(slot.returned) if slot.state == "inactive" else None,
                None if slot.leaf is None else leaves.index(slot.leaf),
                slot.frequency,
            )
            for index, slot in enumerate(model.slots)
        )
        uses = frozenset(model.uses.items()) if model.policy == "multi-lru" else None
        return frozenset(slots.items()), frozenset(model.ties.items()), uses

    def apply(self, call: Call) -> str | None:
        """Let a call happen. Gives None if it answers as recorded, else what it answers."""
        self.model.events = []
        answer, error = None, None
        try:
            answer = getattr(self, f"_{call.op}")(**call.args)
        except Refused as refusal:
            if refusal.kind != "Exhausted":  # not enough is an answer
                error = refusal.kind
        if call.ended is None:
            return None
        told = [
            ("Stored", item.name) if kind == "stored" else ("Removed", item)
            for kind, items in self.model.events
            for item in items
        ]
        same = error == call.error and (error is not None or self._bind(answer, call.result))
        if same and call.events in (None, told):
            return None
        return (error or _shape(answer)) + (f" with events {told}" if told else "")

    # ── calls ─────────────────────────────────────────────────────────────────────────────

    def _allocate(self, n: int) -> Any:
        return self.model.allocate(n)

    def _stage(self, handle: str, key: Hashable, parent: Hashable | None = None) -> Any:
        number = self._live(handle)
        self.model.stage([number], [key], parent)
        return self._use_up(handle)

    def _register(self, handle: str) -> Any:
        (answer,) = self.model.register([self._live(handle)])
        self._use_up(handle)
        return answer

    def _match(self, keys: list[Hashable]) -> Any:
        return self.model.match(keys)

    def _scan(self, keys: list[Hashable]) -> Any:
        return self.model.scan(keys)

    def _release(self, handle: str) -> Any:
        self.model.release([self._live(handle)])
        self._use_up(handle)

    def _reset(self, handle: str) -> Any:
        self.model.clear_block(self._live(handle))
        return self._use_up(handle)

    # ── inside ────────────────────────────────────────────────────────────────────────────

    def _live(self, handle: str) -> int:
        if handle not in self.handles:
            raise Refused("StaleHandle")
        return self.handles[handle]

    def _use_up(self, handle: str) -> int:
        return self.handles.pop(handle)

    def _bind(self, answer: Any, recorded: Any) -> bool:
        """Give the recorded names to the handles of an answer, if there are as many."""
        if answer is None or recorded is None:
            return answer is recorded
        if isinstance(recorded, str):
            answer, recorded = [answer], [recorded]
        if isinstance(answer, dict):  # of a scan: pairs, in whatever order
            names = dict(recorded)
            if names.keys() != answer.keys():
                return False
            answer, recorded = [*answer.values()], [names[key] for key in answer]
        if len(answer) != len(recorded) or self.given & {*recorded}:
            return False
        self.given.update(recorded)
        self.handles.update(zip(recorded, answer, strict=True))
        return len({*recorded}) == len(recorded)


def _shape(answer: Any) -> str:
    if answer is None:
        return "None"
    if isinstance(answer, int):
        return "a handle"
    if isinstance(answer, dict):
        return f"handles of {[*answer]}"
    return f"{len(answer)} handles"
