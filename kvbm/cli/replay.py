"""`kvbm replay`: what a cache would have done with a trace.

What this is
    Reads or invents a trace, replays it with each policy and cache size, and prints a table,
    one JSON object, or a page.

Interface, as rules of use
    * Standard output holds the table, or with `--json` exactly one object; all else goes to
      standard error.
    * The object has the fields of the first replay (that with real bytes, if tiers were asked
      for); beside them `results` lists all replays, the first included, `bounds` the
      infinite cache and Belady's MIN, and `trace` says what was replayed.
    * Everything is read and checked before the first replay begins.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from kvbm.cli.progress import Steps, progress_bar
from kvbm.cli.tables import print_tables
from kvbm.errors import InvalidConfig
from kvbm.observe import Report, write_page
from kvbm.replay.compare import bounds_of, replay_each
from kvbm.replay.histogram import Histogram
from kvbm.replay.observer import Observer
from kvbm.replay.reuse import reuse_distances
from kvbm.replay.rules import RULES
from kvbm.replay.ruleset import RuleSet
from kvbm.replay.stream import Stream
from kvbm.replay.summary import Summary
from kvbm.replay.tiers import TierSizes, replay_tiers
from kvbm.replay.trace import Trace, read_trace
from kvbm.replay.workload import generate

CURVE = ((1, 4), (1, 2), (1, 1), (2, 1), (4, 1), (8, 1))
"""Sizes at which a page draws its curves, as fractions of the one size that was asked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this subcommand."""
    parser.add_argument(
        "trace", nargs="?", metavar="TRACE",
        help="a trace in the Mooncake or the delta form, plain, .gz or .xz; - is standard input; "
        "without it, a workload is invented",
    )  # fmt: skip
    parser.add_argument(
        "--rules", default="kvbm",
        help="whose rules to follow: kvbm (default), mocker, lmcache or kvcache-sim",
    )  # fmt: skip
    parser.add_argument(
        "--policy", action="append", type=_names, metavar="P",
        help="eviction policy; repeat it or separate by commas; default: all that the rules know",
    )  # fmt: skip
    parser.add_argument(
        "--blocks", action="append", type=_sizes, metavar="N",
        help="cache size in blocks, or inf; repeat it or separate by commas; "
        "default: about an eighth of the trace's different blocks",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="of the invented workload; default: 0")
    parser.add_argument(
        "--requests", type=int, help="length of the invented workload; default: 2000"
    )
    for tier in ("device", "host", "disk"):
        parser.add_argument(
            f"--{tier}", type=_count, metavar="N", default=0,
            help=f"also replay with real bytes, with N blocks in the {tier} tier",
        )  # fmt: skip
    parser.add_argument(
        "--verify",
        action="store_true",
        help="fill every block of the tiers and compare at each hit",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with charts")
    parser.add_argument(
        "--progress", action=argparse.BooleanOptionalAction,
        help="show progress on standard error; default: when that is a terminal",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Run this subcommand; returns the exit code."""
    rules = _rule_set(arguments.rules)
    policies = _policies(rules, arguments.policy)
    if arguments.html is not None and not arguments.html.parent.is_dir():
        raise InvalidConfig("--html", str(arguments.html), "its folder does not exist")
    shown = sys.stderr.isatty() if arguments.progress is None else arguments.progress
    sizes = _tier_sizes(arguments, rules)
    with progress_bar(shown=shown) as begin:
        trace = _trace(arguments, begin)
        report = _report(rules, trace, policies, sizes, arguments, begin)
    if arguments.html is not None:
        write_page(arguments.html, report)
    if arguments.json:
        print(json.dumps(_as_json(report)))
    else:
        print_tables(report)
        if arguments.html is not None:
            print(f"\nPage with charts: {arguments.html}")
    return 0


