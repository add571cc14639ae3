#!/usr/bin/env python3
"""Write the parts of the documentation that a program knows better than a person.

What this is
    A page may hold a section between two comments,

        <!-- generated: lifecycle table -->
        <!-- end -->

    and what stands between them is made from the code. Run this file after a change of
    the life cycle or of the clauses; a test fails as long as a section is stale.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from kvbm_spec import Clause, Level, groups

from kvbm.blocks import lifecycle

HERE: Final = Path(__file__).parent

_SECTION: Final = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def lifecycle_table() -> str:
    """Render the transitions of a slot as a table."""
    return lifecycle.table() + "\n"


def lifecycle_diagram() -> str:
    """Render the transitions of a slot as a Mermaid diagram."""
    return f"```mermaid\n{lifecycle.diagram()}\n```\n"


def clauses() -> str:
    """Render all clauses, under the titles of their groups."""
    parts = []
    for group in groups():
        parts.append(f"\n## {group.id}: {group.title}\n")
        parts += [f"\n{group.note}\n"] if group.note else []
        parts += [_clause(clause, group.chapter) for clause in group.clauses]
    return "".join(parts) + "\n"


def _clause(clause: Clause, chapter: str) -> str:
    link = f"[{clause.id}](../spec/chapters/{chapter}.md#{clause.id.lower()})"
    level = "" if clause.level is Level.MUST else " (SHOULD)"
    note = f" *{clause.note}*" if clause.note else ""
    needs = " + ".join(clause.needs)
    return f"\n**{link}**{level} {clause.sentence}{note} [{needs}]\n"


SECTIONS: Final[Mapping[str, Callable[[], str]]] = {
    "lifecycle table": lifecycle_table,
    "lifecycle diagram": lifecycle_diagram,
    "clauses": clauses,
}


def render(page: str) -> str:
    """Give the page with its generated sections made anew.

    Raises
    ------
    KeyError
        A section has a name that is not in SECTIONS.
    """
    return _SECTION.sub(lambda found: found[1] + SECTIONS[found[2]]() + found[3], page)


def main() -> None:
    """Bring all pages up to date."""
    for file in sorted(HERE.glob("*.md")):
        file.write_text(render(file.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
