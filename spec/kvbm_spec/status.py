"""Status: what a run says of a clause, and when that is bad.

What this is
    The nine words of a report and their order, a result, and the file in which an
    implementer announces what is known to fail.

Interface, as rules of use
    * A group shows the maximum of its clauses, so the order matters: a group with a
      blocked clause never looks green.
    * An announced failure is strict: one that passes, or whose day has passed, is an ERROR.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from kvbm_spec.clauses import Clause, lookup
from kvbm_spec.explore import Failure
from kvbm_spec.subject import SPEC_VERSION, Capabilities

FIRST_VERSION: Final = "1.0"


class Status(IntEnum):
    """What is said of a clause, the better the smaller, from PASS on."""

    DISABLED = 0
    SKIP = 1
    PREVIEW = 2
    PASS = 3
    EXPECTED_FAIL = 4
    BLOCKED = 5
    VACUOUS = 6
    FAIL = 7
    ERROR = 8

    def __str__(self) -> str:
        return self.name.replace("_", " ")

    @property
    def bad(self) -> bool:
        """Whether a run with it has failed."""
        return self >= Status.BLOCKED


@dataclass(frozen=True, slots=True)
class Result:
    """One clause: its status, why, and the failure if there is one."""

    clause: str
    status: Status
    reason: str = ""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Expectations:
    """What an implementer has announced."""

    declared: Mapping[str, Any]
    failures: Mapping[str, Mapping[str, Any]]
    disabled: frozenset[str] = frozenset()
    """Clauses that are switched off."""
    spec: str = SPEC_VERSION

    def problems(self, capabilities: Capabilities) -> list[str]:
        """Compare what the file declares with what the subject answers."""
        wrong = []
        if self.spec != SPEC_VERSION:
            wrong.append(f"the file is for spec {self.spec}, and this is {SPEC_VERSION}")
        for name, value in self.declared.items():
            answer = getattr(capabilities, name, None)
            listed = list(answer) if isinstance(answer, tuple) else answer
            if listed != value:
                wrong.append(f"the file declares {name} = {value}, and the subject says {listed}")
        return wrong

    def judge(self, result: Result, today: date) -> Result:
        """Replace the status of a clause that is announced, switched off or a preview."""
        if result.clause in self.disabled:
            return Result(result.clause, Status.DISABLED, "switched off")
        if is_preview(lookup(result.clause)) and result.status is not Status.SKIP:
            return replace(result, status=Status.PREVIEW, reason=f"{result.status}, not counted")
        entry = self.failures.get(result.clause)
        return result if entry is None else _announced(result, entry, today)


def _announced(result: Result, entry: Mapping[str, Any], today: date) -> Result:
    if "until" in entry and date.fromisoformat(str(entry["until"])) < today:
        return replace(result, status=Status.ERROR, reason=f"was due by {entry['until']}")
    if result.status is Status.FAIL:
        return replace(result, status=Status.EXPECTED_FAIL, reason=str(entry["reason"]))
    if result.status is Status.PASS:
        reason = "was expected to fail, and passes: take it out of the file"
        return replace(result, status=Status.ERROR, reason=reason)
    return result


def is_preview(clause: Clause) -> bool:
    """Tell whether a clause came with this version of the specification.

    It is asked and reported, and counts from the next version on. The first version has
    no clause that was there before, so all of its clauses count.
    """
    return clause.since == SPEC_VERSION != FIRST_VERSION


NOTHING_EXPECTED = Expectations({}, {})


def read_expectations(file: Path) -> Expectations:
    """Read an expected-failures file.

    Raises
    ------
    UnknownClause
        An id does not exist.
    ValueError
        The file is no TOML, or an entry lacks its `id` or `reason`.
    """
    content = tomllib.loads(file.read_text("utf-8"))
    unknown = content.keys() - {"spec", "capabilities", "disabled", "expected_failure"}
    if unknown:
        raise ValueError(f"{file}: there is no field {', '.join(sorted(unknown))}")
    failures = {}
    for entry in content.get("expected_failure", []):
        if not {"id", "reason"} <= entry.keys():
            raise ValueError(
                f"{file}: an expected failure needs id and reason, and this is {entry}"
            )
        failures[lookup(entry["id"]).id] = entry
    return Expectations(
        content.get("capabilities", {}),
        failures,
        frozenset(lookup(clause).id for clause in content.get("disabled", ())),
        str(content.get("spec", SPEC_VERSION)),
    )