def _report(
    rules: RuleSet,
    trace: Trace,
    policies: Sequence[str],
    tier_sizes: TierSizes | None,
    arguments: argparse.Namespace,
    begin: Steps,
) -> Report:
    """Replay everything that was asked for, and what the page draws beyond it."""
    summary = Summary.of(trace)
    tiered = None
    if tier_sizes is not None:
        done = begin("replaying with bytes", len(trace.requests))
        tiered = replay_tiers(
            trace, tier_sizes, policy=policies[0], verify=arguments.verify, progress=done
        )
    asked = [size for sizes in arguments.blocks or () for size in sizes]
    sizes = list(dict.fromkeys(asked)) or [summary.sensible_capacity()]
    points = [(policy, size) for size in sizes for policy in policies]
    observer = Observer()
    done = begin("replaying", len(points) * len(trace.requests))
    results = replay_each(rules, trace, points, observer=observer, progress=done)

    further = _curve_sizes(sizes, summary) if arguments.html is not None else []
    points = [(policy, size) for size in further for policy in policies]
    done = begin("replaying other sizes", len(points) * len(trace.requests))
    curve = replay_each(rules, trace, points, progress=done, skip_refused=True)

    stream = Stream.of(rules.lookups(trace))
    finite = sorted({size for size in (*sizes, *further) if size is not None})
    infinite, *belady = bounds_of(trace, stream, results[0], finite)
    distances = reuse_distances(stream)
    reused = distances[distances >= 0]
    return Report(
        summary=summary,
        results=tuple(results),
        curve=(*results, *curve),
        infinite=infinite,
        belady=tuple(belady),
        samples=observer.samples(),
        reuse_distances=Histogram.of(reused),
        first_uses=len(distances) - len(reused),
        tiered=tiered,
    )


def _curve_sizes(sizes: Sequence[int | None], summary: Summary) -> list[int]:
    """Find sizes around the only one that was asked for; several that were asked for suffice."""
    if len(sizes) > 1:
        return []
    centre = sizes[0] or summary.sensible_capacity()
    around = {max(1, centre * above // below) for above, below in CURVE}
    return sorted(around - {sizes[0]})


def _trace(arguments: argparse.Namespace, begin: Steps) -> Trace:
    """Read the trace, or invent one."""
    if arguments.trace is None:
        seed = 0 if arguments.seed is None else arguments.seed
        requests = 2_000 if arguments.requests is None else arguments.requests
        return generate(seed, requests)
    for option in ("seed", "requests"):
        value = getattr(arguments, option)
        if value is not None:
            raise InvalidConfig(
                f"--{option}", value, "is for the invented workload; leave it or TRACE out"
            )
    return read_trace(arguments.trace, begin("reading", None))


def _tier_sizes(arguments: argparse.Namespace, rules: RuleSet) -> TierSizes | None:
    """Give the sizes of the tiers, or None if no replay with bytes was asked for."""
    sizes = {name: getattr(arguments, name) for name in ("device", "host", "disk")}
    if not any(sizes.values()):
        if arguments.verify:
            raise InvalidConfig("--verify", True, "needs tiers: give --device, --host or --disk")
        return None
    if rules.name != "kvbm":
        raise InvalidConfig("--rules", rules.name, "tiers have the rules kvbm; leave one out")
    return TierSizes(**sizes)


def _rule_set(name: str) -> RuleSet:
    if name not in RULES:
        raise InvalidConfig("--rules", name, f"known are {', '.join(RULES)}")
    return RULES[name]


def _policies(rules: RuleSet, asked: list[list[str]] | None) -> list[str]:
    """Choose the policies that were asked for, or all with the default first."""
    if asked is None:
        return list(dict.fromkeys((rules.default_policy, *rules.policies)))
    names = list(dict.fromkeys(name for part in asked for name in part))
    for name in names:
        if name not in rules.policies:
            raise InvalidConfig(
                "--policy", name, f"the rules {rules.name} know {', '.join(rules.policies)}"
            )
    return names


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("a name is missing")
    return names


def _sizes(text: str) -> list[int | None]:
    return [_size(part) for part in _names(text)]


def _size(text: str) -> int | None:
    if text == "inf":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of blocks, nor inf")
    return int(text)


def _count(text: str) -> int:
    size = _size(text)
    if size is None:
        raise argparse.ArgumentTypeError("a tier cannot be infinite")
    return size


def _as_json(report: Report) -> dict[str, object]:
    results = [*([report.tiered] if report.tiered is not None else []), *report.results]
    return results[0].as_json() | {
        "trace": asdict(report.summary),
        "results": [result.as_json() for result in results],
        "bounds": [bound.as_json() for bound in (report.infinite, *report.belady)],
    }
