"""The chapters say all that is known of every clause, and are made from what is known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kvbm_spec import bugs, chapters, vectors
from kvbm_spec.chapters import FOLDER, checked_by, history, pages, refresh
from kvbm_spec.checks import CHECKS, LOCKSTEP
from kvbm_spec.clauses import Clause, Group, Level, groups, load
from kvbm_spec.trials import TRIALS
from kvbm_spec.unchecked import UNCHECKED

CHAPTERS = {page.stem: page.read_text("utf-8") for page in FOLDER.glob("chapters/*.md")}


def section(clause: Clause) -> str:
    """Cut what its chapter says of a clause."""
    (chapter,) = (group.chapter for group in groups() if group.id == clause.group)
    _, _, rest = CHAPTERS[chapter].partition(f"### {clause.id}\n")
    return re.split(r"^(?:### |<!-- end)", rest, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(FOLDER)))
def test_a_page_is_fresh(page: Path) -> None:
    text = page.read_text("utf-8")
    assert refresh(text) == text, "stale; run python -m kvbm_spec.chapters"


def test_every_group_has_its_chapter_and_every_chapter_its_group() -> None:
    assert {group.chapter for group in groups()} == set(CHAPTERS)
    assert len({group.chapter for group in groups()}) == len(groups())


@pytest.mark.parametrize("group", groups(), ids=lambda group: group.id)
def test_a_chapter_has_a_title_a_question_an_opening_to_read_and_its_clauses(group: Group) -> None:
    opening, line, rest = CHAPTERS[group.chapter].partition("\n## The clauses\n")
    assert opening.startswith(f"# {group.title}\n\n*")
    assert opening.splitlines()[2].endswith("?*")
    assert "\n## What implementers get wrong\n" in opening
    assert len(re.sub(r"^[|>.<].*$", "", opening, flags=re.MULTILINE).split()) > 200
    assert line
    assert rest.startswith(f"\n<!-- clauses: {group.id} -->\n")
    assert rest.endswith("\n<!-- end -->\n")


def test_the_chapters_have_a_heading_for_each_clause_in_order() -> None:
    found = [
        id_
        for group in groups()
        for id_ in re.findall(r"^### (.*)$", CHAPTERS[group.chapter], re.MULTILINE)
    ]
    assert found == [clause.id for clause in load()]


@pytest.mark.parametrize("clause", load(), ids=lambda clause: clause.id)
def test_a_chapter_tells_all_that_is_known_of_a_clause(clause: Clause) -> None:
    text = section(clause)
    assert f"> {clause.sentence}\n" in text
    assert f"*Why:* {clause.rationale}\n" in text
    assert (f"*Note:* {clause.note}\n" in text) == bool(clause.note)
    assert text.strip().startswith(str(clause.level))
    assert f"since {clause.since}" in text
    assert all(need in text for need in clause.needs)
    assert ", ".join(clause.profiles) in text
    assert f"`{clause.must_if}`" in text or not clause.must_if
    assert re.findall(r"^- (BUG-\d\d): ", text, re.MULTILINE) == list(clause.seen_as)
    for row in clause.seen_as:
        assert bugs.lookup(row).story in text
        assert all(link in text for link in bugs.lookup(row).links)
        assert bugs.lookup(row).note in text


@pytest.mark.parametrize("clause", load(), ids=lambda clause: clause.id)
def test_a_chapter_tells_what_checks_a_clause_or_why_nothing_does(clause: Clause) -> None:
    text = section(clause)
    assert checked_by(clause.id) in text
    if clause.id in CHECKS:
        assert all(f"*{name}*" in text for name in CHECKS[clause.id].situations)
    else:
        assert f"*Not checked in a run yet:* {UNCHECKED[clause.id]}." in text
    by_hand = [v.bugs[0] for v in vectors.load() if clause.id in v.clauses and v.bugs]
    assert [row for row in by_hand if f"[{row}](../kvbm_spec/data/vectors/" not in text] == []


def test_what_a_check_needs_is_said_in_words() -> None:
    assert checked_by("KV-LIF-04").startswith(
        "*Checked by:* searches in step with the model and the trial *an heir has no priority* "
        "(needs: snapshot). Must have been reached: *evicted*. Vectors: "
        "[BUG-13](../kvbm_spec/data/vectors/bugs/BUG-13.json), "
    )


def test_every_check_is_by_a_search_or_by_trials_that_are_named() -> None:
    for clause in CHECKS:
        trials = [trial.name for trial in TRIALS if clause in trial.clauses]
        assert ("searches in step" in checked_by(clause)) == (clause in LOCKSTEP)
        assert [name for name in trials if f"*{name}*" not in checked_by(clause)] == []
        assert trials or clause in LOCKSTEP, f"{clause} has a check that nothing performs"


def test_the_generated_vectors_are_linked_once_however_many_there_are() -> None:
    assert sum("KV-REG-01" in vector.clauses for vector in vectors.load()) > 1
    assert checked_by("KV-REG-01").count("vectors/shortest") == 1


@pytest.mark.clause("KV-CAP-03")
@pytest.mark.parametrize(
    "vector", [v for v in vectors.load() if v.bugs], ids=lambda vector: vector.id
)
def test_a_history_shows_every_call_and_in_each_row_where_every_slot_is(
    vector: vectors.Vector,
) -> None:
    head, _, *rows = (line.strip("| ").split(" | ") for line in history(vector.id).splitlines())
    assert head == ["call", "answer", "free", "owned", "active", "inactive", "events"]
    lines = history(vector.id).splitlines()[2:]
    assert len(rows) == len(vector.steps) + 1
    for line, step in zip(lines, [None, *vector.steps], strict=True):
        call, answer, free, owned, active, inactive, told = line[2:-2].split(" | ")
        keys = [key for cell in (active, inactive) for key in cell.split(", ") if key.strip()]
        assert int(free) + int(owned) + len(keys) == vector.slots, line
        if step is not None:
            assert call == f"`{step[0]}`"
            assert answer == f"`{step[1].without_events()}`"
            assert told.count("K") == len(step[1].events)


def test_a_history_tells_holders_victims_and_events() -> None:
    assert "| `register(h4)` | `h5` | 1 | 0 | K0 (2) |  |  |" in history("bugs/BUG-05")
    lines = history("bugs/BUG-59").splitlines()
    assert "| `release(h8)` | `None` | 0 | 0 |  | K1, K0, K2 |  |" in lines
    assert "| `allocate(2)` | `[h9, h10]` | 0 | 2 |  | K2 | Removed K1, Removed K0 |" in lines


def test_a_history_is_under_an_order_of_eviction_that_its_vector_names() -> None:
    victim = "| `allocate(2)` | `[h6, h7]` | 0 | 2 |  | K0 | Removed K1 |"
    assert victim in history("bugs/BUG-17").splitlines()


def test_the_index_leads_to_every_chapter_and_counts_its_clauses() -> None:
    readme = (FOLDER / "README.md").read_text("utf-8")
    for group in groups():
        checked = sum(clause.id in CHECKS for clause in group.clauses) or ""
        must, should = (
            sum(clause.level is level for clause in group.clauses) or "" for level in Level
        )
        link = f"[{group.title}](chapters/{group.chapter}.md)"
        assert f"| {group.id} | {link} | {must} | {should} | {checked} |\n" in readme


def test_what_is_said_of_a_whole_group_stands_before_its_clauses() -> None:
    said = {group.id: group.note for group in groups() if group.note}
    assert list(said) == ["LIV"]
    assert f"<!-- clauses: LIV -->\n{said['LIV']}\n\n### KV-LIV-01\n" in CHAPTERS["liveness"]


def test_the_page_of_bugs_has_every_row_with_its_clauses_and_threads() -> None:
    page = (FOLDER / "bugs.md").read_text("utf-8")
    for bug in bugs.load():
        (line,) = (line for line in page.splitlines() if line.startswith(f"| {bug.id} |"))
        assert bug.story in line
        assert bug.note in line
        assert all(link in line for link in bug.links)
        assert re.findall(r"\[(KV-[A-Z]+-\d+)\]", line) == list(bug.clauses)
        assert all(f"#{clause.lower()})" in line for clause in bug.clauses)


def test_a_page_says_how_many_clauses_have_no_row() -> None:
    without = sum(not clause.seen_as for clause in load())
    assert f"Of the 115 clauses, {without} have no row." in (FOLDER / "bugs.md").read_text("utf-8")


@pytest.mark.parametrize("what", ["clauses: GRP", "history: bugs/BUG-16", "index: all"])
def test_a_stale_section_is_made_anew_and_the_rest_stays(what: str) -> None:
    fresh = refresh(f"Before.\n<!-- {what} -->\nold\n<!-- end -->\nAfter.\n")
    assert "old" not in fresh.splitlines()
    assert fresh.startswith(f"Before.\n<!-- {what} -->\n")
    assert fresh.endswith("\n<!-- end -->\nAfter.\n")
    assert refresh(fresh) == fresh


@pytest.mark.parametrize("what", ["clauses: XYZ", "history: bugs/BUG-00"])
def test_a_section_about_something_that_does_not_exist_is_refused(what: str) -> None:
    with pytest.raises(ValueError, match="not enough values"):
        refresh(f"<!-- {what} -->\n<!-- end -->\n")


def test_the_command_rewrites_stale_pages_and_touches_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chapters").mkdir()
    stale, plain = tmp_path / "chapters" / "one.md", tmp_path / "two.md"
    stale.write_text("<!-- clauses: OBS -->\n<!-- end -->\n")
    plain.write_bytes(b"Nothing to make.\r\n")
    monkeypatch.setattr(chapters, "FOLDER", tmp_path)
    chapters.main()
    assert "### KV-OBS-01" in stale.read_text()
    assert plain.read_bytes() == b"Nothing to make.\r\n"
