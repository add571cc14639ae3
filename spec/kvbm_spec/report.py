"""Report: what a run says, for people and for programs.

What this is
    The text on the console, `results.json`, `junit.xml`, and a `fail-*.json` for each
    failure. The page with pictures is in `page`.

Interface, as rules of use
    * `text(report)` is the whole console report; `failure_text` one failure of it.
    * `save(report, folder)` writes all files and gives their paths.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

from kvbm_spec import replayed
from kvbm_spec.clauses import groups, lookup
from kvbm_spec.explore import Failure
from kvbm_spec.operations import key_text
from kvbm_spec.page import page
from kvbm_spec.run import Report
from kvbm_spec.status import Result, Status
from kvbm_spec.subject import PoolSnapshot
from kvbm_spec.twin import Twin

QUIET: Final = (Status.SKIP, Status.DISABLED, Status.PREVIEW, Status.EXPECTED_FAIL)
"""Neither passed nor failed, for JUnit."""

CAUSES: Final = {
    "KV-LIF-01": "a call does not look at the state of its block first",
    "KV-LIF-02": "handles carry a slot and no generation",
    "KV-LIF-04": "the record of a slot is not cleared when it is emptied",
    "KV-LIF-06": "a count is clamped at zero, or a handle does not remember that it was released",
    "KV-LIF-08": "a key enters the registry when it is staged",
    "KV-OWN-03": "a hold is not taken, or not given back, on one of the paths",
    "KV-OWN-05": "writing asks whether the handle is live, and not whether the block is shared",
    "KV-CAP-02": "a slot was put into one list before it was taken out of another",
    "KV-CAP-03": "a slot was put into one list before it was taken out of another",
    "KV-CAP-04": "a slot was queued again while it was still in the queue",
    "KV-CAP-06": "a slot was lost, counted twice, or is still listed as available while it is held",
    "KV-CAP-10": "a hold is taken on one path and given back on another",
    "KV-INT-01": "a slot was handed out while somebody could still read it",
    "KV-REG-01": "the walk over the keys does not stop at the first miss",
    "KV-REG-02": "the second block of a key replaced the first, or its slot was not given back",
    "KV-REG-03": "an index entry is not removed when its block is evicted",
    "KV-REG-04": "two blocks answer for one key",
    "KV-EVC-01": "a block that was matched again stays in the order of eviction",
    "KV-EVC-02": "a match or a release does not move the block to the end it belongs to",
    "KV-EVC-05": "the cache is asked for slots before the free list is",
    "KV-EVC-06": "the loop that evicts does not count what it has evicted",
    "KV-EVT-01": "a path that changes the registry sends no event",
    "KV-EVT-02": "an event is sent for each call, and not for each change",
    "KV-EVT-04": "eviction inside an allocation sends no event",
}
"""What most often lies behind the failure of a clause."""


def text(report: Report) -> str:
    """Write the report for a terminal."""
    subject = report.subject
    able = subject.capabilities()
    lines = [
        (
            f"subject {subject.name} {subject.version}, spec {subject.spec_version}, "
            f"profile {report.profile}"
        ),
        (
            f"declares policies {', '.join(able.policies)}; "
            f"duplicates {', '.join(able.duplicates)}; events {'yes' if able.events else 'no'}; "
            f"parents {'held' if able.holds_parents else 'not held'}"
        ),
        "",
    ]
    lines += [f"ERROR set-up: {problem}" for problem in report.problems]
    for result in report.results:
        if result.status is Status.FAIL and result.failure is not None:
            lines += [failure_text(result.failure, report), ""]
        elif result.status.bad or result.status is Status.EXPECTED_FAIL:
            lines.append(f"{result.status} {result.clause}  {result.reason}")
    lines += [*_groups(report), "", _total(report)]
    return "\n".join(lines)


def failure_text(failure: Failure, report: Report) -> str:
    """Tell one failure: what, after which calls, what differs, why perhaps, how to replay."""
    clause = lookup(failure.clause)
    calls = len(failure.steps)
    lines = [
        f"FAIL {failure.clause}  {failure.verdict.what}",
        f"  {clause.sentence}",
        f"  subject={report.subject.name} {report.subject.version}  {config_text(failure)}",
        f"  after {calls} call{'' if calls == 1 else 's'} ({failure.found_by}):",
        *(f"    {number:2} {step}" for number, step in enumerate(failure.steps, start=1)),
    ]
    if failure.twin is not None:
        lines.append(f"  model    {model_text(failure.twin)}")
    if failure.snapshot is not None:
        lines.append(f"  subject  {snapshot_text(failure.snapshot)}")
    if cause := cause_text(failure.clause):
        lines.append(f"  likely cause: {cause}")
    lines.append(f"  replay: python -m kvbm_spec replay {file_name(failure)} SUBJECT")
    return "\n".join(lines)


def config_text(failure: Failure) -> str:
    """Name the pool, or the trial."""
    config = failure.config
    if config is None:
        return f"trial={failure.trial!r}"
    return f"slots={config.slots} policy={config.policy} duplicates={config.duplicates}"


def cause_text(clause_id: str) -> str:
    """Say what is often the reason, and which reported bugs were of this kind."""
    rows = lookup(clause_id).seen_as
    seen = f"seen in the wild as {', '.join(rows)}" if rows else ""
    return "; ".join(part for part in (CAUSES.get(clause_id, ""), seen) if part)


def model_text(twin: Twin) -> str:
    """Write the state of the model in one line."""
    views = [twin.view(index) for index in range(len(twin.model.slots))]
    held = [view for view in views if view.state not in ("free", "inactive")]
    return _state(
        sum(view.state == "free" for view in views),
        [f"{view.state} {key_text(view.key) if view.key is not None else '-'}" for view in held],
        [key_text(key) for key in twin.inactive()],
        [key_text(key) for key in sorted(twin.known())],
    )


def snapshot_text(snapshot: PoolSnapshot) -> str:
    """Write the subject's view of itself in one line, to be read below the model's."""
    held = [view for view in snapshot.slots if view.state not in ("free", "inactive")]
    return _state(
        len(snapshot.free),
        [f"{view.state} {key_text(view.key) if view.key is not None else '-'}" for view in held],
        [key_text(snapshot.slots[slot].key) for slot in snapshot.inactive],
        [key_text(key) for key in sorted(snapshot.registry)],
    )


def file_name(failure: Failure) -> str:
    """Name the file of a failure."""
    return f"fail-{failure.clause}.json"


def save(report: Report, folder: Path) -> list[Path]:
    """Write `results.json`, `junit.xml`, `report.html` and a file for each failure."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "results.json": json.dumps(results(report), indent=2) + "\n",
        "junit.xml": junit(report),
        "report.html": page(report, text(report)),
    }
    files |= {file_name(failure): replayed.write(failure) for failure in report.failures}
    for name, content in files.items():
        (folder / name).write_text(content, "utf-8")
    return [folder / name for name in files]


