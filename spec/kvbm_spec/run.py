"""Run: the whole suite against one subject, in order, to one report.

What this is
    Smoke gate, exhaustive searches, random searches, trials, and then the judgement of each
    clause.

Interface, as rules of use
    * `run(subject, "ci")` gives a `Report`. It raises nothing for what the subject does.
    * Only the gate is asked of a subject that fails it: a pool that cannot allocate has one
      failure to report, and not thirty.
    * `today` comes from the caller: it decides whether an announced failure is overdue.

Clauses: KV-SHD-01
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import islice

from kvbm_spec.abilities import has
from kvbm_spec.blame import Verdict
from kvbm_spec.checks import CHECKS
from kvbm_spec.clauses import load
from kvbm_spec.explore import Failure, Findings, Pair, explore
from kvbm_spec.machines import search
from kvbm_spec.moves import Scope
from kvbm_spec.profiles import GATE, PROFILES, Profile, bounded, configs
from kvbm_spec.status import NOTHING_EXPECTED, Expectations, Result, Status
from kvbm_spec.subject import PoolConfig, Subject, SubjectError
from kvbm_spec.trials import TRIALS
from kvbm_spec.unchecked import UNCHECKED

Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Report:
    """What a run says. `problems` are contradictions of the set-up; each is an ERROR."""

    subject: Subject
    profile: str
    results: list[Result] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    findings: Findings = field(default_factory=Findings)

    @property
    def ok(self) -> bool:
        """Whether nothing is bad."""
        return not self.problems and not any(result.status.bad for result in self.results)

    @property
    def failures(self) -> list[Failure]:
        """The failures that are counted, in the order of the clauses."""
        return [r.failure for r in self.results if r.failure and r.status is Status.FAIL]

    def counts(self) -> Counter[Status]:
        """Count the clauses by status."""
        return Counter(result.status for result in self.results)


def run(
    subject: Subject,
    profile: str = "ci",
    *,
    expected: Expectations = NOTHING_EXPECTED,
    today: date = date.min,
    say: Say = lambda _: None,
) -> Report:
    """Judge a subject by all clauses; see the module."""
    report = Report(subject=subject, profile=profile)
    report.problems = expected.problems(subject.capabilities())
    chosen = PROFILES[profile]
    gate = _gate(subject, chosen)
    report.findings.merge(gate)
    say(f"smoke gate: {_told(gate)}")
    blocked = any(clause in gate.failures for clause in GATE)
    if not blocked:
        for found, name in _searches(subject, chosen):
            report.findings.merge(found)
            say(f"{name}: {_told(found)}")
    judge = _Judge(subject, report.findings, blocked=blocked)
    report.results = [expected.judge(judge(clause.id), today) for clause in load()]
    return report


def _gate(subject: Subject, profile: Profile) -> Findings:
    config = next(configs(subject, profile, 2))
    findings = explore(subject, config, bounded(Scope(slots=2, depth=4), config))
    _close_twice(subject, config, findings)
    return findings


def _searches(subject: Subject, profile: Profile) -> Iterator[tuple[Findings, str]]:
    for config in configs(subject, profile, profile.exhaustive.slots):
        scope = bounded(profile.exhaustive, config)
        name = f"{config.policy}, duplicates {config.duplicates}, {scope}"
        yield explore(subject, config, scope), name
    pools = configs(subject, profile, profile.random.slots)
    for config in islice(pools, None if profile.every_pool else 1):
        name = f"{config.policy}, duplicates {config.duplicates}, random, {profile.random}"
        yield search(subject, config, profile.random, profile.limits), name
    yield _trials(subject, profile), "trials"


def _trials(subject: Subject, profile: Profile) -> Findings:
    able, findings = _Able(subject), Findings()
    for trial in TRIALS:
        if able(trial.ability):
            findings.merge(trial.run(subject, profile.name))
    return findings


def _close_twice(subject: Subject, config: PoolConfig, findings: Findings) -> None:
    """Close, and close again; then a call must be refused. KV-SHD-01"""
    pair = Pair(subject, config, "close() twice")
    findings.situations["closed twice"] += 1
    try:
        pair.player.manager.close()
        pair.player.manager.close()
        pair.player.manager.allocate(1)
    except SubjectError as refusal:
        if refusal.kind == "Closed":
            return
        what = f"after close() a call was refused with {refusal.kind}, and not with Closed"
    except Exception as crash:  # noqa: BLE001 - whatever a subject does is its outcome
        what = f"close() twice and a call raised {crash!r}"
    else:
        what = "after close() a call was done"
    findings.add(
        Failure(
            verdict=Verdict("KV-SHD-01", what),
            config=config,
            steps=(),
            found_by=pair.found_by,
            twin=pair.twin,
            snapshot=None,
        )
    )


class _Able:
    """Remembers what a subject can do, so that a pool is opened once to see it."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._config = next(configs(subject, PROFILES["smoke"], 2))
        self._known: dict[str, bool] = {}

    def __call__(self, ability: str) -> bool:
        if ability not in self._known:
            self._known[ability] = has(self._subject, ability, self._config)
        return self._known[ability]


class _Judge:
    """Turns findings into the status of a clause."""

    def __init__(self, subject: Subject, findings: Findings, *, blocked: bool) -> None:
        self._able = _Able(subject)
        self._findings = findings
        self._blocked = blocked

    def __call__(self, clause: str) -> Result:
        check, failure = CHECKS.get(clause), self._findings.failures.get(clause)
        if failure is not None:
            return Result(clause, Status.FAIL, failure.verdict.what, failure)
        if check is None:
            return Result(clause, Status.SKIP, f"not checked yet: {UNCHECKED[clause]}")
        if not self._able(check.ability):
            return Result(clause, Status.SKIP, f"the subject has no {check.ability}")
        unseen = [name for name in check.situations if not self._findings.situations[name]]
        if self._blocked and (unseen or clause not in GATE):
            return Result(clause, Status.BLOCKED, "the smoke gate failed")
        if unseen:
            return Result(clause, Status.VACUOUS, f"never reached: {', '.join(unseen)}")
        return Result(clause, Status.PASS)


def _told(findings: Findings) -> str:
    text = f"{findings.states:,} states, {findings.transitions:,} calls, {findings.seconds:.1f} s"
    return f"{text}, {', '.join(findings.failures)} failed" if findings.failures else text
