"""A naive pool, as one writes it in an afternoon, and its adapter. Its mistakes are on purpose.

What this is
    The code of `docs/conformance/tutorial.md`, before anything is mended. Each mistake was
    reported of a real system.

Interface, as rules of use
    * `Naive` is the subject: `python -m kvbm_spec run subjects.naive:Naive`.
    * A handle is the number of a slot, and the caller is trusted to use it once.
    * The page and this file are compared by a test: change both.

Clauses: KV-LIF-06, KV-REG-02, KV-REG-03, KV-CAP-06
"""

# An example stays bare: what its names do not say, the page does.
# ruff: noqa: ARG002, D101, D102

from __future__ import annotations

from collections.abc import Sequence

from kvbm_spec.subject import Capabilities, Env, Event, Key, PoolConfig


class NaivePool:
    def __init__(self, slots: int) -> None:
        self.free = list(range(slots))
        self.refs = [0] * slots  # holders of each slot
        self.slot_of: dict[Key, int] = {}
        self.key_of: dict[int, Key] = {}
        self.waiting: list[int] = []  # cached, and held by nobody; the oldest first

    def alloc(self, n: int) -> list[int] | None:
        if n > len(self.free) + len(self.waiting):
            return None
        while len(self.free) < n:
            self.evict()
        taken, self.free = self.free[:n], self.free[n:]
        for slot in taken:
            self.refs[slot] = 1
        return taken

    def evict(self) -> None:
        slot = self.waiting.pop(0)
        del self.key_of[slot]
        self.free.append(slot)

    def cache(self, slot: int, key: Key) -> int:
        self.slot_of[key] = slot
        self.key_of[slot] = key
        return slot

    def lookup(self, keys: Sequence[Key]) -> list[int]:
        hits = []
        for key in keys:
            if key not in self.slot_of:
                break
            slot = self.slot_of[key]
            self.refs[slot] += 1
            hits.append(slot)
        return hits

    def release(self, slot: int) -> None:
        self.refs[slot] = max(0, self.refs[slot] - 1)
        if self.refs[slot] == 0 and slot in self.key_of:
            self.waiting.append(slot)
        elif self.refs[slot] == 0:
            self.free.append(slot)


class Naive:
    name, version, spec_version = "naive", "0.1", "1.0"

    def capabilities(self) -> Capabilities:
        return Capabilities(policies=("lru",), duplicates=("reject",), events=False)

    def open(self, config: PoolConfig, env: Env) -> Adapter:
        return Adapter(NaivePool(config.slots))


class Adapter:
    def __init__(self, pool: NaivePool) -> None:
        self.pool = pool
        self.staged: dict[int, Key] = {}  # the pool learns a key when it caches the block

    def allocate(self, n: int) -> list[int] | None:
        return self.pool.alloc(n)

    def stage(self, slot: int, key: Key, parent: Key | None = None) -> int:
        self.staged[slot] = key
        return slot

    def register(self, slot: int) -> int:
        return self.pool.cache(slot, self.staged.pop(slot))

    def match(self, keys: Sequence[Key]) -> list[int]:
        return self.pool.lookup(keys)

    def scan(self, keys: Sequence[Key]) -> dict[Key, int]:
        return {key: slot for key in keys for slot in self.pool.lookup([key])}

    def release(self, slot: int) -> None:
        self.staged.pop(slot, None)
        self.pool.release(slot)

    def reset(self, slot: int) -> int:
        self.staged.pop(slot, None)
        return slot

    def drain_events(self) -> list[Event]:
        return []  # `events` is not declared

    def close(self) -> None:
        pass
