"""The zoo is in order: every mutant can be made, each kind of bug has one, the page is of it.

A few are really hunted, quick ones of different parts; `make mutants` hunts all.
"""

from __future__ import annotations

import ast
from collections import Counter

import pytest
from hunt import PAGE, expected, hunt, known, page
from kvbm_spec import load as clauses
from zoo import ROOT, Mutant, excused, load

MUTANTS = load()
KINDS = {row for clause in clauses() for row in clause.seen_as}
"""All reported bugs that the clauses know."""


def names(mutant: Mutant) -> str:
    return mutant.name.replace(" ", "-")


@pytest.mark.parametrize("mutant", MUTANTS, ids=names)
def test_a_mutant_differs_from_the_right_program_and_is_one(mutant: Mutant) -> None:
    right, wrong = (ROOT / mutant.file).read_text("utf-8"), mutant.text()
    assert ast.dump(ast.parse(right)) != ast.dump(ast.parse(wrong))


def test_no_two_mutants_have_one_name_or_one_text() -> None:
    for key in ((lambda m: m.name), (lambda m: (m.file, m.text()))):
        assert max(Counter(map(key, MUTANTS)).values()) == 1


def test_clauses_and_bugs_of_mutants_exist() -> None:
    ids = {clause.id for clause in clauses()}
    for mutant in MUTANTS:
        assert mutant.clauses, mutant.name
        assert ids.issuperset(mutant.clauses), mutant.name
        assert KINDS.issuperset(mutant.bugs), mutant.name


def test_every_kind_of_bug_has_a_mutant_or_a_reason_why_not() -> None:
    covered = {row for mutant in MUTANTS if not mutant.equivalent for row in mutant.bugs}
    assert covered.isdisjoint(excused())
    assert covered | excused().keys() == KINDS


def test_the_page_is_that_of_the_zoo() -> None:
    assert page(MUTANTS, known()) == PAGE.read_text("utf-8")


@pytest.mark.parametrize("mutant", MUTANTS, ids=names)
def test_a_mutant_ended_as_the_zoo_says_when_it_was_hunted(mutant: Mutant) -> None:
    assert mutant.name in known()
    assert expected(mutant, known()[mutant.name])


def test_most_mutants_are_hunted() -> None:
    assert sum(not (mutant.equivalent or mutant.pending) for mutant in MUTANTS) >= 60


QUICK = {
    "a released handle may be released again",
    "what is cached does not count as available",
    "an evicted key still matches",
    "an allocation does not tell whom it has evicted",
    "a slot rests while one reader is left",
}


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name in QUICK], ids=names)
def test_a_mutant_is_killed_as_the_page_says(mutant: Mutant) -> None:
    kill, last = hunt(mutant), known()[mutant.name]
    assert kill is not None
    assert last is not None
    assert (kill.clause, kill.steps) == (last.clause, last.steps)
