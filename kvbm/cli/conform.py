"""`kvbm conform`: judge a block manager by the specification.

What this is
    A thin front of `kvbm_spec.command`. It knows one subject more: `kvbm`, our own pool.

Interface, as rules of use
    * SUBJECT is `module:Class`, or `kvbm`. Exit codes: 0 conforms, 1 does not, 2 unusable.
    * `--replay FILE` plays one stored history instead of the whole suite.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """See `kvbm.cli.main`."""
    from kvbm_spec.command import add_options  # noqa: PLC0415 - an extra that not all have

    parser.add_argument("subject", metavar="SUBJECT", help="module:Class, or kvbm")
    add_options(parser)
    parser.add_argument("--replay", type=Path, metavar="FILE", help="play one fail-*.json only")


def run(arguments: argparse.Namespace) -> int:
    """See `kvbm.cli.main`."""
    from kvbm_spec import command  # noqa: PLC0415 - as above

    own = "kvbm.cli.subject:KvbmSubject"
    name = own if arguments.subject == "kvbm" else arguments.subject
    try:
        subject = command.load_subject(name)
        if arguments.replay is not None:
            return command.play(subject, arguments.replay)
        return command.conform(subject, arguments)
    except command.Unusable as error:
        sys.stderr.write(f"kvbm: error: {error}\n")
        return command.UNUSABLE
