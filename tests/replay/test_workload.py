"""The invented workload obeys the invariants of the form whose names it uses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvbm.errors import InvalidConfig
from kvbm.replay.trace import Trace
from kvbm.replay.workload import Shape, generate

seeds = st.integers(0, 2**32)


def longest_common_prefix(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return next(
        (index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )


def check_names(trace: Trace) -> None:
    """Every id follows the same predecessor, at the same depth, over the same tokens."""
    known: dict[int, tuple[int | None, int, int]] = {}
    for request in trace.requests:
        assert len(request.ids) == -(-request.input_tokens // trace.block_size)
        parent = None
        for depth, name in enumerate(request.ids):
            end = min((depth + 1) * trace.block_size, request.input_tokens)
            assert known.setdefault(name, (parent, depth, end)) == (parent, depth, end)
            parent = name
    assert sorted(known) == list(range(len(known))), "numbered in order of first use"
    assert list(known) == sorted(known)


@settings(max_examples=15)
@given(seeds)
def test_names_obey_the_invariants_of_the_form(seed: int) -> None:
    check_names(generate(seed, requests=200))


def test_a_block_that_the_system_prompt_fills_exactly_is_shared() -> None:
    trace = generate(requests=50, shape=Shape(system=1024))
    check_names(trace)
    assert {request.ids[:2] for request in trace.requests if len(request.ids) > 2} == {(0, 1)}


@settings(max_examples=10)
@given(seeds, st.integers(1, 60))
def test_a_shorter_trace_is_the_beginning_of_a_longer_one(seed: int, requests: int) -> None:
    whole = generate(seed, requests=60)
    part = generate(seed, requests=requests)
    assert part.requests == whole.requests[:requests]
    assert whole == generate(seed, requests=60)


def test_seeds_differ() -> None:
    assert generate(1, 20).requests != generate(2, 20).requests


def test_it_is_shaped_as_its_header_says() -> None:
    """A shared head, prompts that grow, popular documents, a heavy tail, arrivals in order."""
    shape = Shape()
    trace = generate()
    requests = trace.requests
    assert len(requests) == 2_000
    arrivals = [request.arrival for request in requests if request.arrival is not None]
    assert arrivals == sorted(arrivals)
    lengths = sorted(request.input_tokens for request in requests)
    assert lengths[0] > shape.system
    assert lengths[-1] <= shape.longest_prompt
    assert lengths[len(lengths) * 99 // 100] > 5 * lengths[len(lengths) // 2]
    assert {request.ids[:2] for request in requests if len(request.ids) > 2} == {(0, 1)}
    references = [name for request in requests for name in request.ids]
    assert 2 < len(references) / len(set(references)) < 4


@pytest.mark.parametrize(("seed", "requests"), [(-1, 1), (0, 0)])
def test_impossible_wishes_are_refused(seed: int, requests: int) -> None:
    with pytest.raises(InvalidConfig):
        generate(seed, requests)
