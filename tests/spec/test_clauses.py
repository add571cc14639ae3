"""The index of clauses says what the specification says of itself."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from kvbm_spec import Clause, Level, Need, UnknownClause, groups, load, lookup
from kvbm_spec.clauses import PROFILES

SPEC = Path(__file__).parents[2] / "spec"


def test_there_are_115_clauses_and_no_id_occurs_twice() -> None:
    ids = [clause.id for clause in load()]
    assert len(ids) == 115
    assert len(set(ids)) == 115


def test_107_clauses_are_must_and_these_eight_are_should() -> None:
    assert Counter(clause.level for clause in load()) == {Level.MUST: 107, Level.SHOULD: 8}
    assert [clause.id for clause in load() if clause.level is Level.SHOULD] == [
        "KV-CAP-07",
        "KV-IDN-06",
        "KV-EVC-04",
        "KV-TIR-10",
        "KV-LIV-05",
        "KV-ISO-04",
        "KV-ISO-05",
        "KV-ISO-07",
    ]


def test_one_should_becomes_a_must_by_declaration() -> None:
    assert {clause.id: clause.must_if for clause in load() if clause.must_if} == {
        "KV-EVC-04": "prefix_closed"
    }


def test_each_need_has_as_many_clauses_as_stated() -> None:
    assert Counter(clause.needs for clause in load()) == {
        (Need.BLACK_BOX,): 66,
        (Need.SNAPSHOT,): 8,
        (Need.FAULT_PLAN,): 11,
        (Need.SCHEDULER,): 21,
        (Need.RESTART,): 5,
        (Need.BLACK_BOX, Need.SNAPSHOT): 3,
        (Need.BLACK_BOX, Need.FAULT_PLAN): 1,
    }


def test_these_four_clauses_have_two_needs() -> None:
    assert [clause.id for clause in load() if len(clause.needs) > 1] == [
        "KV-LIF-07",
        "KV-CAP-03",
        "KV-CAP-08",
        "KV-OBS-01",
    ]


def test_each_profile_has_as_many_clauses_as_stated() -> None:
    assert Counter(profile for clause in load() for profile in clause.profiles) == {
        "smoke": 6,
        "core": 62,
        "stream": 3,
        "scheduled": 26,
        "persistent": 7,
        "isolation": 7,
        "remote": 7,
        "groups": 2,
        "telemetry": 1,
    }


def test_only_the_smoke_gate_shares_its_clauses() -> None:
    assert {clause.id for clause in load() if len(clause.profiles) > 1} == {
        "KV-LIF-01",
        "KV-LIF-06",
        "KV-CAP-03",
        "KV-CAP-10",
        "KV-REG-01",
        "KV-INT-01",
    }
    assert {clause.profiles for clause in load() if len(clause.profiles) > 1} == {("core", "smoke")}


def test_every_profile_that_a_clause_names_is_known() -> None:
    assert {profile for clause in load() for profile in clause.profiles} == set(PROFILES)


def test_groups_come_in_a_fixed_order_and_number_their_clauses_from_one() -> None:
    assert " ".join(group.id for group in groups()) == (
        "LIF OWN CAP IDN REG EVC TIR INT EVT CON LIV SHD PER ISO RMT GRP OBS"
    )
    for group in groups():
        assert [clause.id for clause in group.clauses] == [
            f"KV-{group.id}-{number:02}" for number in range(1, len(group.clauses) + 1)
        ]
        assert {clause.group for clause in group.clauses} == {group.id}


@pytest.mark.parametrize("clause", load(), ids=lambda clause: clause.id)
def test_a_clause_is_whole_sentences_that_carry_its_level(clause: Clause) -> None:
    assert clause.sentence.endswith(".")
    assert re.search(r"\b(MUST|SHOULD|may)\b", clause.sentence)
    assert all(re.fullmatch(r"BUG-\d\d", row) for row in clause.seen_as)


@pytest.mark.parametrize("clause", load(), ids=lambda clause: clause.id)
def test_a_clause_says_since_when_and_why_in_up_to_three_sentences(clause: Clause) -> None:
    assert clause.since == "1.0"
    assert re.fullmatch(
        r"[A-Z]([^.]|\.(?! |$))+(\. [A-Z]([^.]|\.(?! |$))+){0,2}\.", clause.rationale
    )
    assert not re.search(r"\b(MUST|SHOULD)\b", clause.rationale), "only sentences are normative"


def test_no_two_clauses_have_one_rationale_or_one_sentence() -> None:
    assert len({clause.rationale for clause in load()}) == len(load())
    assert len({clause.sentence for clause in load()}) == len(load())


def test_a_clause_without_a_rationale_or_a_version_is_refused() -> None:
    row = {
        name: getattr(load()[0], name) for name in ("id", "group", "level", "needs", "profiles")
    } | {"sentence": "It MUST."}
    for left_out in ("since", "rationale"):
        given = {"since": "1.0", "rationale": "Why."}
        del given[left_out]
        with pytest.raises(TypeError, match=left_out):
            Clause(**row, **given)


def test_82_clauses_were_seen_broken_in_67_rows() -> None:
    assert sum(bool(clause.seen_as) for clause in load()) == 82
    assert {row for clause in load() for row in clause.seen_as} == {
        f"BUG-{number:02}" for number in range(1, 68)
    }


def test_a_clause_is_found_by_its_id() -> None:
    for clause in load():
        assert lookup(clause.id) is clause


def test_an_unknown_id_is_refused_with_the_nearest_ones() -> None:
    wrong = "KV-REG" + "-40"
    with pytest.raises(UnknownClause, match=r"KV-REG-\d\d") as caught:
        lookup(wrong)
    assert isinstance(caught.value, LookupError)
    assert caught.value.clause_id == wrong


def test_an_id_that_resembles_none_is_refused_with_the_form() -> None:
    with pytest.raises(UnknownClause, match="ids look like"):
        lookup("?")


def test_a_clause_cannot_be_changed_and_is_read_once() -> None:
    assert load() is load()
    with pytest.raises(FrozenInstanceError):
        load()[0].sentence = "Anything goes."  # type: ignore[misc]


def test_the_index_is_found_in_a_packed_package_too(tmp_path: Path) -> None:
    """As in a wheel that is imported without being unpacked: no file path may be assumed."""
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted((SPEC / "kvbm_spec").rglob("*")):
            if file.suffix in (".py", ".toml"):
                packed.write(file, file.relative_to(SPEC))
    program = (
        f"import sys; sys.path.insert(0, {str(archive)!r})\n"
        "import kvbm_spec; print(kvbm_spec.__file__, len(kvbm_spec.load()))"
    )
    done = subprocess.run(  # noqa: S603  # our own program and interpreter
        [
            sys.executable,
            "-I",
            "-c",
            f"import sys; sys.path.insert(0, {str(archive)!r}); {program}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(archive / "kvbm_spec" / "__init__.py"), "115"]
