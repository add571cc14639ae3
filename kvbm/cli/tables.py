"""What `kvbm replay` prints for people.

What this is
    What was replayed, a table of hit rates with the two bounds below the policies, and what
    the words mean.

Interface, as rules of use
    * One cache size gives a table with all numbers of each policy; several sizes give a table
      of hit rates, a row per size.
    * Tables go to standard output and adapt to its width.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kvbm.observe.numbers import capacity, percent, short, whole
from kvbm.observe.report import Report
from kvbm.replay.result import ReplayResult
from kvbm.replay.summary import Summary

BELADY_NAME = "Belady's MIN"
INFINITE_NAME = "infinite cache"

WORDS = """
Hit rate: the share of prompt tokens that were found in the cache and need not
be computed again.
Infinite cache: never evicts, and misses only what was never there before. No
policy can beat it.
Belady's MIN: a cache of the same size that knows what will be asked next. A
yardstick for single blocks, not a proven optimum for prefixes."""

AGREEMENT = """Equal rows are no mistake. A trace sets no priorities, a match makes a block
young again, and requests give their last blocks back first; so `priority`,
`lru`, `fifo` and `lineage` evict the same blocks here."""


def print_tables(report: Report) -> None:
    """Print all that a reader needs to understand the results."""
    summary, results = report.summary, report.results
    sizes = list(dict.fromkeys(one.blocks for one in results))
    belady = [one for one in report.belady if one.blocks in sizes]
    console = Console(highlight=False)
    console.print(
        f"\nReplayed [bold]{escape(summary.name)}[/bold]: {whole(summary.requests)} requests, "
        f"{short(summary.input_tokens)} prompt tokens in blocks of {summary.block_size}; "
        f"{whole(summary.references)} block uses, {whole(summary.distinct)} different blocks."
    )
    console.print(f"Rules: {escape(results[0].rules)}. {_sizes(sizes, summary)}")
    table = (
        _one_size(results, report.infinite, belady)
        if len(sizes) == 1
        else _many_sizes(sizes, results, report.infinite, belady)
    )
    console.print(table)
    if report.tiered is not None:
        _print_tiers(console, report.tiered)
    for note in report.notes():
        console.print(f"[yellow]Note:[/yellow] {escape(note)}")
    console.print(WORDS)
    if _some_agree(results):
        console.print(AGREEMENT)


def _print_tiers(console: Console, one: ReplayResult) -> None:
    """Print where the hits of a replay with bytes were found, and whether they were right."""
    numbers = one.tiers
    assert numbers is not None, "a replay through tiers says what happened in them"
    console.print(f"The same with real bytes through {len(numbers.blocks)} tiers ({one.policy}):")
    table = _table("tier", "blocks", "hit rate", "tokens reused", "blocks hit", "evicted")
    for name in numbers.blocks:
        tokens = numbers.hit_tokens[name]
        table.add_row(
            name,
            whole(numbers.blocks[name]),
            percent(tokens / one.total_tokens if one.total_tokens else 0.0),
            whole(tokens),
            whole(numbers.hit_blocks[name]),
            whole(numbers.evictions[name]),
        )
    table.add_section()
    table.add_row("all", "", percent(one.hit_rate), whole(one.hit_tokens), whole(one.hit_blocks))
    console.print(table)
    wrong = numbers.wrong_blocks
    console.print(
        f"{numbers.moved_bytes / 1e6:,.0f} MB copied between tiers, "
        f"{numbers.gigabytes_per_second:.3f} GB/s while requests waited; "
        + ("bytes not compared." if wrong is None else f"{whole(wrong)} wrong blocks.")
    )


def _some_agree(results: Sequence[ReplayResult]) -> bool:
    """Tell whether several policies that a reader would expect to differ had the same hits."""
    alike = {"priority", "lru", "fifo", "lineage"}
    hits = [one.hit_tokens for one in results if one.policy in alike]
    return len(hits) > 1 and len(set(hits)) == 1 and hits[0] is not None


def _sizes(sizes: Sequence[int | None], summary: Summary) -> str:
    if len(sizes) > 1:
        return "Hit rate in per cent, by cache size in blocks:"
    size = sizes[0]
    if size is None:
        return "Cache: infinite."
    return (
        f"Cache: {whole(size)} blocks, {percent(size / summary.distinct, 0)} of the different ones."
    )


def _table(*headings: str) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0), header_style="dim")
    for index, heading in enumerate(headings):
        # Where room is short, headings of two words give way and names of policies stay whole.
        table.add_column(
            heading, justify="left" if index == 0 else "right", no_wrap=" " not in heading
        )
    return table


def _one_size(
    results: Sequence[ReplayResult], infinite: ReplayResult, belady: Sequence[ReplayResult]
) -> Table:
    table = _table("policy", "hit rate", "tokens reused", "blocks hit", "evicted", "seconds")
    best = max((one.hit_rate or 0.0 for one in results), default=0.0)
    for one in results:
        table.add_row(
            escape(one.policy),
            percent(one.hit_rate),
            whole(one.hit_tokens),
            whole(one.hit_blocks),
            whole(one.evictions),
            f"{one.seconds:.2f}",
            style="bold" if one.hit_rate == best else None,
        )
    table.add_section()
    for name, one in [*((BELADY_NAME, one) for one in belady), (INFINITE_NAME, infinite)]:
        table.add_row(
            name,
            percent(one.hit_rate),
            whole(one.hit_tokens),
            whole(one.hit_blocks),
            style="dim",
        )
    return table


def _many_sizes(
    sizes: Sequence[int | None],
    results: Sequence[ReplayResult],
    infinite: ReplayResult,
    belady: Sequence[ReplayResult],
) -> Table:
    """Give a row per size, as there may be many sizes, but policies are few."""
    policies = list(dict.fromkeys(one.policy for one in results))
    rate = {(one.policy, one.blocks): _bare(one) for one in results}
    bound = {one.blocks: _bare(one) for one in (*belady, infinite)}
    table = _table("blocks", *map(escape, policies), BELADY_NAME, INFINITE_NAME)
    table.padding = 0
    for size in sizes:
        rates = (rate[policy, size] for policy in policies)
        table.add_row(capacity(size), *rates, bound[size], _bare(infinite))
    return table


def _bare(one: ReplayResult) -> str:
    """Write a hit rate without its unit, which would not fit into a table this wide."""
    return percent(one.hit_rate).removesuffix(" %")
