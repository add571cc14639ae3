"""Each trial passes the tiny pool with the ability, and fails each way to break it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from kvbm_spec import abilities, checks, clauses, replayed
from kvbm_spec.subject import Env, Key, PoolConfig, Subject, SubjectError
from kvbm_spec.trial import Broken, Scene, Script
from kvbm_spec.trials import TRIAL_CHECKS, TRIALS
from list_pool import ListPool, ListSubject, Slot, Ticket


class Able(ListPool):
    """The tiny pool with weak references, a log, callbacks and counters."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.entries: list[tuple[int, str, Key | None, Mapping[str, Any]]] = []
        self.callbacks: list[Callable[[str, Key | None], None]] = []
        self.counted: Counter[str] = Counter()
        self.place: dict[Key, tuple[Key | None, int]] = {}

    def stage(self, handle: Ticket, key: Key, parent: Key | None = None) -> Ticket:
        staged = super().stage(handle, key, parent)
        self.place[key] = parent, 0 if parent is None else self.place[parent][1] + 4
        return staged

    def allocate(self, n: int) -> list[Ticket] | None:
        handles = super().allocate(n)
        self.counted["allocated"] += len(handles or ())
        return handles

    def register(self, handle: Ticket) -> Ticket:
        before = len(self.index)
        answer = super().register(handle)
        self.counted["registered" if len(self.index) > before else "deduplicated"] += 1
        return answer

    def match(self, keys: Sequence[Key]) -> list[Ticket]:
        hits = super().match(keys)
        self.counted["queried"] += len(keys)
        self.counted["hits"] += len(hits)
        return hits

    def evict(self) -> int:
        self.counted["evicted"] += 1
        return super().evict()

    def tell(self, kind: str, key: Key | None) -> None:
        super().tell(kind, key)
        parent, start = self.place[key]
        fields = {"tier": "G1", "parent": parent, "span": (start, start + 4)}
        self.entries.append((len(self.entries), kind, key, fields))
        for callback in self.callbacks:
            callback(kind, key)

    # ── abilities ─────────────────────────────────────────────────────────────────────────

    def downgrade(self, handle: Ticket) -> Key:
        key = self.need(handle, "active").key
        self.release(handle)
        return key

    def upgrade(self, weak: Key) -> Ticket | None:
        return self.hold(self.index[weak]) if weak in self.index else None

    def log(self, after: int) -> list[tuple[int, str, Key | None, Mapping[str, Any]]]:
        return [entry for entry in self.entries if entry[0] > after]

    def registered(self) -> tuple[int, set[Key]]:
        return len(self.entries) - 1, set(self.index)

    def subscribe(self, callback: Callable[[str, Key | None], None]) -> None:
        self.callbacks.append(callback)

    def counters(self) -> Mapping[str, int]:
        states = Counter(slot.state for slot in self.slots)
        names = ("allocated", "registered", "deduplicated", "evicted", "queried", "hits")
        return {name: self.counted[name] for name in names} | {
            name: states[name] for name in ("free", "inactive", "active")
        }


