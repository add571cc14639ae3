"""Managers of tiers that are wrong, each in one way, with the clauses that it breaks."""

from __future__ import annotations

from collections.abc import Callable

from kvbm_spec.subject import Key
from kvbm_spec.tiers import PENDING
from list_pool import Slot, Ticket
from list_tiers import ListTiers, Move, Request
from other_tiers import Loading, Queueing

MUTANTS: list[tuple[type[ListTiers], tuple[str, ...]]] = []


def breaks(*clauses: str) -> Callable[[type[ListTiers]], type[ListTiers]]:
    """Note that a class breaks these clauses."""

    def note(broken: type[ListTiers]) -> type[ListTiers]:
        MUTANTS.append((broken, clauses))
        return broken

    return note


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
