"""The trials of disks kill what is broken: two tiny right stores, and ways to break them.

Each mutant says which clause must be named.
"""

from __future__ import annotations

import json
import mmap
import tempfile
from dataclasses import replace
from functools import partial

import pytest
from broken_stores import (
    MUTANTS,
    DiesWhenFull,
    IndexAtClose,
    NeverSyncs,
    NoChecksum,
    Pickled,
    SyncsAtClose,
)
from kvbm_spec.explore import Findings
from kvbm_spec.persistence import DiskCapabilities
from kvbm_spec.trials import crash, disks, restart, spoiled
from toy_store import Log, Store, StoreSubject

from kvbm.cli.subject import KvbmSubject
from kvbm.cli.subject import disk as adapter
from kvbm.config import DiskPersistence

MODULES = (crash, restart, spoiled)
TRIALS = [trial for module in MODULES for trial in module.TRIALS]
CHECKS = {clause: check for module in MODULES for clause, check in module.CHECKS.items()}


def judged(subject, *clauses: str, effort: str = "ci") -> Findings:
    findings = Findings()
    for trial in TRIALS:
        if not clauses or set(clauses) & set(trial.clauses):
            findings.merge(trial.run(subject, effort))
    return findings


# ── what is right ─────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-PER-01", "KV-PER-02", "KV-PER-03", "KV-PER-04", "KV-PER-05", "KV-PER-06")
@pytest.mark.clause("KV-PER-07", "KV-INT-03", "KV-INT-04", "KV-ISO-06")
@pytest.mark.parametrize(
    ("subject", "effort"),
    [
        (StoreSubject(Store, ("store", "close", "kill")), "ci"),
        (StoreSubject(Log), "ci"),
        (StoreSubject(Log), "smoke"),
        (KvbmSubject(), "smoke"),
    ],
    ids=["store", "log", "log, smoke", "kvbm"],
)
def test_what_is_right_passes_and_every_situation_is_met(subject, effort):
    findings = judged(subject, effort=effort)
    assert not findings.failures, [
        (failure.verdict, *map(str, failure.steps[-12:])) for failure in findings.failures.values()
    ]
    wanted = {name for check in CHECKS.values() for name in check.situations}
    assert not [name for name in wanted if not findings.situations[name]]


def test_no_folder_is_left_behind(monkeypatch, tmp_path):
    monkeypatch.setattr(disks, "_MEMORY", tmp_path)
    made = []
    real = tempfile.TemporaryDirectory
    monkeypatch.setattr(
        tempfile, "TemporaryDirectory", lambda **options: made.append(options) or real(**options)
    )
    assert judged(StoreSubject(DiesWhenFull), effort="smoke").failures
    assert {options["dir"] for options in made} == {tmp_path}
    assert list(tmp_path.iterdir()) == []


def test_code_that_one_subject_has_run_is_not_held_against_the_next():
    assert judged(StoreSubject(Pickled), "KV-ISO-06").failures
    assert not judged(StoreSubject(Store), "KV-ISO-06").failures


# ── what says nothing ─────────────────────────────────────────────────────────────────────


class Forgets(Store):
    """Nothing is there again, which is allowed, and shows nothing."""

    def recover(self):
        pass


class Mapped(Store):
    """Writes are not seen: they go through a memory map."""

    def write(self, slot, data):
        with mmap.mmap(self.descriptor, self.slots * self.block_bytes) as memory:
            memory[slot * self.block_bytes : (slot + 1) * self.block_bytes] = data
            memory.flush()


@pytest.mark.parametrize("store", [Forgets, Mapped])
def test_a_subject_that_shows_nothing_is_vacuous_and_not_right(store):
    findings = judged(StoreSubject(store, ()), "KV-PER-02")
    assert not findings.failures
    assert not findings.situations["recovered a block"]


def test_a_subject_without_checksums_is_not_asked_to_find_flipped_bytes():
    subject = StoreSubject(NoChecksum)
    subject.disk = lambda: DiskCapabilities(checksums=False)
    assert "KV-INT-03" not in judged(subject, "KV-INT-03").failures


@pytest.mark.clause("KV-PER-02")
@pytest.mark.parametrize("promise", ["store", "close", "kill"])
def test_what_is_owed_is_what_was_promised(promise):
    """Without any sync a process can be killed; with one at the end it can be closed."""
    keeps = {"store": Store, "close": SyncsAtClose, "kill": NeverSyncs}
    for promised, store in keeps.items():
        failures = judged(StoreSubject(store, [promise]), "KV-PER-02").failures
        weaker = promised in (promise, "store") or promise == "kill"
        assert ("KV-PER-02" not in failures) == weaker, (store, promise, failures)
    assert "KV-PER-02" in judged(StoreSubject(Forgets, [promise]), "KV-PER-02").failures
    kept_back = judged(StoreSubject(IndexAtClose, [promise]), "KV-PER-02").failures
    assert ("KV-PER-02" in kept_back) == (promise != "close")


# ── our own disk, broken ──────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-PER-02")
@pytest.mark.parametrize("broken", ["sync", "promise"])
def test_our_own_disk_is_found_out_when_it_promises_too_much(monkeypatch, broken):
    monkeypatch.setattr(crash, "LIMITS", {"ci": (100, 1)})
    subject = KvbmSubject()
    if broken == "sync":
        monkeypatch.setattr(adapter, "DiskPersistence", partial(DiskPersistence, sync=False))
    else:
        subject.disk = lambda: replace(KvbmSubject().disk(), promises=("store",))
    findings = crash.TRIALS[0].run(subject, "ci")
    assert list(findings.failures) == ["KV-PER-02"]
    assert "was complete and promised" in findings.failures["KV-PER-02"].verdict.what


# ── what is broken ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_every_mutant_is_killed_by_the_clause_that_it_breaks(mutant):
    clause = MUTANTS[mutant]
    findings = judged(StoreSubject(mutant), clause)
    assert clause in findings.failures, list(findings.failures)
    failure = findings.failures[clause]
    (trial,) = (trial for trial in TRIALS if trial.name == failure.trial)
    again = trial.replay(StoreSubject(mutant), json.loads(json.dumps(failure.program)))
    assert again is not None
    assert again.clause == clause
    assert again.verdict == failure.verdict
