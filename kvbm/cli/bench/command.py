"""The subcommand `bench`: run a benchmark, print it as a table or as one JSON object.

Interface, as rules of use
    * Every figure of one table comes from one run: the subjects take turns, round by round,
      so that a busy moment of the machine hits them all, and the best round of each counts.
    * A peer that is not installed is named as absent. Ratios are to the peer named below.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Final

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from kvbm.cli.bench import conform, disk, hashing, pool, transfer
from kvbm.cli.bench.timing import Report
from kvbm.errors import InvalidConfig

BENCHMARKS: Final = {
    "pool": pool.measure,
    "hash": hashing.measure,
    "transfer": transfer.measure,
    "disk": disk.measure,
    "conform": conform.measure,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this subcommand."""
    parser.add_argument("what", choices=[*BENCHMARKS, "all"], nargs="?", default="all")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each subject; default: 7")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Run this subcommand; returns the exit code."""
    if arguments.rounds < 1:
        raise InvalidConfig("--rounds", arguments.rounds, "must be at least 1")
    chosen = BENCHMARKS if arguments.what == "all" else {arguments.what: BENCHMARKS[arguments.what]}
    reports = {}
    for name, measure in chosen.items():
        print(f"measuring {name} …", file=sys.stderr)
        reports[name] = measure(arguments.rounds)
    if arguments.json:
        print(json.dumps({name: report.as_json() for name, report in reports.items()}))
    else:
        for report in reports.values():
            _print(report)
    return 0


def _print(report: Report) -> None:
    console = Console(highlight=False)
    console.print(f"\n[bold]{report.title}[/bold]\n{report.workload}")
    table = Table("subject", box=SIMPLE, padding=(0, 1, 0, 0), header_style="dim")
    for column in report.columns:
        table.add_column(f"{column}\n{report.unit}", justify="right")
        table.add_column(f"times\n{report.reference}" if report.reference else "", justify="right")
    for row in report.rows:
        cells = []
        for column in report.columns:
            ratio = report.ratio(row.subject, column)
            rate = row.rates.get(column)
            cells.append("-" if rate is None else f"{rate:,.2f}")
            cells.append("" if ratio is None else f"{ratio:.1f}x")
        table.add_row(row.subject, *cells)
    console.print(table)
    for note in report.notes:
        console.print(f"  {note}")
