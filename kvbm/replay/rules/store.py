"""Storing blocks that nobody holds: what `lmcache` and `kvcache-sim` have in common.

What this is
    In those programs a cache is a set of ids with an order. On our parts that is a pool in
    which every block is inactive all the time: it is published and released at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kvbm.blocks.slots import NONE, Ids, Keys
from kvbm.pool.core import PoolCore


def store(core: PoolCore, keys: Keys, parent: int | None = None, *, chained: bool = False) -> None:
    """Store absent `keys`, which must fit, head first: the first becomes the oldest. O(keys)."""
    taken = core.allocate(len(keys))
    assert taken is not None, "the caller asks for no more than there is"
    core.slots.stage(taken.ids, keys, parent, 0, chained=chained)
    core.register(taken.ids)
    core.release(taken.ids[::-1])  # release goes backwards


def store_absent(core: PoolCore, keys: Keys, present: Callable[[Ids], None] | None = None) -> None:
    """Walk `keys` head first: store what is absent, and give what is present to `present`.

    Absent keys in a row are stored together, as far as the pool has slots: their victims are
    the same as one by one, since the newest blocks go last. Whether a later key is present is
    asked again after each such row, because a victim may have been one of them.

    Complexity: O(keys), times the rows.
    """
    while len(keys):
        slots = core.registry.find(keys)
        absent = slots == NONE
        row = _run_length(absent, value=bool(absent[0]))
        if absent[0]:
            row = min(row, len(core))
            store(core, keys[:row])
        elif present is not None:
            present(slots[:row])
        keys = keys[row:]


def _run_length(flags: np.ndarray[tuple[int], np.dtype[np.bool_]], *, value: bool) -> int:
    """Count how many flags at the start are `value`."""
    other = np.flatnonzero(flags != value)
    return int(other[0]) if len(other) else len(flags)
