"""A naive pool, as one writes it in an afternoon, and its adapter. Its mistakes are on purpose.

What this is
    The pool of `docs/conformance/tutorial.md`, where the suite finds what is wrong with it.
    Each mistake was reported of a real system. Copy the second half; beware of the first.

Interface, as rules of use
    * `Naive` is the subject: `python -m kvbm_spec run subjects.naive:Naive`.
    * A handle is the number of a slot, and the caller is trusted to use it once.

Clauses: KV-LIF-06, KV-REG-02, KV-REG-03, KV-CAP-06
"""

from __future__ import annotations

from collections.abc import Sequence

from kvbm_spec.subject import Capabilities, Env, Event, Key, PoolConfig


class NaivePool:
    """Slots by number: some free, some held, some cached and waiting."""

    def __init__(self, slots: int) -> None:
        self.free = list(range(slots))
        self.refs = [0] * slots
        self.slot_of: dict[Key, int] = {}
        self.key_of: dict[int, Key] = {}
        self.waiting: list[int] = []  # cached, and held by nobody; the oldest first

    def alloc(self, n: int) -> list[int] | None:
        """Take free slots, and evict for the rest."""
        if n > len(self.free) + len(self.waiting):
            return None
        while len(self.free) < n:
            self.evict()
        taken, self.free = self.free[:n], self.free[n:]
        for slot in taken:
            self.refs[slot] = 1
        return taken

    def evict(self) -> None:
        """Forget the block that has waited longest."""
        slot = self.waiting.pop(0)
        del self.key_of[slot]
        self.free.append(slot)

    def cache(self, slot: int, key: Key) -> int:
        """Let others find a block."""
        self.slot_of[key] = slot
        self.key_of[slot] = key
        return slot

    def lookup(self, keys: Sequence[Key]) -> list[int]:
        """Hold the longest cached prefix."""
        hits = []
        for key in keys:
            if key not in self.slot_of:
                break
            slot = self.slot_of[key]
            self.refs[slot] += 1
            hits.append(slot)
        return hits

    def release(self, slot: int) -> None:
        """Let go of a block; it waits if it is cached."""
        self.refs[slot] = max(0, self.refs[slot] - 1)
        if self.refs[slot] == 0 and slot in self.key_of:
            self.waiting.append(slot)
        elif self.refs[slot] == 0:
            self.free.append(slot)


class Naive:
    """What the pool is called, and what it can do."""

    name, version, spec_version = "naive", "0.1", "1.0"

    def capabilities(self) -> Capabilities:
        """Declare what there is."""
        return Capabilities(policies=("lru",), duplicates=("reject",), events=False)

    def open(self, config: PoolConfig, env: Env) -> Adapter:
        """Make an empty pool."""
        del env
        return Adapter(NaivePool(config.slots))


class Adapter:
    """The words of the suite, said to the pool."""

    def __init__(self, pool: NaivePool) -> None:
        self.pool = pool
        self.keys: dict[int, Key] = {}  # slot -> the key that its writer has in mind

    def allocate(self, n: int) -> list[int] | None:
        """Take blocks to write."""
        return self.pool.alloc(n)

    def stage(self, slot: int, key: Key, parent: Key | None = None) -> int:
        """Name a block; the pool is told later."""
        del parent
        self.keys[slot] = key
        return slot

    def register(self, slot: int) -> int:
        """Publish a block."""
        return self.pool.cache(slot, self.keys.pop(slot))

    def match(self, keys: Sequence[Key]) -> list[int]:
        """Hold the longest prefix."""
        return self.pool.lookup(keys)

    def scan(self, keys: Sequence[Key]) -> dict[Key, int]:
        """Hold each that is there."""
        return {key: slot for key in keys for slot in self.pool.lookup([key])}

    def release(self, slot: int) -> None:
        """Let go."""
        self.keys.pop(slot, None)
        self.pool.release(slot)

    def reset(self, slot: int) -> int:
        """Throw the content away."""
        self.keys.pop(slot, None)
        return slot

    def drain_events(self) -> list[Event]:
        """Tell nothing: `events` is not declared."""
        return []

    def close(self) -> None:
        """End: there is nothing to do."""
