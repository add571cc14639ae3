"""Batches: several blocks in one call, right and wrong."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from kvbm_spec import replayed
from kvbm_spec.subject import Key
from kvbm_spec.trials import TRIALS
from list_pool import ListPool, ListSubject, Ticket


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
