"""Zoo: the mutants, as they stand in the TOML files beside this module.

What this is
    A mutant is one small fault in `kvbm`, as people really make them: a text of one file
    that is replaced by another. Each is of the kind of some bugs that were reported in
    public, and must be found by the suite, under one of the clauses that it names.

Interface, as rules of use
    * `load()` gives all, in the order of the files and of the entries in them.
    * `mutant.apply(root)` changes the file below `root`, a copy of the repository's packages.
    * An `equivalent` mutant says why nobody can tell it from the right program, or why it
      breaks no clause. A `pending` one says what it waits for.
    * `excused()` gives the reported bugs that no mutant stands for, each with the reason.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
THEMES: Final = ("pool", "events", "identity", "tiers", "persistence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One fault."""

    theme: str
    name: str
    file: str
    old: str
    new: str
    bugs: tuple[str, ...]
    clauses: tuple[str, ...]
    profile: str = "smoke"
    """How hard the suite searches for it."""
    policy: str = ""
    """Order of eviction of the pools in which it is looked for; the default one if empty."""
    scheme: str = ""
    """Hash scheme by which the manager is judged; its own choice if empty."""
    equivalent: str = ""
    pending: str = ""
    """What the suite does not ask yet; with it the mutant is to be killed."""

    def text(self, root: Path = ROOT) -> str:
        """Give the file with the fault in it."""
        source = (root / self.file).read_text("utf-8")
        if source.count(self.old) != 1:
            raise ValueError(
                f"{self.name}: {self.file} has its text {source.count(self.old)} times"
            )
        return source.replace(self.old, self.new)

    def apply(self, root: Path) -> None:
        """Put the fault into the copy below `root`."""
        (root / self.file).write_text(self.text(root), "utf-8")


def load() -> list[Mutant]:
    """Read all mutants."""
    return [_mutant(theme, row) for theme in THEMES for row in _read(f"{theme}.toml")["mutant"]]


def excused() -> Mapping[str, str]:
    """Read which reported bugs one process with one manager cannot have."""
    return _read("excused.toml")


def _mutant(theme: str, row: Mapping[str, Any]) -> Mutant:
    values: dict[str, Any] = {
        key: tuple(each) if isinstance(each, list) else each for key, each in row.items()
    }
    return Mutant(theme=theme, **values)


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / name).read_text("utf-8"))
