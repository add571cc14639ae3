"""Counting a replay: what every rule set adds up in the same way.

Interface, as rules of use
    * One `Tally` a replay; add() once a counted request; result() at the end.
    * `watch(core)` lets an observer see the age of each victim before it goes.
"""

from __future__ import annotations

from time import perf_counter

from kvbm.blocks.slots import Ids
from kvbm.pool.core import PoolCore
from kvbm.replay.observer import Observer
from kvbm.replay.result import ReplayResult, TierResult


class Tally:
    """Sums over the requests of one replay."""

    def __init__(
        self, rules: str, policy: str, blocks: int | None, observer: Observer | None
    ) -> None:
        self._rules, self._policy, self._blocks = rules, policy, blocks
        self._observer = observer
        self._begin = perf_counter()
        self.evictions = 0
        self._requests = self._hit_blocks = self._total_blocks = 0
        self._hit_tokens = self._total_tokens = 0

    def watch(self, core: PoolCore) -> None:
        """Count what `core` evicts, and show the ages to the observer."""
        observer = self._observer

        def on_evict(victims: Ids) -> None:
            self.evictions += victims.size
            if observer is not None:
                observer.evicted(core.slots.tick - core.slots.records["returned"][victims])

        core.on_evict = on_evict

    def occupancy(self, index: int, core: PoolCore) -> None:
        """Show the observer where the slots are while request `index` runs."""
        if self._observer is not None:
            active = len(core) - core.available
            self._observer.after_request(index, core.empty, active, core.inactive)

    def add(self, hit_blocks: int, blocks: int, hit_tokens: int, tokens: int) -> None:
        """Count one request."""
        self._requests += 1
        self._hit_blocks += hit_blocks
        self._total_blocks += blocks
        self._hit_tokens += hit_tokens
        self._total_tokens += tokens

    def result(
        self, note: str | None = None, *, valid: bool = True, tiers: TierResult | None = None
    ) -> ReplayResult:
        """Give the sums; without hits if they are not `valid`, and then `note` says why."""
        rate = self._hit_tokens / self._total_tokens if self._total_tokens else 0.0
        return ReplayResult(
            rules=self._rules,
            policy=self._policy,
            blocks=self._blocks,
            requests=self._requests,
            hit_blocks=self._hit_blocks if valid else None,
            total_blocks=self._total_blocks,
            hit_tokens=self._hit_tokens if valid else None,
            total_tokens=self._total_tokens,
            hit_rate=rate if valid else None,
            evictions=self.evictions if valid else None,
            seconds=perf_counter() - self._begin,
            note=note,
            tiers=tiers,
        )
