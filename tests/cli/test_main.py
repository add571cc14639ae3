"""The frame of the command: exit codes, one-line errors, and imports that wait."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from types import ModuleType
from typing import NoReturn

import pytest

import kvbm.cli.replay
from kvbm.cli import main
from kvbm.errors import InvalidConfig


def run(script: str, stdout: int) -> subprocess.CompletedProcess[bytes]:
    """Run a script in an interpreter of its own, with the usual buffer before its output."""
    command = [sys.executable, "-c", script]
    usual = os.environ | {"PYTHONUNBUFFERED": ""}
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=usual, check=False)  # noqa: S603 - our own text


def running(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def run(_arguments: argparse.Namespace) -> NoReturn:
        raise error

    monkeypatch.setattr(kvbm.cli.replay, "run", run)
    return main(["replay"])


def test_an_error_of_ours_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert running(monkeypatch, InvalidConfig("x", "a", "two\nlines")) == 2
    assert capsys.readouterr() == ("", "kvbm: error: x = 'a': two lines\n")


def test_an_error_of_the_system_names_the_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert running(monkeypatch, FileNotFoundError(2, "No such file or directory", "here")) == 2
    assert capsys.readouterr().err == "kvbm: error: here: No such file or directory\n"
    assert running(monkeypatch, OSError("odd")) == 2
    assert capsys.readouterr().err == "kvbm: error: odd\n"


def test_an_interrupt_is_what_a_shell_calls_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert running(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("", "")


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        running(monkeypatch, ZeroDivisionError())


def test_a_closed_pipe_is_silent() -> None:
    script = (
        "import sys, kvbm.cli, kvbm.cli.replay as replay\n"
        "replay.run = lambda arguments: print('x' * 10) or 0\n"
        "sys.exit(kvbm.cli.main(['replay']))\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    done = run(script, writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, kvbm.cli\n"
        "try: kvbm.cli.main(['--help'])\n"
        "except SystemExit as done: assert not done.code\n"
        "heavy = {'numpy', 'numba', 'rich', 'kvbm.cli.replay'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = run(script, subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert b"replay" in done.stdout


def test_a_subcommand_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("kvbm.cli.twice")
    module.add_arguments = lambda parser: parser.add_argument("number", type=int)  # type: ignore[attr-defined] # a stand-in
    module.run = lambda arguments: arguments.number * 2  # type: ignore[attr-defined] # as above
    monkeypatch.setitem(sys.modules, "kvbm.cli.twice", module)
    monkeypatch.setitem(sys.modules["kvbm.cli.main"].COMMANDS, "twice", "double a number")
    assert main(["twice", "21"]) == 42


def test_an_unknown_subcommand_is_refused() -> None:
    with pytest.raises(SystemExit) as done:
        main(["relpay"])
    assert done.value.code == 2
