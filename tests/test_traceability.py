"""Clauses and code point at each other: no id is invented, and no clause is forgotten.

A test says which clauses it is about: `@pytest.mark.clause("KV-REG-01", "KV-LIF-05")`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from kvbm_spec import groups, load, vectors
from kvbm_spec.checks import CHECKS
from kvbm_spec.unchecked import UNCHECKED, VECTORS

ROOT: Final = Path(__file__).parents[1]

PLACES: Final = ("kvbm", "kernels", "spec", "tests", "docs")
KINDS: Final = {".py", ".md", ".toml", ".json"}

NOT_IMPLEMENTED: Final = {
    "RMT": "there are no peers",
    "GRP": "a manager has one group of layers",
}
"""Groups of which `kvbm` has nothing, each with the reason. All others are tested."""

NOT_SHOWN: Final = {
    "KV-IDN-09": "needs invalidate(), which acts on all tiers and on copies that finish later",
    "KV-REG-07": "is about a caller that remembers a hit count instead of holding the handles",
    "KV-ISO-05": "no test looks at the bytes of a block before they are written",
    "KV-ISO-07": "there are no quotas",
    "KV-OBS-01": "is judged by a trial of the suite, and by no test of its own",
}
"""Clauses of the other groups that no test names yet, each with the reason."""


# ── reading ───────────────────────────────────────────────────────────────────────────────


def ids_in(text: str) -> Iterator[str]:
    """Find what looks like the id of a clause."""
    yield from re.findall(r"\bKV-[A-Z]+-\d+", text)


def marked_in(source: str) -> Iterator[object]:
    """Find the arguments of all clause markers of a test module; None for one that is no text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("mark.clause"):
            yield from (getattr(argument, "value", None) for argument in node.args)


def files() -> Iterator[tuple[Path, str]]:
    """Give the files of the repository that may name clauses, with their text."""
    for place in PLACES:
        for file in sorted((ROOT / place).rglob("*")):
            if file.suffix in KINDS and file.is_file():
                yield file.relative_to(ROOT), file.read_text("utf-8")


def marked() -> set[object]:
    """Give all ids that a test names in a marker."""
    return {
        argument
        for file, text in files()
        if file.parts[0] == "tests" and file.suffix == ".py"
        for argument in marked_in(text)
    }


def implemented() -> list[str]:
    """Give the clauses of the groups that `kvbm` implements."""
    return [clause.id for clause in load() if clause.group not in NOT_IMPLEMENTED]


def forgotten(wanted: list[str], named: set[object], excused: set[str]) -> list[str]:
    """Give the wanted clauses that are neither named nor excused, or that are both."""
    return [clause for clause in wanted if (clause in named) == (clause in excused)]


# ── the repository ────────────────────────────────────────────────────────────────────────


def test_every_id_that_is_named_anywhere_exists() -> None:
    known = {clause.id for clause in load()}
    assert not [
        (str(file), id_) for file, text in files() for id_ in ids_in(text) if id_ not in known
    ]


def test_every_marker_names_clauses_and_nothing_else() -> None:
    assert not marked() - {clause.id for clause in load()}


def test_every_clause_that_kvbm_implements_is_named_by_a_test_or_excused_but_not_both() -> None:
    wrong = forgotten(implemented(), marked(), set(NOT_SHOWN))
    assert not wrong, ", ".join(wrong)


def test_only_clauses_of_implemented_groups_are_excused_and_only_groups_that_exist() -> None:
    assert set(NOT_SHOWN) <= set(implemented())
    assert set(NOT_IMPLEMENTED) <= {group.id for group in groups()}


def test_every_clause_has_a_check_or_a_reason_why_it_has_none_but_not_both() -> None:
    wrong = forgotten([clause.id for clause in load()], set(CHECKS), set(UNCHECKED))
    assert not wrong, f"{', '.join(wrong)}: set right kvbm_spec.unchecked"


def test_every_check_and_every_reason_is_about_a_clause_that_exists() -> None:
    known = {clause.id for clause in load()}
    assert not [clause for clause in [*CHECKS, *UNCHECKED] if clause not in known]


def test_reasons_complete_a_sentence_and_stand_in_the_order_of_the_clauses() -> None:
    assert list(UNCHECKED) == [clause.id for clause in load() if clause.id in UNCHECKED]
    assert all(reason[0].islower() and reason[-1] != "." for reason in UNCHECKED.values())


def test_a_clause_that_a_vector_names_is_checked_in_a_run_or_said_to_be_shown_by_vectors() -> None:
    """And a clause of which that is said is named by one: both ways."""
    cited = {clause for vector in vectors.load() for clause in vector.clauses}
    said = {clause for clause, reason in UNCHECKED.items() if reason == VECTORS}
    assert cited - set(CHECKS) == said


# ── each rule can fail ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("made_up", ["KV-LIF" + "-99", "KV-LIF" + "-1", "KV-NO" + "-01"])
def test_an_invented_id_is_seen(made_up: str) -> None:
    assert list(ids_in(f"Clauses: {made_up}, and")) == [made_up]
    assert made_up not in {clause.id for clause in load()}


@pytest.mark.parametrize(
    "source",
    [
        "@pytest.mark.clause('X', 'Y')\ndef test_it(): ...",
        "pytestmark = [pytest.mark.gpu, pytest.mark.clause('X', 'Y')]",
        "case = pytest.param(1, marks=pytest.mark.clause('X', 'Y'))",
        "class TestIt:\n    @mark.clause('X')\n    @mark.clause('Y')\n    def test_it(self): ...",
    ],
)
def test_a_marker_is_found_however_it_is_set(source: str) -> None:
    assert set(marked_in(source)) == {"X", "Y"}


def test_a_marker_that_is_no_plain_text_names_nothing_that_exists() -> None:
    assert list(marked_in("pytest.mark.clause(ID, 1)")) == [None, 1]


def test_a_clause_is_forgotten_when_nobody_names_it_or_its_excuse_is_stale() -> None:
    every: set[object] = {clause.id for clause in load()}
    wanted = ["KV-REG-01", "KV-REG-02"]
    assert forgotten(wanted, every - {"KV-REG-01"}, set()) == ["KV-REG-01"]
    assert forgotten(wanted, every, {"KV-REG-01"}) == ["KV-REG-01"]
    assert not forgotten(wanted, every - {"KV-REG-01"}, {"KV-REG-01"})


def test_what_kvbm_does_not_implement_is_not_asked_for() -> None:
    assert {clause.group for clause in load() if clause.id not in implemented()} == {"RMT", "GRP"}
