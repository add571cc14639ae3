"""Several replays of one trace, and what they are measured against.

What this is
    `replay_each` runs a rule set with several policies and capacities. `bounds_of` counts what
    an infinite cache and Belady's MIN would have found, as results of the same form.

Interface, as rules of use
    * Bounds count what the rule set counts: they get their ids and limits from `lookups`, and
      their totals from one of its results.
    * Only the first replay is observed; watching is not free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np

from kvbm.errors import InvalidConfig
from kvbm.replay.bounds import belady, infinite
from kvbm.replay.observer import Observer
from kvbm.replay.result import ReplayResult
from kvbm.replay.ruleset import RuleSet
from kvbm.replay.stream import Stream
from kvbm.replay.trace import Trace

INFINITE = "infinite"
BELADY = "belady-min"


def replay_each(
    rules: RuleSet,
    trace: Trace,
    points: Sequence[tuple[str, int | None]],
    *,
    observer: Observer | None = None,
    progress: Callable[[int], None] | None = None,
    skip_refused: bool = False,
) -> list[ReplayResult]:
    """Replay the trace at each (policy, capacity).

    Parameters
    ----------
    observer
        Watches the first replay.
    progress
        Called with the number of requests done so far, all replays together.
    skip_refused
        Leave out a point that the rules refuse: a picture of a curve may begin later.

    Raises
    ------
    InvalidConfig
        From the rule set: an unknown policy, or a capacity that the trace does not fit in.
    """
    results: list[ReplayResult] = []
    for index, (policy, blocks) in enumerate(points):
        done = index * len(trace.requests)

        def advance(requests: int, done: int = done) -> None:
            if progress is not None:
                progress(done + requests)

        try:
            result = rules.replay(
                trace,
                blocks=blocks,
                policy=policy,
                observer=observer if index == 0 else None,
                progress=advance,
            )
        except InvalidConfig:
            if not skip_refused:
                raise
        else:
            results.append(result)
        advance(len(trace.requests))
    return results


def bounds_of(
    trace: Trace, stream: Stream, like: ReplayResult, capacities: Sequence[int]
) -> list[ReplayResult]:
    """Count what an infinite cache finds, and what Belady's MIN finds at each capacity.

    Parameters
    ----------
    trace, stream
        The trace, and what the rule set looks up in it.
    like : ReplayResult
        Any result of the same rules and trace: its totals are the denominators.
    capacities : blocks
        For Belady's MIN.

    Complexity
    ----------
    O(capacities · references · log references).
    """
    lengths = np.array([request.input_tokens for request in trace.requests], np.int64)
    bounds = []
    for policy, blocks in [(INFINITE, None), *((BELADY, blocks) for blocks in capacities)]:
        begin = perf_counter()
        hits = infinite(stream) if blocks is None else belady(stream, blocks)
        # A run that takes in a partial last block covers the whole prompt, and no more.
        tokens = int(np.minimum(hits * trace.block_size, lengths).sum())
        bounds.append(
            replace(
                like,
                policy=policy,
                blocks=blocks,
                hit_blocks=int(hits.sum()),
                hit_tokens=tokens,
                hit_rate=tokens / like.total_tokens if like.total_tokens else None,
                evictions=0 if blocks is None else None,
                seconds=perf_counter() - begin,
                note=None,
            )
        )
    return bounds
