"""A run from gate to report: statuses, expectations, files, command line, pytest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from kvbm_spec import clauses, command, replayed, report, status
from kvbm_spec import run as suite
from kvbm_spec.checks import CHECKS
from kvbm_spec.explore import Findings, explore, replay, shortest
from kvbm_spec.moves import Scope
from kvbm_spec.operations import Op
from kvbm_spec.profiles import PROFILES
from kvbm_spec.run import Report, _Judge, run
from kvbm_spec.status import Expectations, Status, read_expectations
from kvbm_spec.subject import Capabilities, Event, PoolConfig

from kvbm.cli.subject import KvbmManager, KvbmSubject
from kvbm.pool import POLICIES, home

TODAY = date(2030, 1, 1)
DAY_ONE = Expectations({}, {"KV-EVT-01": {"id": "KV-EVT-01", "reason": "no events yet"}})


class LruOnly(KvbmSubject):
    """Our own pool under one policy, to be quick."""

    def capabilities(self) -> Capabilities:
        return replace(super().capabilities(), policies=("lru",), duplicates=("reject",))


class Silent(KvbmManager):
    """Declares events, and tells nothing of what is stored."""

    def drain_events(self) -> list[Event]:
        return [event for event in super().drain_events() if event.kind != "Stored"]


class SilentSubject(LruOnly):
    def open(self, config, env) -> KvbmManager:
        del env
        return Silent(config)


class Dead(KvbmManager):
    """Has no slots."""

    def match(self, keys):
        raise KeyError(keys)


class DeadSubject(LruOnly):
    def open(self, config, env) -> KvbmManager:
        del env
        return Dead(config)


@pytest.fixture(scope="module", autouse=True)
def _from_outside() -> Iterator[None]:
    """Leave the pool's own checks out: here the suite must find what is wrong, and be quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home, "_CHECK", False)
        yield


@pytest.fixture(scope="module")
def right() -> Report:
    return run(LruOnly(), "smoke", today=TODAY)


@pytest.fixture(scope="module")
def silent() -> Report:
    return run(SilentSubject(), "smoke", today=TODAY)


def statuses(of: Report) -> dict[str, Status]:
    return {result.clause: result.status for result in of.results}


# ── our own pool ──────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-LIF-01", "KV-LIF-02", "KV-LIF-05", "KV-LIF-06", "KV-LIF-08", "KV-CAP-10")
@pytest.mark.clause("KV-REG-01", "KV-REG-02", "KV-REG-03", "KV-EVC-01", "KV-EVC-02", "KV-EVC-05")
@pytest.mark.parametrize("duplicates", ["reject", "allow"])
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_our_own_pool_is_right_in_every_short_history(policy: str, duplicates: str) -> None:
    config = PoolConfig(slots=2, policy=policy, duplicates=duplicates)
    findings = explore(KvbmSubject(), config, Scope(slots=2, depth=8))
    assert not findings.failures
    assert findings.states > 50


def test_our_own_pool_conforms(right: Report) -> None:
    assert right.ok, report.text(right)
    assert {c for c, status in statuses(right).items() if status is Status.PASS} == (
        CHECKS.keys() - {"KV-REG-10", "KV-REG-08", "KV-IDN-07"}
    )


# ── statuses ──────────────────────────────────────────────────────────────────────────────


def test_every_clause_has_one_status_and_every_check_a_clause(right: Report) -> None:
    assert [result.clause for result in right.results] == [c.id for c in clauses.load()]
    assert all(clauses.lookup(clause) for clause in CHECKS)


def test_a_failure_fails_its_clause_and_not_the_others(silent: Report) -> None:
    assert statuses(silent)["KV-EVT-01"] is Status.FAIL
    assert statuses(silent)["KV-LIF-06"] is Status.PASS
    assert not silent.ok


def test_a_pool_that_fails_the_gate_is_asked_no_more() -> None:
    found = statuses(run(DeadSubject(), "smoke", today=TODAY))
    assert found["KV-LIF-01"] is Status.FAIL
    assert found["KV-EVC-02"] is Status.BLOCKED


def test_a_run_that_reached_nothing_is_vacuous() -> None:
    judged = _Judge(LruOnly(), Findings(), blocked=False)("KV-EVC-02")
    assert judged.status is Status.VACUOUS
    assert judged.status.bad


# ── expectations ──────────────────────────────────────────────────────────────────────────


