"""Trials of fills and of tenants pass a tiny pool, and fail each way to break it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence

import pytest
from kvbm_spec import abilities
from kvbm_spec.explore import Findings
from kvbm_spec.identity import Identity
from kvbm_spec.run import _Judge
from kvbm_spec.status import Status
from kvbm_spec.subject import Event, Key, PoolConfig, Subject, SubjectError
from kvbm_spec.trials import TRIALS
from list_pool import ListPool, ListSubject, Ticket
from toy_hash import Toy

CONFIG = PoolConfig(slots=2)


def tried(subject: Subject, *about: str) -> Findings:
    findings = Findings()
    for trial in TRIALS:
        if {*about} & {*trial.clauses} and abilities.has(subject, trial.ability, CONFIG):
            findings.merge(trial.run(subject, "smoke"))
    return findings


# ── fills ─────────────────────────────────────────────────────────────────────────────────


class Fills(ListPool):
    """The tiny pool, whose blocks of four collect tokens."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.tokens: list[list[int]] = [[] for _ in range(total)]

    def append(self, handle: Ticket, tokens: Sequence[int]) -> None:
        self.need(handle, "mutable")
        own = self.tokens[handle.slot]
        if len(own) + len(tokens) > 4:
            raise SubjectError("WrongState")
        own += tokens

    def commit(self, handle: Ticket) -> tuple[Ticket, Key]:
        self.need(handle, "mutable")
        self.need_full(handle.slot)
        key = self.named(self.tokens[handle.slot])
        return super().stage(handle, key), key

    def stage(self, handle: Ticket, key: Key, parent: Key | None = None) -> Ticket:
        self.need_unfilled(handle)
        return super().stage(handle, key, parent)

    def reset(self, handle: Ticket) -> Ticket:
        answer = super().reset(handle)
        self.tokens[handle.slot] = []
        return answer

    def next_slot(self) -> int:
        slot = super().next_slot()
        self.tokens[slot] = []
        return slot

    # ── what mutants replace ──────────────────────────────────────────────────────────────

    def need_full(self, slot: int) -> None:
        if len(self.tokens[slot]) < 4:
            raise SubjectError("WrongState")

    def need_unfilled(self, handle: Ticket) -> None:
        if handle.good and self.tokens[handle.slot]:
            raise SubjectError("WrongState")

    def named(self, tokens: Sequence[int]) -> Key:
        return int.from_bytes(hashlib.sha256(repr([*tokens]).encode()).digest()[:8])


class CommitsWhatIsThere(Fills):
    def need_full(self, slot: int) -> None:
        pass


class PadsWithZeros(Fills):
    def need_full(self, slot: int) -> None:
        self.tokens[slot] += [0] * (4 - len(self.tokens[slot]))


class StagesWhatIsNotFull(Fills):
    def need_unfilled(self, handle: Ticket) -> None:
        pass


class TakesWhatFits(Fills):
    def append(self, handle: Ticket, tokens: Sequence[int]) -> None:
        room = 4 - len(self.tokens[handle.slot])
        super().append(handle, tokens[:room])
        if len(tokens) > room:
            raise SubjectError("WrongState")


class LosesTokensWhenRefused(Fills):
    def need_full(self, slot: int) -> None:
        if len(self.tokens[slot]) < 4:
            self.tokens[slot].clear()
        super().need_full(slot)


class FindsWhatIsBeingWritten(Fills):
    def append(self, handle: Ticket, tokens: Sequence[int]) -> None:
        super().append(handle, tokens)
        own = self.tokens[handle.slot]
        if len(own) == 4:
            self.index.setdefault(self.named(own), handle.slot)


class NeverFinds(Fills):
    def register(self, handle: Ticket) -> Ticket:
        answer = super().register(handle)
        self.index.clear()
        return answer


class KeepsTokensAtReset(Fills):
    def reset(self, handle: Ticket) -> Ticket:
        return ListPool.reset(self, handle)


