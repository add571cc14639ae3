"""Several replays of one trace, and bounds that count as the rules do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from kvbm.errors import InvalidConfig
from kvbm.replay.compare import bounds_of, replay_each
from kvbm.replay.observer import Observer
from kvbm.replay.result import ReplayResult
from kvbm.replay.stream import Stream
from kvbm.replay.summary import Summary
from kvbm.replay.trace import Request, Trace

TRACE = Trace(
    "three",
    512,
    partial_ids=True,
    requests=(
        Request(0.0, 1000, 10, (0, 1)),
        Request(0.0, 1024, 600, (0, 2)),
        Request(0.0, 1000, 10, (0, 1)),
    ),
)


class Recorder:
    """A rule set that finds nothing, and remembers how it was called."""

    name = "recorder"
    policies = ("a", "b")
    default_policy = "a"

    def __init__(self) -> None:
        self.calls: list[tuple[str, int | None, bool]] = []

    def replay(
        self,
        trace: Trace,
        *,
        blocks: int | None,
        policy: str | Any,
        observer: Observer | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ReplayResult:
        if blocks == 1:
            raise InvalidConfig("blocks", blocks, "is too small")
        self.calls.append((policy, blocks, observer is not None))
        assert progress is not None
        progress(2)
        return ReplayResult(
            self.name, policy, blocks, len(trace.requests), 0, 6, 0, 3024, 0.0, 7, 9.0, "empty"
        )

    def lookups(self, trace: Trace) -> Iterable[tuple[Sequence[int], int]]:
        return ((request.ids, len(request.ids)) for request in trace.requests)


def test_each_point_is_replayed_in_order_and_the_first_is_watched() -> None:
    rules, seen = Recorder(), list[int]()
    points = [("a", 5), ("b", None)]
    results = replay_each(rules, TRACE, points, observer=Observer(), progress=seen.append)
    assert [(one.policy, one.blocks) for one in results] == points
    assert rules.calls == [("a", 5, True), ("b", None, False)]
    assert seen == [2, 3, 5, 6], "progress runs through all replays"


def test_a_refused_point_is_an_error_or_a_gap() -> None:
    points = [("a", 1), ("a", 2)]
    with pytest.raises(InvalidConfig, match="too small"):
        replay_each(Recorder(), TRACE, points)
    seen: list[int] = []
    (only,) = replay_each(Recorder(), TRACE, points, progress=seen.append, skip_refused=True)
    assert only.blocks == 2
    assert seen == [3, 5, 6], "what is skipped is done too"


def test_bounds_have_the_totals_of_the_rules_and_cover_a_partial_block_once() -> None:
    (like,) = replay_each(Recorder(), TRACE, [("a", 5)])
    stream = Stream.of(Recorder().lookups(TRACE))
    infinite, one, two = bounds_of(TRACE, stream, like, [1, 2])
    assert (infinite.policy, infinite.blocks, infinite.evictions) == ("infinite", None, 0)
    assert (infinite.hit_blocks, infinite.hit_tokens) == (3, 512 + 1000)
    assert (infinite.total_tokens, infinite.requests) == (3024, 3)
    assert infinite.hit_rate == 1512 / 3024
    assert (one.policy, one.blocks, one.hit_tokens) == ("belady-min", 1, 512 + 512)
    assert (two.blocks, two.hit_tokens, two.evictions) == (2, 512 + 1000, None)
    assert infinite.note is None
    assert infinite.seconds < 9


def test_a_limit_holds_for_bounds() -> None:
    (like,) = replay_each(Recorder(), TRACE, [("a", 5)])
    stream = Stream.of((request.ids, 1) for request in TRACE.requests)
    assert bounds_of(TRACE, stream, like, [])[0].hit_tokens == 1024


def test_a_summary_counts() -> None:
    assert Summary.of(TRACE) == Summary("three", 512, 3, 6, 3, 4, 3024, 620)


@pytest.mark.parametrize(
    ("distinct", "longest", "capacity"),
    [
        (15_183, 174, 1_800),
        (182_790, 248, 22_000),
        (400, 30, 50),
        (60, 4, 7),
        (3, 4, 5),
        (0, 1, 2),
    ],
)
def test_a_sensible_capacity_is_round_and_never_too_small(
    distinct: int, longest: int, capacity: int
) -> None:
    assert Summary("", 512, 1, 0, distinct, longest, 1, 1).sensible_capacity() == capacity
