"""The suite kills what is broken: a tiny right pool, and ways to break it, one a mutant.

Each mutant says which clause must be named, and `SEEN` which of them need a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from kvbm_spec.explore import Findings, explore, replay
from kvbm_spec.moves import Scope
from kvbm_spec.subject import Key, PoolConfig, PoolSnapshot, SlotView
from list_pool import ListPool, ListSubject, Slot, Ticket


class Seen(ListPool):
    """The same, with its inside shown."""

    def snapshot(self) -> PoolSnapshot:
        return PoolSnapshot(
            slots=tuple(SlotView(s.state, s.key, len(s.users)) for s in self.slots),
            registry=dict(self.index),
            free=tuple(self.free),
            inactive=tuple(self.resting),
            available=len(self.free) + len(self.resting),
        )


# ── the zoo ───────────────────────────────────────────────────────────────────────────────


def double_free_is_accepted(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def release(self, handle: Ticket) -> None:
            if handle.good:
                super().release(handle)

    return Mutant


def a_dead_handle_still_registers(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def need(self, handle: Ticket, *states: str) -> Slot:
            slot = self.slots[handle.slot]
            if not handle.good and states == ("mutable",) and slot.users:
                handle = slot.users[0]
            return super().need(handle, *states)

        def end(self, handle: Ticket) -> None:
            users = self.slots[handle.slot].users
            if handle in users:
                super().end(handle)
            elif users:
                super().end(users[0])

    return Mutant


def an_evicted_key_still_matches(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def forget(self, key: Key) -> None:
            pass

    return Mutant


def the_newest_is_evicted(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def victim(self) -> int:
            return self.resting.pop()

    return Mutant


def everything_is_evicted(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def evict(self) -> int:
            slot = super().evict()
            while self.resting:
                self.free.append(super().evict())
            return slot

    return Mutant


def a_held_block_is_evicted(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def wake(self, slot: int) -> None:
            self.slots[slot].state = "active"  # and it stays in the order of eviction

        def victim(self) -> int:
            slot = super().victim()
            for user in self.slots[slot].users:
                user.good = False
            return slot

    return Mutant


def eviction_is_not_told(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def tell(self, kind: str, key: Key | None) -> None:
            if kind == "Stored":
                super().tell(kind, key)

    return Mutant


def storing_is_told_twice(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def tell(self, kind: str, key: Key | None) -> None:
            super().tell(kind, key)
            if kind == "Stored":
                super().tell(kind, key)

    return Mutant


def storing_is_not_told(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def tell(self, kind: str, key: Key | None) -> None:
            if kind == "Removed":
                super().tell(kind, key)

    return Mutant


def the_cache_goes_before_free_slots(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def next_slot(self) -> int:
            return self.evict() if self.resting else self.free.pop(0)

    return Mutant


def a_second_block_takes_the_key_over(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def register(self, handle: Ticket) -> Ticket:
            self.index.pop(self.need(handle, "staged").key, None)
            return super().register(handle)

    return Mutant


def a_duplicate_leaks_its_slot(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def empty(self, slot: int) -> None:
            if self.slots[slot].state != "staged":
                super().empty(slot)

    return Mutant


def a_match_jumps_over_a_miss(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def match(self, keys: Sequence[Key]) -> list[Ticket]:
            return list(self.scan(keys).values())

    return Mutant


def a_free_slot_remembers_its_key(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def empty(self, slot: int) -> None:
            self.slots[slot].state, self.slots[slot].users = "free", []
            self.free.append(slot)

    return Mutant


def the_owner_keeps_writing(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def write(self, handle: Ticket, data: bytes) -> None:
            self.need(handle).data = data

    return Mutant


def a_staged_block_matches(base: type[ListPool]) -> type[ListPool]:
    class Mutant(base):
        def reset(self, handle: Ticket) -> Ticket:
            slot = self.need(handle, "mutable", "staged")
            if slot.state == "staged" and slot.key not in self.index:
                self.index[slot.key] = handle.slot
            return super().reset(handle)

    return Mutant


ZOO: dict[Callable[[type[ListPool]], type[ListPool]], set[str]] = {
    double_free_is_accepted: {"KV-LIF-06"},
    a_dead_handle_still_registers: {"KV-LIF-02"},
    an_evicted_key_still_matches: {"KV-REG-03", "KV-REG-04"},
    the_newest_is_evicted: {"KV-EVC-02"},
    everything_is_evicted: {"KV-EVC-06"},
    a_held_block_is_evicted: {"KV-EVC-01", "KV-CAP-02"},
    eviction_is_not_told: {"KV-EVT-04"},
    storing_is_told_twice: {"KV-EVT-02"},
    storing_is_not_told: {"KV-EVT-01"},
    the_cache_goes_before_free_slots: {"KV-EVC-05"},
    a_second_block_takes_the_key_over: {"KV-EVT-02"},
    a_duplicate_leaks_its_slot: {"KV-CAP-03"},
    a_match_jumps_over_a_miss: {"KV-REG-01"},
    the_owner_keeps_writing: {"KV-OWN-05"},
    a_staged_block_matches: {"KV-LIF-08", "KV-REG-04"},
}
"""Each mutant, with the clauses of which one must be named."""


CONFIG = PoolConfig(slots=2)


def search(pool: type[ListPool], depth: int | None = None) -> Findings:
    return explore(ListSubject(pool), CONFIG, Scope(slots=2, depth=depth))


def test_the_tiny_pool_is_right() -> None:
    findings = search(Seen)
    assert not findings.failures
    assert findings.states > 80


def test_the_tiny_pool_is_right_from_outside() -> None:
    assert not from_outside(ListPool).failures


@pytest.mark.parametrize("break_it", ZOO, ids=lambda break_it: break_it.__name__)
def test_every_mutant_is_killed_by_a_short_history_that_others_pass(
    break_it: Callable[[type[ListPool]], type[ListPool]],
) -> None:
    failures = search(break_it(Seen)).failures
    named = ZOO[break_it] & failures.keys()
    assert named, {clause: failure.verdict.what for clause, failure in failures.items()}
    for clause in named:
        failure = failures[clause]
        assert len(failure.steps) <= 14
        ops = [step.op for step in failure.steps]
        again, _ = replay(ListSubject(break_it(Seen)), CONFIG, ops)
        assert again is not None
        assert again.clause == clause
        assert replay(ListSubject(Seen), CONFIG, ops)[0] is None


def from_outside(pool: type[ListPool]) -> Findings:
    """Search as the smoke profile does: all short histories, and four to each state."""
    findings = search(pool, depth=4)
    if not findings.failures:
        findings = explore(ListSubject(pool), PoolConfig(slots=3), Scope(slots=3))
    return findings


@pytest.mark.parametrize("break_it", ZOO, ids=lambda break_it: break_it.__name__)
def test_every_mutant_is_killed_from_outside(
    break_it: Callable[[type[ListPool]], type[ListPool]],
) -> None:
    assert from_outside(break_it(ListPool)).failures


def test_what_nobody_reads_is_seen_by_a_snapshot_alone() -> None:
    """KV-LIF-04: no call can tell, for the key of a free slot is overwritten before use."""
    assert not from_outside(a_free_slot_remembers_its_key(ListPool)).failures
    assert "KV-LIF-04" in search(a_free_slot_remembers_its_key(Seen), depth=4).failures
