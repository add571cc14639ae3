"""Reuse distances against their definition, and against the LRU list that they predict."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from kvbm.replay.reuse import _distances, reuse_distances
from kvbm.replay.stream import Stream

references = st.lists(st.integers(0, 9), max_size=40)


def row(blocks: list[int]) -> Stream:
    return Stream.of([([block], 1) for block in blocks])


@given(references)
def test_a_distance_is_the_number_of_other_blocks_in_between(blocks: list[int]) -> None:
    expected = []
    for position, block in enumerate(blocks):
        earlier = blocks[:position]
        if block in earlier:
            last = position - 1 - earlier[::-1].index(block)
            expected.append(len(set(blocks[last + 1 : position])))
        else:
            expected.append(-1)
    assert reuse_distances(row(blocks)).tolist() == expected


@given(references)
def test_the_compiled_loop_equals_its_plain_twin(blocks: list[int]) -> None:
    stream = row(blocks)
    plain = _distances.py_func  # type: ignore[attr-defined] # Numba keeps the source as py_func
    compiled = _distances(stream.blocks, stream.distinct)
    assert plain(stream.blocks, stream.distinct).tolist() == compiled.tolist()


@given(references, st.integers(1, 10))
def test_an_lru_list_hits_what_is_nearer_than_its_length(blocks: list[int], size: int) -> None:
    recent: OrderedDict[int, None] = OrderedDict()
    hits = []
    for block in blocks:
        hits.append(block in recent)
        recent[block] = None
        recent.move_to_end(block)
        if len(recent) > size:
            recent.popitem(last=False)
    assert [0 <= distance < size for distance in reuse_distances(row(blocks))] == hits
