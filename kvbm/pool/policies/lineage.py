"""Lineage policy: leaves go first, so that no child outlives its parent for nothing.

What this is
    A forest over the resting slots. Only a leaf can be a victim; when the last child
    of a slot goes, the slot becomes a leaf itself. A parent that is not inside but has
    children inside is a *ghost*: never a victim, but it still shields its ancestors.

    * `tick`: the leaf that came to rest first. A slot that becomes a leaf again
      has kept its place.
    * `fifo`: leaves queue up; a slot that becomes a leaf again goes to the end.

Interface, as rules of use
    As in `policies.base`. Subclasses may order leaves otherwise: see `_rank`.

Clauses: KV-EVC-02, KV-EVC-04, KV-EVC-08, KV-CAP-07
"""

from __future__ import annotations

import heapq
from typing import ClassVar, TypeAlias

import numpy as np

from kvbm.blocks.slots import NONE, Ids
from kvbm.errors import InvalidConfig
from kvbm.pool.policies.base import SlotView

Rank: TypeAlias = tuple[int, ...]


class Node:
    """A block in the forest; a ghost while `slot` is NONE."""

    __slots__ = ("children", "key", "parent", "rank", "slot", "tick")

    def __init__(self, key: int) -> None:
        self.key = key
        self.slot = NONE
        self.tick = 0
        self.parent: Node | None = None
        self.children = 0
        self.rank: Rank | None = None  # place among the leaves, None while it is none


class LineagePolicy:
    """Only leaves are victims. insert, take and evict are O(log leaves) a slot.

    Parameters
    ----------
    order
        `"tick"` or `"fifo"`: which leaf goes first (see the module).
    """

    name: ClassVar[str] = "lineage"

    def __init__(self, order: str = "tick") -> None:
        if order not in ("tick", "fifo"):
            raise InvalidConfig("order", order, "must be 'tick' or 'fifo'")
        self._keeps_place = order == "tick"
        self._nodes: dict[int, Node] = {}
        self._leaves: list[tuple[Rank, int, Node]] = []  # heap; a stale entry has another rank
        self._ticks = 0
        self._length = 0

    def bind(self, view: SlotView) -> None:
        """See EvictionPolicy."""
        self._view = view

    def insert(self, ids: Ids) -> None:
        """See EvictionPolicy."""
        view = self._view
        for slot in ids.tolist():
            node = self._node(int(view.key[slot]))
            node.slot = slot
            node.tick = self._next_tick()
            if node.parent is None and view.has_parent[slot]:
                self._tie(node, int(view.parent_key[slot]))
            if not node.children:
                self._becomes_leaf(node)
        self._length += len(ids)

    def take(self, ids: Ids) -> None:
        """See EvictionPolicy."""
        for key in self._view.key[ids].tolist():
            self._remove(self._nodes[key])

    def evict(self, count: int) -> Ids:
        """See EvictionPolicy."""
        victims = []
        for _ in range(min(count, self._length)):
            node = self.first()
            victims.append(node.slot)
            self._remove(node)
        return np.array(victims, np.int64)

    def order(self) -> Ids:
        """See EvictionPolicy. O(n log n): it plays the eviction, then puts everything back."""
        saved = [(node, node.slot, node.children, node.rank) for node in self._nodes.values()]
        forest = dict(self._nodes), list(self._leaves), self._ticks, self._length
        order = self.evict(self._length)
        self._nodes, self._leaves, self._ticks, self._length = forest
        for node, slot, children, rank in saved:
            node.slot, node.children, node.rank = slot, children, rank
        return order

    def used(self, ids: Ids) -> None:
        """See EvictionPolicy. Lineage does not count uses."""

    def first(self) -> Node:
        """Give the next victim; it stays inside. The policy must not be empty."""
        while self._leaves:
            rank, _, node = self._leaves[0]
            if node.rank == rank:
                return node
            heapq.heappop(self._leaves)
        raise IndexError("the policy is empty")

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._length} slots)"

    def _rank(self, node: Node) -> Rank:
        """Give the place among the leaves; smallest goes first, no two may be equal."""
        return (node.tick if self._keeps_place else self._next_tick(),)

    def _next_tick(self) -> int:
        self._ticks += 1
        return self._ticks

    def _node(self, key: int) -> Node:
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = Node(key)
        return node

    def _tie(self, node: Node, parent_key: int) -> None:
        parent = self._node(parent_key)
        ancestor: Node | None = parent
        # Only a node that has children can be its own ancestor, so this is rarely walked.
        while node.children and ancestor is not None and ancestor is not node:
            ancestor = ancestor.parent
        if ancestor is node:
            return  # a circle of parents, which only made-up hashes can have: nobody is a leaf
        node.parent = parent
        parent.children += 1
        parent.rank = None  # no leaf any more

    def _becomes_leaf(self, node: Node) -> None:
        node.rank = self._rank(node)
        if len(self._leaves) > 2 * len(self._nodes) + 64:  # where nothing is ever evicted
            self._leaves = [entry for entry in self._leaves if entry[2].rank == entry[0]]
            heapq.heapify(self._leaves)
        heapq.heappush(self._leaves, (node.rank, node.slot, node))

    def _remove(self, node: Node) -> None:
        """Take the block out; drop it, and ghosts above it that have no child left."""
        node.slot = NONE
        node.rank = None
        self._length -= 1
        while node.slot == NONE and not node.children:
            del self._nodes[node.key]
            if node.parent is None:
                return
            node = node.parent
            node.children -= 1
        if not node.children:
            self._becomes_leaf(node)

    def _check(self) -> None:
        """Assert that children are counted and that exactly the childless are leaves."""
        counted = dict.fromkeys(self._nodes, 0)
        for node in self._nodes.values():
            if node.parent is not None:
                counted[node.parent.key] += 1
        live = {id(node) for rank, _, node in self._leaves if node.rank == rank}
        for key, node in self._nodes.items():
            assert node.children == counted[key], f"children of {key:#x} are miscounted"
            assert node.slot != NONE or node.children, f"ghost {key:#x} shields nothing"
            leaf = node.slot != NONE and not node.children
            assert leaf == (node.rank is not None), f"{key:#x} is a leaf, or is not, by mistake"
            assert not leaf or id(node) in live, f"KV-CAP-04: leaf {key:#x} is not queued"
        inside = sum(node.slot != NONE for node in self._nodes.values())
        assert inside == self._length, f"KV-CAP-04: counter {self._length}, members {inside}"
