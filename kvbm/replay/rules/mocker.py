"""Rule set `mocker`: NVIDIA Dynamo's engine mocker, one request at a time.

What this is
    vLLM's block pool, played on our own parts. It differs from `kvbm` in one point of the
    lifecycle: a block that is computed although its hash is cached keeps that hash too, so a
    hash may have several blocks and lives as long as one of them. Our registry has one slot
    per key, so the further copies are registered under keys of their own, and this adapter
    remembers which keys are copies of which hash, oldest first.

Source: `ai-dynamo-runtime` 1.6.1, sequential trace replay, prefix caching on. Only `lru`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import count
from typing import Any, Final

import numpy as np

from kvbm.blocks.slots import NONE, Keys
from kvbm.errors import InvalidConfig
from kvbm.pool.core import PoolCore
from kvbm.pool.policies import make_policy
from kvbm.replay.observer import Observer
from kvbm.replay.result import ReplayResult
from kvbm.replay.rules.demand import FIRST_FRESH_KEY, Demand, capacity_for, demands, lookups
from kvbm.replay.rules.tally import Tally
from kvbm.replay.trace import Trace


class MockerRules:
    """See the module and `RuleSet`."""

    name: Final = "mocker"
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
        """See RuleSet. O(blocks of all requests)."""
        if policy not in self.policies:
            raise InvalidConfig("policy", policy, "the rules mocker know lru")
        wanted = demands(trace)
        core = PoolCore(capacity_for(wanted, blocks), make_policy(policy), allow_duplicates=False)
        tally = Tally(self.name, policy, blocks, observer)
        tally.watch(core)
        engine = _Engine(core)
        for index, demand in enumerate(wanted):
            hits = engine.run(demand, partial(tally.occupancy, index, core))
            tokens = trace.requests[index].input_tokens
            tally.add(hits, len(demand.prompt), hits * trace.block_size, tokens)
            if progress is not None:
                progress(index + 1)
        return tally.result()

    def lookups(self, trace: Trace) -> Iterable[tuple[Sequence[int], int]]:
        """See RuleSet."""
        return lookups(trace)


class _Engine:
    """An engine on `core` whose hashes may have several blocks each."""

    def __init__(self, core: PoolCore) -> None:
        self._core = core
        self._fresh = count(FIRST_FRESH_KEY)
        self._copies: dict[int, list[int]] = {}  # hash: its keys, oldest first, if not only itself
        self._hash_of: dict[int, int] = {}  # further key: the hash that it is a copy of

    def run(self, demand: Demand, while_running: Callable[[], None]) -> int:
        """Serve one request from start to end; give its hits, in blocks."""
        core = self._core
        held = core.match(self._oldest(demand.prompt[: demand.limit]))
        hits = len(held)
        taken = core.allocate(demand.blocks - hits)
        assert taken is not None, "the capacity was checked"
        self._forget(taken.evicted)
        while_running()
        filled = taken.ids[: demand.full - hits]
        core.slots.stage(filled, self._keys(demand, hits), None, hits)
        core.register(filled)
        # Tail first, so that a request's last full block is evicted before its first.
        core.release(np.concatenate([held, taken.ids]))
        return hits

    def _oldest(self, hashes: Keys) -> Keys:
        """Find the key under which each hash was cached first."""
        if not self._copies:
            return hashes
        return np.array([self._copies.get(key, (key,))[0] for key in hashes.tolist()], np.uint64)

    def _keys(self, demand: Demand, hits: int) -> Keys:
        """Choose the keys of the blocks that the request has computed."""
        hashes = demand.prompt[hits:]
        cached = self._core.registry.find(self._oldest(hashes)) != NONE
        keys = hashes.copy()
        for index in np.flatnonzero(cached).tolist():
            name, copy = int(hashes[index]), next(self._fresh)
            self._copies.setdefault(name, [name]).append(copy)
            self._hash_of[copy] = name
            keys[index] = copy
        answer = [next(self._fresh) for _ in range(demand.full - len(demand.prompt))]
        return np.concatenate([keys, np.array(answer, np.uint64)])

    def _forget(self, evicted: Any) -> None:
        """Strike evicted blocks from the copies of their hash."""
        if self._copies:
            for key in evicted.tolist():
                name = self._hash_of.pop(key, key)
                copies = self._copies.get(name)
                if copies is not None:
                    copies.remove(key)
                    if not copies:
                        del self._copies[name]
