"""`kvbm conform`: judge a block manager by the specification.

What this is
    A thin front of `kvbm_spec.command`. It knows one subject more: `kvbm`, our own.

Interface, as rules of use
    * SUBJECT is `module:Class`, or `kvbm`; `--exec COMMAND` is a program in any language.
    * Exit codes: 0 conforms, 1 does not, 2 unusable.
    * `--replay FILE` plays one stored history instead of the whole suite.
"""

from __future__ import annotations

import argparse
from pathlib import Path

OWN = "kvbm.cli.subject:KvbmSubject"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `kvbm.cli.main`."""
    from kvbm_spec.command import add_options, add_subject  # noqa: PLC0415 - not all have it

    add_subject(parser)
    add_options(parser)
    parser.add_argument("--replay", type=Path, metavar="FILE", help="play one fail-*.json only")


def run(arguments: argparse.Namespace) -> int:
    """See `kvbm.cli.main`."""
    from kvbm_spec import command  # noqa: PLC0415 - as above

    if arguments.subject == "kvbm":
        arguments.subject = OWN
    return command.judge(arguments, "kvbm")
