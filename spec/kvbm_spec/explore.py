"""Explore: every history of a small pool, the short ones first.

What this is
    Breadth first over all states that a few slots and keys can reach, model and subject
    in lockstep. The first failure of a clause is therefore one of the shortest. In each
    state every call that must be refused is tried, then every call that leads on, and in
    the end everything is released to see that nothing has leaked.

Interface, as rules of use
    * The subject is driven by opening it afresh and replaying the path, so it has to
      behave the same every time. KV-EVC-08
    * A subject with a snapshot is followed until no state is new: two paths are one where
      model and snapshot agree. A subject without can hide what is wrong for a while, so
      there several paths to each state of the model are followed; with a `depth`, all.
    * A failure ends its path and not the search: other clauses are found beside it.

Clauses: KV-EVC-08, KV-CAP-10
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kvbm_spec.blame import Verdict, blame_snapshot, blame_step
from kvbm_spec.moves import Scope, changing, final, refused
from kvbm_spec.operations import Line, Op, Step
from kvbm_spec.player import Player
from kvbm_spec.subject import Capabilities, PoolConfig, PoolSnapshot, Subject
from kvbm_spec.twin import Twin

ENOUGH = 1_000
"""States after which a search that has found failures ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A clause that does not hold, and the history that shows it.

    A lockstep history has `config`, steps of calls, and the model after them; a trial has
    its own name, the program that it was given, and lines.
    """

    verdict: Verdict
    steps: tuple[Step | Line, ...]
    found_by: str
    config: PoolConfig | None = None
    twin: Twin | None = None
    snapshot: PoolSnapshot | None = None
    trial: str = ""
    program: tuple[Any, ...] = ()

    @property
    def clause(self) -> str:
        """Id of the clause."""
        return self.verdict.clause


@dataclass(slots=True)
class Findings:
    """What a search has seen."""

    failures: dict[str, Failure] = field(default_factory=dict)
    """By clause, each with the shortest history so far."""
    situations: Counter[str] = field(default_factory=Counter)
    states: int = 0
    transitions: int = 0
    seconds: float = 0.0

    def add(self, failure: Failure) -> None:
        """Note a failure, unless a shorter one of its clause is known."""
        known = self.failures.get(failure.clause)
        if known is None or len(failure.steps) < len(known.steps):
            self.failures[failure.clause] = failure

    def merge(self, other: Findings) -> None:
        """Add what another search has seen."""
        for failure in other.failures.values():
            self.add(failure)
        self.situations.update(other.situations)
        self.states += other.states
        self.transitions += other.transitions
        self.seconds += other.seconds


def replay(
    subject: Subject, config: PoolConfig, ops: Sequence[Op], found_by: str = "replay"
) -> tuple[Failure | None, Counter[str]]:
    """Play one history in lockstep; give the first failure, and the situations it was in."""
    pair = Pair(subject, config, found_by)
    try:
        for op in ops:
            if pair.step(op) is not None:
                break
        return pair.failure, pair.twin.situations
    finally:
        pair.player.close()


class Pair:
    """Model and subject, told the same. After a failure there is nothing more to learn."""

    def __init__(self, subject: Subject, config: PoolConfig, found_by: str) -> None:
        self.config, self.found_by = config, found_by
        self.player = Player(subject, config)
        self._capabilities = subject.capabilities()
        self.twin = Twin(config, self._capabilities)
        self.steps: list[Step] = []
        self.failure: Failure | None = None
        self._last: PoolSnapshot | None = None

    def step(self, op: Op) -> Failure | None:
        """Make one call on both, and compare all that can be seen."""
        expected, got = self.twin.apply(op), self.player.play(op)
        if not self._capabilities.events:
            expected = expected.without_events()
        if got.read is None:
            expected = expected.without_bytes()
        elif got.read:
            self.twin.situations["bytes"] += 1
        self.steps.append(Step(op, expected, got))
        if expected == got:
            idle = expected.error is not None or (not expected.value and op.name != "release")
            return self.judge(idle=idle)
        return self.judge(blame_step(self._before(), op, expected, got))

    def _before(self) -> Twin:
        """Give the model as it was before the last call."""
        twin = self.twin.fresh()
        for step in self.steps[:-1]:
            twin.apply(step.op)
        return twin

    def judge(self, verdict: Verdict | None = None, *, idle: bool = False) -> Failure | None:
        """Note a failure, of this verdict or of what the snapshot shows.

        After a call that changes nothing (`idle`) a snapshot that has not changed is as
        right as it was.
        """
        snapshot = None
        try:
            snapshot = self.player.snapshot()
            if verdict is None and snapshot is not None and not (idle and snapshot == self._last):
                verdict = blame_snapshot(self.twin, snapshot)
            self._last = snapshot
        except Exception as crash:  # noqa: BLE001 - a snapshot that cannot be taken is a failure
            verdict = verdict or Verdict("KV-CAP-02", f"snapshot() raised {crash!r}")
        if verdict is not None:
            self.failure = Failure(
                verdict=verdict,
                config=self.config,
                steps=tuple(self.steps),
                found_by=self.found_by,
                twin=self.twin.copy(),
                snapshot=snapshot,
            )
        return self.failure


def explore(subject: Subject, config: PoolConfig, scope: Scope) -> Findings:
    """Search one configuration; see the module.

    Complexity
    ----------
    O(transitions · depth) calls of the subject.
    """
    return _Search(subject, config, scope).run()


class _Search:
    """One breadth-first search."""

    def __init__(self, subject: Subject, config: PoolConfig, scope: Scope) -> None:
        self.subject, self.config, self.scope = subject, config, scope
        self.capabilities: Capabilities = subject.capabilities()
        self.found_by = f"exhaustive search, {scope}"
        self.findings = Findings()
        self.seen: Counter[Hashable] = Counter()
        self.edge: deque[_Reached] = deque()

    def run(self) -> Findings:
        started = time.perf_counter()
        start = Pair(self.subject, self.config, self.found_by)
        self._arrive(start)
        while self.edge and not (self.findings.failures and self.findings.states > ENOUGH):
            self.findings.states += 1
            self._leave(self.edge.popleft())
        self.findings.seconds = time.perf_counter() - started
        return self.findings

    def _arrive(self, pair: Pair) -> None:
        """If a state is new, note it, and try there what must be refused, and that all ends.

        If it is not, the handle that led there is a dead one more, and must be one.
        """
        if pair.failure is None and self._is_new(pair):
            self.edge.append(_Reached(pair.twin.copy(), tuple(pair.steps)))
            stores = pair.player.bytes is not None
            self._ask(pair, list(refused(pair.twin, self.scope, stores=stores)))
            if pair.failure is None:
                self._ask(pair, list(final(pair.twin)))
                pair.twin.situations["drained"] += 1
        elif pair.steps and pair.steps[-1].op.handle in pair.twin.dead:
            self._ask(pair, [Op("release", handle=pair.steps[-1].op.handle)])
        self._end(pair)

    def _leave(self, here: _Reached) -> None:
        """Try every call that leads on from a state, each with a fresh pool."""
        if self.scope.depth is not None and len(here.steps) >= self.scope.depth:
            return
        for op in changing(here.twin, self.scope):
            pair = self._open(here)
            self._ask(pair, [op])
            self._arrive(pair)

    def _open(self, here: _Reached) -> Pair:
        """Bring a fresh pool to a state that was reached before, by the same calls."""
        pair = Pair(self.subject, self.config, self.found_by)
        for step in here.steps:
            got = pair.player.play(step.op)
            pair.steps.append(Step(step.op, step.got, got))
            if got != step.got:
                what = f"{step.op} answered {got}, and in the same history before {step.got}"
                pair.judge(Verdict("KV-EVC-08", what))
                break
        pair.twin = here.twin.copy()
        return pair

    def _ask(self, pair: Pair, ops: Sequence[Op]) -> None:
        for op in ops:
            if pair.failure is None:
                self.findings.transitions += 1
                pair.step(op)

    def _is_new(self, pair: Pair) -> bool:
        snapshot = pair.player.snapshot()
        look: Hashable
        if snapshot is not None:
            look = pair.twin.canonical(), _canonical(snapshot)
        elif self.scope.depth is None:
            look = pair.twin.canonical()
        else:
            look = tuple(step.op for step in pair.steps)
        self.seen[look] += 1
        return self.seen[look] <= (1 if snapshot is not None else self.scope.paths)

    def _end(self, pair: Pair) -> None:
        for name in pair.twin.situations:
            self.findings.situations[name] += 1
        pair.player.close()
        if pair.failure is None:
            return
        known = self.findings.failures.get(pair.failure.clause)
        if known is None or len(known.steps) > len(pair.failure.steps):
            self.findings.add(shortest(self.subject, pair.failure))


@dataclass(frozen=True, slots=True)
class _Reached:
    """A state: the model in it, and how the subject gets there."""

    twin: Twin
    steps: tuple[Step, ...]


def shortest(subject: Subject, failure: Failure) -> Failure:
    """Leave out calls, one by one, as long as the same clause fails."""
    assert failure.config is not None, "only a lockstep history can be played again in parts"
    steps = _calls(failure)
    index = len(steps) - 2
    while index >= 0:
        again = None
        if not steps[index].got.value:  # a call that gave a handle: the symbols would change
            fewer = [step.op for step in steps[:index] + steps[index + 1 :]]
            if _makes_sense(subject, failure.config, fewer):
                again, _ = replay(subject, failure.config, fewer, failure.found_by)
        if again is not None and again.clause == failure.clause:
            failure, steps = again, _calls(again)
            index = min(index, len(steps) - 1)
        index -= 1
    return failure


def _makes_sense(subject: Subject, config: PoolConfig, ops: Sequence[Op]) -> bool:
    """Tell whether every call has a handle that was given out before, live or dead."""
    twin = Twin(config, subject.capabilities())
    for op in ops:
        if op.handle is not None and op.handle not in twin.live.keys() | twin.dead.keys():
            return False
        twin.apply(op)
    return True


def _calls(failure: Failure) -> list[Step]:
    return [step for step in failure.steps if isinstance(step, Step)]


def _canonical(snapshot: PoolSnapshot) -> Hashable:
    """Give a snapshot without the numbers of its slots."""
    primaries = {slot: key for key, slot in snapshot.registry.items()}
    slots = sorted(
        (slot.state, repr(slot.key), slot.holders or 0, repr(primaries.get(index)))
        for index, slot in enumerate(snapshot.slots)
    )
    order = tuple(snapshot.slots[slot].key for slot in snapshot.inactive)
    return tuple(slots), order, len(snapshot.free), snapshot.available
