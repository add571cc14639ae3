"""The linked queues against plain lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.blocks.slots import Ids
from kvbm.pool.rings import OLDER, Rings


def ids(slots: list[int]) -> Ids:
    return np.array(slots, np.int64)


steps = st.lists(
    st.tuples(
        st.sampled_from(["push", "pop", "remove", "add", "grow"]),
        st.lists(st.integers(0, 9), unique=True, max_size=4),
        st.integers(0, 3),
    ),
    max_size=40,
)


@pytest.mark.clause("KV-CAP-04", "KV-EVC-02")
@given(steps)
def test_rings_are_lists_that_can_be_left_anywhere(
    steps: list[tuple[str, list[int], int]],
) -> None:
    rings, lists, slots = Rings(6, 2), [list[int](), []], 6
    for what, named, number in steps:
        queue = number % len(lists)
        inside = {slot for members in lists for slot in members}
        if what == "push":
            new = [slot for slot in named if slot not in inside and slot < slots]
            rings.push(ids(new), queue)
            lists[queue] += new
        elif what == "pop":
            flat = [slot for members in lists for slot in members][:number]
            assert rings.pop(number).tolist() == flat
            lists = [[slot for slot in members if slot not in flat] for members in lists]
        elif what == "remove":
            old = [slot for slot in named if slot in inside]
            rings.remove(ids(old))
            lists = [[slot for slot in members if slot not in old] for members in lists]
        elif what == "add" and len(lists) < 5:
            rings.add_queue(queue)
            lists.insert(queue, [])
        elif what == "grow" and slots < 10:
            slots += 1
            rings.grow(slots)
        rings._check()
        assert rings.order().tolist() == [slot for members in lists for slot in members]
        assert len(rings) == sum(map(len, lists))


def test_the_check_sees_a_broken_link_and_a_wrong_counter() -> None:
    rings = Rings(3)
    rings.push(ids([0, 1, 2]))
    rings._links[2, OLDER] = 0
    with pytest.raises(AssertionError, match="points back"):
        rings._check()
    rings._links[2, OLDER] = 1
    rings._length = 2
    with pytest.raises(AssertionError, match="KV-CAP-04"):
        rings._check()
