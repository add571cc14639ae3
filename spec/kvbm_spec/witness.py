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

import copy
from collections import Counter
from collections.abc import Hashable
from typing import Any

from kvbm_spec.history import Call, History
from kvbm_spec.model import CALLS
from kvbm_spec.state import Refused, Rules, start


class Witness:
    """The model, with the handles of the record."""

    def __init__(self, history: History) -> None:
        rules = Rules(history.policy, history.duplicates, history.holds_parents)
        self.model = start(history.slots, rules)
        self.handles: dict[str, int] = {}  # recorded handle -> handle of the model

    def copy(self) -> Witness:
        """Give a pool in the same state that goes its own way."""
        twin = copy.copy(self)
        twin.handles = {**self.handles}
        return twin

    def state(self) -> Hashable:
        """Give all that decides about later answers. Nobody sees the number of a slot."""
        names: list[list[str]] = [[] for _ in self.model.slots]
        for name, handle in self.handles.items():
            slot = self.model.handles[handle]
            if slot is not None:
                names[slot].append(name)
        slots = Counter(
            (slot, frozenset(given)) for slot, given in zip(self.model.slots, names, strict=True)
        )
        return frozenset(slots.items()), self.model.memory

    def apply(self, call: Call) -> str | None:
        """Let a call happen. Gives None if it answers as recorded, else what it answers."""
        arguments = dict(call.args)
        if "handle" in arguments:
            arguments["handle"] = self.handles.get(arguments["handle"], -1)
        answer, error, told = None, None, []
        try:
            self.model, answer, events = CALLS[call.op](self.model, **arguments)
            told = list(events)
        except Refused as refusal:
            if refusal.kind != "Exhausted":  # not enough is an answer
                error = refusal.kind
        if call.ended is None:
            return None
        same = error == call.error and (error is not None or self._bind(answer, call.result))
        if same and call.events in (None, told):
            return None
        return (error or _shape(answer)) + (f" with events {told}" if told else "")

    # ── inside ────────────────────────────────────────────────────────────────────────────

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
        if len(answer) != len(recorded) or not self.handles.keys().isdisjoint(recorded):
            return False
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
