"""Rule set `lmcache`: LMCache's cache simulator.

What this is
    A store of chunks under plain LRU. It differs from our lifecycle in three points, which
    this adapter carries: chunks have no parents, nobody holds them while a request runs
    (so a request may evict its own), and a request touches its chunks head first, so that
    of its own chunks the first is the oldest.

Source: LMCache 0.5.6, `cache_simulator`, fast LRU. Only `lru`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np

from kvbm.errors import InvalidConfig
from kvbm.pool.core import PoolCore
from kvbm.pool.policies import make_policy
from kvbm.replay.observer import Observer
from kvbm.replay.result import ReplayResult
from kvbm.replay.rules.demand import checked_blocks
from kvbm.replay.rules.store import store_absent
from kvbm.replay.rules.tally import Tally
from kvbm.replay.trace import Trace


class LmcacheRules:
    """See the module and `RuleSet`."""

    name: Final = "lmcache"
    policies: Final = ("lru",)
    default_policy: Final = "lru"

    def replay(
        self,
        trace: Trace,
        *,
        blocks: int | None,
        policy: str | Any,
        observer: Observer | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ReplayResult:
        """See RuleSet. O(chunks of all requests)."""
        if policy not in self.policies:
            raise InvalidConfig("policy", policy, "the rules lmcache know lru")
        chunks = [np.array(ids, np.uint64) for ids, _ in self.lookups(trace)]
        blocks = checked_blocks(blocks)
        total = len(np.unique(np.concatenate(chunks))) if blocks is None else blocks
        core = PoolCore(max(1, total), make_policy(policy), allow_duplicates=False)
        tally = Tally(self.name, policy, blocks, observer)
        tally.watch(core)
        for index, (request, keys) in enumerate(zip(trace.requests, chunks, strict=True)):
            hits = len(core.registry.find_prefix(keys))
            store_absent(core, keys, core.touch)
            tally.occupancy(index, core)
            tally.add(hits, len(keys), hits * trace.block_size, request.input_tokens)
            if progress is not None:
                progress(index + 1)
        return tally.result()

    def lookups(self, trace: Trace) -> Iterable[tuple[Sequence[int], int]]:
        """See RuleSet. Full blocks only."""
        for request in trace.requests:
            full = request.input_tokens // trace.block_size
            yield request.ids[:full], full
