"""The trials of tiers pass tiny tiers that are right, and kill those that are broken."""

from __future__ import annotations

import json

import pytest
from broken_tiers import MUTANTS, OffloadTwiceLeaks
from kvbm_spec import replayed
from kvbm_spec.checks import CHECKS
from kvbm_spec.explore import Findings
from kvbm_spec.tiers import Tiered
from kvbm_spec.trials import copies, failing, racing
from list_pool import ListSubject
from list_tiers import ListTiers, TiersSubject
from other_tiers import Loading, Moving, Queueing, Unchecked

from kvbm.cli.subject import KvbmSubject

MODULES = (copies, racing, failing)
TRIALS = [trial for module in MODULES for trial in module.TRIALS]
CLAUSES = {clause: check for module in MODULES for clause, check in module.CHECKS.items()}


def findings(subject: object, effort: str = "ci") -> Findings:
    found = Findings()
    for trial in TRIALS:
        found.merge(trial.run(subject, effort))
    return found


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
