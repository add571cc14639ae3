"""Command: the suite from a shell, for `python -m kvbm_spec` and for `kvbm conform`.

What this is
    Arguments, the loading of subjects by name, and exit codes.

        python -m kvbm_spec run mypkg.kv:Subject --profile ci --report out
        python -m kvbm_spec run --exec './my-adapter --fast' --profile ci
        python -m kvbm_spec replay out/fail-KV-REG-03.json mypkg.kv:Subject
        python -m kvbm_spec check --history trace.ndjson
        python -m kvbm_spec model --slots 3 --keys 2

Interface, as rules of use
    * A subject is `module:Class`, made without arguments; the current folder is searched.
      Or it is a program behind `--exec`, which speaks `spec/protocol.md`.
    * Exit codes: 0 conforms; 1 does not; 2 the subject or a file cannot be used.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from kvbm_spec import linear, reach, replayed
from kvbm_spec.clauses import UnknownClause
from kvbm_spec.explore import Findings
from kvbm_spec.moves import Scope
from kvbm_spec.process import AdapterError, ProcessSubject, ProgramFailed
from kvbm_spec.profiles import PROFILES
from kvbm_spec.report import failure_text, save, text
from kvbm_spec.run import Report, run
from kvbm_spec.status import NOTHING_EXPECTED, read_expectations
from kvbm_spec.subject import Subject

FAILED, UNUSABLE = 1, 2


class Unusable(Exception):
    """What was asked for cannot be done; the text says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; give the exit code."""
    parser = argparse.ArgumentParser(
        prog="kvbm_spec", description="Judge a KV block manager by the specification."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="run the suite against a subject")
    add_subject(runner)
    add_options(runner)
    player = commands.add_parser("replay", help="play a stored history against a subject")
    player.add_argument("replay", type=Path, help="a fail-*.json")
    add_subject(player)
    checker = commands.add_parser("check", help="judge a history that was recorded")
    checker.add_argument("--history", required=True, metavar="FILE", help="NDJSON")
    alone = commands.add_parser("model", help="search every state of the model alone")
    for name, usual in (("slots", 3), ("keys", 2), ("clients", 2)):
        alone.add_argument(f"--{name}", type=int, default=usual, help=f"default: {usual}")
    arguments = parser.parse_args(argv, argparse.Namespace(replay=None))
    if arguments.command == "check":
        return linear.main(arguments.history)
    if arguments.command == "model":
        here = Scope(slots=arguments.slots, keys=arguments.keys, clients=arguments.clients)
        return reach.main(here)
    return judge(arguments, "kvbm_spec")


def judge(arguments: argparse.Namespace, program: str) -> int:
    """Load the subject, and run the suite or play one history; give the exit code."""
    try:
        with the_subject(arguments) as subject:
            if arguments.replay is not None:
                return play(subject, arguments.replay)
            return conform(subject, arguments)
    except (Unusable, AdapterError) as error:
        sys.stderr.write(f"{program}: error: {error}\n")
        return UNUSABLE


def add_subject(parser: argparse.ArgumentParser) -> None:
    """Add the two ways to name a subject."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("subject", nargs="?", metavar="SUBJECT", help="the subject, as module:Class")
    which.add_argument(
        "--exec", dest="program", metavar="COMMAND", help="a program that speaks JSON lines"
    )


@contextmanager
def the_subject(arguments: argparse.Namespace) -> Iterator[Subject]:
    """Give the subject that the arguments name; stop its programs in the end."""
    if arguments.program is None:
        yield load_subject(arguments.subject)
        return
    try:
        subject = ProcessSubject(arguments.program)
    except (OSError, ValueError, ProgramFailed) as error:
        raise Unusable(f"{arguments.program}: {error}") from error
    with subject:
        yield subject


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a run."""
    parser.add_argument(
        "--profile", choices=[*PROFILES], default="ci", help="how hard to search (default: ci)"
    )
    parser.add_argument("--expect", type=Path, metavar="FILE", help="failures that are known")
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="write results, JUnit XML, a page, failures"
    )


def conform(subject: Subject, arguments: argparse.Namespace) -> int:
    """Run the suite and print the report; searches are told on stderr as they end."""
    try:
        expected = (
            NOTHING_EXPECTED if arguments.expect is None else read_expectations(arguments.expect)
        )
    except (OSError, ValueError, UnknownClause) as error:
        raise Unusable(str(error)) from error
    report = run(
        subject,
        arguments.profile,
        expected=expected,
        today=datetime.now(UTC).date(),
        say=_say,
    )
    sys.stdout.write(f"{text(report)}\n")
    if arguments.report is not None:
        for path in save(report, arguments.report):
            _say(f"wrote {path}")
    return 0 if report.ok else FAILED


def _say(line: str) -> None:
    sys.stderr.write(f"  {line}\n")


def play(subject: Subject, file: Path) -> int:
    """Play one stored history; print where model and subject part."""
    try:
        failure = replayed.play(subject, file.read_text("utf-8"), f"replay of {file.name}")
    except (OSError, ValueError) as error:
        raise Unusable(f"{file}: {error}") from error
    if failure is None:
        sys.stdout.write(f"PASS {file.name}: all calls answer as they must\n")
        return 0
    report = Report(subject=subject, profile="repro", findings=Findings())
    sys.stdout.write(f"{failure_text(failure, report)}\n")
    return FAILED


def load_subject(name: str) -> Subject:
    """Make the subject `module:Class`.

    Raises
    ------
    Unusable
        There is none; the message says what was missing.
    """
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise Unusable(f"{name!r} names no subject; write module:Class, such as mypkg.kv:Subject")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        subject: Subject = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError) as error:
        raise Unusable(f"{name}: {error}") from error
    absent = [
        each
        for each in ("name", "version", "spec_version", "capabilities", "open")
        if not hasattr(subject, each)
    ]
    if absent:
        raise Unusable(f"{name} is no subject: it has no {', '.join(absent)}")
    return subject
