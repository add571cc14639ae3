"""`kvbm bench conform`: how fast the conformance suite asks.

What this is
    Calls per second of its three engines: the model alone, which goes through every state of
    a small pool; our own pool in lockstep with the model; and a program behind a pipe that
    answers each call at once, which is as fast as any program can be asked.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

from kvbm.cli.bench.timing import Report, Subject, take_turns

CALLS: Final = 4_000

PROGRAM: Final = """
import importlib.util
import sys
for number, line in enumerate(sys.stdin, start=1):
    ok = '{"name":"null","version":"1","spec":"1.0","capabilities":{}}' if number == 1 else '[]'
    print('{"id":%d,"ok":%s}' % (number, ok), flush=True)
"""


def measure(rounds: int) -> Report:
    """Run the benchmark, where the suite and its one dependency are installed."""
    if importlib.util.find_spec("hypothesis") is None:
        missing = "hypothesis is not installed here: pip install 'kvbm-py[spec]'"
        return Report("Conformance suite", "", "k calls/s", ("calls",), (), None, (missing,))
    from kvbm_spec.explore import explore  # noqa: PLC0415 - an extra that not all have
    from kvbm_spec.moves import Scope  # noqa: PLC0415 - as above
    from kvbm_spec.process import ProcessSubject  # noqa: PLC0415 - as above
    from kvbm_spec.reach import reach  # noqa: PLC0415 - as above
    from kvbm_spec.state import Rules  # noqa: PLC0415 - as above
    from kvbm_spec.subject import Env, PoolConfig  # noqa: PLC0415 - as above

    from kvbm.cli.subject import KvbmSubject  # noqa: PLC0415 - needs them, too

    def subject(name: str, work: Callable[[], object], calls: float) -> Subject:
        return Subject(name, {"calls": work}, {"calls": calls / 1e3})

    rules, scope = Rules("lru", "reject"), Scope(slots=3)
    pool, small = PoolConfig(slots=2), Scope(slots=2)
    own = partial(explore, KvbmSubject(), pool, small)
    with ProcessSubject([sys.executable, "-S", "-c", PROGRAM]) as program:
        manager = program.open(PoolConfig(slots=1), Env())

        def ask() -> None:
            for _ in range(CALLS):
                manager.match((0,))

        subjects = [
            subject("model alone", partial(reach, rules, scope), reach(rules, scope).transitions),
            subject("kvbm in lockstep", own, own().transitions),
            subject("program behind a pipe", ask, CALLS),
        ]
        rows = take_turns(subjects, rounds)
    return Report(
        title="Conformance suite",
        workload=f"lru, duplicates rejected; model: {scope}; lockstep: {small}",
        unit="k calls/s",
        columns=("calls",),
        rows=rows,
        reference=None,
        notes=("A lockstep call stands for the replay of the whole history before it.",),
    )
