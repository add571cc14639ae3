"""The clauses: what a KV block manager must do, one sentence and one id each.

What this is
    The index that tests, docstrings and reports refer to. It is data, in
    `data/properties.toml`, and this module is its reader.

Interface, as rules of use
    * `load()` gives all clauses in the order of the file, which never changes.
    * `lookup("KV-REG-04")` finds one; `groups()` gives them under their titles.
    * An id that is not here does not exist: do not invent one in a docstring.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, Final

PROFILES: Final = (
    "smoke",
    "core",
    "stream",
    "scheduled",
    "persistent",
    "isolation",
    "remote",
    "groups",
    "telemetry",
)
"""Which clauses a subject is asked about, the first first."""


class Level(StrEnum):
    """How binding a clause is, as in RFC 2119."""

    MUST = "MUST"
    SHOULD = "SHOULD"


class Need(StrEnum):
    """What a test of a clause must be able to observe or to do."""

    BLACK_BOX = "black box"
    SNAPSHOT = "snapshot"
    FAULT_PLAN = "fault plan"
    SCHEDULER = "deterministic scheduler"
    RESTART = "restart"


class UnknownClause(LookupError):
    """There is no clause of this id. Carries `clause_id`."""

    def __init__(self, clause_id: str) -> None:
        near = get_close_matches(clause_id, [clause.id for clause in load()], n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "ids look like KV-REG-04"
        super().__init__(f"there is no clause {clause_id!r}; {hint}")
        self.clause_id = clause_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One property: `sentence` is the normative text, `rationale` and `note` are not."""

    id: str
    group: str
    level: Level
    needs: tuple[Need, ...]
    """The first is enough for a test; a second one makes the test exact."""
    profiles: tuple[str, ...]
    since: str
    """The version of the specification that has it first."""
    sentence: str
    rationale: str
    """What goes wrong for a user when it does not hold."""
    note: str = ""
    must_if: str = ""
    """The declaration of a subject that turns SHOULD into MUST."""
    seen_as: tuple[str, ...] = ()
    """Rows of the list of reported bugs that this clause would have caught; see `bugs`."""

    def __str__(self) -> str:
        return f"{self.id} ({self.level}): {self.sentence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Clauses about one subject."""

    id: str
    title: str
    chapter: str
    """Name of its page in `spec/chapters`, without the suffix."""
    clauses: tuple[Clause, ...]
    note: str = ""


@cache
def groups() -> tuple[Group, ...]:
    """Give all groups, in the order of the file. Read once; the result never changes.

    Examples
    --------
    >>> [(group.id, len(group.clauses)) for group in groups()[:3]]
    [('LIF', 9), ('OWN', 6), ('CAP', 10)]
    """
    source = resources.files("kvbm_spec").joinpath("data", "properties.toml")
    return tuple(_group(row) for row in tomllib.loads(source.read_text("utf-8"))["groups"])


@cache
def load() -> tuple[Clause, ...]:
    """Give all clauses, in the order of the file. Read once; the result never changes.

    Examples
    --------
    >>> len(load())
    115
    """
    return tuple(clause for group in groups() for clause in group.clauses)


def lookup(clause_id: str) -> Clause:
    """Find a clause by its id.

    Raises
    ------
    UnknownClause
        There is none; the message names the nearest ids.

    Examples
    --------
    >>> print(lookup("KV-EVC-05"))
    KV-EVC-05 (MUST): Free (reset) slots MUST be used before any inactive slot is evicted.
    """
    clause = _by_id().get(clause_id)
    if clause is None:
        raise UnknownClause(clause_id)
    return clause


@cache
def _by_id() -> dict[str, Clause]:
    return {clause.id: clause for clause in load()}


def _group(row: dict[str, Any]) -> Group:
    clauses = tuple(_clause(row["id"], each) for each in row.pop("clauses"))
    return Group(**row, clauses=clauses)


def _clause(group: str, row: dict[str, Any]) -> Clause:
    row["level"] = Level(row["level"])
    row["needs"] = tuple(Need(need) for need in row["needs"])
    row["profiles"] = tuple(row["profiles"])
    row["seen_as"] = tuple(row.get("seen_as", ()))
    return Clause(group=group, **row)
