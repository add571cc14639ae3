"""Machines: long random histories of a bigger pool, model and subject in lockstep.

What this is
    What the explorer does for short histories, Hypothesis does for long ones: more slots,
    more keys, dozens of calls. What it finds it makes small.

Interface, as rules of use
    * `machine(subject, config, scope, findings)` gives a state machine class, to be run
      with `run_state_machine_as_test` or in a test of your own.
    * `search` runs it with given settings, and gives what it found as `Findings`.

Clauses: KV-EVC-02, KV-EVC-07, KV-CAP-10
"""

from __future__ import annotations

import time
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kvbm_spec.explore import Findings, Pair
from kvbm_spec.moves import Scope, final, parent_of, refused
from kvbm_spec.operations import Op, Symbol
from kvbm_spec.subject import PoolConfig, Subject

PICKS = st.integers(0, 63)
KEYS = st.integers(0, 7)


class Mismatch(AssertionError):
    """Model and subject differ. The text names the clause and the last call."""


class LockstepMachine(RuleBasedStateMachine):
    """One pool and its model. `machine` makes the class that knows which."""

    subject: ClassVar[Subject]
    config: ClassVar[PoolConfig]
    scope: ClassVar[Scope]
    findings: ClassVar[Findings]

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair(self.subject, self.config, f"random search, {self.scope}")

    def call(self, op: Op) -> None:
        """Make one call on both."""
        failure = self.pair.step(op)
        if failure is not None:
            self.findings.add(failure)
            raise Mismatch(f"{failure.clause}: {failure.verdict.what}")

    def some(self, pick: int, *kinds: str) -> Symbol | None:
        """Choose a live handle of one of these kinds."""
        twin = self.pair.twin
        able = [symbol for symbol in twin.live if not kinds or twin.kind(symbol) in kinds]
        return able[pick % len(able)] if able else None

    @rule(count=st.integers(1, 3), key=KEYS)
    def publish(self, count: int, key: int) -> None:
        """Write a run of blocks, as a request does: allocate, stage, register."""
        before = len(self.pair.twin.live)
        self.call(Op("allocate", n=count))
        for symbol in [*self.pair.twin.live][before:]:
            self.name(symbol, key)
            self.call(Op("register", handle=[*self.pair.twin.live][-1]))
            key += 1

    def name(self, symbol: Symbol, key: int) -> None:
        """Stage a block."""
        key %= self.scope.keys
        above = parent_of(key, self.pair.twin.model.rules)
        self.call(Op("stage", handle=symbol, keys=(key,), parent=above))

    @rule(n=st.integers(0, 3))
    def allocate(self, n: int) -> None:
        """Take some slots."""
        self.call(Op("allocate", n=n))

    @rule(keep=st.integers(0, 1))
    def allocate_nearly_all(self, keep: int) -> None:
        """Take what there is, or leave one: victims have to be chosen."""
        self.call(Op("allocate", n=max(0, self.pair.twin.model.available - keep)))

    @rule(pick=PICKS, key=KEYS)
    def stage(self, pick: int, key: int) -> None:
        """Name a block."""
        symbol = self.some(pick, "mutable")
        if symbol is not None:
            self.name(symbol, key)

    @rule(pick=PICKS)
    def register(self, pick: int) -> None:
        """Publish a block."""
        symbol = self.some(pick, "staged")
        if symbol is not None:
            self.call(Op("register", handle=symbol))

    @rule(pick=PICKS)
    def reset(self, pick: int) -> None:
        """Throw a content away."""
        symbol = self.some(pick, "staged", "mutable")
        if symbol is not None:
            self.call(Op("reset", handle=symbol))

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4))
    def match(self, keys: list[int]) -> None:
        """Look for any keys in any order."""
        self.call(Op("match", keys=tuple(key % self.scope.keys for key in keys)))

    @rule(length=st.integers(1, 8))
    def match_prefix(self, length: int) -> None:
        """Look for the chain from its start."""
        self.call(Op("match", keys=tuple(range(min(length, self.scope.keys)))))

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4, unique=True))
    def scan(self, keys: list[int]) -> None:
        """Look for keys wherever they are."""
        wanted = dict.fromkeys(key % self.scope.keys for key in keys)
        self.call(Op("scan", keys=tuple(wanted)))

    @rule(pick=PICKS)
    def release(self, pick: int) -> None:
        """Let go of a block."""
        symbol = self.some(pick)
        if symbol is not None:
            self.call(Op("release", handle=symbol))

    @rule(kept=st.integers(0, 2))
    def release_most(self, kept: int) -> None:
        """Let go of all but a few, the last one first, as a request does that ends."""
        for symbol in [*self.pair.twin.live][:kept:-1]:
            self.call(Op("release", handle=symbol))

    @rule(pick=PICKS)
    def misuse(self, pick: int) -> None:
        """Make a call that must be refused."""
        stores = self.pair.player.bytes is not None
        wrong = list(refused(self.pair.twin, self.scope, stores=stores))
        self.call(wrong[pick % len(wrong)])

    @rule(pick=PICKS)
    @precondition(lambda self: self.pair.twin.dead)
    def use_what_is_dead(self, pick: int) -> None:
        """Release a handle that was used up, however long ago."""
        dead = list(self.pair.twin.dead)
        self.call(Op("release", handle=dead[pick % len(dead)]))

    def teardown(self) -> None:
        """Release everything: nothing has leaked."""
        try:
            if self.pair.failure is None:
                for op in final(self.pair.twin):
                    self.call(op)
                self.pair.twin.situations["drained"] += 1
        finally:
            self.findings.situations.update(self.pair.twin.situations.keys())
            self.findings.states += 1
            self.findings.transitions += len(self.pair.steps)
            self.pair.player.close()


def machine(
    subject: Subject, config: PoolConfig, scope: Scope, findings: Findings
) -> type[LockstepMachine]:
    """Make the class of one search; what it sees is added to `findings`."""
    members = {"subject": subject, "config": config, "scope": scope, "findings": findings}
    return type("LockstepMachine", (LockstepMachine,), members)


def search(subject: Subject, config: PoolConfig, scope: Scope, limits: settings) -> Findings:
    """Run the machine; a failure is in the findings, and is not raised."""
    findings = Findings()
    started = time.perf_counter()
    limits = settings(
        limits,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(machine(subject, config, scope, findings), settings=limits)
    except Mismatch:
        assert findings.failures, "a mismatch is a failure, and was noted before it was raised"
    findings.seconds = time.perf_counter() - started
    return findings
