"""The tiny pool with more abilities: what trials that look on are tried on."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kvbm_spec.subject import Key
from list_pool import ListPool, Ticket


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
