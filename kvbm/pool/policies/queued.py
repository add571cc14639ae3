"""Policies that are queues: `lru`, `fifo`, `priority` and `multi-lru`.

What this is
    Each keeps one or more first-in-first-out queues of resting slots and evicts from
    the oldest end of the first queue that has members. They differ in one thing only:
    which queue a slot joins when it comes to rest.

    * `lru` and `fifo`: one queue. A match takes a slot out and its next release
      appends it, so the order of last use and of entry are one and the same.
    * `priority`: one queue per priority, lowest first. Every return has its own tick,
      so within a priority nothing is left to break ties about.
    * `multi-lru`: four queues, by how often the key was used, rarest first.

Clauses: KV-EVC-02, KV-EVC-05, KV-EVC-08
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from kvbm.blocks.slots import Ids
from kvbm.compiled import compiled
from kvbm.errors import InvalidConfig
from kvbm.pool.policies.base import SlotView
from kvbm.pool.rings import Rings
from kvbm.pool.sketch import FrequencySketch


class LruPolicy:
    """The slot that came to rest first goes first. All operations are O(slots in the call)."""

    name: ClassVar[str] = "lru"

    def __init__(self, queues: int = 1) -> None:
        self._rings = Rings(0, queues)

    def bind(self, view: SlotView) -> None:
        """See EvictionPolicy."""
        self._view = view
        self._rings.grow(len(view))

    def insert(self, ids: Ids) -> None:
        """See EvictionPolicy."""
        self._rings.push(ids)

    def take(self, ids: Ids) -> None:
        """See EvictionPolicy."""
        self._rings.remove(ids)

    def evict(self, count: int) -> Ids:
        """See EvictionPolicy."""
        return self._rings.pop(count)

    def order(self) -> Ids:
        """See EvictionPolicy."""
        return self._rings.order()

    def used(self, ids: Ids) -> None:
        """See EvictionPolicy. Recency does not count uses."""

    def __len__(self) -> int:
        return len(self._rings)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} slots)"

    def _check(self) -> None:
        """Assert the invariants of the queues."""
        self._rings._check()


class FifoPolicy(LruPolicy):
    """First in, first out, over the inactive slots: the same order as `lru` (see the module)."""

    name: ClassVar[str] = "fifo"


class PriorityPolicy(LruPolicy):
    """Lowest priority first, then least recently returned.

    Complexity: O(slots in the call), and O(slots of the pool) for the first slot of a
    priority that was never seen before. A priority keeps its queue once it was seen.
    """

    name: ClassVar[str] = "priority"

    def __init__(self) -> None:
        super().__init__()
        self._levels = [0]  # priority of each queue, ascending

    def insert(self, ids: Ids) -> None:
        """See EvictionPolicy."""
        common = _common_priority(self._view.priority, ids)
        if common >= 0:
            self._rings.push(ids, self._queue_of(common))
            return
        priorities = self._view.priority[ids]
        for level in np.unique(priorities).tolist():
            self._rings.push(ids[priorities == level], self._queue_of(level))

    def _queue_of(self, priority: int) -> int:
        queue = bisect_left(self._levels, priority)
        if queue == len(self._levels) or self._levels[queue] != priority:
            self._levels.insert(queue, priority)
            self._rings.add_queue(queue)
        return queue


class MultiLruPolicy(LruPolicy):
    """Four queues by frequency of use; the queue is chosen when a slot comes to rest.

    Parameters
    ----------
    thresholds
        Uses from which a key belongs to the second, third, fourth queue:
        1 ≤ t1 < t2 < t3 ≤ 15 (the sketch counts no further).
    sketch
        Counts the uses; a new one by default.

    Notes
    -----
    Order, thresholds and defaults are those of the KVBM v2 design; the sketch lacks its
    defect of using one counter in sixteen. A re-registration counts as a use.
    """

    name: ClassVar[str] = "multi-lru"

    def __init__(
        self,
        thresholds: Iterable[int] = (3, 8, 15),
        sketch: FrequencySketch | None = None,
    ) -> None:
        bounds = tuple(thresholds)
        whole = len(bounds) == 3 and all(isinstance(bound, int) for bound in bounds)
        if not whole or not 1 <= bounds[0] < bounds[1] < bounds[2] <= 15:
            rule = "three numbers of uses, 1 ≤ t1 < t2 < t3 ≤ 15"
            raise InvalidConfig("thresholds", bounds, rule)
        super().__init__(queues=4)
        self._thresholds = np.array(bounds)
        self.sketch = sketch if sketch is not None else FrequencySketch()

    def insert(self, ids: Ids) -> None:
        """See EvictionPolicy."""
        uses = self.sketch.estimate(self._view.key[ids])
        queues = np.searchsorted(self._thresholds, uses, side="right")
        for queue in np.unique(queues).tolist():
            self._rings.push(ids[queues == queue], queue)

    def used(self, ids: Ids) -> None:
        """See EvictionPolicy."""
        self.sketch.increment(self._view.key[ids])


@compiled
def _common_priority(priority: np.ndarray[tuple[int], np.dtype[np.uint32]], ids: Ids) -> int:
    """Give the priority that all `ids` have, or -1 if they differ (0 for no ids)."""
    if ids.size == 0:
        return 0
    first = priority[ids[0]]
    for slot in ids:
        if priority[slot] != first:
            return -1
    return int(first)
