"""The trials of tiers pass tiny tiers that are right, and kill those that are broken."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from kvbm_spec import replayed
from kvbm_spec.checks import CHECKS
from kvbm_spec.explore import Findings
from kvbm_spec.subject import Key, SubjectError
from kvbm_spec.tiers import PENDING, Tiered
from kvbm_spec.trials import copies, failing, racing
from list_pool import ListSubject, Slot, Ticket
from list_tiers import ListTiers, Move, Request, TiersSubject

from kvbm.cli.subject import KvbmSubject

MODULES = (copies, racing, failing)
TRIALS = [trial for module in MODULES for trial in module.TRIALS]
CLAUSES = {clause: check for module in MODULES for clause, check in module.CHECKS.items()}

MUTANTS: list[tuple[type[ListTiers], tuple[str, ...]]] = []


def breaks(*clauses: str) -> Callable[[type[ListTiers]], type[ListTiers]]:
    """Note that a class breaks these clauses."""

    def note(broken: type[ListTiers]) -> type[ListTiers]:
        MUTANTS.append((broken, clauses))
        return broken

    return note


def findings(subject: object, effort: str = "ci") -> Findings:
    found = Findings()
    for trial in TRIALS:
        found.merge(trial.run(subject, effort))
    return found


# ── who is right ──────────────────────────────────────────────────────────────────────────


class Queueing(ListTiers):
    """One offload at a time; the others wait, and hold nothing."""

    def __init__(self, slots) -> None:
        super().__init__(slots)
        self.queue: list[tuple[Request, Key, str, str, int]] = []

    def send(self, request: Request, key: Key, source: str, target: str) -> str:
        if target == self.fast or not self.moves:
            return super().send(request, key, source, target)
        slot = self.pools[source].index.get(key, 0)
        self.queue.append((request, key, source, target, slot))
        return PENDING

    def end(self, move: Move, outcome: str) -> None:
        super().end(move, outcome)
        while self.queue and not self.moves:
            request, key, source, target, slot = self.queue.pop(0)
            if request.states[key] == PENDING:
                state = self.start(request, key, source, target, slot)
                request.states[key] = state if self.open else "cancelled"

    def start(self, request: Request, key: Key, source: str, target: str, slot: int) -> str:
        del slot
        return super().send(request, key, source, target) if self.open else "cancelled"

    def close(self, timeout: float) -> list[str]:
        for request, key, *_ in self.queue:
            if request.states[key] == PENDING:
                request.states[key] = "cancelled"
        self.queue.clear()
        return super().close(timeout)


class Moving(ListTiers):
    """A block leaves its source in the step in which it arrives."""

    def end(self, move: Move, outcome: str) -> None:
        super().end(move, outcome)
        if outcome == "completed":
            self.miss(move.source, move.key)


class Loading(ListTiers):
    """Each load is a copy of its own."""

    def under_way(self, key: Key, target: str) -> Move | None:
        return None if target == self.fast else super().under_way(key, target)


class Unchecked(ListTiers):
    """No checksums, and it says so."""

    def corrupt(self, tier: str, key: Key) -> None:
        del tier, key
        raise SubjectError("Unsupported")


# ── who is not ────────────────────────────────────────────────────────────────────────────


@breaks("KV-TIR-01")
class VisibleAtOnce(ListTiers):
    def send(self, request: Request, key: Key, source: str, target: str) -> str:
        before = len(self.moves)
        state = super().send(request, key, source, target)
        for move in self.moves[before:]:
            pool = self.pools[target]
            move.goal = pool.register(pool.stage(move.goal, key))
        return state

    def publish(self, move: Move) -> Ticket:
        return move.goal


@breaks("KV-TIR-02")
class TargetIsFree(ListTiers):
    def send(self, request: Request, key: Key, source: str, target: str) -> str:
        before = len(self.moves)
        state = super().send(request, key, source, target)
        for move in self.moves[before:]:
            self.pools[target].free.append(move.goal.slot)
        return state


@breaks("KV-TIR-02", "KV-TIR-04")
class SourceIsEvictable(ListTiers):
    def send(self, request: Request, key: Key, source: str, target: str) -> str:
        before = len(self.moves)
        state = super().send(request, key, source, target)
        for move in self.moves[before:]:
            self.pools[source].release(move.origin)
        return state

    def let_go(self, move: Move) -> None:
        pass


@breaks("KV-TIR-02")
class AbortFreesTheTarget(ListTiers):
    def cancel(self, ticket: Request) -> None:
        super().cancel(ticket)
        for move in self.moves:
            if ticket in move.waiters:
                self.pools[move.target].free.append(move.goal.slot)


@breaks("KV-TIR-03")
class GoneBeforeItArrives(ListTiers):
    def send(self, request: Request, key: Key, source: str, target: str) -> str:
        before = len(self.moves)
        state = super().send(request, key, source, target)
        if len(self.moves) > before and target != self.fast:
            self.pools[source].forget(key)
            self.pools[source].tell("Removed", key)
        return state


@breaks("KV-REG-09")
class FailedIsLoaded(ListTiers):
    def fail(self, index: int, *, short: bool) -> None:
        if short:
            super().fail(index, short=True)
        else:
            self.end(self.moves[index], "completed")


@breaks("KV-TIR-05")
class ShortIsComplete(ListTiers):
    def fail(self, index: int, *, short: bool) -> None:
        if not short:
            super().fail(index, short=False)
            return
        self.begin(index)
        self.end(self.moves[index], "completed")


@breaks("KV-TIR-05")
class SaysCompleted(ListTiers):
    def tell(self, move: Move, outcome: str) -> None:
        offload = move.target != self.fast
        super().tell(move, "completed" if offload and outcome == "failed" else outcome)


@breaks("KV-TIR-05")
class OnlyTheFirstIsTold(ListTiers):
    def tell(self, move: Move, outcome: str) -> None:
        if outcome == "failed":
            move.waiters = move.waiters[:1]
        super().tell(move, outcome)


@breaks("KV-TIR-05", "KV-CAP-08")
class FailedLeaksItsSlot(ListTiers):
    def end(self, move: Move, outcome: str) -> None:
        if outcome == "failed":
            self.pools[move.target].ticket(move.goal.slot)
        super().end(move, outcome)


@breaks("KV-CAP-08")
class OneOfSeveralLeaks(ListTiers):
    def end(self, move: Move, outcome: str) -> None:
        if outcome == "failed" and len(move.waiters[0].keys) > 1:
            self.pools[move.target].ticket(move.goal.slot)
        super().end(move, outcome)


@breaks("KV-TIR-06")
class FailedLoadStaysAHit(ListTiers):
    def miss(self, tier: str, key: Key) -> None:
        pass


@breaks("KV-LIV-02")
class TriesForEver(ListTiers):
    def fail(self, index: int, *, short: bool) -> None:
        move = self.moves[index]
        if move.target == self.fast:
            move.begun = False
        else:
            super().fail(index, short=short)


@breaks("KV-TIR-07", "KV-CON-02")
class TwoPrimaries(Loading):
    def publish(self, move: Move) -> Ticket:
        self.pools[move.target].index.pop(move.key, None)
        return super().publish(move)


@breaks("KV-TIR-07")
class TheSecondLoadFails(ListTiers):
    def under_way(self, key: Key, target: str) -> Move | None:
        same = super().under_way(key, target)
        if same is not None and target == self.fast:
            same = Move(key, "", target, same.origin, same.goal, [])
        return same


@breaks("KV-TIR-08", "KV-INT-01")
class ComesBackOtherwise(ListTiers):
    def put(self, move: Move, data: bytes) -> None:
        super().put(move, data[::-1] if move.target == self.fast else data)


@breaks("KV-TIR-10")
class ArrivesAtTheCostOfAnother(ListTiers):
    def publish(self, move: Move) -> Ticket:
        for key in [key for key in self.pools[move.target].index if move.target != self.fast]:
            self.miss(move.target, key)
        return super().publish(move)


@breaks("KV-INT-02")
class WritesInPlace(ListTiers):
    def onboard(self, keys) -> Request:
        request = super().onboard(keys)
        key = keys[0]
        if key in request.holds and self.hit("G2", key) and not self.under_way(key, self.fast):
            again = Move(key, "G2", self.fast, self.take("G2", key), self.take(self.fast, key), [])
            self.moves.append(again)
        return request

    def publish(self, move: Move) -> Ticket:
        here = self.pools[move.target].index.get(move.key) == move.goal.slot
        return move.goal if here else super().publish(move)


@breaks("KV-INT-03")
class ComparesNoChecksum(ListTiers):
    def sound(self, move: Move) -> bool:
        del move
        return True


@breaks("KV-INT-04")
class CorruptStays(ListTiers):
    def finish(self, index: int) -> None:
        self.finishing = True
        super().finish(index)
        self.finishing = False

    def miss(self, tier: str, key: Key) -> None:
        if not self.finishing:
            super().miss(tier, key)

    finishing = False


@breaks("KV-INT-04")
class QuarantineIsNotTold(ListTiers):
    def miss(self, tier: str, key: Key) -> None:
        super().miss(tier, key)
        pool = self.pools[tier]
        pool.events = [event for event in pool.events if event.kind != "Removed"]


@breaks("KV-EVT-01")
class TheSecondTierIsSilent(ListTiers):
    def publish(self, move: Move) -> Ticket:
        pool = self.pools[move.target]
        told, held = list(pool.events), super().publish(move)
        if move.target != self.fast:
            pool.events = told
        return held


@breaks("KV-CAP-01")
class HasOneMoreSlot(ListTiers):
    def send(self, request: Request, key: Key, source: str, target: str) -> str:
        state = super().send(request, key, source, target)
        if state == "no_capacity":
            pool = self.pools[target]
            pool.slots.append(Slot())
            pool.free.append(len(pool.slots) - 1)
            state = super().send(request, key, source, target)
        return state


@breaks("KV-CAP-03")
class TakesTwoForOne(ListTiers):
    def send(self, request: Request, key: Key, source: str, target: str) -> str:
        before = len(self.moves)
        state = super().send(request, key, source, target)
        for move in self.moves[before:]:
            move.spare = self.pools[target].allocate(1)
        return state

    def end(self, move: Move, outcome: str) -> None:
        for spare in move.spare or ():
            self.pools[move.target].release(spare)
        super().end(move, outcome)


@breaks("KV-CAP-10")
class OffloadTwiceLeaks(ListTiers):
    def send(self, request: Request, key: Key, source: str, target: str) -> str:
        state = super().send(request, key, source, target)
        if state == "filtered":
            self.take(source, key)
        return state


@breaks("KV-CAP-10")
class NoRoomLeaksTheSource(ListTiers):
    def refuse(self, source: str, origin: Ticket) -> str:
        del source, origin
        return "no_capacity"


@breaks("KV-CAP-10")
class CancelLeaksAHold(ListTiers):
    def tell(self, move: Move, outcome: str) -> None:
        super().tell(move, outcome)
        for request in move.waiters:
            if request.states[move.key] == "cancelled" and outcome == "completed":
                self.take(move.target, move.key)


@breaks("KV-OWN-04")
class EvictsItsOwnPrefix(ListTiers):
    def onboard(self, keys) -> Request:
        kept, request = self.pools[self.fast].index, Request(tuple(keys))
        request.states = dict.fromkeys(keys, "evicted")
        for key in [key for key in keys if key not in kept and self.hit("G2", key)]:
            request.states[key] = self.send(request, key, "G2", self.fast)
        for key in [key for key in keys if key in kept]:
            request.states[key] = "completed"
            request.holds[key] = self.take(self.fast, key)
        return request


@breaks("KV-CON-04")
class CopiesTheNextTenant(Queueing):
    def start(self, request: Request, key: Key, source: str, target: str, slot: int) -> str:
        pool = self.pools[source]
        if not self.hit(source, key) and pool.slots[slot].state in ("active", "inactive"):
            goal = self.pools[target].allocate(1)
            self.moves.append(Move(key, source, target, pool.hold(slot), goal[0], [request]))
            return PENDING
        return super().start(request, key, source, target, slot)


@breaks("KV-CON-04")
class HoldsNothingForWhoWaits(ListTiers):
    def result(self, ticket: Request) -> list[Ticket]:
        super().result(ticket)
        return []


@breaks("KV-CON-05")
class CopiesWhatIsBeingWritten(ListTiers):
    def send(self, request: Request, key: Key, source: str, target: str) -> str:
        state = super().send(request, key, source, target)
        pool = self.pools[source]
        for number, slot in enumerate(pool.slots):
            if state == "evicted" and slot.state == "staged" and slot.key == key:
                goal = self.pools[target].allocate(1)[0]
                self.moves.append(Move(key, source, target, pool.ticket(number), goal, [request]))
                state = PENDING
        return state

    def let_go(self, move: Move) -> None:
        self.pools[move.source].end(move.origin)


@breaks("KV-CON-06")
class SharesItsStagingBuffer(ListTiers):
    def begin(self, index: int) -> None:
        super().begin(index)
        for move in self.moves:
            if move.begun:
                move.buffer = self.moves[index].buffer


@breaks("KV-CON-06")
class ChangesTheList(ListTiers):
    def offload(self, keys, source: str, target: str) -> Request:
        request = super().offload(keys, source, target)
        keys.clear()
        return request


@breaks("KV-LIV-01")
class TheSecondWaiterIsForgotten(ListTiers):
    def tell(self, move: Move, outcome: str) -> None:
        move.waiters = move.waiters[:1]
        super().tell(move, outcome)


@breaks("KV-LIV-01")
class ChangesItsMind(ListTiers):
    def tell(self, move: Move, outcome: str) -> None:
        super().tell(move, outcome)
        for request in move.waiters:
            request.states[move.key] = outcome


@breaks("KV-LIV-03")
class TakesOneAndWaits(ListTiers):
    """A load takes slot after slot, and keeps what it has while it waits for the next."""

    def __init__(self, slots) -> None:
        super().__init__(slots)
        self.wanting: list[Request] = []

    def onboard(self, keys) -> Request:
        if len(keys) == 1 or not all(self.hit("G2", key) for key in keys):
            return super().onboard(keys)
        request = Request(tuple(keys), dict.fromkeys(keys, PENDING))
        self.wanting.append(request)
        self.more()
        return request

    def end(self, move: Move, outcome: str) -> None:
        super().end(move, outcome)
        self.more()

    def more(self) -> None:
        for request in self.wanting:
            key = next((key for key in request.keys if request.states[key] == PENDING), None)
            if key is not None and self.open and not self.under_way(key, self.fast):
                self.send(request, key, "G2", self.fast)


@breaks("KV-SHD-02")
class CopiesGoOnAfterClose(ListTiers):
    def close(self, timeout: float) -> list[str]:
        for move in self.moves:
            self.tell(move, "failed" if move.begun else "cancelled")
        kept, self.moves = self.moves, [move for move in self.moves if move.begun]
        named = super().close(timeout)
        self.moves = kept
        return named


@breaks("KV-SHD-04")
class CloseWakesNobody(ListTiers):
    def close(self, timeout: float) -> list[str]:
        self.moves = [move for move in self.moves if move.begun]
        return super().close(timeout)


@breaks("KV-SHD-04")
class AbandonedAreNotTold(ListTiers):
    def abandon(self) -> None:
        pass


@breaks("KV-SHD-05")
class NamesNothing(ListTiers):
    def close(self, timeout: float) -> list[str]:
        super().close(timeout)
        return []


@breaks("KV-SHD-01")
class OpenAfterClose(ListTiers):
    def close(self, timeout: float) -> list[str]:
        named = super().close(timeout)
        for pool in self.pools.values():
            pool.open = True
        return named


@breaks("KV-LIV-01")
class CopiesThatNeverEnd(ListTiers):
    def finish(self, index: int) -> None:
        self.begin(index)


@breaks("KV-LIV-01")
class HasAnOutcomeOfItsOwn(ListTiers):
    def send(self, request: Request, key: Key, source: str, target: str) -> str:
        state = super().send(request, key, source, target)
        return "skipped" if state == "filtered" else state


@breaks("KV-INT-01")
class GivesTheFirstBlockForAll(ListTiers):
    def result(self, ticket: Request) -> list[Ticket]:
        handles = super().result(ticket)
        for handle in handles[1:]:
            self.pools[self.fast].release(handle)
        return handles[:1] + [self.take(self.fast, ticket.keys[0]) for _ in handles[1:]]


@breaks("KV-TIR-08")
class OffloadsNothing(ListTiers):
    def offload(self, keys, source: str, target: str) -> Request:
        del source, target
        return Request(tuple(keys), dict.fromkeys(keys, "filtered"))


@breaks("KV-TIR-08")
class LoadsNothing(ListTiers):
    def sources(self) -> list[str]:
        return []


@breaks("KV-TIR-10")
class EvictsOtherwiseOnceItOffloads(ListTiers):
    def send(self, request: Request, key: Key, source: str, target: str) -> str:
        for pool in self.pools.values():
            pool.victim = pool.resting.pop
        return super().send(request, key, source, target)


@breaks("KV-TIR-05")
class RemembersAFailureForEver(ListTiers):
    failed: frozenset[Key] = frozenset()

    def tell(self, move: Move, outcome: str) -> None:
        super().tell(move, outcome)
        if outcome == "failed":
            self.failed |= {move.key}

    def send(self, request: Request, key: Key, source: str, target: str) -> str:
        if key in self.failed:
            return "filtered"
        return super().send(request, key, source, target)


@breaks("KV-SHD-02")
class BeginsAgainAfterClose(ListTiers):
    def end(self, move: Move, outcome: str) -> None:
        super().end(move, outcome)
        if not self.open and move.begun:
            self.moves.append(move)


@breaks("KV-EVC-01")
class MovesWhatIsHeld(ListTiers):
    def end(self, move: Move, outcome: str) -> None:
        super().end(move, outcome)
        pool = self.pools[move.source]
        if outcome == "completed" and move.key in pool.index and move.target != self.fast:
            pool.forget(move.key)
            pool.tell("Removed", move.key)


@breaks("KV-TIR-05")
class FailedLosesItsSource(ListTiers):
    def end(self, move: Move, outcome: str) -> None:
        super().end(move, outcome)
        if outcome == "failed":
            self.miss(move.source, move.key)


# ── tests ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-OWN-04", "KV-CAP-01", "KV-REG-09", "KV-INT-02", "KV-CON-04", "KV-CON-05")
@pytest.mark.clause("KV-CON-06", "KV-TIR-01", "KV-TIR-02", "KV-TIR-03", "KV-TIR-04", "KV-TIR-05")
@pytest.mark.clause("KV-TIR-06", "KV-TIR-07", "KV-TIR-08", "KV-TIR-10", "KV-LIV-01", "KV-LIV-02")
@pytest.mark.clause("KV-LIV-03", "KV-SHD-02", "KV-SHD-04", "KV-SHD-05")
def test_our_own_tiers_are_right_and_come_to_every_situation() -> None:
    found = findings(KvbmSubject(), "smoke")
    assert not found.failures, next(iter(found.failures.values())).steps
    assert {name for check in CLAUSES.values() for name in check.situations} <= set(
        found.situations
    )


@pytest.mark.parametrize("right", [ListTiers, Queueing, Moving, Loading, Unchecked])
def test_tiers_that_are_right_pass(right: type[ListTiers]) -> None:
    found = findings(TiersSubject(right))
    assert not found.failures, next(iter(found.failures.values())).steps
    assert {name for check in CLAUSES.values() for name in check.situations} <= set(
        found.situations
    )


@pytest.mark.parametrize(
    ("broken", "clauses"), MUTANTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_tiers_that_are_broken_are_killed_by_the_clause(
    broken: type[ListTiers], clauses: tuple[str, ...]
) -> None:
    found = findings(TiersSubject(broken), "smoke")
    if not set(clauses) <= found.failures.keys():
        found = findings(TiersSubject(broken))
    assert set(clauses) <= found.failures.keys()


def test_every_clause_of_these_trials_is_broken_by_a_mutant() -> None:
    broken = {clause for _, clauses in MUTANTS for clause in clauses}
    assert CLAUSES.keys() <= broken
    assert all(CHECKS[clause] == check for clause, check in CLAUSES.items())


def test_a_failure_is_short_and_can_be_played_again() -> None:
    found = findings(TiersSubject(OffloadTwiceLeaks), "ci")
    failure = found.failures["KV-CAP-10"]
    assert failure.trial == "copies in every order"
    assert [str(step) for step in failure.steps][1:4] == [
        "store K0 in G1",
        "t0 = offload([K0], G1, G2) -> a handle",
        "the copy of K0 from G1 to G2 ends",
    ]
    text = replayed.write(failure)
    assert json.loads(text)["program"] == list(failure.program)
    again = replayed.play(TiersSubject(OffloadTwiceLeaks), text, "replay")
    assert again is not None
    assert again.verdict == failure.verdict
    assert replayed.play(TiersSubject(), text, "replay") is None


def test_a_subject_without_tiers_is_not_asked() -> None:
    assert not isinstance(ListSubject(), Tiered)
    assert isinstance(TiersSubject(), Tiered)