class Locked(ListPool):
    """The tiny pool for several threads."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.lock = threading.Lock()

    def allocate(self, n: int) -> list[Ticket] | None:
        with self.lock:
            return super().allocate(n)

    def stage(self, handle: Ticket, key: Key, parent: Key | None = None) -> Ticket:
        with self.lock:
            return super().stage(handle, key, parent)

    def register(self, handle: Ticket) -> Ticket:
        with self.lock:
            return super().register(handle)

    def match(self, keys: Sequence[Key]) -> list[Ticket]:
        with self.lock:
            return super().match(keys)

    def release(self, handle: Ticket) -> None:
        with self.lock:
            super().release(handle)


class Owning(ListPool):
    """The tiny pool, whose handles know where they are from."""

    def ticket(self, slot: int) -> Ticket:
        ticket = super().ticket(slot)
        ticket.home = self
        return ticket

    def need(self, handle: Ticket, *states: str) -> Any:
        if handle.home is not self:
            raise SubjectError("NotOwner")
        return super().need(handle, *states)


def failures(pool: type[ListPool], ability: str, **declared: object) -> dict[str, str]:
    """Run all trials of an ability; give what is broken, by clause."""
    subject = ListSubject(pool, **declared)
    assert abilities.has(subject, ability, PoolConfig(slots=2))
    found: dict[str, str] = {}
    for trial in TRIALS:
        if trial.ability == ability:
            for failure in trial.run(subject, "smoke").failures.values():
                assert failure.clause in trial.clauses
                assert failure.steps, "a failure without lines tells nobody anything"
                found[failure.clause] = failure.verdict.what
    return found


# ── weak references ───────────────────────────────────────────────────────────────────────


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


# ── the log ───────────────────────────────────────────────────────────────────────────────


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


# ── callbacks ─────────────────────────────────────────────────────────────────────────────


class CallsWithItsLock(Locked, Able):
    """Calls back with its lock held, so that others wait, and a call back never returns."""


class ForgetsToCall(Able):
    def subscribe(self, callback: Callable[[str, Key | None], None]) -> None:
        del callback


# ── counters ──────────────────────────────────────────────────────────────────────────────


def miscounting(name: str, by: int) -> type[Able]:
    class Mutant(Able):
        def counters(self) -> Mapping[str, int]:
            told = super().counters()
            return {**told, name: max(0, told.get(name, 0) + by)}

    return Mutant


# ── owners, prefixes, closing, threads ────────────────────────────────────────────────────


class TakesAnything(Owning):
    def need(self, handle: Ticket, *states: str) -> Any:
        return ListPool.need(self, handle, *states)


class SaysStale(Owning):
    def need(self, handle: Ticket, *states: str) -> Any:
        try:
            return super().need(handle, *states)
        except SubjectError:
            raise SubjectError("StaleHandle") from None


class LeavesFirst(ListPool):
    """Evicts leaves only, the least recently used first."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.parents: dict[Key, Key | None] = {}

    def stage(self, handle: Ticket, key: Key, parent: Key | None = None) -> Ticket:
        self.parents[key] = parent
        return super().stage(handle, key, parent)

    def victim(self) -> int:
        above = {self.parents[key] for key in self.index}
        leaf = next(slot for slot in self.resting if self.slots[slot].key not in above)
        self.resting.remove(leaf)
        return leaf


class LeaksAThread(ListPool):
    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.ended = threading.Event()
        threading.Thread(target=self.ended.wait, args=(1,), daemon=True).start()


class LeaksADescriptor(ListPool):
    leaked: list[Any] = []  # noqa: RUF012 - that is the leak

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.leaked.append(open("/dev/null"))  # noqa: SIM115, PTH123 - as above


class GivesTwice(Locked):
    """Looks first and takes later: between them another thread has its turn."""

    def allocate(self, n: int) -> list[Ticket] | None:
        if n > self.room():
            return None
        slots = (self.free + self.resting)[:n]
        threading.Event().wait(0.001)
        for slot in slots:
            self.slots[slot].state = "mutable"
            if slot in self.free:
                self.free.remove(slot)
        return [self.ticket(slot) for slot in slots]


class TwoAreFirst(Locked):
    """Asks who is there, and registers a little later."""

    def register(self, handle: Ticket) -> Ticket:
        if self.slots[handle.slot].key in self.index:
            return super().register(handle)
        threading.Event().wait(0.001)
        with self.lock:
            self.index.pop(self.slots[handle.slot].key, None)
            return ListPool.register(self, handle)


