"""The command `kvbm`: finds the subcommand, runs it, and turns errors into one line each.

What this is
    The entry point. Each subcommand is a module of this folder with two functions:
    `add_arguments(parser)` and `run(arguments) -> int`, the exit code.

Interface, as rules of use
    * To add a subcommand, write its module and add one line to `COMMANDS`.
    * A subcommand's module is imported only when it is asked for, so that `kvbm --help` and
      every other subcommand stay quick.
    * Exit codes: 0 done; 1 the subcommand's own "no"; 2 the input cannot be used; 130 and 141
      as a shell reports an interrupt and a closed pipe.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from kvbm.errors import KvbmError

COMMANDS = {
    "bench": "measure the speed of pools and hashes, beside peers where they are installed",
    "conform": "judge a block manager, our own or another, by the specification",
    "replay": "replay a trace, or an invented one, and compare eviction policies",
}

UNUSABLE, INTERRUPTED, PIPE_CLOSED = 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv
        Arguments without the program's name; None takes those of the process.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    SystemExit
        From argparse: for `--help`, and for arguments that do not exist.
    """
    arguments = _parsed(sys.argv[1:] if argv is None else list(argv))
    try:
        code: int = importlib.import_module(f"kvbm.cli.{arguments.command}").run(arguments)
        # Here and not at exit, where a closed pipe could no longer be caught.
        sys.stdout.flush()
    except KvbmError as error:
        return _refused(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes once more at exit; let it do so into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        return _refused(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    return code


def _parsed(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="kvbm", description="A KV block manager: replay traces, watch what a cache does."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
        if name in argv:
            importlib.import_module(f"kvbm.cli.{name}").add_arguments(command)
    return parser.parse_args(argv)


def _refused(reason: str) -> int:
    print(f"kvbm: error: {' '.join(reason.split())}", file=sys.stderr)
    return UNUSABLE
