"""The frame of trials: scripts, scenes, names, and what a failure carries."""

from __future__ import annotations

import pytest
from able_pool import Able
from kvbm_spec import abilities, checks, clauses, replayed
from kvbm_spec.subject import Env, Key, PoolConfig, Subject
from kvbm_spec.trial import Broken, Scene, Script
from kvbm_spec.trials import TRIAL_CHECKS, TRIALS
from list_pool import ListSubject, Ticket


class Forgetful(Able):
    """Forgets to let go."""

    def downgrade(self, handle: Ticket) -> Key:
        return self.need(handle, "active").key


def test_names_of_trials_are_unique_and_abilities_and_clauses_exist() -> None:
    names = [trial.name for trial in TRIALS]
    assert len(names) == len({*names})
    known = {*abilities.DECLARED, *abilities.ABILITIES, *abilities.SUBJECT_ABILITIES}
    assert {trial.ability for trial in TRIALS} | {
        c.ability for c in checks.CHECKS.values()
    } <= known
    assert all(clauses.lookup(clause) for trial in TRIALS for clause in trial.clauses)


def test_no_clause_has_two_checks_and_each_check_of_a_trial_has_a_trial() -> None:
    assert not checks.LOCKSTEP.keys() & TRIAL_CHECKS.keys()
    assert {clause for trial in TRIALS for clause in trial.clauses} >= TRIAL_CHECKS.keys()


def test_every_trial_can_be_replayed_by_its_name() -> None:
    subject = ListSubject(Forgetful)
    trial = next(each for each in TRIALS if each.ability == "weak references")
    (failure,) = trial.run(subject, "smoke").failures.values()
    stored = replayed.write(failure)
    again = replayed.play(subject, stored, "again")
    assert again is not None
    assert [str(line) for line in again.steps] == [str(line) for line in failure.steps]
    assert replayed.play(ListSubject(Able), stored, "again") is None
    with pytest.raises(ValueError, match="no trial 'other'"):
        replayed.play(subject, stored.replace(trial.name, "other"), "again")


def test_a_script_writes_down_what_was_done_and_tells_refusals_from_crashes() -> None:
    subject: Subject = ListSubject()
    script = Script(subject, "KV-LIF-01")
    pool = subject.open(PoolConfig(slots=1), Env())
    handles = script.call("allocate(1)", pool.allocate, 1)
    script.refused("KV-LIF-01", "WrongState", "register(h)", pool.register, handles[0])
    with pytest.raises(Broken, match="KV-LIF-02: register"):
        script.refused("KV-LIF-02", "StaleHandle", "register(h)", pool.register, handles[0])
    with pytest.raises(Broken, match=r"KV-LIF-06: release\(h\) was done"):
        script.refused("KV-LIF-06", "StaleHandle", "release(h)", pool.release, handles[0])
    with pytest.raises(Broken, match="raised what is no refusal"):
        script.call("stage(nothing)", pool.stage, None, 0)
    assert [str(line) for line in script.lines][:2] == [
        "allocate(1) -> 1 handle",
        "register(h) -> WrongState",
    ]
    assert script.lines[-1].wrong


def test_a_scene_that_is_stopped_by_a_crash_has_broken_its_first_clause() -> None:
    def play(script: Script) -> None:
        script.reached("a bare call")
        raise ZeroDivisionError

    findings = Scene("a crash", ("KV-LIF-01",), "", play).run(ListSubject(), "smoke")
    assert "ZeroDivisionError" in findings.failures["KV-LIF-01"].verdict.what