class Patient(ListPool):
    """The tiny pool with a line of those who wait."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.line: list[dict[str, Any]] = []

    def wait(self, n: int) -> dict[str, Any]:
        if n > len(self.slots):
            raise SubjectError("Exhausted")
        self.line.append({"n": n, "blocks": None, "over": None})
        return self.line[-1]

    def ready(self, ticket: dict[str, Any]) -> list[Ticket] | None:
        self.serve()
        if ticket["over"]:
            raise SubjectError(ticket["over"])
        return ticket["blocks"]

    def cancel(self, ticket: dict[str, Any]) -> None:
        ticket["over"] = "Cancelled"

    def serve(self) -> None:
        self.line = [each for each in self.line if not each["over"]]
        while self.line and self.line[0]["n"] <= self.room():
            first = self.line.pop(0)
            first["blocks"] = self.allocate(first["n"])

    def close(self) -> None:
        super().close()
        for each in self.line:
            each["over"] = "Cancelled"


class SmallOnesFirst(Patient):
    def serve(self) -> None:
        for each in list(self.line):
            if not each["over"] and each["n"] <= self.room():
                self.line.remove(each)
                each["blocks"] = self.allocate(each["n"])


class WaitsForFreeSlots(Patient):
    def serve(self) -> None:
        if not self.resting:
            super().serve()


class StaysInTheLine(Patient):
    def cancel(self, ticket: dict[str, Any]) -> None:
        ticket["gone"] = True

    def ready(self, ticket: dict[str, Any]) -> list[Ticket] | None:
        blocks = super().ready(ticket)
        if "gone" in ticket:
            raise SubjectError("Cancelled")
        return blocks


class HoardsAndForgets(Patient):
    """Keeps the blocks of the first in the line as they come."""

    def serve(self) -> None:
        for first in self.line[:1]:
            first["hoard"] = first.get("hoard", []) + self.allocate(min(first["n"], self.room()))
            if len(first["hoard"]) == first["n"]:
                first["blocks"] = self.line.pop(0)["hoard"]
        self.line = [each for each in self.line if not each["over"]]

    def cancel(self, ticket: dict[str, Any]) -> None:
        super().cancel(ticket)
        self.line.remove(ticket)


class SilentClose(Patient):
    def close(self) -> None:
        ListPool.close(self)


class WaitsForEver(Patient):
    def wait(self, n: int) -> dict[str, Any]:
        self.line.append({"n": n, "blocks": None, "over": None})
        return self.line[-1]


class Growing(ListPool):
    def resize(self, slots: int) -> int:
        if slots < len(self.slots):
            raise SubjectError("Unsupported")
        added = range(len(self.slots), slots)
        self.slots += [Slot() for _ in added]
        self.free += added
        return len(self.slots)


class Shrinking(Growing):
    """Gives its last slots up, as long as they are free."""

    def resize(self, slots: int) -> int:
        while len(self.slots) > slots and len(self.slots) - 1 in self.free:
            self.free.remove(len(self.slots) - 1)
            self.slots.pop()
        return super().resize(max(slots, len(self.slots)))


class GrowsToNothing(Growing):
    def resize(self, slots: int) -> int:
        self.slots += [Slot() for _ in range(slots - len(self.slots))]
        return len(self.slots)


class StartsAnew(Growing):
    def resize(self, slots: int) -> int:
        self.index.clear()
        return super().resize(slots)


class GrowsTooFar(Growing):
    def resize(self, slots: int) -> int:
        return super().resize(slots + 1) - 1


class DropsWhatIsHeld(Growing):
    def resize(self, slots: int) -> int:
        if slots < len(self.slots):
            self.index.clear()
            return max(2, slots)
        return super().resize(slots)


class CutsKeys(ListPool):
    """Knows a key by 32 bits of it."""

    def stage(self, handle: Ticket, key: Key, parent: Key | None = None) -> Ticket:
        return super().stage(handle, key % 2**32, parent)

    def scan(self, keys: Sequence[Key]) -> dict[Key, Ticket]:
        return {
            key: self.hold(self.index[key % 2**32]) for key in keys if key % 2**32 in self.index
        }


class LosesNeighbours(ListPool):
    """Takes whoever shares a place with an evicted key out of the index, too."""

    def forget(self, key: Key) -> None:
        self.index = {other: slot for other, slot in self.index.items() if (other ^ key) % 64}


class Ranked(ListPool):
    """Evicts the lowest priority first, and of equals the one that was released first."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.levels = [0] * total

    def prioritize(self, handle: Ticket, priority: int) -> None:
        self.need(handle)
        self.levels[handle.slot] = priority

    def victim(self) -> int:
        slot = min(self.resting, key=lambda slot: self.levels[slot])
        self.resting.remove(slot)
        return slot

    def evict(self) -> int:
        slot = super().evict()
        self.levels[slot] = 0
        return slot

    def empty(self, slot: int) -> None:
        super().empty(slot)
        self.levels[slot] = 0


class HighestFirst(Ranked):
    def victim(self) -> int:
        slot = max(self.resting, key=lambda slot: self.levels[slot])
        self.resting.remove(slot)
        return slot


