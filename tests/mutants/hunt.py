"""Hunt: put one fault at a time into a copy of `kvbm`, and see whether the suite finds it.

What this is
    The suite is only as good as what it kills. `make mutants` hunts all, and writes the page.

        python tests/mutants/hunt.py                 all
        python tests/mutants/hunt.py --only WORDS    those whose theme, name or file has WORDS
        python tests/mutants/hunt.py --again         those that did not end as expected

Interface, as rules of use
    * `hunt(mutant)` gives a `Kill`, or None: the mutant is alive.
    * The last result of each is kept in `kills.json`, and the page is made from it.
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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from zoo import HERE, ROOT, Mutant, load

KILLS: Final = HERE / "kills.json"
PAGE: Final = ROOT / "docs" / "conformance" / "mutants.md"

DEADLINE: Final = 120.0
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
    seconds: int


Kills = dict[str, Kill | None]
"""By name of the mutant; None if it is alive."""


# ── one mutant ────────────────────────────────────────────────────────────────────────────


def hunt(mutant: Mutant) -> Kill | None:
    """Run the suite against one mutant, up to the first part that finds something."""
    with tempfile.TemporaryDirectory(prefix="kvbm-mutant-") as folder:
        copy = Path(folder)
        shutil.copytree(ROOT / "kvbm", copy / "kvbm", ignore=shutil.ignore_patterns("__pycache__"))
        mutant.apply(copy)
        started = time.perf_counter()
        try:
            found = _judged(copy, mutant)
        except subprocess.TimeoutExpired:
            found = [("KV-LIV-01", 0, f"no answer within {DEADLINE:.0f} s")]
        seconds = round(time.perf_counter() - started)
    expected = [row for row in found if row[0] in mutant.clauses] or found
    if not expected:
        return None
    clause, steps, what = expected[0]
    return Kill(clause=clause, steps=steps, what=what, seconds=seconds)


def _judged(copy: Path, mutant: Mutant) -> list[tuple[str, int, str]]:
    path = os.pathsep.join(map(str, (copy, ROOT / "spec", ROOT / "kernels", HERE)))
    which = {"MUTANT_POLICY": mutant.policy, "MUTANT_SCHEME": mutant.scheme}
    # Unchecked and interpreted: see the module.
    unchecked = {"KVBM_CHECK": "0", "NUMBA_DISABLE_JIT": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(  # noqa: S603  our own program, no shell
        [sys.executable, str(HERE / "judge.py"), mutant.profile, *mutant.clauses],
        cwd=copy,
        env={**os.environ, **which, **unchecked, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return [("KV-LIF-01", 0, f"the manager takes the suite along: {why[0]}")]
    rows: list[tuple[str, int, str]] = json.loads(done.stdout.splitlines()[-1])
    return rows


# ── all of them ───────────────────────────────────────────────────────────────────────────


def known() -> Kills:
    """Read the last results."""
    rows: Mapping[str, Any] = json.loads(KILLS.read_text("utf-8")) if KILLS.exists() else {}
    return {name: None if row is None else Kill(**row) for name, row in rows.items()}


def keep(mutants: Sequence[Mutant], kills: Kills) -> None:
    """Write results and page."""
    rows = {
        mutant.name: None if (kill := kills[mutant.name]) is None else asdict(kill)
        for mutant in mutants
        if mutant.name in kills
    }
    KILLS.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(mutants, kills), "utf-8")


def page(mutants: Sequence[Mutant], kills: Kills) -> str:
    """Write the page."""
    waiting = [mutant for mutant in mutants if mutant.pending and kills.get(mutant.name) is None]
    hunted = [mutant for mutant in mutants if not mutant.equivalent and mutant not in waiting]
    equivalent = [mutant for mutant in mutants if mutant.equivalent]
    dead = sum(kills.get(mutant.name) is not None for mutant in hunted)
    lines = [
        "# Mutants",
        "",
        "Small faults that were put into `kvbm`, one at a time, to see whether the suite finds",
        "them. The page is made by `make mutants` from [the zoo](../../tests/mutants/zoo.py). The",
        "steps are the calls of the shortest history, and 0 where the suite did not come so far.",
        "",
        (
            f"{dead} of {len(hunted)} are killed. {len(equivalent)} more are equivalent, and "
            f"{len(waiting)} are alive, or were not hunted since the suite learned to look there."
        ),
        "",
        "| mutant | file | kind of | killed by | steps | seconds |",
        "|---|---|---|---|---:|---:|",
        *(_row(mutant, kills.get(mutant.name)) for mutant in hunted),
        "",
        "## Equivalent mutants",
        "",
        "| mutant | file | why it is none |",
        "|---|---|---|",
        *(f"| {m.name} | `{m.file}` | {m.equivalent} |" for m in equivalent),
        "",
    ]
    if waiting:
        lines += ["## Alive, or not hunted yet", "", "| mutant | file | for |", "|---|---|---|"]
        lines += [f"| {m.name} | `{m.file}` | {m.pending} |" for m in waiting] + [""]
    return "\n".join(lines)


def _row(mutant: Mutant, kill: Kill | None) -> str:
    how = ("**alive**", "", "") if kill is None else (kill.clause, kill.steps, kill.seconds)
    cells = (mutant.name, f"`{mutant.file}`", ", ".join(mutant.bugs), *how)
    return f"| {' | '.join(map(str, cells))} |"


def main() -> int:
    """Hunt, and tell; 1 if a mutant did not end as it should."""
    parser = argparse.ArgumentParser(description="Hunt the mutants of the zoo.")
    parser.add_argument("--only", default="", metavar="WORDS", help="in theme, name or file")
    parser.add_argument("--again", action="store_true", help="not as expected, or new")
    arguments = parser.parse_args()
    mutants, kills = load(), known()
    chosen = [
        each
        for each in mutants
        if arguments.only in f"{each.theme} {each.name} {each.file}"
        and not (arguments.again and each.name in kills and expected(each, kills[each.name]))
    ]
    wrong = 0
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for mutant, kill in zip(chosen, threads.map(hunt, chosen), strict=True):
            kills[mutant.name] = kill
            wrong += not expected(mutant, kill)
            sys.stderr.write(f"{_told(mutant, kill)}\n")
            keep(mutants, kills)
    return 1 if wrong else 0


def expected(mutant: Mutant, kill: Kill | None) -> bool:
    """Whether a mutant ended as the zoo says."""
    if mutant.equivalent:
        return kill is None
    return (kill is not None and kill.clause in mutant.clauses) != bool(mutant.pending)


def _told(mutant: Mutant, kill: Kill | None) -> str:
    if kill is None:
        word = "equivalent" if mutant.equivalent else "waits" if mutant.pending else "ALIVE"
        return f"{word:>10}  {mutant.name}"
    mark = "" if expected(mutant, kill) else "  NOT AS EXPECTED"
    return (
        f"{kill.clause:>10}  {mutant.name}  ({kill.steps} steps, {kill.seconds} s){mark}"
        f"\n            {kill.what}"
    )


if __name__ == "__main__":
    sys.exit(main())
