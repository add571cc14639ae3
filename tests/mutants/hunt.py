"""Hunt: put one fault at a time into a copy of `kvbm`, and see whether the suite finds it.

What this is
    The suite is only as good as what it kills. `make mutants` hunts all, and writes the table.

        python tests/mutants/hunt.py                 all, to docs/conformance/mutants.md
        python tests/mutants/hunt.py --only WORDS    those whose name has WORDS, to the terminal

Interface, as rules of use
    * `hunt(mutant)` gives a `Kill`, or None: the mutant is alive.
    * The pool's own checks are off, and nothing is compiled: what was compiled before the
      fault would go on without it.
    * A copy that gives no answer within `DEADLINE` seconds is killed, by KV-LIV-01.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zoo import HERE, ROOT, Mutant, load

TABLE: Final = ROOT / "docs" / "conformance" / "mutants.md"
DEADLINE: Final = 240.0
"""Seconds. The whole suite takes less than half of that."""

AT_ONCE: Final = 2
"""Mutants at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """How the suite found a fault."""

    clause: str
    steps: int
    """Length of the shortest history; 0 where the suite did not come so far."""
    what: str
    seconds: float


def hunt(mutant: Mutant) -> Kill | None:
    """Run the suite against one mutant, up to the first search that finds something."""
    with tempfile.TemporaryDirectory(prefix="kvbm-mutant-") as folder:
        copy = Path(folder)
        shutil.copytree(
            ROOT / "kvbm", copy / "kvbm", ignore=shutil.ignore_patterns("__pycache__")
        )
        mutant.apply(copy)
        started = time.perf_counter()
        try:
            found = _judged(copy, mutant.profile)
        except subprocess.TimeoutExpired:
            found = [("KV-LIV-01", 0, f"no answer within {DEADLINE:.0f} s")]
        seconds = time.perf_counter() - started
    expected = [row for row in found if row[0] in mutant.clauses] or found
    if not expected:
        return None
    clause, steps, what = expected[0]
    return Kill(clause=clause, steps=steps, what=what, seconds=seconds)


def _judged(copy: Path, profile: str) -> list[tuple[str, int, str]]:
    path = os.pathsep.join(map(str, (copy, ROOT / "spec", ROOT / "kernels")))
    # Unchecked and interpreted: see the module.
    unchecked = {"KVBM_CHECK": "0", "NUMBA_DISABLE_JIT": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(  # noqa: S603  our own program, no shell
        [sys.executable, str(HERE / "judge.py"), profile],
        cwd=copy,
        env={**os.environ, **unchecked, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the suite itself failed:\n{done.stderr[-2000:]}")
    return [(str(clause), int(steps), str(what)) for clause, steps, what in _last_line(done.stdout)]


def _last_line(text: str) -> list[list[object]]:
    rows: list[list[object]] = json.loads(text.splitlines()[-1])
    return rows


def table(mutants: Sequence[Mutant], kills: Sequence[Kill | None]) -> str:
    """Write the page."""
    pairs = list(zip(mutants, kills, strict=True))
    hunted = [(mutant, kill) for mutant, kill in pairs if not mutant.equivalent]
    dead = sum(kill is not None for _, kill in hunted)
    lines = [
        "# Mutants",
        "",
        "Small faults that were put into `kvbm`, one at a time, to see whether the suite finds",
        "them. The page is made by `make mutants` from [the zoo](../../tests/mutants/zoo.py). A",
        "history of 0 steps is one that the suite could not finish, or never reached.",
        "",
        f"{dead} of {len(hunted)} are killed; {len(pairs) - len(hunted)} more are equivalent.",
        "",
        "| mutant | file | kind of | killed by | steps | seconds |",
        "|---|---|---|---|---:|---:|",
    ]
    lines += [_row(mutant, kill) for mutant, kill in hunted]
    lines += ["", "## Equivalent mutants", ""]
    lines += ["| mutant | file | why nobody can tell | |", "|---|---|---|---|"]
    lines += [
        f"| {mutant.name} | `{mutant.file}` | {mutant.equivalent} "
        f"| {'' if kill is None else f'**killed by {kill.clause}**'} |"
        for mutant, kill in pairs
        if mutant.equivalent
    ]
    return "\n".join(lines) + "\n"


def _row(mutant: Mutant, kill: Kill | None) -> str:
    kind = ", ".join(mutant.bugs)
    if kill is None:
        return f"| {mutant.name} | `{mutant.file}` | {kind} | **alive** | | |"
    seconds = f"{kill.seconds:.0f}"
    return f"| {mutant.name} | `{mutant.file}` | {kind} | {kill.clause} | {kill.steps} | {seconds} |"


def main() -> int:
    """Hunt, and tell; 1 if a mutant lives, or one dies that should be equivalent."""
    parser = argparse.ArgumentParser(description="Hunt the mutants of the zoo.")
    parser.add_argument("--only", metavar="WORDS", help="those whose name or file has WORDS")
    chosen = parser.parse_args().only
    mutants = [each for each in load() if not chosen or chosen in f"{each.name} {each.file}"]
    kills: list[Kill | None] = []
    wrong = 0
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for mutant, kill in zip(mutants, threads.map(hunt, mutants), strict=True):
            kills.append(kill)
            wrong += (kill is None) != bool(mutant.equivalent)
            sys.stderr.write(f"{_told(mutant, kill)}\n")
    if not chosen:
        TABLE.parent.mkdir(parents=True, exist_ok=True)
        TABLE.write_text(table(mutants, kills), "utf-8")
    return 1 if wrong else 0


def _told(mutant: Mutant, kill: Kill | None) -> str:
    if kill is None:
        return f"{'equivalent' if mutant.equivalent else 'ALIVE':>10}  {mutant.name}"
    mark = "" if kill.clause in mutant.clauses else "  NOT AS EXPECTED"
    return (
        f"{kill.clause:>10}  {mutant.name}  ({kill.steps} steps, {kill.seconds:.1f} s){mark}"
        f"\n            {kill.what}"
    )


if __name__ == "__main__":
    sys.exit(main())
