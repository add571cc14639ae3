"""Bounds against plain definitions, exhaustive search and the published traces."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import InvalidConfig
from kvbm.replay.bounds import _minimum, belady, infinite
from kvbm.replay.stream import Stream
from kvbm.replay.trace import read_trace

prompts = st.lists(st.integers(0, 9), unique=True, max_size=5)
lookups = st.lists(st.tuples(prompts, st.integers(0, 5)), max_size=12)
references = st.lists(st.integers(0, 4), max_size=9)


def row(blocks: list[int]) -> Stream:
    """A stream in which every reference is a request of its own."""
    return Stream.of([([block], 1) for block in blocks])


def fewest_misses(blocks: list[int], capacity: int) -> int:
    """Search every choice that a cache has: after a miss, store or refuse; evict any block."""

    @cache
    def search(position: int, stored: frozenset[int]) -> int:
        if position == len(blocks):
            return 0
        block = blocks[position]
        if block in stored:
            return search(position + 1, stored)
        choices = [stored]
        if len(stored) < capacity:
            choices.append(stored | {block})
        choices.extend(stored - {victim} | {block} for victim in stored)
        return 1 + min(search(position + 1, choice) for choice in choices)

    return search(0, frozenset())


def plain_infinite(requests: list[tuple[list[int], int]]) -> list[int]:
    seen: set[int] = set()
    hits = []
    for ids, limit in requests:
        run = next((index for index, name in enumerate(ids) if name not in seen), len(ids))
        hits.append(min(run, limit))
        seen.update(ids)
    return hits


@given(references, st.integers(1, 4))
def test_min_has_the_fewest_misses_of_all_caches(blocks: list[int], capacity: int) -> None:
    stream = row(blocks)
    hit = _minimum(stream.blocks, stream.next_uses(), capacity)
    assert (~hit).sum() == fewest_misses(blocks, capacity)
    assert belady(stream, capacity).sum() == hit.sum()


@given(lookups, st.integers(1, 12))
def test_the_compiled_loop_equals_its_plain_twin(
    requests: list[tuple[list[int], int]], capacity: int
) -> None:
    stream = Stream.of(requests)
    arguments = (stream.blocks, stream.next_uses(), capacity)
    plain = _minimum.py_func  # type: ignore[attr-defined] # Numba keeps the source as py_func
    assert (plain(*arguments) == _minimum(*arguments)).all()


@given(lookups)
def test_infinite_counts_what_was_seen_before(requests: list[tuple[list[int], int]]) -> None:
    assert infinite(Stream.of(requests)).tolist() == plain_infinite(requests)


@given(lookups)
def test_min_with_room_for_all_is_infinite(requests: list[tuple[list[int], int]]) -> None:
    stream = Stream.of(requests)
    assert (belady(stream, max(1, stream.distinct)) == infinite(stream)).all()


@given(lookups, st.integers(1, 12))
def test_no_bound_exceeds_the_limit_or_the_infinite_cache(
    requests: list[tuple[list[int], int]], capacity: int
) -> None:
    stream = Stream.of(requests)
    bound = belady(stream, capacity)
    assert (bound <= infinite(stream)).all()
    assert (bound <= stream.limits).all()


def test_a_run_ends_at_the_first_miss_even_if_more_is_stored() -> None:
    stream = Stream.of([([1, 2, 3], 3), ([9, 2, 3], 3), ([1, 2, 3], 2)])
    assert infinite(stream).tolist() == [0, 0, 2]


def test_a_cache_without_a_block_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="capacity = 0"):
        belady(row([1]), 0)


@pytest.mark.parametrize(
    ("name", "rates", "endless"),
    [
        ("mooncake_conversation", {1_000: 0.1907, 5_000: 0.3412, 10_000: 0.3664}, 0.3664),
        ("mooncake_synthetic", {1_000: 0.2767, 5_000: 0.5263, 10_000: 0.6180}, 0.6396),
    ],
)
def test_bounds_of_the_published_traces(
    published: Callable[[str], Path], name: str, rates: dict[int, float], endless: float
) -> None:
    """Block hit rates, the partial last block counted, as another program measured them."""
    trace = read_trace(published(name))
    stream = Stream.of((request.ids, len(request.ids)) for request in trace.requests)

    def rate(hits: np.ndarray) -> float:
        return round(int(hits.sum()) / len(stream.blocks), 4)

    assert {capacity: rate(belady(stream, capacity)) for capacity in rates} == rates
    assert rate(infinite(stream)) == endless
