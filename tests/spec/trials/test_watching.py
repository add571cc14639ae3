"""Weak references, logs, callbacks and counters: what a manager tells, right and wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from able_pool import Able, Locked
from kvbm_spec.subject import Key
from list_pool import ListPool, Ticket
from trying import Declared, failures, named


class HoldsOn(Able):
    def downgrade(self, handle: Ticket) -> Key:
        return self.need(handle, "active").key


class BySlot(Able):
    def downgrade(self, handle: Ticket) -> Any:
        self.release(handle)
        return handle.slot

    def upgrade(self, weak: Any) -> Ticket | None:
        return self.hold(weak) if self.slots[weak].key is not None else None


class NeverUpgrades(Able):
    def upgrade(self, weak: Key) -> Ticket | None:
        del weak


class UpgradesWithoutAHold(Able):
    def upgrade(self, weak: Key) -> Ticket | None:
        return Ticket(self.index[weak]) if weak in self.index else None


class StartsAtOne(Able):
    def log(self, after: int) -> list[Any]:
        return [(entry[0] + 1, *entry[1:]) for entry in super().log(after)]


class LeavesAGap(Able):
    def log(self, after: int) -> list[Any]:
        return [(entry[0] * 2, *entry[1:]) for entry in super().log(after)]


class ForgetsWhatWasRead(Able):
    def log(self, after: int) -> list[Any]:
        entries, self.entries = super().log(after), []
        return entries


class SnapshotIsLate(Able):
    def registered(self) -> tuple[int, set[Key]]:
        last, known = super().registered()
        return last - 1, known


class ChildrenFirst(Able):
    def log(self, after: int) -> list[Any]:
        entries = super().log(after)
        stored = [entry for entry in entries if entry[1] == "Stored"]
        return stored[::-1] if len(stored) == len(entries) == 3 else entries


class EverySpanIsTheFirst(Able):
    def stage(self, handle: Ticket, key: Key, parent: Key | None = None) -> Ticket:
        staged = super().stage(handle, key, parent)
        self.place[key] = parent, 0
        return staged


class NoParents(Able):
    def stage(self, handle: Ticket, key: Key, parent: Key | None = None) -> Ticket:
        staged = super().stage(handle, key, parent)
        self.place[key] = None, self.place[key][1]
        return staged


class CallsWithItsLock(Locked, Able):
    """Calls back with its lock held, so that others wait, and a call back never returns."""


class CallsWithALockOfItsOwn(CallsWithItsLock):
    """The same with a lock that lets its own thread in again: only others wait."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.lock = threading.RLock()


class ForgetsToCall(Able):
    def subscribe(self, callback: Callable[[str, Key | None], None]) -> None:
        del callback


def miscounting(name: str, by: int) -> type[Able]:
    class Mutant(Able):
        def counters(self) -> Mapping[str, int]:
            told = super().counters()
            return {**told, name: max(0, told.get(name, 0) + by)}

    return Mutant


RIGHT: tuple[tuple[type[ListPool], str, Declared], ...] = (
    (Able, "weak references", {}),
    (Able, "numbered events", {}),
    (Able, "callbacks", {}),
    (Able, "counters", {}),
)

BROKEN: tuple[tuple[type[ListPool], str, Declared, str], ...] = (
    (HoldsOn, "weak references", {}, "KV-OWN-06"),
    (BySlot, "weak references", {}, "KV-OWN-06"),
    (NeverUpgrades, "weak references", {}, "KV-OWN-06"),
    (UpgradesWithoutAHold, "weak references", {}, "KV-OWN-06"),
    (StartsAtOne, "numbered events", {}, "KV-EVT-05"),
    (LeavesAGap, "numbered events", {}, "KV-EVT-05"),
    (ForgetsWhatWasRead, "numbered events", {}, "KV-EVT-05"),
    (SnapshotIsLate, "numbered events", {}, "KV-EVT-05"),
    (ChildrenFirst, "numbered events", {}, "KV-EVT-06"),
    (EverySpanIsTheFirst, "numbered events", {}, "KV-EVT-07"),
    (NoParents, "numbered events", {}, "KV-EVT-07"),
    (CallsWithItsLock, "callbacks", {}, "KV-CON-03"),
    (CallsWithALockOfItsOwn, "callbacks", {}, "KV-CON-03"),
    (ForgetsToCall, "callbacks", {}, "KV-CON-03"),
    *(
        (miscounting(name, by), "counters", {}, "KV-OBS-01")
        for name in (
            "allocated",
            "registered",
            "deduplicated",
            "evicted",
            "queried",
            "hits",
            "free",
        )
        for by in (1, -1)
    ),
)


@pytest.mark.parametrize(("pool", "ability", "declared"), RIGHT, ids=named(RIGHT))
def test_what_is_right_passes(pool: type[ListPool], ability: str, declared: Declared) -> None:
    assert not failures(pool, ability, declared)


@pytest.mark.parametrize(("pool", "ability", "declared", "clause"), BROKEN, ids=named(BROKEN))
def test_what_is_broken_breaks_its_clause(
    pool: type[ListPool],
    ability: str,
    declared: Declared,
    clause: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kvbm_spec.trials.callbacks.PATIENCE", 0.2)
    assert clause in failures(pool, ability, declared)