def results(report: Report) -> dict[str, Any]:
    """Give the report as plain data."""
    findings = report.findings
    return {
        "subject": {"name": report.subject.name, "version": report.subject.version},
        "spec": report.subject.spec_version,
        "profile": report.profile,
        "ok": report.ok,
        "problems": report.problems,
        "states": findings.states,
        "calls": findings.transitions,
        "seconds": round(findings.seconds, 3),
        "situations": dict(sorted(findings.situations.items())),
        "clauses": [
            {
                "id": result.clause,
                "level": str(lookup(result.clause).level),
                "status": str(result.status),
                "reason": result.reason,
            }
            for result in report.results
        ],
    }


def junit(report: Report) -> str:
    """Give the report as JUnit XML, one case for each clause."""
    suite = ET.Element("testsuite", name=f"kvbm_spec {report.subject.name}")
    for result in report.results:
        case = ET.SubElement(
            suite, "testcase", classname=lookup(result.clause).group, name=result.clause
        )
        if result.status in QUIET:
            ET.SubElement(case, "skipped", message=f"{result.status}: {result.reason}")
        elif result.status.bad:
            kind = "error" if result.status is Status.ERROR else "failure"
            ET.SubElement(case, kind, message=f"{result.status}: {result.reason}").text = (
                failure_text(result.failure, report) if result.failure else result.reason
            )
    suite.set("tests", str(len(report.results)))
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)


def _groups(report: Report) -> list[str]:
    by_id = {result.clause: result for result in report.results}
    lines = []
    for group in groups():
        members: list[Result] = [by_id[clause.id] for clause in group.clauses]
        worst = max(member.status for member in members)
        passed = sum(member.status is Status.PASS for member in members)
        lines.append(f"{worst!s:14} {group.id}  {passed:2} of {len(members):2}  {group.title}")
    return lines


def _total(report: Report) -> str:
    counts = report.counts()
    said = ", ".join(f"{counts[status]} {status}" for status in reversed(Status) if counts[status])
    findings = report.findings
    return (
        f"{'PASS' if report.ok else 'FAIL'}: {said}; {findings.states:,} states and histories, "
        f"{findings.transitions:,} calls, {findings.seconds:.1f} s"
    )


def _state(free: int, held: list[str], inactive: list[str], registry: list[str]) -> str:
    return (
        f"free={free}  held=[{', '.join(sorted(held))}]  inactive=[{', '.join(inactive)}]  "
        f"registry={{{', '.join(registry)}}}"
    )
