"""Owners, prefixes, closing, crowds and threads: who else there is, right and wrong."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from able_pool import Locked
from kvbm_spec.subject import Key, SubjectError
from list_pool import ListPool, Ticket
from trying import Declared, failures, named


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


class UsedGoesFirst(LeavesFirst):
    """Evicts leaves only, but what was looked for alone goes before them."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.used: set[Key] = set()

    def scan(self, keys: Sequence[Key]) -> dict[Key, Ticket]:
        self.used.update(keys)
        return super().scan(keys)

    def victim(self) -> int:
        used = [slot for slot in self.resting if self.slots[slot].key in self.used]
        if not used or len(self.used) > 1:
            return super().victim()
        self.resting.remove(used[0])
        return used[0]


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


class GivesUp(Locked):
    """Says that there is nothing when somebody else is at work."""

    def allocate(self, n: int) -> list[Ticket] | None:
        if not self.lock.acquire(blocking=False):
            return None
        self.lock.release()
        return super().allocate(n)

    def release(self, handle: Ticket) -> None:
        with self.lock:
            threading.Event().wait(0.001)
            ListPool.release(self, handle)


class TwoAreFirst(Locked):
    """Asks who is there, and registers a little later."""

    def register(self, handle: Ticket) -> Ticket:
        if self.slots[handle.slot].key in self.index:
            return super().register(handle)
        threading.Event().wait(0.001)
        with self.lock:
            self.index.pop(self.slots[handle.slot].key, None)
            return ListPool.register(self, handle)


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


RIGHT: tuple[tuple[type[ListPool], str, Declared], ...] = (
    (Owning, "owners", {"owners": True}),
    (LeavesFirst, "prefix closed", {"prefix_closed": ("lru",)}),
    (ListPool, "", {}),
    (Locked, "threads", {"threads": True}),
)

BROKEN: tuple[tuple[type[ListPool], str, Declared, str], ...] = (
    (TakesAnything, "owners", {"owners": True}, "KV-OWN-02"),
    (SaysStale, "owners", {"owners": True}, "KV-OWN-02"),
    (ListPool, "prefix closed", {"prefix_closed": ("lru",)}, "KV-EVC-04"),
    (UsedGoesFirst, "prefix closed", {"prefix_closed": ("lru",)}, "KV-EVC-04"),
    (LeaksAThread, "", {}, "KV-SHD-03"),
    (LeaksADescriptor, "", {}, "KV-SHD-03"),
    (CutsKeys, "", {}, "KV-REG-03"),
    (LosesNeighbours, "", {}, "KV-REG-01"),
    (GivesTwice, "threads", {"threads": True}, "KV-CON-02"),
    (TwoAreFirst, "threads", {"threads": True}, "KV-CON-02"),
    (GivesTwice, "threads", {"threads": True}, "KV-CON-01"),
    (GivesUp, "threads", {"threads": True}, "KV-CON-01"),
)


@pytest.mark.parametrize(("pool", "ability", "declared"), RIGHT, ids=named(RIGHT))
def test_what_is_right_passes(pool: type[ListPool], ability: str, declared: Declared) -> None:
    assert not failures(pool, ability, declared)


@pytest.mark.parametrize(("pool", "ability", "declared", "clause"), BROKEN, ids=named(BROKEN))
def test_what_is_broken_breaks_its_clause(
    pool: type[ListPool], ability: str, declared: Declared, clause: str
) -> None:
    assert clause in failures(pool, ability, declared)
    while LeaksADescriptor.leaked:
        LeaksADescriptor.leaked.pop().close()
