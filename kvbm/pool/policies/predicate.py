"""Predicate policy: a yes or no for each block, before the order of another policy.

What this is
    The documents let a policy say *whether* a block should go; a pool needs to know which
    goes *first*. Here both have their say: blocks that the predicate marks go before all
    others, and among the marked, as among the others, an ordinary policy ranks.

        policy = PredicatePolicy(lambda block: block.priority == 0, order="lru")

Interface, as rules of use
    * The predicate gets a `Candidate` and answers from it alone: it runs under the pool's
      lock and must not call the pool. If it raises, nothing was evicted.
    * It is asked at eviction, so its answer may change while a block rests.
    * An unmarked block still goes when the marked ones do not suffice.
    * Without a clock, time is counted in blocks that came to rest; then the order is a
      function of the calls alone. Pass `clock=time.monotonic` to have seconds.
    * A mark is stronger than `lineage`: a marked parent goes before an unmarked child.

Clauses: KV-EVC-02, KV-EVC-06
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, final

import numpy as np

from kvbm.blocks.slots import Ids
from kvbm.errors import InvalidConfig
from kvbm.pool.policies.base import EvictionPolicy, SlotView
from kvbm.pool.policies.names import make_policy


@final
@dataclass(frozen=True, slots=True)
class Candidate:
    """What a predicate sees of an inactive block."""

    block_id: int
    key: int
    """The sequence hash; of longer hashes, the 64 bits that the pool looks them up by."""
    parent_key: int | None
    priority: int
    rested: float
    """When the last reader let go of it, or it was touched: seconds of the clock, or blocks
    that had come to rest before it."""

    def last_access_time(self) -> float:
        """Give `rested`, under its documented name."""
        return self.rested


Predicate: TypeAlias = Callable[[Candidate], bool]


class Judge(Protocol):
    """An object with the documented method, in place of a function."""

    def should_evict(self, block: Candidate) -> bool:
        """Say whether this block should go before others."""


class PredicatePolicy:
    """Marked blocks first, ranked by another policy.

    Parameters
    ----------
    should_evict
        A function of a `Candidate`, or an object with such a method `should_evict`.
    order
        Who ranks: a name of `POLICIES`, or a policy of your own that serves no other pool.
    clock
        Gives the time, such as `time.monotonic`; None counts blocks that came to rest.

    Raises
    ------
    InvalidConfig
        `should_evict` cannot be called, or the order is unknown.

    Complexity
    ----------
    As `order`, and eviction asks the predicate about each inactive block until enough are
    marked: O(inactive) at worst, however few go.

    Examples
    --------
    >>> from kvbm.pool import BlockPool
    >>> pool = BlockPool(3, policy=PredicatePolicy(lambda block: block.key == 8))
    >>> for name in (7, 8, 9):
    ...     blocks = pool.allocate_blocks(1)
    ...     blocks.stage([name])
    ...     pool.register_blocks(blocks).release()
    >>> pool.eviction_order()
    [8, 7, 9]
    """

    name = "predicate"

    def __init__(
        self,
        should_evict: Predicate | Judge,
        order: str | EvictionPolicy = "priority",
        *,
        clock: Callable[[], float] | None = None,
    ) -> None:
        predicate = getattr(should_evict, "should_evict", should_evict)
        if not callable(predicate):
            rule = "must be a function of a block, or have a method should_evict"
            raise InvalidConfig("should_evict", should_evict, rule)
        self._predicate: Predicate = predicate
        self._inner = make_policy(order)
        self._clock = clock
        self._rested = np.zeros(0, np.float64)  # float64[slots], meaningful for slots inside
        self._rests = 0

    def bind(self, view: SlotView) -> None:
        """See EvictionPolicy."""
        self._view = view
        self._rested = np.pad(self._rested, (0, len(view) - len(self._rested)))
        self._inner.bind(view)

    def insert(self, ids: Ids) -> None:
        """See EvictionPolicy."""
        self._inner.insert(ids)
        if self._clock is None:
            self._rested[ids] = np.arange(self._rests, self._rests + len(ids))
            self._rests += len(ids)
        else:
            self._rested[ids] = self._clock()

    def take(self, ids: Ids) -> None:
        """See EvictionPolicy."""
        self._inner.take(ids)

    def evict(self, count: int) -> Ids:
        """See EvictionPolicy."""
        victims = self._ranked(count)
        self._inner.take(victims)
        return victims

    def order(self) -> Ids:
        """See EvictionPolicy. Asks the predicate about every block inside."""
        return self._ranked(len(self))

    def used(self, ids: Ids) -> None:
        """See EvictionPolicy."""
        self._inner.used(ids)

    def __len__(self) -> int:
        return len(self._inner)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inner!r})"

    def _ranked(self, count: int) -> Ids:
        """List the first `count`: the marked in their order, then the others in theirs."""
        marked: list[int] = []
        others: list[int] = []
        for slot in self._inner.order().tolist():
            if len(marked) == count:
                break
            (marked if self._predicate(self._candidate(slot)) else others).append(slot)
        return np.array((marked + others)[:count], np.int64)

    def _candidate(self, slot: int) -> Candidate:
        view = self._view
        parent = int(view.parent_key[slot]) if view.has_parent[slot] else None
        rested = float(self._rested[slot])
        return Candidate(slot, int(view.key[slot]), parent, int(view.priority[slot]), rested)

    def _check(self) -> None:
        """Assert that the order beneath is a set of slots of the view."""
        order = self._inner.order().tolist()
        assert len(order) == len(set(order)) == len(self), f"KV-CAP-04: {order}"
        assert len(self._rested) == len(self._view), "a slot has no time"
