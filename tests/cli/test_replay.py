"""`kvbm replay`, with a small rule set in place of the real ones."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from kvbm.cli import main
from kvbm.cli.replay import _curve_sizes
from kvbm.replay.summary import Summary

LINES = [
    {"timestamp": 0, "input_length": 1300, "output_length": 100, "hash_ids": [0, 1, 2]},
    {"timestamp": 9, "input_length": 2048, "output_length": 1, "hash_ids": [0, 1, 3, 4]},
    {"timestamp": 9, "input_length": 1300, "output_length": 1, "hash_ids": [0, 1, 2]},
    {"timestamp": 9, "input_length": 1000, "output_length": 1, "hash_ids": [5, 6]},
]
FIELDS = {
    "rules", "policy", "blocks", "requests", "hit_blocks", "total_blocks", "hit_tokens",
    "total_tokens", "hit_rate", "evictions", "seconds",
}  # fmt: skip


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "small.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return str(path)


def object_of(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    """Run with --json; all of standard output must be one object."""
    assert main(["replay", *argv, "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    answer: dict[str, Any] = json.loads(captured.out)
    return answer


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Run and expect a refusal: nothing on standard output, one line on the other."""
    assert main(["replay", *argv]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("kvbm: error: ").rstrip()


def test_one_replay_is_one_object(capsys: pytest.CaptureFixture[str], trace: str) -> None:
    answer = object_of(capsys, trace, "--policy", "lru", "--blocks", "6")
    assert answer.keys() == FIELDS | {"trace", "results", "bounds"}
    assert (answer["policy"], answer["blocks"], answer["requests"]) == ("lru", 6, 4)
    assert (answer["hit_tokens"], answer["total_tokens"]) == (2 * 512 + 1300, 5648)
    assert answer["results"] == [{key: answer[key] for key in FIELDS}]
    infinite, belady = answer["bounds"]
    assert (infinite["policy"], infinite["blocks"]) == ("infinite", None)
    assert (belady["policy"], belady["blocks"]) == ("belady-min", 6)
    assert infinite["hit_tokens"] == belady["hit_tokens"] == 2 * 512 + 1300
    assert answer["trace"]["distinct"] == 7


def test_several_replays_are_listed_and_the_first_is_on_top(
    capsys: pytest.CaptureFixture[str], trace: str
) -> None:
    answer = object_of(
        capsys, trace, "--policy", "fifo,lru", "--policy", "fifo", "--blocks", "4,inf,4"
    )
    points = [(one["policy"], one["blocks"]) for one in answer["results"]]
    assert points == [("fifo", 4), ("lru", 4), ("fifo", None), ("lru", None)]
    assert {key: answer[key] for key in FIELDS} == {
        key: answer["results"][0][key] for key in FIELDS
    }
    assert [bound["blocks"] for bound in answer["bounds"]] == [None, 4]


def test_a_replay_with_room_for_all_equals_the_infinite_bound(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = object_of(capsys, "--requests", "50", "--blocks", "inf")
    infinite = answer["bounds"][0]
    for result in answer["results"]:
        assert result["hit_tokens"] == infinite["hit_tokens"]
        assert result["hit_blocks"] == infinite["hit_blocks"]


def test_the_invented_workload_obeys_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    short = object_of(capsys, "--requests", "30", "--policy", "lru")
    again = object_of(capsys, "--requests", "30", "--policy", "lru", "--seed", "0")
    other = object_of(capsys, "--requests", "30", "--policy", "lru", "--seed", "1")
    assert short["requests"] == 30
    assert short["hit_tokens"] == again["hit_tokens"] != other["hit_tokens"]


def test_standard_input_is_a_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, trace: str
) -> None:
    buffer = io.BufferedReader(io.BytesIO(Path(trace).read_bytes()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(buffer))
    answer = object_of(capsys, "-")
    assert (answer["trace"]["name"], answer["requests"]) == ("stdin", 4)


def test_the_table_has_policies_bounds_and_words(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    trace: str,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["replay", trace, "--blocks", "6", "--html", str(tmp_path / "page.html")]) == 0
    out = capsys.readouterr().out
    assert "small.jsonl" in out
    assert "4 requests" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["lru", "41.1", "%", "2,324", "5", "1", "0.12"] in rows
    assert sum(row[:2] == ["Belady's", "MIN"] for row in rows) == 1
    assert any(row[:2] == ["infinite", "cache"] for row in rows)
    assert "Note: fifo with 6 blocks: lists are slow" in out
    assert "Hit rate: the share of prompt tokens" in out
    assert rows.index(["lru", "41.1", "%", "2,324", "5", "1", "0.12"]) < next(
        at for at, row in enumerate(rows) if row[:1] == ["fifo"]
    ), "the default policy comes first"


def test_several_sizes_are_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, trace: str
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["replay", trace, "--blocks", "4", "--blocks", "7,inf"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    header = next(row for row in rows if row[:1] == ["blocks"])
    assert header[:3] == ["blocks", "lru", "fifo"]
    sizes = {row[0]: row[1:] for row in rows if row[:1] in (["4"], ["7"], ["∞"])}
    assert list(sizes) == ["4", "7", "∞"]
    assert sizes["7"] == sizes["∞"] == ["41.1"] * 4, "room for all"


def test_a_page_is_written_and_named(
    capsys: pytest.CaptureFixture[str], trace: str, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    assert main(["replay", trace, "--blocks", "8", "--html", str(page)]) == 0
    assert f"Page with charts: {page}" in capsys.readouterr().out
    text = page.read_text()
    for size in ("4", "8", "16", "32"):
        assert f"<td>{size}</td>" in text, "a curve around the size that was asked for"
    assert "<td>1</td>" not in text.split("<tbody>")[1].split("</tr>")[0], "refused, so left out"
    assert text.count("<td>lru</td><td>8</td>") == 1, "replayed once"


def test_json_and_a_page_go_together(
    capsys: pytest.CaptureFixture[str], trace: str, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    answer = object_of(capsys, trace, "--blocks", "8", "--html", str(page))
    assert {one["blocks"] for one in answer["results"]} == {8}
    assert page.exists()


def test_progress_stays_on_standard_error(capsys: pytest.CaptureFixture[str], trace: str) -> None:
    assert main(["replay", trace, "--json", "--progress"]) == 0
    captured = capsys.readouterr()
    json.loads(captured.out)
    assert "replaying" in captured.err


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--rules", "nobody"], "--rules = 'nobody': known are kvbm"),
        (["--policy", "lru,clock"], "--policy = 'clock': the rules kvbm know fifo, lru"),
        (["--requests", "0"], "requests = 0: must be at least 1"),
        (["--blocks", "2"], "blocks = 2: must be at least 3"),
        (["--html", "/nowhere/at/all/p.html"], "--html = '/nowhere/at/all/p.html': its folder"),
        (["/nowhere.jsonl"], "/nowhere.jsonl: No such file or directory"),
        (["-", "--seed", "3"], "--seed = 3: is for the invented workload"),
        (["-", "--requests", "3"], "--requests = 3: is for the invented workload"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    capsys: pytest.CaptureFixture[str], argv: list[str], reason: str
) -> None:
    assert refused(capsys, *argv).startswith(reason)


def test_a_malformed_line_is_named_before_anything_is_done(
    capsys: pytest.CaptureFixture[str], trace: str, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    page.write_text("the page of yesterday")
    with Path(trace).open("a") as stream:
        stream.write('{"timestamp": 0}\n')
    assert refused(capsys, trace, "--html", str(page)) == (
        f"{trace}:5: the key 'input_length' is missing"
    )
    assert page.read_text() == "the page of yesterday"


@pytest.mark.parametrize("value", ["0", "-3", "many", "1.5", "", ",", "9" * 5000])
def test_a_size_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(SystemExit) as done:
        main(["replay", "--blocks", value])
    assert done.value.code == 2


@pytest.mark.parametrize(
    ("asked", "further"),
    [([8], [2, 4, 16, 32, 64]), ([8, 9], []), ([None], [12, 25, 50, 100, 200, 400])],
    ids=["one size", "several sizes", "infinite"],
)
def test_a_page_draws_sizes_around_a_single_one(
    asked: list[int | None], further: list[int]
) -> None:
    summary = Summary("", 512, 1, 0, distinct=400, longest=1, input_tokens=1, output_tokens=1)
    assert _curve_sizes(asked, summary) == further
