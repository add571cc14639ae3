"""The tutorial is true: what it says to save is saved, what it says to type is typed, and what
it shows is what comes out."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "conformance" / "tutorial.md"
NAIVE: Final = ROOT / "spec" / "subjects" / "naive.py"

_FENCE: Final = re.compile(r"^(~~~|```)(\w+)(?: (\S+))?\n(.*?)^\1$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """One fenced block: its language, the file it is about, and its text."""

    language: str
    file: str
    text: str


def blocks(page: str) -> list[Block]:
    return [Block(found[2], found[3] or "", found[4]) for found in _FENCE.finditer(page)]


def patched(text: str, diff: str) -> str:
    """Apply a diff whose hunks are found by their lines, each of which must be there once."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.MULTILINE)[1:]:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(old) == 1, f"this is there {text.count(old)} times:\n{old}"
        text = text.replace(old, new)
    return text


def typed(command: str, folder: Path) -> str:
    """Give what a command writes to stdout."""
    program, *arguments = shlex.split(command)
    assert program == "python"
    done = subprocess.run(  # noqa: S603  # commands of our own page
        [sys.executable, *arguments],
        cwd=folder, env=os.environ | {"PYTEST_PLUGINS": "kvbm_spec.plugin"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    return done.stdout or done.stderr


def same(shown: str, got: str) -> bool:
    return doctest.OutputChecker().check_output(shown, got, doctest.ELLIPSIS)


def test_a_stranger_who_follows_the_page_sees_what_it_shows(tmp_path: Path) -> None:
    commands = 0
    for language, name, text in blocks(PAGE.read_text("utf-8")):
        file = tmp_path / name
        if language in ("python", "toml"):
            before = file.read_text("utf-8") + "\n\n" if file.is_file() else ""
            file.write_text(before + text, "utf-8")
        elif language == "diff":
            file.write_text(patched(file.read_text("utf-8"), text), "utf-8")
        else:
            command, _, shown = text.removeprefix("$ ").partition("\n")
            got = typed(command, tmp_path)
            assert same(shown, got), f"{command}\n{got}"
            commands += 1
    assert commands == 6


def test_the_page_shows_the_whole_naive_subject() -> None:
    python = [block.text for block in blocks(PAGE.read_text("utf-8")) if block.language == "python"]
    code = NAIVE.read_text("utf-8")
    assert "\n\n".join(python) == code[code.index("from __future__") :]


def test_a_page_that_shows_something_else_is_told() -> None:
    assert same("a ...\nb\n", "a 1\nb\n")
    assert not same("a ...\nb\n", "a 1\nc\n")


def test_a_change_that_does_not_fit_is_told() -> None:
    diff = "@@ @@\n a\n-b\n+c\n"
    assert patched("a\nb\n", diff) == "a\nc\n"
    with pytest.raises(AssertionError, match="0 times"):
        patched("a\n", diff)
    with pytest.raises(AssertionError, match="2 times"):
        patched("a\nb\na\nb\n", diff)
