"""Bugs: what went wrong in public, and the clauses that would have caught it.

What this is
    The list of bugs in the wild that clauses, vectors and reports refer to. It is data, in
    `data/bugs.toml`, and this module is its reader.

Interface, as rules of use
    * `load()` gives all rows in the order of the file; `lookup("BUG-13")` finds one.
    * A story is told as reported. Open its threads before you rely on a detail.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any


class UnknownBug(LookupError):
    """There is no row of this id. Carries `bug_id`."""

    def __init__(self, bug_id: str) -> None:
        super().__init__(
            f"there is no bug {bug_id!r}; ids go from {load()[0].id} to {load()[-1].id}"
        )
        self.bug_id = bug_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One row: what happened, as reported, and where."""

    id: str
    threads: tuple[str, ...]
    """Issues or pull requests on GitHub, as owner/project#number."""
    story: str
    clauses: tuple[str, ...]
    note: str = ""
    """Where in the threads it is said, or what became of them."""

    @property
    def links(self) -> tuple[str, ...]:
        """Give the threads as Markdown links. GitHub leads from an issue to a pull request."""
        return tuple(
            f"[{thread}](https://github.com/{thread.replace('#', '/issues/')})"
            for thread in self.threads
        )


@cache
def load() -> tuple[Bug, ...]:
    """Give all rows, in the order of the file. Read once; the result never changes.

    Examples
    --------
    >>> len(load()), load()[12].story
    (67, 'An evicted block kept its old hash, and was used again with it.')
    """
    source = resources.files("kvbm_spec").joinpath("data", "bugs.toml")
    return tuple(_bug(row) for row in tomllib.loads(source.read_text("utf-8"))["bugs"])


def lookup(bug_id: str) -> Bug:
    """Find a row by its id.

    Raises
    ------
    UnknownBug
        There is none.

    Examples
    --------
    >>> lookup("BUG-13").links
    ('[ovg-project/kvcached#362](https://github.com/ovg-project/kvcached/issues/362)',)
    """
    for bug in load():
        if bug.id == bug_id:
            return bug
    raise UnknownBug(bug_id)


def _bug(row: dict[str, Any]) -> Bug:
    row["threads"] = tuple(row["threads"])
    row["clauses"] = tuple(row["clauses"])
    return Bug(**row)
