"""Chapters: the parts of `spec/chapters` that are made from the data of the specification.

What this is
    A page explains in prose, and holds sections between two comments, `<!-- WHAT: WHICH -->`
    and `<!-- end -->`, that are made here:

        clauses: LIF             the clauses of a group, with all that is known of them
        history: bugs/BUG-16     a vector, call by call, with the state that the model is in
        index: all               the groups, their chapters, and how many clauses are checked
        bugs: all                the list of bugs in the wild

Interface, as rules of use
    * `refresh(page)` gives the page with its sections made anew.
    * `python -m kvbm_spec.chapters` brings all pages up to date. Run it after a change of
      clauses, bugs, checks or vectors; a test tells a stale page.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from kvbm_spec import bugs, vectors
from kvbm_spec.checks import CHECKS, LOCKSTEP
from kvbm_spec.clauses import Clause, Level, groups, lookup
from kvbm_spec.operations import key_text
from kvbm_spec.subject import Capabilities, PoolConfig
from kvbm_spec.trials import TRIALS
from kvbm_spec.twin import Twin
from kvbm_spec.unchecked import UNCHECKED

FOLDER: Final = Path(__file__).parents[1]
"""The folder `spec` of the repository."""

_SECTION: Final = re.compile(
    r"(<!-- (clauses|history|index|bugs): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL
)


def pages() -> list[Path]:
    """Give the pages that have such sections."""
    return [*sorted(FOLDER.glob("chapters/*.md")), *sorted(FOLDER.glob("*.md"))]


def refresh(page: str) -> str:
    """Give the page with its sections made anew from the data."""
    return _SECTION.sub(lambda found: f"{found[1]}{_MADE[found[2]](found[3])}\n{found[4]}", page)


# ── clauses ───────────────────────────────────────────────────────────────────────────────


def clauses(group_id: str) -> str:
    """Render the clauses of a group."""
    (group,) = (group for group in groups() if group.id == group_id)
    note = [group.note] if group.note else []
    return "\n\n".join([*note, *(_clause(clause) for clause in group.clauses)])


def _clause(clause: Clause) -> str:
    level = f"{clause.level}, or MUST if `{clause.must_if}` is declared"
    facts = [
        level if clause.must_if else str(clause.level),
        f"since {clause.since}",
        f"needs: {' + '.join(clause.needs)}",
        f"profile: {', '.join(clause.profiles)}",
    ]
    parts = [f"### {clause.id}", " · ".join(facts), f"> {clause.sentence}"]
    parts += [f"*Note:* {clause.note}"] if clause.note else []
    parts.append(f"*Why:* {clause.rationale}")
    if clause.seen_as:
        parts.append("*Seen as:*\n\n" + "\n".join(f"- {_bug(row)}" for row in clause.seen_as))
    parts.append(checked_by(clause.id))
    return "\n\n".join(parts)


def _bug(row: str) -> str:
    bug = bugs.lookup(row)
    note = f"; {bug.note}" if bug.note else ""
    return f"{bug.id}: {bug.story} ({', '.join(bug.links)}{note})"


def checked_by(clause_id: str) -> str:
    """Say how the suite checks a clause: what a search must reach, and which vectors cite it."""
    check = CHECKS.get(clause_id)
    if check is None:
        said = f"*Not checked in a run yet:* {UNCHECKED[clause_id]}."
    else:
        how = ["searches in step with the model"] if clause_id in LOCKSTEP else []
        how += [f"the trial *{trial.name}*" for trial in TRIALS if clause_id in trial.clauses]
        reached = ", ".join(f"*{situation}*" for situation in check.situations)
        need = f" (needs: {check.ability})" if check.ability else ""
        said = f"*Checked by:* {' and '.join(how)}{need}. Must have been reached: {reached}."
    cited = [_vector(vector.id) for vector in vectors.load() if clause_id in vector.clauses]
    return f"{said} Vectors: {', '.join(dict.fromkeys(cited))}." if cited else said


def _vector(vector_id: str) -> str:
    """Link a vector by hand to its file, and a generated one to all of them."""
    folder, _, name = vector_id.partition("/")
    path = f"../kvbm_spec/data/vectors/{folder}"
    return f"[{name}]({path}/{name}.json)" if folder == "bugs" else f"[{folder}]({path})"


# ── histories ─────────────────────────────────────────────────────────────────────────────


def history(vector_id: str) -> str:
    """Render a vector as a table: each call, its answer, and where every block is after it."""
    (vector,) = (vector for vector in vectors.load() if vector.id == vector_id)
    config = PoolConfig(slots=vector.slots, duplicates=vector.duplicates, policy=vector.policies[0])
    twin = Twin(config, Capabilities())
    rows = [["", "", *_places(twin), ""]]
    for op, expected in vector.steps:
        told = [f"{kind} {key_text(key)}" for kind, key in expected.events]
        twin.apply(op)
        answer = str(expected.without_events())
        rows.append([f"`{op}`", f"`{answer}`", *_places(twin), ", ".join(told)])
    return _table(["call", "answer", "free", "owned", "active", "inactive", "events"], rows)


def _places(twin: Twin) -> Iterator[str]:
    """Say how many slots are free and owned, and which keys are active (held how often) or not."""
    views = [twin.view(index) for index in range(len(twin.model.slots))]
    yield str(sum(view.state == "free" for view in views))
    yield str(sum(view.state in ("mutable", "staged") for view in views))
    held = [view for view in views if view.state in ("active", "duplicate")]
    yield ", ".join(f"{key_text(view.key)}{_many(view.holders)}" for view in held)
    yield ", ".join(map(key_text, twin.inactive()))


def _many(holders: int | None) -> str:
    return f" ({holders})" if holders and holders > 1 else ""


# ── lists ─────────────────────────────────────────────────────────────────────────────────


def index(_: str) -> str:
    """Render the groups with their chapters, and how much of each is checked."""
    rows = []
    for group in groups():
        levels = Counter(clause.level for clause in group.clauses)
        rows.append(
            [
                group.id,
                f"[{group.title}](chapters/{group.chapter}.md)",
                *(str(levels[level] or "") for level in Level),
                str(sum(clause.id in CHECKS for clause in group.clauses) or ""),
            ]
        )
    return _table(["group", "chapter", *Level, "checked in a run"], rows)


def bug_list(_: str) -> str:
    """Render the list of bugs."""
    rows = []
    for bug in bugs.load():
        note = f" ({bug.note})" if bug.note else ""
        named = ", ".join(_chapter_link(clause) for clause in bug.clauses)
        rows.append([bug.id, f"{bug.story}{note}", ", ".join(bug.links), named])
    return _table(["id", "what happened, as reported", "threads", "clauses"], rows)


def _chapter_link(clause_id: str) -> str:
    chapter = next(group.chapter for group in groups() if group.id == lookup(clause_id).group)
    return f"[{clause_id}](chapters/{chapter}.md#{clause_id.lower()})"


def _table(head: Iterable[str], rows: list[list[str]]) -> str:
    head = list(head)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


_MADE: Final[Mapping[str, Callable[[str], str]]] = {
    "clauses": clauses,
    "history": history,
    "index": index,
    "bugs": bug_list,
}


def main() -> None:
    """Bring all pages up to date; leave alone those that are."""
    for page in pages():
        text = page.read_text("utf-8")
        if (fresh := refresh(text)) != text:
            page.write_text(fresh, "utf-8")


if __name__ == "__main__":
    main()
