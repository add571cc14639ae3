"""Priorities, lists, pins and clearing: what is kept and what goes, right and wrong."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from kvbm_spec.subject import Key, SubjectError
from list_pool import ListPool, Ticket
from trying import Declared, failures, named


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


RIGHT: tuple[tuple[type[ListPool], str, Declared], ...] = (
    (Ranked, "priorities", {"policies": ("priority",)}),
    (Listed, "lists", {}),
    (Pinned, "pins", {}),
    (Cleared, "clearing", {}),
)

BROKEN: tuple[tuple[type[ListPool], str, Declared, str], ...] = (
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
)


@pytest.mark.parametrize(("pool", "ability", "declared"), RIGHT, ids=named(RIGHT))
def test_what_is_right_passes(pool: type[ListPool], ability: str, declared: Declared) -> None:
    assert not failures(pool, ability, declared)


@pytest.mark.parametrize(("pool", "ability", "declared", "clause"), BROKEN, ids=named(BROKEN))
def test_what_is_broken_breaks_its_clause(
    pool: type[ListPool], ability: str, declared: Declared, clause: str
) -> None:
    assert clause in failures(pool, ability, declared)