class TiesBySlot(Ranked):
    def victim(self) -> int:
        self.resting.sort()
        return super().victim()


class Inherits(Ranked):
    def evict(self) -> int:
        level = self.levels[min(self.resting, key=lambda slot: self.levels[slot])]
        slot = super().evict()
        self.levels[slot] = level
        return slot


class InheritsWhatWasNotPublished(Ranked):
    def empty(self, slot: int) -> None:
        level = self.levels[slot]
        super().empty(slot)
        self.levels[slot] = level


class Listed(ListPool):
    """Looks at all handles of a list before it takes the first."""

    def register_all(self, handles: Sequence[Ticket]) -> list[Ticket]:
        for place, handle in enumerate(handles):
            self.need(handle, "staged")
            if handle in handles[:place]:
                raise SubjectError("StaleHandle")
        return [self.register(handle) for handle in handles]


class OneByOne(Listed):
    def register_all(self, handles: Sequence[Ticket]) -> list[Ticket]:
        return [self.register(handle) for handle in handles]


class TakesTheListAlong(Listed):
    def register_all(self, handles: Sequence[Ticket]) -> list[Ticket]:
        try:
            return super().register_all(handles)
        except SubjectError:
            for handle in {id(each): each for each in handles if each.good}.values():
                self.end(handle)
            raise


class SkipsWhatIsDead(Listed):
    def register_all(self, handles: Sequence[Ticket]) -> list[Ticket]:
        return super().register_all([handle for handle in handles if handle.good])


class TakesAHandleTwice(Listed):
    def register_all(self, handles: Sequence[Ticket]) -> list[Ticket]:
        return super().register_all([*{id(each): each for each in handles}.values()])