def test_an_announced_failure_is_expected_and_a_pass_is_an_error(
    right: Report, silent: Report
) -> None:
    results = {r.clause: r for r in silent.results}
    assert DAY_ONE.judge(results["KV-EVT-01"], TODAY).status is Status.EXPECTED_FAIL
    fine = {r.clause: r for r in right.results}
    assert DAY_ONE.judge(fine["KV-EVT-01"], TODAY).status is Status.ERROR
    late = Expectations({}, {"KV-EVT-01": {"reason": "r", "until": "2029-12-31"}})
    assert late.judge(results["KV-EVT-01"], TODAY).status is Status.ERROR


def test_a_declaration_that_differs_is_a_problem() -> None:
    declared = Expectations({"policies": ["fifo"]}, {})
    assert declared.problems(LruOnly().capabilities())
    assert not Expectations({"events": True}, {}).problems(LruOnly().capabilities())


def test_a_file_of_expectations_is_read_strictly(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    file.write_text('[[expected_failure]]\nid = "KV-EVT-01"\nreason = "none yet"\n')
    assert set(read_expectations(file).failures) == {"KV-EVT-01"}
    file.write_text('[[expected_failure]]\nid = "KV-EVT-01"\n')
    with pytest.raises(ValueError, match="reason"):
        read_expectations(file)
    file.write_text('[[expected_failure]]\nid = "KV-EVT-' + '99"\nreason = "r"\n')
    with pytest.raises(clauses.UnknownClause):
        read_expectations(file)

    file.write_text("expected_failures = []\n")
    with pytest.raises(ValueError, match="no field expected_failures"):
        read_expectations(file)
    file.write_text('spec = "0.9"\ndisabled = ["KV-EVT-01"]\n')
    expected = read_expectations(file)
    assert expected.problems(LruOnly().capabilities()) == [
        "the file is for spec 0.9, and this is 1.0"
    ]
    assert expected.disabled == {"KV-EVT-01"}


def test_a_clause_that_is_switched_off_is_not_counted(silent: Report) -> None:
    failed = next(each for each in silent.results if each.clause == "KV-EVT-01")
    off = Expectations({}, {}, frozenset({"KV-EVT-01"})).judge(failed, TODAY)
    assert off.status is Status.DISABLED
    assert not off.status.bad


def test_a_clause_of_the_newest_version_is_tried_and_not_counted(
    silent: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = next(each for each in silent.results if each.clause == "KV-EVT-01")
    added = replace(clauses.lookup("KV-EVT-01"), since="1.1")
    monkeypatch.setattr(status, "lookup", lambda _: added)
    assert status.NOTHING_EXPECTED.judge(failed, TODAY).status is Status.FAIL
    monkeypatch.setattr(status, "SPEC_VERSION", "1.1")
    preview = status.NOTHING_EXPECTED.judge(failed, TODAY)
    assert preview.status is Status.PREVIEW
    assert preview.reason == "FAIL, not counted"
    assert not preview.status.bad


# ── reports ───────────────────────────────────────────────────────────────────────────────


def test_a_failure_reads_as_a_short_history(silent: Report) -> None:
    said = report.text(silent)
    assert "FAIL KV-EVT-01  register(h1) did not send Stored(K0)" in said
    assert "after 3 calls" in said
    assert "expected: h2  Stored(K0)" in said
    assert "replay: python -m kvbm_spec replay fail-KV-EVT-01.json SUBJECT" in said


def test_the_files_of_a_report_can_be_read_and_replayed(silent: Report, tmp_path: Path) -> None:
    names = {path.name for path in report.save(silent, tmp_path)}
    assert {"results.json", "junit.xml", "report.html", "fail-KV-EVT-01.json"} <= names
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results["clauses"]) == len(clauses.load())
    cases = ET.fromstring((tmp_path / "junit.xml").read_text()).findall("testcase")  # noqa: S314
    assert len(cases) == len(clauses.load())
    page = (tmp_path / "report.html").read_text()
    assert "KV-EVT-01" in page
    assert "http" not in page
    stored = (tmp_path / "fail-KV-EVT-01.json").read_text()
    assert replayed.play(SilentSubject(), stored, "again") is not None
    assert replayed.play(LruOnly(), stored, "again") is None


# ── the command ───────────────────────────────────────────────────────────────────────────


def test_the_command_says_what_it_cannot_use(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("nothing", "no.such.module:Class", "json:Nothing", "pathlib:Path"):
        assert command.main(["run", name]) == command.UNUSABLE
        assert capsys.readouterr().err.startswith("kvbm_spec: error:")


def test_a_program_in_any_language_is_judged_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = Path(__file__).parents[2] / "spec" / "examples" / "adapter.py"
    program = f"{sys.executable} {adapter}"
    assert command.main(["run", "--exec", program, "--profile", "smoke"]) == 0
    assert "subject tiny 1.0" in capsys.readouterr().out
    assert command.main(["run", "--exec", "/no/such/program"]) == command.UNUSABLE
    broken = tmp_path / "broken.py"
    broken.write_text("print('hello', flush=True)\ninput()\n")
    for words in (f"{sys.executable} {broken}", f"{sys.executable} -c 0"):
        assert command.main(["run", "--exec", words]) == command.UNUSABLE
        assert capsys.readouterr().err.startswith("kvbm_spec: error:")


def test_a_program_that_forgets_the_protocol_is_an_error_and_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = (Path(__file__).parents[2] / "spec" / "examples" / "adapter.py").read_text()
    broken = tmp_path / "broken.py"
    broken.write_text(adapter.replace('"id"', '"number"'))
    assert command.main(["run", "--exec", f"{sys.executable} {broken}"]) == command.UNUSABLE
    assert "error" in capsys.readouterr().err


def test_a_history_is_replayed_from_the_command(
    silent: Report, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report.save(silent, tmp_path)
    file = str(tmp_path / "fail-KV-EVT-01.json")
    assert command.main(["replay", file, "kvbm.cli.subject:KvbmSubject"]) == 0
    assert "PASS" in capsys.readouterr().out
    (tmp_path / "broken.json").write_text("{}")
    broken = str(tmp_path / "broken.json")
    assert command.main(["replay", broken, "kvbm.cli.subject:KvbmSubject"]) == command.UNUSABLE


def test_pytest_shows_one_test_for_each_clause(tmp_path: Path) -> None:
    subject = "list_pool:ListSubject"
    words = [sys.executable, "-m", "pytest", "-p", "kvbm_spec.plugin", "--kvbm-subject", subject]
    done = subprocess.run(  # noqa: S603 - our own words
        [*words, "-q", "-k", "KV-EVC-02 or KV-RMT-01"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed, 1 skipped" in done.stdout, done.stdout + done.stderr


class Mute(KvbmManager):
    """Raises when it is asked what happened."""

    def drain_events(self) -> list[Event]:
        raise OSError("no log")


class MuteSubject(LruOnly):
    def open(self, config, env) -> KvbmManager:
        del env
        return Mute(config)


def test_events_that_cannot_be_had_are_a_failure_and_no_end_of_the_run() -> None:
    found = run(MuteSubject(), "smoke", today=TODAY)
    assert not found.ok
    (failure,) = [each.failure for each in found.results if each.clause == "KV-LIF-01"]
    assert failure is not None
    assert "drain_events(): OSError" in failure.verdict.what


def test_a_gate_that_failed_does_not_let_a_clause_pass_that_was_not_reached() -> None:
    judged = _Judge(LruOnly(), Findings(), blocked=True)
    assert judged("KV-LIF-06").status is Status.BLOCKED
    assert judged("KV-EVC-02").status is Status.BLOCKED


class Clumsy(KvbmManager):
    """Cannot register."""

    def register(self, handle):
        raise KeyError(handle)


class ClumsySubject(LruOnly):
    def open(self, config, env) -> KvbmManager:
        del env
        return Clumsy(config)


def test_a_history_is_not_made_so_short_that_its_handles_are_never_given() -> None:
    """Without the release the second allocation gives nothing, and h1 would be nobody's."""
    config = PoolConfig(slots=1)
    ops = [
        Op("allocate", n=1),
        Op("release", handle="h0"),
        Op("allocate", n=1),
        Op("stage", handle="h1", keys=(0,)),
        Op("register", handle="h2"),
    ]
    failure, _ = replay(ClumsySubject(), config, ops)
    assert failure is not None
    assert failure.clause == "KV-LIF-01"
    assert [step.op for step in shortest(ClumsySubject(), failure).steps] == ops


def test_the_smoke_profile_searches_at_random_in_one_pool_and_ci_in_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("explore", "search", "_trials"):
        monkeypatch.setattr(suite, name, lambda *_: Findings())
    for profile, exhaustive, random in (("smoke", 2, 1), ("ci", 12, 12)):
        names = [name for _, name in suite._searches(KvbmSubject(), PROFILES[profile])]
        assert sum("random" in name for name in names) == random
        assert sum("slots" in name for name in names) == exhaustive + random
