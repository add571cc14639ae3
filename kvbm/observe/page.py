"""One page about replays: a single file that needs nothing else, to be opened or sent.

What this is
    HTML with its style sheet and drawings inside. It loads nothing, runs no script, follows the
    reader's choice of light or dark, and has a second drawing of each chart for phones.

Interface, as rules of use
    * `write_page` writes the file anew; `page` gives the text.
    * Every number of every result is in the table at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.resources import files
from pathlib import Path

from kvbm.observe import sections
from kvbm.observe.numbers import capacity, percent, short, whole
from kvbm.observe.report import Report
from kvbm.replay.result import ReplayResult


def write_page(path: str | Path, report: Report) -> None:
    """Write the page about `report` to `path`. Raises OSError if it cannot."""
    Path(path).write_text(page(report), encoding="utf-8")


def page(report: Report) -> str:
    """Give the page about `report`.

    Complexity
    ----------
    O(results + samples): about 100 kB.
    """
    title = f"Replay of {report.summary.name}"
    style = files("kvbm.observe").joinpath("page.css").read_text(encoding="utf-8")
    parts = (
        _head(title, report),
        sections.tiers(report),
        sections.rates(report),
        sections.curves(report),
        sections.occupancy(report),
        sections.reuse(report),
        sections.ages(report),
        _table(report),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _head(title: str, report: Report) -> str:
    summary, first = report.summary, report.results[0]
    at_first = [one for one in report.results if one.blocks == first.blocks]
    best = max(at_first, key=lambda one: one.hit_rate or 0.0)
    ceiling = report.infinite
    bound = next((one for one in report.belady if one.blocks == first.blocks), ceiling)
    tiles = (
        ("Best policy", percent(best.hit_rate), f"{best.policy}, {capacity(best.blocks)} blocks"),
        ("Belady's MIN", percent(bound.hit_rate), "a cache of this size that sees the future"),
        ("Infinite cache", percent(ceiling.hit_rate), "no policy can do better"),
        ("Work saved", short(best.hit_tokens),
         f"of {short(best.total_tokens)} prompt tokens, by {best.policy}"),
    )  # fmt: skip
    lead = (
        f"{whole(summary.requests)} requests with {short(summary.input_tokens)} prompt tokens, in "
        f"blocks of {summary.block_size} tokens: {whole(summary.references)} block uses, "
        f"{whole(summary.distinct)} different blocks. Replayed in order, one request after the "
        f"other, under the rules “{first.rules}”."
    )
    return (
        f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>\n'
        f'<dl class="tiles">{"".join(_tile(*tile) for tile in tiles)}</dl>'
    )


def _tile(name: str, number: str, about: str) -> str:
    return (
        f'<div><dt>{escape(name)}</dt><dd class="number">{escape(number)}</dd>'
        f'<dd class="about">{escape(about)}</dd></div>'
    )


def _table(report: Report) -> str:
    names = ("policy", "blocks", "hit rate", "hit tokens", "total tokens", "hit blocks",
             "total blocks", "evictions", "requests", "seconds")  # fmt: skip
    rows = dict.fromkeys((*report.curve, *report.belady, report.infinite))
    order = {policy: index for index, policy in enumerate(sections.policies(report))}
    ordered = sorted(
        rows, key=lambda one: (order.get(one.policy, len(order)), one.blocks or float("inf"))
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "\n".join(f"<tr>{''.join(_cells(one))}</tr>" for one in ordered)
    return sections.section(
        "All numbers",
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n'
        "</tbody></table></div>",
        "Hit rate is hit tokens by total tokens. A dash is a number that does not exist.",
    )


def _cells(one: ReplayResult) -> Iterable[str]:
    values = (one.policy, capacity(one.blocks), percent(one.hit_rate, 2), whole(one.hit_tokens),
              whole(one.total_tokens), whole(one.hit_blocks), whole(one.total_blocks),
              whole(one.evictions), whole(one.requests), f"{one.seconds:.3f}")  # fmt: skip
    return (f"<td>{escape(value)}</td>" for value in values)
