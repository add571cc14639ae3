"""The page: well formed, self-contained, complete, and safe whatever a file is called."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvbm.observe import Report, write_page
from kvbm.observe.page import page
from kvbm.replay.histogram import Histogram
from kvbm.replay.observer import Occupancy, Samples
from kvbm.replay.result import ReplayResult
from kvbm.replay.summary import Summary

VOID = {"meta"}


def result(policy: str, blocks: int | None, hit_tokens: int, evictions: int | None) -> ReplayResult:
    rate = hit_tokens / 98_765
    return ReplayResult(
        "kvbm", policy, blocks, 321, hit_tokens // 64, 2_048, hit_tokens, 98_765, rate, evictions,
        0.4567,
    )  # fmt: skip


ASKED = (result("lru", 100, 30_001, 1_201), result("fifo", 100, 20_003, 1_303))
REPORT = Report(
    summary=Summary("trace.jsonl", 512, 321, 2_048, 777, 12, 98_765, 4_321),
    results=ASKED,
    curve=(*ASKED, result("lru", 200, 40_007, 1_111), result("fifo", 200, 35_009, 1_222)),
    infinite=result("infinite", None, 51_111, 0),
    belady=(result("belady-min", 100, 45_013, None), result("belady-min", 200, 50_017, None)),
    samples=Samples(
        tuple(Occupancy(index, 100 - 10 * index, 3, 10 * index - 3) for index in range(1, 10)),
        Histogram((0, 4, 0, 9)),
    ),
    reuse_distances=Histogram((3, 0, 5, 8, 40)),
    first_uses=777,
)


class Reader(HTMLParser):
    """Collects what a page holds; asserts that each element is closed where it must be."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    text = page(REPORT)
    reader = read(text)
    assert {"html", "head", "body", "svg", "table"} <= set(reader.tags)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(reader.tags)
    assert not {"href", "src", "xlink:href", "srcset"} & {name for name, _ in reader.attributes}
    assert not re.search(r"https?:|//|@import|url\(", text)


def test_every_number_of_every_result_is_in_the_table() -> None:
    rows = page(REPORT).split("<tbody>")[1].split("</tbody>")[0].split("</tr>")
    cells = {tuple(map(unescape, re.findall(r"<td>(.*?)</td>", row))) for row in rows}
    for one in (*REPORT.curve, *REPORT.belady, REPORT.infinite):
        assert one.hit_rate is not None
        assert (
            one.policy,
            "∞" if one.blocks is None else f"{one.blocks:,}",
            f"{100 * one.hit_rate:.2f} %",
            f"{one.hit_tokens:,}",
            f"{one.total_tokens:,}",
            f"{one.hit_blocks:,}",
            f"{one.total_blocks:,}",
            "—" if one.evictions is None else f"{one.evictions:,}",
            f"{one.requests:,}",
            f"{one.seconds:.3f}",
        ) in cells


def test_each_chart_is_there_twice_and_has_words() -> None:
    text = page(REPORT)
    assert text.count("<figure>") == text.count('class="wide"') == text.count('class="narrow"') == 5
    assert text.count("<svg") == 10
    assert text.count('class="read"') == 6


def test_marks_say_their_numbers() -> None:
    text = "".join(read(page(REPORT)).text)
    assert "lru, 200 blocks: 40.5 %" in text
    assert "8 to 15: 40, 71.4 %" in text
    assert "cache: 100 blocks" in text


def test_shares_on_an_axis_are_shares() -> None:
    drawn = page(REPORT).split("<figure>")[1:]
    shares = [float(share) for part in drawn for share in re.findall(r">([\d.]+) %<", part)]
    assert 80 in shares, "the highest bar of the reuse distances is 71.4 %"
    assert max(shares) <= 100


def test_no_coordinate_leaves_the_paper() -> None:
    for drawing in re.findall(r"<svg.*?</svg>", page(REPORT)):
        width, height = map(float, re.findall(r"[\d.]+", drawing.split('"')[1])[2:])
        for points in re.findall(r'points="(.*?)"', drawing):
            for point in points.split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= width
                assert 0 <= y <= height


@settings(max_examples=30)
@given(st.text(max_size=30))
def test_no_name_becomes_markup(name: str) -> None:
    evil = f"<script>\"&'{name}"
    text = page(
        replace(
            REPORT,
            summary=replace(REPORT.summary, name=evil),
            results=(replace(REPORT.results[0], policy=evil, rules=evil, note=evil),),
            curve=(replace(REPORT.results[0], policy=evil, rules=evil, note=evil),),
        )
    )
    assert read(text).tags.count("script") == 0


def test_a_note_is_shown() -> None:
    noted = replace(REPORT.results[0], note="it was never full", hit_rate=None, hit_tokens=None)
    text = page(replace(REPORT, results=(noted,), curve=(noted,)))
    assert "lru with 100 blocks: it was never full" in text
    assert "None" not in text


def test_equal_notes_are_one() -> None:
    noted = tuple(replace(one, note="slow") for one in ASKED)
    other = replace(noted[0], blocks=None)
    assert replace(REPORT, results=(*noted, other)).notes() == [
        "lru, fifo with 100 blocks: slow",
        "lru with ∞ blocks: slow",
    ]


def test_lines_that_hide_each_other_are_named() -> None:
    twin = tuple(replace(one, policy="twin") for one in REPORT.curve if one.policy == "lru")
    words = "Exactly on top of each other: lru, twin."
    assert words in page(replace(REPORT, curve=(*REPORT.curve, *twin)))
    assert "on top of each other" not in page(REPORT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reuse_distances": Histogram()}, "No block is ever used twice."),
        ({"samples": Samples((), Histogram())}, "Nothing was evicted"),
        ({"samples": Samples((), Histogram())}, "do not report where the blocks are"),
    ],
    ids=["no reuse", "no evictions", "no occupancy"],
)
def test_nothing_to_draw_is_said_in_words(change: dict[str, object], words: str) -> None:
    assert words in page(replace(REPORT, **change))  # type: ignore[arg-type] # any field


def test_an_infinite_cache_alone_is_a_page_too() -> None:
    endless = replace(REPORT.results[0], blocks=None)
    text = page(replace(REPORT, results=(endless,), curve=(endless,), belady=()))
    read(text)
    assert "No replay of a finite cache" in text


def test_one_sample_and_one_size_are_enough() -> None:
    lonely = replace(
        REPORT,
        results=ASKED[:1],
        curve=ASKED[:1],
        belady=REPORT.belady[:1],
        samples=Samples((Occupancy(0, 9, 0, 1),), Histogram((0, 1))),
        reuse_distances=Histogram((1,)),
    )
    assert "nan" not in page(lonely).lower().replace("tenant", "")


def test_the_page_is_written(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(path, REPORT)
    assert path.read_text(encoding="utf-8") == page(REPORT)
