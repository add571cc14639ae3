"""Rule set `kvcache-sim`: the Mooncake team's kvcache-simulator.

What this is
    A tree of ids, partial last ones included, of which only leaves are evicted (but under
    `fifo`), and only the second half of the trace is counted. Differences from our
    lifecycle, carried here: a partial block counts as one, blocks that do not fit are simply
    not stored, and a request holds only its leading run, not what it stores.

    * `fifo`: what was stored longest ago goes, whoever uses it.
    * `lru`: the leaf that was touched longest ago goes: our `lineage` policy.
    * `optimal`: the leaf whose next use is farthest away goes, and a block that is needed
      later than all leaves is not stored. Belady's choice, restricted to leaves.

Source: `kvcache-simulator` 0.1.2, Python backend, half of the trace as warm-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kvbm.blocks.slots import Keys
from kvbm.errors import InvalidConfig
from kvbm.pool.core import PoolCore
from kvbm.pool.policies import FifoPolicy, LineagePolicy
from kvbm.pool.policies.lineage import Node, Rank
from kvbm.replay.observer import Observer
from kvbm.replay.result import ReplayResult
from kvbm.replay.rules.demand import checked_blocks
from kvbm.replay.rules.store import store, store_absent
from kvbm.replay.rules.tally import Tally
from kvbm.replay.trace import Trace


class TreeRules:
    """See the module and `RuleSet`."""

    name: Final = "kvcache-sim"
    policies: Final = ("fifo", "lru", "optimal")
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
        """See RuleSet. A run that never fills the cache in its first half has no hit rate."""
        blocks = checked_blocks(blocks)
        paths, nodes = _paths(trace)
        total = max(1, nodes if blocks is None else blocks)
        tree = self._tree(policy, total, paths, nodes)
        tally = Tally(self.name, policy, blocks, observer)
        tally.watch(tree.core)
        half, filled = len(paths) // 2, blocks is None
        for index, (request, path) in enumerate(zip(trace.requests, paths, strict=True)):
            hits = tree.serve(index, path)
            tally.occupancy(index, tree.core)
            if index >= half:
                tokens = min(hits * trace.block_size, request.input_tokens)
                tally.add(hits, len(path), tokens, request.input_tokens)
            else:
                filled = filled or tree.was_full
            if progress is not None:
                progress(index + 1)
        if not filled:
            note = "underfilled: the first half of the trace never filled the cache"
            return tally.result(note, valid=False)
        return tally.result()

    def lookups(self, trace: Trace) -> Iterable[tuple[Sequence[int], int]]:
        """See RuleSet. All ids are looked up, those of the second half count."""
        half = len(trace.requests) // 2
        for index, path in enumerate(_paths(trace)[0]):
            yield path.tolist(), len(path) if index >= half else 0

    def _tree(self, policy: str, total: int, paths: list[Keys], nodes: int) -> _Tree:
        if policy == "fifo":
            return _Tree(PoolCore(total, FifoPolicy(), allow_duplicates=False))
        if policy == "lru":
            return _LruTree(PoolCore(total, LineagePolicy(), allow_duplicates=False))
        if policy == "optimal":
            return _OptimalTree(total, paths, nodes)
        known = ", ".join(self.policies)
        raise InvalidConfig("policy", policy, f"the rules {self.name} know {known}")


class _Visit(NamedTuple):
    """One request: its number, its path, and how many nodes of that are its leading run."""

    request: int
    path: Keys
    hits: int


class _Tree:
    """The cache under `fifo`: nodes come and go in the order in which they were stored."""

    def __init__(self, core: PoolCore) -> None:
        self.core = core
        self.was_full = False

    def serve(self, index: int, path: Keys) -> int:
        """Look request `index` up, store what is absent; give its leading run, in blocks."""
        hits = len(self.core.registry.find_prefix(path))
        self.store(_Visit(index, path, hits))
        self.was_full = self.was_full or not self.core.empty
        return hits

    def store(self, visit: _Visit) -> None:
        """Store the absent nodes."""
        store_absent(self.core, visit.path)


class _LruTree(_Tree):
    """The cache under `lru`. All nodes behind the leading run are absent: only leaves go."""

    def store(self, visit: _Visit) -> None:
        """Store nodes while there is room beside the leading run."""
        core, path, hits = self.core, visit.path, visit.hits
        run = core.match(path[:hits])
        room = min(len(path) - hits, core.available)
        if room:
            parent = int(path[hits - 1]) if hits else None
            store(core, path[hits : hits + room], parent, chained=True)
            if hits + room < len(path):
                # The next node's victim is the only leaf, the node just stored: its own
                # parent. So it cannot be stored, and the rest of the request neither.
                self.was_full = True
                core.evict(1)
        core.release(run)


class _OptimalTree(_Tree):
    """The cache under `optimal`: it knows all requests."""

    def __init__(self, total: int, paths: list[Keys], nodes: int) -> None:
        never = len(paths) + 1
        self._next_use = np.full(nodes, never, np.int64)
        self._following = _following(paths, nodes, never)
        self._policy = FarthestUsePolicy(self._next_use)
        super().__init__(PoolCore(total, self._policy, allow_duplicates=False))

    def store(self, visit: _Visit) -> None:
        """Store nodes one by one, as long as a leaf is needed later than the newcomer."""
        core, path, hits = self.core, visit.path, visit.hits
        run = core.match(path[:hits])
        self._next_use[path] = self._following[visit.request]
        parent = int(path[hits - 1]) if hits else None
        for node in path[hits:].tolist():
            if not core.empty and not self._policy.needed_later_than(node):
                break
            store(core, np.array([node], np.uint64), parent, chained=True)
            parent = node
        core.release(run)


class FarthestUsePolicy(LineagePolicy):
    """Leaves by next use, farthest first; among equals the highest key.

    Parameters
    ----------
    next_use : int64[keys]
        For each key, the request that uses it next. May change while a key is not inside.
    """

    def __init__(self, next_use: NDArray[np.int64]) -> None:
        super().__init__()
        self._next_use = next_use

    def needed_later_than(self, key: int) -> bool:
        """Tell whether the next victim is used later than `key`."""
        return len(self) > 0 and bool(self._next_use[self.first().key] > self._next_use[key])

    def _rank(self, node: Node) -> Rank:
        return (-int(self._next_use[node.key]), -node.key)


def _paths(trace: Trace) -> tuple[list[Keys], int]:
    """Give each request's path and the number of nodes, numbered in order of appearance."""
    number_of: dict[tuple[int, int], int] = {}
    paths = []
    for request in trace.requests:
        path, parent = [], -1
        for name in request.ids:
            parent = number_of.setdefault((parent, name), len(number_of))
            path.append(parent)
        paths.append(np.array(path, np.uint64))
    return paths, len(number_of)


def _following(paths: list[Keys], nodes: int, never: int) -> list[NDArray[np.int64]]:
    """For each request, when each of its nodes is used next."""
    next_use = np.full(nodes, never, np.int64)
    following: list[NDArray[np.int64]] = []
    for index in range(len(paths) - 1, -1, -1):
        following.append(next_use[paths[index]])
        next_use[paths[index]] = index
    return following[::-1]
