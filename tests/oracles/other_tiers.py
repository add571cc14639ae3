"""Managers of tiers that are right as well, each in a way of its own."""

from __future__ import annotations

from kvbm_spec.subject import Key, SubjectError
from kvbm_spec.tiers import PENDING
from list_tiers import ListTiers, Move, Request


class Queueing(ListTiers):
    """One offload at a time; the others wait, and hold nothing."""

    def __init__(self, slots) -> None:
        super().__init__(slots)
        self.queue: list[tuple[Request, Key, str, str, int]] = []

    def send(self, request: Request, key: Key, source: str, target: str) -> str:
        if target == self.fast or not self.moves:
            return super().send(request, key, source, target)
        slot = self.pools[source].index.get(key, 0)
        self.queue.append((request, key, source, target, slot))
        return PENDING

    def end(self, move: Move, outcome: str) -> None:
        super().end(move, outcome)
        while self.queue and not self.moves:
            request, key, source, target, slot = self.queue.pop(0)
            if request.states[key] == PENDING:
                state = self.start(request, key, source, target, slot)
                request.states[key] = state if self.open else "cancelled"

    def start(self, request: Request, key: Key, source: str, target: str, slot: int) -> str:
        del slot
        return super().send(request, key, source, target) if self.open else "cancelled"

    def close(self, timeout: float) -> list[str]:
        for request, key, *_ in self.queue:
            if request.states[key] == PENDING:
                request.states[key] = "cancelled"
        self.queue.clear()
        return super().close(timeout)


class Moving(ListTiers):
    """A block leaves its source in the step in which it arrives."""

    def end(self, move: Move, outcome: str) -> None:
        super().end(move, outcome)
        if outcome == "completed":
            self.miss(move.source, move.key)


class Loading(ListTiers):
    """Each load is a copy of its own."""

    def under_way(self, key: Key, target: str) -> Move | None:
        return None if target == self.fast else super().under_way(key, target)


class Unchecked(ListTiers):
    """No checksums, and it says so."""

    def corrupt(self, tier: str, key: Key) -> None:
        del tier, key
        raise SubjectError("Unsupported")