class KeepsOneTokenAtReset(Fills):
    def reset(self, handle: Ticket) -> Ticket:
        kept = self.tokens[handle.slot][:1]
        answer = super().reset(handle)
        self.tokens[handle.slot] = kept
        return answer


class NamesBeforeItRegisters(Fills):
    """A staged key is found, and so is one that was rejected."""

    def commit(self, handle: Ticket) -> tuple[Ticket, Key]:
        answer, key = super().commit(handle)
        self.index.setdefault(key, handle.slot)
        return answer, key


class RemembersTheFirstKey(Fills):
    """The key of a slot is made once, and a reset leaves it."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.made: dict[int, Key] = {}

    def commit(self, handle: Ticket) -> tuple[Ticket, Key]:
        self.need(handle, "mutable")
        self.need_full(handle.slot)
        key = self.made.setdefault(handle.slot, self.named(self.tokens[handle.slot]))
        return ListPool.stage(self, handle, key), key


class CountsTheOldTail(Fills):
    """Tokens are written over those of the block before, and the length is that of the slot."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self.whole: list[list[int]] = [[] for _ in range(total)]

    def need_full(self, slot: int) -> None:
        own, old = self.tokens[slot], self.whole[slot]
        self.tokens[slot] = own + old[len(own) :]
        super().need_full(slot)
        self.whole[slot] = [*self.tokens[slot]]


FILLS: dict[type[Fills], str] = {
    CommitsWhatIsThere: "KV-LIF-03",
    PadsWithZeros: "KV-LIF-03",
    StagesWhatIsNotFull: "KV-LIF-03",
    TakesWhatFits: "KV-LIF-03",
    LosesTokensWhenRefused: "KV-LIF-03",
    FindsWhatIsBeingWritten: "KV-LIF-03",
    NeverFinds: "KV-LIF-03",
    KeepsTokensAtReset: "KV-LIF-08",
    KeepsOneTokenAtReset: "KV-LIF-08",
    NamesBeforeItRegisters: "KV-LIF-08",
    RemembersTheFirstKey: "KV-LIF-08",
    CountsTheOldTail: "KV-INT-06",
}


@pytest.mark.clause("KV-LIF-03", "KV-LIF-08", "KV-INT-06")
def test_a_tiny_pool_that_is_filled_passes() -> None:
    subject = ListSubject(Fills)
    findings = tried(subject, *FILLS.values())
    assert not findings.failures
    judge = _Judge(subject, findings, blocked=False)
    assert judge("KV-LIF-03").status is judge("KV-INT-06").status is Status.PASS


@pytest.mark.parametrize("broken", FILLS, ids=lambda broken: broken.__name__)
def test_every_broken_fill_fails_the_clause_that_it_is_about(broken: type[Fills]) -> None:
    clause = FILLS[broken]
    assert clause in tried(ListSubject(broken), clause).failures


def test_a_pool_must_name_a_block_as_its_subject_does() -> None:
    assert "block_keys gives" in str(tried(Toy(Fills), "KV-LIF-03").failures["KV-LIF-03"].verdict)


# ── tenants ───────────────────────────────────────────────────────────────────────────────


class Pins(ListPool):
    """The tiny pool, which also pins."""

    def pin(self, keys: Sequence[Key]) -> None:
        if any(key not in self.index for key in keys):
            raise SubjectError("NotFound")

    def unpin(self, keys: Sequence[Key]) -> None:
        raise NotImplementedError


class PinsAnything(Pins):
    def pin(self, keys: Sequence[Key]) -> None:
        pass


class FindsByTheLowBits(ListPool):
    """A registry of eight buckets."""

    def match(self, keys: Sequence[Key]) -> list[Ticket]:
        buckets = {key % 8: slot for key, slot in self.index.items()}
        return [self.hold(buckets[key % 8]) for key in keys if key % 8 in buckets]


class CachesNothing(ListPool):
    def match(self, keys: Sequence[Key]) -> list[Ticket]:
        return super().match(keys[:0])