class Pinned(ListPool):
    """A pin is a handle that the pool holds itself."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.pins: dict[Key, list[Ticket]] = {}

    def pin(self, keys: Sequence[Key]) -> None:
        if any(key not in self.index for key in keys):
            raise SubjectError("NotFound")
        for key in keys:
            self.pins.setdefault(key, []).append(self.hold(self.index[key]))

    def unpin(self, keys: Sequence[Key]) -> None:
        if any(not self.pins.get(key) for key in keys):
            raise SubjectError("WrongState")
        for key in keys:
            self.release(self.pins[key].pop())


class PinsOnce(Pinned):
    def pin(self, keys: Sequence[Key]) -> None:
        super().pin([key for key in keys if not self.pins.get(key)])


class PinsAreClamped(Pinned):
    def unpin(self, keys: Sequence[Key]) -> None:
        super().unpin([key for key in keys if self.pins.get(key)])


class PinsUpToAMiss(Pinned):
    def pin(self, keys: Sequence[Key]) -> None:
        for key in keys:
            super().pin([key])


class UnpinsUpToAMiss(Pinned):
    def unpin(self, keys: Sequence[Key]) -> None:
        for key in keys:
            super().unpin([key])


class PinsNothing(Pinned):
    def pin(self, keys: Sequence[Key]) -> None:
        super().pin(keys)
        for key in keys:
            self.release(self.pins[key][-1])

    def unpin(self, keys: Sequence[Key]) -> None:
        for key in keys:
            if not self.pins.get(key):
                raise SubjectError("WrongState")
            self.pins[key].pop()


class KeepsPins(Pinned):
    def unpin(self, keys: Sequence[Key]) -> None:
        for key in keys:
            if not self.pins.get(key):
                raise SubjectError("WrongState")
            self.pins[key].pop()


class Cleared(ListPool):
    def evict_all(self) -> int:
        count = len(self.resting)
        while self.resting:
            self.free.append(self.evict())
        return count

    def forget(self, keys: Sequence[Key] | Key) -> list[Key]:
        if isinstance(keys, int):  # the pool's own call, for a victim
            super().forget(keys)
            return []
        done = []
        for key in dict.fromkeys(keys):
            slot = self.index.get(key)
            if slot in self.resting:
                self.resting.remove(slot)
                self.resting.insert(0, slot)
                self.free.append(self.evict())
                done.append(key)
        return done


class ClearsInSilence(Cleared):
    def forget(self, keys: Sequence[Key] | Key) -> list[Key]:
        done = super().forget(keys)
        del self.events[len(self.events) - len(done) :]
        return done


class ClearsAndLeaks(Cleared):
    def evict_all(self) -> int:
        count = super().evict_all()
        del self.free[-count:]
        return count


class ClearsWhatIsHeld(Cleared):
    def forget(self, keys: Sequence[Key]) -> list[Key]:
        held = [key for key in dict.fromkeys(keys) if key in self.index]
        for key in held:
            self.forget_key(key)
        return held

    def forget_key(self, key: Key) -> None:
        self.index.pop(key)
        self.tell("Removed", key)


class ForgetsTheNames(Cleared):
    def evict_all(self) -> int:
        index = dict(self.index)
        count = super().evict_all()
        self.index = index
        return count


RIGHT: tuple[tuple[type[ListPool], str, dict[str, object]], ...] = (
    (Able, "weak references", {}),
    (Able, "numbered events", {}),
    (Able, "callbacks", {}),
    (Able, "counters", {}),
    (Owning, "owners", {"owners": True}),
    (LeavesFirst, "prefix closed", {"prefix_closed": ("lru",)}),
    (ListPool, "", {}),
    (Locked, "threads", {"threads": True}),
    (Patient, "waiting", {}),
    (Growing, "resizing", {}),
    (Shrinking, "resizing", {}),
    (Ranked, "priorities", {"policies": ("priority",)}),
    (Listed, "lists", {}),
    (Pinned, "pins", {}),
    (Cleared, "clearing", {}),
)

BROKEN: tuple[tuple[type[ListPool], str, dict[str, object], str], ...] = (
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
    (TakesAnything, "owners", {"owners": True}, "KV-OWN-02"),
    (SaysStale, "owners", {"owners": True}, "KV-OWN-02"),
    (ListPool, "prefix closed", {"prefix_closed": ("lru",)}, "KV-EVC-04"),
    (LeaksAThread, "", {}, "KV-SHD-03"),
    (LeaksADescriptor, "", {}, "KV-SHD-03"),
    (CutsKeys, "", {}, "KV-REG-03"),
    (LosesNeighbours, "", {}, "KV-REG-01"),
    (GivesTwice, "threads", {"threads": True}, "KV-CON-02"),
    (TwoAreFirst, "threads", {"threads": True}, "KV-CON-02"),
    (GivesTwice, "threads", {"threads": True}, "KV-CON-01"),
    (SmallOnesFirst, "waiting", {}, "KV-LIV-05"),
    (WaitsForFreeSlots, "waiting", {}, "KV-LIV-01"),
    (StaysInTheLine, "waiting", {}, "KV-LIV-01"),
    (HoardsAndForgets, "waiting", {}, "KV-LIF-09"),
    (SilentClose, "waiting", {}, "KV-SHD-04"),
    (WaitsForEver, "waiting", {}, "KV-LIV-01"),
    (OneByOne, "lists", {}, "KV-CAP-08"),
    (TakesTheListAlong, "lists", {}, "KV-CAP-08"),
    (SkipsWhatIsDead, "lists", {}, "KV-LIF-06"),
    (TakesAHandleTwice, "lists", {}, "KV-LIF-06"),
    (PinsNothing, "pins", {}, "KV-EVC-01"),
    (PinsOnce, "pins", {}, "KV-LIF-07"),
    (PinsAreClamped, "pins", {}, "KV-LIF-07"),
    (PinsUpToAMiss, "pins", {}, "KV-LIF-09"),
    (UnpinsUpToAMiss, "pins", {}, "KV-LIF-07"),
    (KeepsPins, "pins", {}, "KV-LIF-09"),
    (ClearsInSilence, "clearing", {}, "KV-EVT-01"),
    (ClearsAndLeaks, "clearing", {}, "KV-CAP-03"),
    (ClearsWhatIsHeld, "clearing", {}, "KV-EVC-01"),
    (ForgetsTheNames, "clearing", {}, "KV-REG-03"),
    (HighestFirst, "priorities", {"policies": ("priority",)}, "KV-EVC-02"),
    (TiesBySlot, "priorities", {"policies": ("priority",)}, "KV-EVC-02"),
    (Inherits, "priorities", {"policies": ("priority",)}, "KV-LIF-04"),
    (InheritsWhatWasNotPublished, "priorities", {"policies": ("priority",)}, "KV-LIF-04"),
    (GrowsToNothing, "resizing", {}, "KV-CAP-09"),
    (StartsAnew, "resizing", {}, "KV-CAP-09"),
    (GrowsTooFar, "resizing", {}, "KV-CAP-09"),
    (DropsWhatIsHeld, "resizing", {}, "KV-CAP-09"),
)


@pytest.mark.parametrize(
    ("pool", "ability", "declared"), RIGHT, ids=[f"{each[0].__name__} {each[1]}" for each in RIGHT]
)
def test_what_is_right_passes(
    pool: type[ListPool], ability: str, declared: dict[str, object]
) -> None:
    assert not failures(pool, ability, **declared)


@pytest.mark.parametrize(
    ("pool", "ability", "declared", "clause"),
    BROKEN,
    ids=[f"{each[0].__name__} {each[3]} {number}" for number, each in enumerate(BROKEN)],
)
def test_what_is_broken_breaks_its_clause(
    pool: type[ListPool],
    ability: str,
    declared: dict[str, object],
    clause: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kvbm_spec.trials.callbacks.PATIENCE", 0.2)
    assert clause in failures(pool, ability, **declared)
    while LeaksADescriptor.leaked:
        LeaksADescriptor.leaked.pop().close()


# ── the frame ─────────────────────────────────────────────────────────────────────────────


def test_names_of_trials_are_unique_and_abilities_and_clauses_exist() -> None:
    names = [trial.name for trial in TRIALS]
    assert len(names) == len({*names})
    known = {*abilities.DECLARED, *abilities.ABILITIES, *abilities.SUBJECT_ABILITIES}
    assert {trial.ability for trial in TRIALS} | {
        c.ability for c in checks.CHECKS.values()
    } <= known
    assert all(clauses.lookup(clause) for trial in TRIALS for clause in trial.clauses)


def test_no_clause_has_two_checks_and_each_check_of_a_trial_has_a_trial() -> None:
    assert not checks.LOCKSTEP.keys() & TRIAL_CHECKS.keys()
    assert {clause for trial in TRIALS for clause in trial.clauses} >= TRIAL_CHECKS.keys()


def test_every_trial_can_be_replayed_by_its_name() -> None:
    subject = ListSubject(HoldsOn)
    trial = next(each for each in TRIALS if each.ability == "weak references")
    (failure,) = trial.run(subject, "smoke").failures.values()
    stored = replayed.write(failure)
    again = replayed.play(subject, stored, "again")
    assert again is not None
    assert [str(line) for line in again.steps] == [str(line) for line in failure.steps]
    assert replayed.play(ListSubject(Able), stored, "again") is None
    with pytest.raises(ValueError, match="no trial 'other'"):
        replayed.play(subject, stored.replace(trial.name, "other"), "again")


def test_a_script_writes_down_what_was_done_and_tells_refusals_from_crashes() -> None:
    subject: Subject = ListSubject()
    script = Script(subject, "KV-LIF-01")
    pool = subject.open(PoolConfig(slots=1), Env())
    handles = script.call("allocate(1)", pool.allocate, 1)
    script.refused("KV-LIF-01", "WrongState", "register(h)", pool.register, handles[0])
    with pytest.raises(Broken, match="KV-LIF-02: register"):
        script.refused("KV-LIF-02", "StaleHandle", "register(h)", pool.register, handles[0])
    with pytest.raises(Broken, match=r"KV-LIF-06: release\(h\) was done"):
        script.refused("KV-LIF-06", "StaleHandle", "release(h)", pool.release, handles[0])
    with pytest.raises(Broken, match="raised what is no refusal"):
        script.call("stage(nothing)", pool.stage, None, 0)
    assert [str(line) for line in script.lines][:2] == [
        "allocate(1) -> 1 handle",
        "register(h) -> WrongState",
    ]
    assert script.lines[-1].wrong


# ── batches ───────────────────────────────────────────────────────────────────────────────


class Pile(list[Ticket]):
    """A batch of the tiny pool."""


class Batched(ListPool):
    """The tiny pool, several blocks at a time."""

    def allocate_batch(self, n: int) -> Pile | None:
        handles = self.allocate(n)
        return None if handles is None else Pile(handles)

    def stage_batch(self, batch: Pile, keys: Sequence[Key], parent: Key | None) -> Pile:
        del parent
        self.check(batch, "mutable")
        return Pile(self.stage(handle, key) for handle, key in zip(batch, keys, strict=True))

    def register_batch(self, batch: Pile) -> Pile:
        self.check(batch, "staged")
        return Pile(self.register(handle) for handle in batch)

    def match_batch(self, keys: Sequence[Key]) -> Pile:
        return Pile(self.match(keys))

    def release_batch(self, batch: Pile) -> None:
        self.check(batch)
        for handle in reversed(batch):
            self.release(handle)

    def check(self, batch: Pile, *states: str) -> None:
        for handle in batch:
            self.need(handle, *states)


class GivesSome(Batched):
    """Gives what there is."""

    def allocate_batch(self, n: int) -> Pile | None:
        return super().allocate_batch(min(n, self.room()))


class FirstGoesFirst(Batched):
    def release_batch(self, batch: Pile) -> None:
        self.check(batch)
        for handle in batch:
            self.release(handle)


class LosesTheLast(Batched):
    def release_batch(self, batch: Pile) -> None:
        super().release_batch(Pile(batch[:-1]) if len(batch) > 1 else batch)


class StopsInTheMiddle(Batched):
    def register_batch(self, batch: Pile) -> Pile:
        self.check(batch, "staged")
        known = [handle for handle in batch if self.slots[handle.slot].key not in self.index]
        return Pile(self.register(handle) for handle in known)


class TakesADeadBatch(Batched):
    def release_batch(self, batch: Pile) -> None:
        for handle in reversed(batch):
            if handle.good:
                self.release(handle)


class MatchesWithGaps(Batched):
    def match_batch(self, keys: Sequence[Key]) -> Pile:
        return Pile(self.scan(keys).values())


class OneEventABatch(Batched):
    def register_batch(self, batch: Pile) -> Pile:
        before = len(self.events)
        registered = super().register_batch(batch)
        del self.events[before + 1 :]
        return registered


class EvictsTooMany(Batched):
    def allocate_batch(self, n: int) -> Pile | None:
        handles = super().allocate_batch(n)
        if n > 1 and self.resting:
            self.free.append(self.evict())
        return handles


def test_a_scene_that_is_stopped_by_a_crash_has_broken_its_first_clause() -> None:
    def play(script: Script) -> None:
        script.reached("a bare call")
        raise ZeroDivisionError

    findings = Scene("a crash", ("KV-LIF-01",), "", play).run(ListSubject(), "smoke")
    assert "ZeroDivisionError" in findings.failures["KV-LIF-01"].verdict.what


def test_a_right_pool_takes_batches_and_all_situations_are_met() -> None:
    subject = ListSubject(Batched)
    trial = next(trial for trial in TRIALS if trial.ability == "batches")
    findings = trial.run(subject, "smoke")
    assert not findings.failures
    assert len([name for name in findings.situations if "batch" in name]) == 5


@pytest.mark.parametrize(
    ("pool", "clauses_"),
    [
        (GivesSome, {"KV-CAP-06", "KV-CAP-08"}),
        (FirstGoesFirst, {"KV-EVC-02"}),
        (LosesTheLast, {"KV-CAP-10", "KV-CAP-06", "KV-EVC-02", "KV-LIF-06"}),
        (StopsInTheMiddle, {"KV-REG-02"}),
        (TakesADeadBatch, {"KV-LIF-06"}),
        (MatchesWithGaps, {"KV-REG-01"}),
        (OneEventABatch, {"KV-EVT-04"}),
        (EvictsTooMany, {"KV-EVT-04"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_batch_is_found_by_a_short_program(
    pool: type[ListPool], clauses_: set[str]
) -> None:
    subject = ListSubject(pool)
    trial = next(trial for trial in TRIALS if trial.ability == "batches")
    (failure,) = trial.run(subject, "smoke").failures.values()
    assert failure.clause in clauses_, failure.verdict
    assert len(failure.program) <= 6
    stored = replayed.write(failure)
    again = replayed.play(subject, stored, "again")
    assert again is not None
    assert again.clause == failure.clause
    assert replayed.play(ListSubject(Batched), stored, "again") is None
