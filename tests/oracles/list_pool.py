"""A tiny pool that is right: what mutants are made of, and a subject to try the suite on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kvbm_spec.subject import Capabilities, Env, Event, Key, PoolConfig, SubjectError


@dataclass
class Slot:
    """One place. `users` are live handles."""

    state: str = "free"
    key: Key | None = None
    users: list[Ticket] = field(default_factory=list)
    data: bytes = bytes(8)


@dataclass(eq=False)
class Ticket:
    """A handle: it knows its slot, and whether it is still good."""

    slot: int
    good: bool = True
    home: object = None


class ListPool:
    """A whole pool in lists and dicts, least recently used first."""

    def __init__(self, total: int) -> None:
        self.slots = [Slot() for _ in range(total)]
        self.free = list(range(total))
        self.resting: list[int] = []
        self.index: dict[Key, int] = {}
        self.events: list[Event] = []
        self.open = True

    # ── the calls ─────────────────────────────────────────────────────────────────────────

    def allocate(self, n: int) -> list[Ticket] | None:
        if not self.open:
            raise SubjectError("Closed")
        if n > self.room():
            return None
        taken = [self.next_slot() for _ in range(n)]
        for slot in taken:
            self.slots[slot].state = "mutable"
        return [self.ticket(slot) for slot in taken]

    def stage(self, handle: Ticket, key: Key, parent: Key | None = None) -> Ticket:
        del parent
        slot = self.need(handle, "mutable")
        slot.state, slot.key = "staged", key
        return self.exchange(handle)

    def register(self, handle: Ticket) -> Ticket:
        slot = self.need(handle, "staged")
        primary = self.index.get(slot.key)
        if primary is not None:
            self.end(handle)
            self.empty(handle.slot)
            return self.hold(primary)
        slot.state = "active"
        self.index[slot.key] = handle.slot
        self.tell("Stored", slot.key)
        return self.exchange(handle)

    def match(self, keys: Sequence[Key]) -> list[Ticket]:
        hits = []
        for key in keys:
            if key not in self.index:
                break
            hits.append(self.index[key])
        return [self.hold(slot) for slot in hits]

    def scan(self, keys: Sequence[Key]) -> dict[Key, Ticket]:
        return {key: self.hold(self.index[key]) for key in keys if key in self.index}

    def release(self, handle: Ticket) -> None:
        slot = self.need(handle)
        self.end(handle)
        if slot.users:
            return
        if slot.state == "active":
            self.rest(handle.slot)
        else:
            self.empty(handle.slot)

    def reset(self, handle: Ticket) -> Ticket:
        slot = self.need(handle, "mutable", "staged")
        slot.state, slot.key = "mutable", None
        return self.exchange(handle)

    def drain_events(self) -> list[Event]:
        events, self.events = self.events, []
        return events

    def close(self) -> None:
        self.open = False

    def write(self, handle: Ticket, data: bytes) -> None:
        self.need(handle, "mutable", "staged").data = data

    def read(self, handle: Ticket) -> bytes:
        return self.need(handle).data

    # ── the parts ─────────────────────────────────────────────────────────────────────────

    def room(self) -> int:
        return len(self.free) + len(self.resting)

    def next_slot(self) -> int:
        return self.free.pop(0) if self.free else self.evict()

    def victim(self) -> int:
        return self.resting.pop(0)

    def evict(self) -> int:
        slot = self.victim()
        key = self.slots[slot].key
        self.forget(key)
        self.tell("Removed", key)
        self.slots[slot] = Slot()
        return slot

    def forget(self, key: Key) -> None:
        del self.index[key]

    def empty(self, slot: int) -> None:
        self.slots[slot] = Slot()
        self.free.append(slot)

    def rest(self, slot: int) -> None:
        self.slots[slot].state = "inactive"
        self.resting.append(slot)

    def wake(self, slot: int) -> None:
        if slot in self.resting:
            self.resting.remove(slot)
        self.slots[slot].state = "active"

    def hold(self, slot: int) -> Ticket:
        self.wake(slot)
        return self.ticket(slot)

    def ticket(self, slot: int) -> Ticket:
        ticket = Ticket(slot)
        self.slots[slot].users.append(ticket)
        return ticket

    def exchange(self, handle: Ticket) -> Ticket:
        self.end(handle)
        return self.ticket(handle.slot)

    def end(self, handle: Ticket) -> None:
        handle.good = False
        self.slots[handle.slot].users.remove(handle)

    def need(self, handle: Ticket, *states: str) -> Slot:
        if not handle.good:
            raise SubjectError("StaleHandle")
        slot = self.slots[handle.slot]
        if states and slot.state not in states:
            raise SubjectError("WrongState")
        return slot

    def tell(self, kind: str, key: Key | None) -> None:
        self.events.append(Event(kind, key))


class ListSubject:
    """`pool` as a subject."""

    name, version, spec_version = "list", "1", "1.0"

    def __init__(self, pool: type[ListPool] = ListPool, **declared: object) -> None:
        self.pool = pool
        usual = {"policies": ("lru",), "duplicates": ("reject",)}
        self.declared = Capabilities(**{**usual, **declared})

    def capabilities(self) -> Capabilities:
        return self.declared

    def open(self, config: PoolConfig, env: Env) -> ListPool:
        del env
        return self.pool(config.slots)
