"""The benchmark measures what it says, and says nothing else. Without a GPU it runs against the
driver of `host_driver.py`, in whose world every run takes a millisecond."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from host_driver import Stream
from kvbm_kernels import bench, driver
from kvbm_kernels.bench import measuring
from kvbm_kernels.bench.memory import BEYOND_CACHE, MOST_TURNS
from kvbm_kernels.dispatch import Way
from kvbm_kernels.launch import Gpu
from kvbm_kernels.rows import BlockShape

PROGRAM = Path(__file__).parents[2] / "kernels" / "gpu.py"
TINY = BlockShape(layers=2, outer=2, tokens=4, heads=2, row=32)


@pytest.fixture
def arena(core):
    assert driver.core() is core
    made = bench.Arena(4 * 2**20, 2**20)
    yield made
    made.close()


def test_pages_and_blocks_of_a_turn_are_the_same_bytes() -> None:
    layout = bench.Layout(TINY, count=3, capacity=10 * 3 * TINY.block)
    pages, blocks = layout.pages(4096, 1), layout.blocks(4096, 1)
    begin, end = 4096 + layout.size, 4096 + 2 * layout.size
    assert np.sort(pages).tolist() == list(range(begin, end, TINY.region))
    assert blocks.tolist() == list(range(begin, end, TINY.block))
    assert pages.tolist() != np.sort(pages).tolist()


def test_turns_exceed_the_cache_if_they_fit() -> None:
    llama = BlockShape(layers=80, outer=2, tokens=16, heads=8, row=256)
    assert bench.Layout(llama, 1, 1 << 34).turns == MOST_TURNS
    assert bench.Layout(llama, 16, 1 << 34).turns == -(-BEYOND_CACHE // (80 * 2**20))
    assert bench.Layout(llama, 256, 1 << 34).turns == 1
    assert bench.Layout(llama, 256, 1 << 30).turns == 0


def test_every_case_moves_the_bytes_that_it_counts(arena) -> None:
    layout = bench.Layout(TINY, 2, arena.device - 2**20)
    made = list(bench.cases(arena, layout, 8))
    size = layout.size
    assert {case.way for case in made} == set(Way)
    assert {case.operation for case in made} >= {"gather", "scatter", "checksum_blocks"}
    for case in made:
        assert max(case.read, case.written) in (size, size // 2), case.operation
        assert len(case.works or case.calls) == case.layout.turns
        assert all(case.works) or case.calls


def test_a_layout_that_does_not_fit_has_no_cases(arena) -> None:
    assert not list(bench.cases(arena, bench.Layout(TINY, 10_000, arena.device), 8))


def test_a_row_is_bytes_over_the_measured_time(arena, monkeypatch) -> None:
    monkeypatch.setattr(measuring, "ENOUGH", 0)
    gpu, stream = Gpu(), Stream()
    limits = bench.ceilings(arena, stream)
    assert limits == {
        Way.INSIDE_DEVICE: 2e3 * 2**20, Way.HOST_TO_DEVICE: 1e3 * 2**20,
        Way.DEVICE_TO_HOST: 1e3 * 2**20,
    }  # fmt: skip
    layout = bench.Layout(TINY, 2, arena.device - 2**20)
    rows = {
        (row.way, row.operation, row.method): row
        for row in (
            bench.measure(gpu, case, stream, limits) for case in bench.cases(arena, layout, 8)
        )
    }
    gather = rows["D2D", "gather", "kernel, 8 blocks"]
    assert (gather.bytes, gather.tokens, gather.blocks) == (layout.size, 4, 2)
    assert gather.device_us == pytest.approx(1000)
    assert gather.gigabytes_per_second == pytest.approx(layout.size / 1e6)
    assert gather.share_of_ceiling == pytest.approx(layout.size / 2**20)
    assert rows["D2D", "checksum_blocks", "kernel"].share_of_ceiling == pytest.approx(
        layout.size / 2**21
    )
    assert rows["H2D", "scatter", "cuMemcpyAsync loop"].share_of_ceiling == pytest.approx(
        layout.size / 2**20
    )
    printed = bench.table(list(rows.values()), limits)
    assert printed.count("\n") == len(rows) + 6
    gpu.close()


@pytest.fixture
def program(monkeypatch):
    spec = importlib.util.spec_from_file_location("gpu_program", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(made)
    return made


@pytest.mark.usefixtures("core")
def test_the_command_writes_down_what_it_measured(program, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(measuring, "ENOUGH", 0)
    monkeypatch.setattr(program, "shape", lambda _: TINY)
    monkeypatch.setattr(program, "COUNTS", (1,))
    monkeypatch.setattr(program.bench, "Arena", lambda *_: bench.memory.Arena(4 << 20, 1 << 20))
    monkeypatch.setattr(Gpu, "stream", lambda _: Stream())
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--no-tests", "--results", str(tmp_path)])
    assert program.main() == 0
    (file,) = tmp_path.iterdir()
    content = json.loads(file.read_text("utf-8"))
    assert file.name.startswith("fake-0-")
    assert content["tests"] == {"status": None}
    assert content["versions"]["numba"] != "absent"
    assert len(content["rows"]) > 30
    assert not content["not_measured"]
    output = capsys.readouterr().out
    assert output.index("numba ") < output.index("Ceilings")


def test_the_command_without_a_gpu_says_what_is_missing(program, monkeypatch, capsys) -> None:
    monkeypatch.setattr(driver, "missing", lambda: "the driver sees no device")
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert program.main() == 1
    assert capsys.readouterr().err == "no GPU: the driver sees no device\n"
