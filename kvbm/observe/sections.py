"""The sections of the page: a heading, a chart, and how to read it.

What this is
    One function per chart. Each finds in a `Report` what its chart needs, and says in words what
    a newcomer should look at, or why there is nothing to draw.

Interface, as rules of use
    * A section is markup; everything from the report that goes into it has been escaped.
    * A policy has the same colour in all sections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

from kvbm.observe.area import LAYERS, occupancy_chart
from kvbm.observe.bars import histogram_chart, rates_chart
from kvbm.observe.curves import COLOURS, Line, curves_chart, lines_of
from kvbm.observe.numbers import capacity, percent, whole
from kvbm.observe.report import Report

WIDE, NARROW = 760.0, 350.0


def section(title: str, drawing: str, reading: str, notes: Iterable[str] = ()) -> str:
    """Write a section; `drawing` is markup, all else is text."""
    remarks = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    return (
        f"<section>\n<h2>{escape(title)}</h2>\n{drawing}\n"
        f'<p class="read">{escape(reading)}</p>{remarks}\n</section>'
    )


def policies(report: Report) -> list[str]:
    """Names of all policies in the order of the report; a policy's place is its colour."""
    return list(dict.fromkeys(one.policy for one in report.curve))


def rates(report: Report) -> str:
    """Compare the policies at the first cache size."""
    size = report.results[0].blocks
    series = {policy: index for index, policy in enumerate(policies(report))}
    here = [one for one in report.results if one.blocks == size]
    rows = [(one.policy, one.hit_rate, f"s{series[one.policy] % COLOURS}") for one in here]
    rows += [("Belady's MIN", one.hit_rate, "bound") for one in report.belady if one.blocks == size]
    rows.append(("infinite cache", report.infinite.hit_rate, "bound"))
    return section(
        f"Hit rate with {capacity(size)} blocks",
        _figure(lambda width: rates_chart(rows, width)),
        "The hit rate is the share of prompt tokens whose keys and values were still in the "
        "cache and need not be computed again. The grey bars are no policies. An infinite cache "
        "misses only what was never there before. Belady's MIN knows what will be asked next; it "
        "is a yardstick for single blocks, not a proven optimum for prefixes.",
        report.notes(),
    )


def curves(report: Report) -> str:
    """Draw the hit rate of each policy by cache size."""
    title = "Hit rate by cache size"
    lines = lines_of(report.curve, report.belady, policies(report))
    ceiling = report.infinite.hit_rate
    if not lines or ceiling is None:
        return section(title, "", "No replay of a finite cache has a hit rate to draw.")
    return section(
        title,
        _figure(lambda width: curves_chart(lines, ceiling, width)),
        "Each doubling of the cache is the same step to the right. Look where a line bends: from "
        "there on, more memory buys little. Where the policies lie far apart, choosing well is "
        "worth as much as buying memory; where they meet, any will do." + _hidden(lines),
    )


def _hidden(lines: Sequence[Line]) -> str:
    """Name the lines that lie on top of each other, so that nobody looks for them."""
    names: dict[tuple[tuple[int, float], ...], list[str]] = {}
    for one in lines:
        names.setdefault(one.points, []).append(one.name)
    return "".join(
        f" Exactly on top of each other: {', '.join(same)}."
        for same in names.values()
        if len(same) > 1
    )


def occupancy(report: Report) -> str:
    """Draw where the blocks of the pool were, over the requests of the first replay."""
    title = f"Blocks over time ({_first(report)})"
    samples = report.samples.occupancy
    if not samples:
        return section(title, "", "These rules do not report where the blocks are.")
    keys = "".join(f'<li><i class="{layer}"></i>{layer}</li>' for layer in reversed(LAYERS))
    return section(
        title,
        f'<ul class="keys">{keys}</ul>' + _figure(lambda width: occupancy_chart(samples, width)),
        "Empty blocks hold nothing yet. Inactive ones hold something that a later request may "
        "find. Active ones belong to a request that runs; when requests follow one another they "
        "are given back before the next one begins. Once nothing is empty, every new block costs "
        "an old one.",
    )


def reuse(report: Report) -> str:
    """Draw how many other blocks are used between two uses of the same one."""
    title = "How soon blocks are used again"
    distances, size = report.reuse_distances, report.results[0].blocks
    if not distances.total:
        return section(title, "", "No block is ever used twice.")
    mark = None if size is None else (size, f"cache: {whole(size)} blocks")
    share = report.first_uses / (distances.total + report.first_uses)
    line = (
        "A plain LRU list finds what is left of the dotted line and has lost what is right of it. "
        if mark
        else ""
    )
    return section(
        title,
        _figure(lambda width: histogram_chart(distances, "other blocks in between", width, mark)),
        "Each bar counts uses of a block by how many other blocks were used since its last use. "
        f"{line}Not drawn: {whole(report.first_uses)} first uses, {percent(share)} of all, which "
        "no cache can find.",
    )


def ages(report: Report) -> str:
    """Draw how long the evicted blocks of the first replay had not been used."""
    title = f"How old evicted blocks were ({_first(report)})"
    histogram = report.samples.eviction_ages
    if not histogram.total:
        return section(title, "", "Nothing was evicted, or these rules do not say what was.")
    return section(
        title,
        _figure(lambda width: histogram_chart(histogram, "ticks since it was given back", width)),
        f"Each bar counts evicted blocks, {whole(histogram.total)} in all, by how long nobody "
        "had used them. A tick is one block taken or given back. Far to the right, the cache "
        "throws away what is long forgotten. On the "
        "left are blocks that had been used only just before: the cache is too small for its "
        "users, or the policy gives up too early.",
    )


def tiers(report: Report) -> str:
    """Show where hits were found and whether their bytes were right; nothing without tiers."""
    one = report.tiered
    if one is None or one.tiers is None:
        return ""
    numbers = one.tiers
    columns = ("blocks", "hit blocks", "tokens reused", "share of prompts", "evicted")
    head = "".join(f'<th scope="col">{name}</th>' for name in ("tier", *columns))
    rows = [
        (name, whole(numbers.blocks[name]), whole(numbers.hit_blocks[name]),
         whole(numbers.hit_tokens[name]),
         percent(numbers.hit_tokens[name] / one.total_tokens if one.total_tokens else 0.0),
         whole(numbers.evictions[name]))
        for name in numbers.blocks
    ]  # fmt: skip
    body = "\n".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    checked = (
        "nobody compared their bytes"
        if numbers.wrong_blocks is None
        else f"{whole(numbers.wrong_blocks)} of them with a wrong byte"
    )
    return section(
        f"Through {len(rows)} tiers, with real bytes ({one.policy})",
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n'
        "</tbody></table></div>",
        f"Each hit was found in the fastest tier that had it, and brought to the first one: "
        f"{whole(one.hit_blocks)} hits, {checked}. All tiers together reused "
        f"{percent(one.hit_rate)} of the prompts. {numbers.moved_bytes / 1e6:,.0f} MB were "
        f"copied between them, {numbers.gigabytes_per_second:.3f} GB for each second of waiting.",
    )


def _first(report: Report) -> str:
    first = report.results[0]
    return f"{first.policy}, {capacity(first.blocks)} blocks"


def _figure(draw: Callable[[float], str]) -> str:
    """Draw twice: a drawing that is merely shrunk has letters too small for a phone."""
    return (
        f'<figure><div class="wide">{draw(WIDE)}</div><div class="narrow">{draw(NARROW)}</div>'
        "</figure>"
    )
