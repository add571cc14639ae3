"""The list of bugs in the wild, the clauses and the vectors refer to each other, both ways."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError

import pytest
from kvbm_spec import bugs, vectors
from kvbm_spec.bugs import Bug, UnknownBug
from kvbm_spec.clauses import load as clauses
from kvbm_spec.clauses import lookup as clause


def test_there_are_67_rows_that_are_numbered_from_one() -> None:
    assert [bug.id for bug in bugs.load()] == [f"BUG-{number:02}" for number in range(1, 68)]


@pytest.mark.parametrize("bug", bugs.load(), ids=lambda bug: bug.id)
def test_a_row_is_a_story_in_whole_sentences_with_its_threads(bug: Bug) -> None:
    assert bug.story.endswith(".")
    assert bug.threads
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", thread) for thread in bug.threads)
    assert len(set(bug.threads)) == len(bug.threads)


@pytest.mark.parametrize("bug", bugs.load(), ids=lambda bug: bug.id)
def test_a_clause_that_a_row_names_was_seen_as_that_row(bug: Bug) -> None:
    assert bug.clauses
    assert [each for each in bug.clauses if bug.id not in clause(each).seen_as] == []


def test_a_row_that_a_clause_was_seen_as_names_the_clause() -> None:
    pairs = [(each.id, row) for each in clauses() for row in each.seen_as]
    assert pairs
    assert [(id_, row) for id_, row in pairs if id_ not in bugs.lookup(row).clauses] == []


def test_a_vector_names_rows_that_exist_and_first_a_clause_of_theirs() -> None:
    shown = [vector for vector in vectors.load() if vector.bugs]
    assert shown
    for vector in shown:
        named = {id_ for row in vector.bugs for id_ in bugs.lookup(row).clauses}
        assert vector.clauses[0] in named, vector.id


def test_a_vector_of_a_bug_is_called_like_its_row() -> None:
    by_hand = [vector for vector in vectors.load() if vector.id.startswith("bugs/")]
    assert [vector.bugs for vector in by_hand] == [
        (vector.id.removeprefix("bugs/"),) for vector in by_hand
    ]


def test_a_row_is_found_by_its_id() -> None:
    for bug in bugs.load():
        assert bugs.lookup(bug.id) is bug


@pytest.mark.parametrize("unknown", ["BUG-00", "BUG-1", "bug-01", ""])
def test_an_unknown_row_is_refused_with_what_there_is(unknown: str) -> None:
    with pytest.raises(UnknownBug, match="from BUG-01 to BUG-67") as caught:
        bugs.lookup(unknown)
    assert isinstance(caught.value, LookupError)
    assert caught.value.bug_id == unknown


def test_the_threads_of_a_row_are_links() -> None:
    assert bugs.lookup("BUG-04").links == (
        "[LMCache/LMCache#987](https://github.com/LMCache/LMCache/issues/987)",
        "[LMCache/LMCache#993](https://github.com/LMCache/LMCache/issues/993)",
    )


def test_a_row_cannot_be_changed_and_is_read_once() -> None:
    assert bugs.load() is bugs.load()
    with pytest.raises(FrozenInstanceError):
        bugs.load()[0].story = "Nothing happened."  # type: ignore[misc]
