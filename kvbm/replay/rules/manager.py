"""Rule set `kvbm`: what our own manager does when an engine drives it.

What this is
    Each request in turn: hold the cached prefix, allocate the rest, register every block
    that is full in the end (blocks of the answer too, under hashes that nobody will ask
    for), release all. Through the public face of `BlockPool`, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from kvbm.pool import POLICIES, BlockPool, EvictionPolicy, make_policy
from kvbm.replay.observer import Observer
from kvbm.replay.result import ReplayResult
from kvbm.replay.rules.demand import FIRST_FRESH_KEY, capacity_for, demands, lookups
from kvbm.replay.rules.tally import Tally
from kvbm.replay.trace import Trace


class ManagerRules:
    """See the module and `RuleSet`."""

    name: Final = "kvbm"
    policies: Final = tuple(POLICIES)
    default_policy: Final = "priority"

    def replay(
        self,
        trace: Trace,
        *,
        blocks: int | None,
        policy: str | EvictionPolicy,
        observer: Observer | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ReplayResult:
        """See RuleSet. O(blocks of all requests), times the policy's cost."""
        wanted = demands(trace)
        total = capacity_for(wanted, blocks)
        name = policy if isinstance(policy, str) else repr(policy)
        tally = Tally(self.name, name, blocks, observer)
        pool = BlockPool(total, page_size=trace.block_size, policy=make_policy(policy))
        tally.watch(pool._core)
        fresh = FIRST_FRESH_KEY
        for index, demand in enumerate(wanted):
            answer = np.arange(fresh, fresh + demand.full - len(demand.prompt), dtype=np.uint64)
            fresh += len(answer)
            hashes = np.concatenate([demand.prompt, answer])
            with pool.match_sequence_hashes(demand.prompt[: demand.limit]) as cached:
                hits = len(cached)
                with pool.allocate_blocks(demand.blocks - hits) as rest:
                    tally.occupancy(index, pool._core)
                    filled, partial = rest.split(demand.full - hits)
                    parent = int(hashes[hits - 1]) if hits else None
                    filled.stage(hashes[hits:], parent=parent, position=hits)
                    if len(filled):
                        pool.register_blocks(filled).release()
                    partial.release()
            tokens = trace.requests[index].input_tokens
            tally.add(hits, len(demand.prompt), hits * trace.block_size, tokens)
            if progress is not None:
                progress(index + 1)
        return tally.result()

    def lookups(self, trace: Trace) -> Iterable[tuple[Sequence[int], int]]:
        """See RuleSet."""
        return lookups(trace)
