"""Everything that needs a GPU, in one command and under eight minutes: tests, then benchmark.

Run: make gpu, or `python kernels/gpu.py` where numba-cuda and cuda-python are installed. No network
is used. It prints the versions of all packages first, writes
`kernels/results/<gpu>-<date>.json`, and prints the table. Only what was measured in this run is in
either. The exit status is 0 if all tests passed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "kernels"))

from kvbm_kernels import bench, build, driver  # noqa: E402  # from this checkout
from kvbm_kernels.dispatch import Way  # noqa: E402
from kvbm_kernels.launch import Gpu  # noqa: E402
from kvbm_kernels.rows import BlockShape  # noqa: E402

TESTS_AT_MOST: Final = 240
"""Seconds."""
BENCHMARK_AT_MOST: Final = 200
"""Seconds, after which no new case is begun."""

TOKENS: Final = (16, 32, 64)
COUNTS: Final = (1, 4, 16, 64, 256)


def shape(tokens: int) -> BlockShape:
    """Give a block of Llama-3.1-70B in BF16."""
    return BlockShape(layers=80, outer=2, tokens=tokens, heads=8, row=128 * 2)


def tests() -> dict[str, Any]:
    """Run all tests marked `gpu` in a process of their own."""
    command = [sys.executable, "-m", "pytest", "tests/kernels", "-m", "gpu", "-x"]
    options = ["--import-mode=importlib", "-p", "no:cacheprovider", "-W", "ignore"]
    paths = [
        str(ROOT / "kernels"),
        str(ROOT / "tests" / "oracles"),
        os.environ.get("PYTHONPATH", ""),
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "CI": "1"}
    began = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603  # our own program and interpreter
            [*command, *options], cwd=ROOT, env=environment, timeout=TESTS_AT_MOST, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        status, output = 124, str(late)
    print(output[-6000:])
    counts = {
        word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", output)
    }
    return {"status": status, "seconds": round(time.monotonic() - began, 1), **counts}


def benchmark(gpu: Gpu, gibibytes: int) -> tuple[list[bench.Row], dict[Way, float], list[str]]:
    """Measure all cases; give rows, ceilings, and what there was no time for."""
    stream = gpu.stream()
    arena = bench.Arena(gibibytes << 30, (gibibytes << 30) // 4)
    limits = bench.ceilings(arena, stream)
    rows, left = [], []
    deadline = time.monotonic() + BENCHMARK_AT_MOST
    for tokens, count in _order():
        layout = bench.Layout(shape(tokens), count, arena.device - 2**20)
        if time.monotonic() > deadline:
            left.append(f"{tokens} tokens, {count} blocks")
            continue
        for case in bench.cases(arena, layout, gpu.blocks(Way.INSIDE_DEVICE)):
            if time.monotonic() > deadline:
                left.append(f"{tokens} tokens, {count} blocks, from {case.operation} on")
                break
            rows.append(bench.measure(gpu, case, stream, limits))
    arena.close()
    return rows, limits, left


def _order() -> Iterator[tuple[int, int]]:
    """Give (tokens, blocks), the most common page first, in case time runs out."""
    return ((tokens, count) for tokens in TOKENS for count in COUNTS)


def main() -> int:
    """Run it; give 0 if all tests passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-tests", action="store_true", help="only the benchmark")
    parser.add_argument("--gibibytes", type=int, default=6, help="device memory for each side")
    parser.add_argument("--results", type=Path, default=ROOT / "kernels" / "results")
    options = parser.parse_args()

    versions = build.versions() | {"python": sys.version.split()[0]}
    print(*(f"{name} {version}" for name, version in versions.items()), sep="\n")
    if why := driver.missing():
        print(f"no GPU: {why}", file=sys.stderr)
        return 1
    gpu = Gpu()
    cuda = driver.version()
    print(f"{gpu.name}, compute capability {gpu.capability}, driver's CUDA {cuda}\n", flush=True)

    tested = {"status": None} if options.no_tests else tests()
    rows, limits, left = benchmark(gpu, options.gibibytes)
    print(bench.table(rows, limits))
    for each in left:
        print(f"no time for: {each}")

    now = datetime.now(UTC)
    name = re.sub(r"\W+", "-", gpu.name).strip("-").lower()
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / f"{name}-{now:%Y-%m-%d}.json"
    content = {
        "date": now.isoformat(timespec="seconds"),
        "gpu": gpu.name,
        "capability": gpu.capability,
        "multiprocessors": gpu.multiprocessors,
        "driver_cuda": cuda,
        "versions": versions,
        "tests": tested,
        "ceilings": {way.value: limit for way, limit in limits.items()},
        "not_measured": left,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    file.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    print(f"\n{file}\ntests: {tested}")
    return int(bool(tested["status"]))


if __name__ == "__main__":
    sys.exit(main())