class ScansNothing(ListPool):
    def scan(self, keys: Sequence[Key]) -> dict[Key, Ticket]:
        return super().scan(keys[:0])


class HasRoomForOneTenant(ListPool):
    def register(self, handle: Ticket) -> Ticket:
        if len(self.index) == 3:
            self.index.clear()
        return super().register(handle)


class TellsOneTenant(ListPool):
    """Events name a block by its place in the pool's order of prompts."""

    def drain_events(self) -> list[Event]:
        return [Event(event.kind, index % 3) for index, event in enumerate(super().drain_events())]


class Keeps(Toy):
    """Names blocks outside as inside."""

    def external_keys(self, tokens: Sequence[int], size: int, identity: Identity) -> list[str]:
        return [f"{key:016x}" for key in self.block_keys(tokens, size, identity)]


class DropsTheSaltOutside(Keeps):
    def external_keys(self, tokens: Sequence[int], size: int, identity: Identity) -> list[str]:
        return super().external_keys(tokens, size, identity.having(salt=None))


class DropsTheSaltWithAnAdapter(Toy):
    def block_keys(self, tokens: Sequence[int], block_size: int, identity: Identity) -> list[int]:
        if identity.adapter is not None:
            identity = identity.having(salt=None)
        return super().block_keys(tokens, block_size, identity)


class SaltsTheFirstBlockOnly(Toy):
    def block_keys(self, tokens: Sequence[int], block_size: int, identity: Identity) -> list[int]:
        plain = identity.having(salt=None)
        keys = super().block_keys(tokens, block_size, plain)
        return super().block_keys(tokens, block_size, identity)[:1] + keys[1:]


class WritesTheSaltOutside(Keeps):
    def external_keys(self, tokens: Sequence[int], size: int, identity: Identity) -> list[str]:
        return [f"{identity.salt}/{key}" for key in super().external_keys(tokens, size, identity)]


class LogsTheSalt(Toy):
    def block_keys(self, tokens: Sequence[int], block_size: int, identity: Identity) -> list[int]:
        logging.getLogger("toy").debug("asked for %s", identity)
        return super().block_keys(tokens, block_size, identity)


TENANTS: list[tuple[Toy, str]] = [
    (Toy(PinsAnything), "KV-ISO-01"),
    (Toy(FindsByTheLowBits), "KV-ISO-01"),
    (SaltsTheFirstBlockOnly(), "KV-ISO-01"),
    (Toy(CachesNothing), "KV-ISO-02"),
    (Toy(ScansNothing), "KV-ISO-02"),
    (Toy(HasRoomForOneTenant), "KV-ISO-02"),
    (Toy(TellsOneTenant), "KV-ISO-03"),
    (DropsTheSaltOutside(), "KV-ISO-03"),
    (DropsTheSaltWithAnAdapter(), "KV-ISO-03"),
    (WritesTheSaltOutside(), "KV-ISO-04"),
    (LogsTheSalt(), "KV-ISO-04"),
]


@pytest.mark.clause("KV-ISO-01", "KV-ISO-02", "KV-ISO-03", "KV-ISO-04")
def test_tenants_who_share_a_tiny_pool_share_nothing_else() -> None:
    for right in (Toy(), Toy(Pins), Keeps()):
        assert not tried(right, *(clause for _, clause in TENANTS)).failures


@pytest.mark.parametrize(
    ("broken", "clause"),
    TENANTS,
    ids=[f"{type(toy).__name__}-{toy.pool.__name__}" for toy, _ in TENANTS],
)
def test_every_leak_between_tenants_fails_its_clause(broken: Toy, clause: str) -> None:
    assert clause in tried(broken, clause).failures


def test_what_is_logged_is_collected_for_the_trial_alone() -> None:
    root = logging.getLogger()
    before = root.level, [*root.handlers]
    assert tried(LogsTheSalt(), "KV-ISO-04").failures
    assert (root.level, root.handlers) == before
