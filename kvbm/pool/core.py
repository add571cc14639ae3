"""The heart of a pool: slots, registry and policy, moved together.

What this is
    One thread's block pool, in terms of slot ids. It keeps one promise: after each
    call every slot is in exactly one place. *Empty* slots are in a queue, *inactive*
    ones in the policy, registered ones in the registry; *owned* and *active* ones are
    in nobody's list but their holders'.

Interface, as rules of use
    * allocate() → slots.stage() → register() → release() is one block's life; match()
      and release() the life of a hit.
    * Whoever is given slot ids holds them, once each, until release().
    * There is no lock, no handle and no event here: `BlockPool` adds those, and a
      simulator can do without.

Clauses: KV-CAP-02, KV-CAP-03, KV-CAP-05, KV-CAP-06, KV-EVC-03, KV-EVC-05, KV-REG-01
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from kvbm.blocks.keys import SequenceHash
from kvbm.blocks.lifecycle import Operation, State, after
from kvbm.blocks.slots import NO_IDS, NONE, Ids, Keys, Slots
from kvbm.errors import BrokenPolicy
from kvbm.pool.policies.base import EvictionPolicy, SlotView
from kvbm.pool.registry import Published, Registry
from kvbm.pool.rings import Rings

Names: TypeAlias = Keys | list[SequenceHash]
"""Whole sequence hashes: keys, or a list where they are longer than that."""

_NO_KEYS = np.empty(0, np.uint64)


class Allocation(NamedTuple):
    """Slots that one call took, the empty ones first, and the keys that had to go."""

    ids: Ids
    evicted: Names  # in order of eviction


class PoolCore:
    """`total` slots under `policy`. Deterministic: same calls, same answers. KV-EVC-08"""

    def __init__(self, total: int, policy: EvictionPolicy, *, allow_duplicates: bool) -> None:
        self.slots = Slots(total)
        self.registry = Registry(total)
        self.policy = policy
        self.allow_duplicates = allow_duplicates
        self.on_evict: Callable[[Ids], None] | None = None  # sees victims before they go
        self._empty = Rings(total)
        self._empty.push(np.arange(total, dtype=np.int64))
        policy.bind(SlotView.of(self.slots))

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def empty(self) -> int:
        """Slots without content. O(1)."""
        return len(self._empty)

    @property
    def inactive(self) -> int:
        """Registered slots that nobody holds. O(1)."""
        return len(self.policy)

    @property
    def available(self) -> int:
        """What a maximal allocate() would give now. O(1). Clauses: KV-CAP-05"""
        return self.empty + self.inactive

    def keys(self, ids: Ids) -> Keys:
        """Read the keys of slots."""
        keys: Keys = self.slots.records["key"][ids]
        return keys

    def names(self, ids: Ids) -> Names:
        """Read the whole hashes of slots: their keys, where those are all of it."""
        if not self.slots.names:
            return self.keys(ids)
        return [self.slots.name_of(slot) for slot in ids.tolist()]

    def allocate(self, count: int) -> Allocation | None:
        """Take `count` slots for one writer: the longest empty first, then by eviction.

        Returns
        -------
        Allocation or None
            None if fewer are available; nothing has changed then.

        Raises
        ------
        BrokenPolicy
            The policy gave fewer victims than it holds. Nothing has changed.

        Complexity
        ----------
        O(count), times the policy's cost of a victim.

        Clauses: KV-CAP-06, KV-EVC-03, KV-EVC-05, KV-EVC-06
        """
        empty = len(self._empty)
        if count > empty + len(self.policy):
            return None
        evicted: Names = _NO_KEYS
        if count <= empty:
            ids = self._empty.pop(count)
        else:
            # The policy first: what it does wrong happens before anything else has changed.
            victims = self._victims(count - empty)
            evicted = self.names(victims)
            self.registry.erase(self.slots.records, victims)  # KV-EVC-03: before it is handed out
            ids = np.concatenate([self._empty.pop(empty), victims]) if empty else victims
        self.slots.allocate(ids)
        return Allocation(ids, evicted)

    def register(self, ids: Ids, unmatched: Ids = NO_IDS) -> Published:
        """Publish Complete blocks under their keys, in order; the caller's holds move along.

        See Registry.publish. O(blocks). Clauses: KV-REG-02, KV-REG-04
        """
        done = self.registry.publish(self.slots.records, ids, self.allow_duplicates, unmatched)
        if done.woken.size:
            self.policy.take(done.woken)
        if done.emptied.size:
            self.slots.wipe(done.emptied)
            self._empty.push(done.emptied)
        self.policy.used(done.holders)
        return done

    def match(self, keys: Keys) -> Ids:
        """Hold the longest registered prefix of `keys`. O(hits). Clauses: KV-REG-01, KV-LIF-05"""
        ids = self.registry.find_prefix(keys)
        self.hold(ids)
        return ids

    def hold(self, ids: Ids) -> None:
        """Hold slots that were found, and count that as a use of each. O(slots)."""
        if ids.size:
            self.acquire(ids)
            self.policy.used(ids)

    def acquire(self, ids: Ids) -> None:
        """Add one holder to each registered slot. O(slots). Clauses: KV-LIF-05"""
        woken = self.registry.hold(self.slots.records, ids)
        if woken.size:
            self.policy.take(woken)

    def release(self, ids: Ids) -> None:
        """Remove one holder from each slot, last first. O(slots). Clauses: KV-LIF-06"""
        resting, emptied = self.slots.release(ids)
        if emptied.size:
            self._empty.push(emptied)
        if resting.size:
            self.policy.insert(resting)

    def touch(self, ids: Ids) -> None:
        """Make the inactive ones of `ids` the most recently returned, in this order."""
        resting = self._inactive(ids)
        self.policy.take(resting)
        self.slots.touch(resting)
        self.policy.insert(resting)

    def clear(self, ids: Ids) -> Names:
        """Empty inactive slots and forget their hashes, which are returned. O(slots)."""
        self.policy.take(ids)
        return self._emptied(ids)

    def evict(self, count: int) -> Names:
        """Empty the first min(count, inactive) victims; return their hashes, in order."""
        return self._emptied(self._victims(min(count, self.inactive)))

    def _victims(self, count: int) -> Ids:
        """Take victims out of the policy, and show them to whoever wants to see them."""
        victims = self.policy.evict(count)
        if victims.size != count:
            self.policy.insert(victims)
            raise BrokenPolicy(self.policy, count, victims.size)
        if self.on_evict is not None and count:
            try:
                self.on_evict(victims)
            except BaseException:
                self.policy.insert(victims)  # they stay cached, as the most recent ones
                raise
        return victims

    def restore(
        self,
        ids: Ids,
        keys: Keys,
        parents: Sequence[int | None],
        positions: Sequence[int],
        priorities: Sequence[int],
    ) -> Ids:
        """Put blocks whose bytes are there already into empty slots: inactive, the first oldest.

        Parameters
        ----------
        ids, keys : int64[blocks], uint64[blocks]
            Distinct slots, and what they are to answer for.
        parents, positions, priorities
            One a block; the key of its parent, or None for a root.

        Returns
        -------
        int64[blocks]
            The slots that were filled. A key that another slot answers for is left out.

        Raises
        ------
        BlockStateInvalid
            One of the slots is not empty. Nothing has changed.

        Complexity
        ----------
        O(blocks).

        Clauses: KV-LIF-01, KV-REG-04
        """
        for slot in ids.tolist():
            after(Operation.RESTORE, self.slots.state(slot))  # raises
        _, first = np.unique(keys, return_index=True)
        new = np.zeros(ids.size, bool)
        new[first] = self.registry.find(keys[first]) == NONE
        roots = np.array([parent is None for parent in parents], bool)
        columns = {
            "key": keys,
            "parent_key": np.array([parent or 0 for parent in parents], np.uint64),
            "has_parent": ~roots,
            "position": np.array(positions, np.uint32),
            "priority": np.array(priorities, np.uint32),
            "acquired": self.slots.tick + np.arange(ids.size),
            "returned": self.slots.tick + np.arange(ids.size),
        }
        records, ids = self.slots.records, ids[new]
        for name, column in columns.items():
            records[name][ids] = column[new]
        records["generation"][ids] += 1  # a new tenant
        records["state"][ids] = after(Operation.RESTORE, State.EMPTY)
        self.slots.tick += new.size
        self._empty.remove(ids)
        self.registry.enter(records, ids)
        self.policy.insert(ids)
        return ids

    def grow(self, more: int) -> None:
        """Add `more` slots to the end of the empty queue. O(slots)."""
        ids = self.slots.grow(more)
        self.registry.grow(len(self.slots))
        self._empty.grow(len(self.slots))
        self._empty.push(ids)
        self.policy.bind(SlotView.of(self.slots))

    def counts(self) -> dict[State, int]:
        """Count the slots in each state. O(slots)."""
        counted = np.bincount(self.slots.records["state"], minlength=len(State)).tolist()
        return dict(zip(State, counted, strict=True))

    def _inactive(self, ids: Ids) -> Ids:
        """Keep those of `ids` that nobody holds, each once."""
        ids = ids[self.slots.records["state"][ids] == State.INACTIVE]
        _, first = np.unique(ids, return_index=True)
        return ids[np.sort(first)]

    def _emptied(self, ids: Ids) -> Names:
        names = self.names(ids)
        self.registry.erase(self.slots.records, ids)
        self.slots.clear(ids)
        self._empty.push(ids)
        return names

    def _check(self) -> None:
        """Assert every invariant that needs more than one part; on failure, show all of it."""
        for part in (self.slots, self.registry, self._empty, self.policy):
            check = getattr(part, "_check", None)  # a policy of the user's may have none
            if check is not None:
                check()
        states = self.slots.records["state"]
        empty, inactive = self._empty.order(), self.policy.order()
        assert sorted(empty) == np.flatnonzero(states == State.EMPTY).tolist(), (
            f"KV-CAP-02: empty slots {sorted(empty)}\n{self.slots}"
        )
        assert sorted(inactive) == np.flatnonzero(states == State.INACTIVE).tolist(), (
            f"KV-CAP-02: inactive slots {sorted(inactive)}\n{self.slots}"
        )
        registered = np.isin(states, (State.ACTIVE, State.INACTIVE))
        primaries = np.flatnonzero(registered)
        keys = self.keys(primaries).tolist()
        assert self.registry.entries() == dict(zip(keys, primaries.tolist(), strict=True)), (
            f"KV-REG-05: registry {self.registry.entries()}\n{self.slots}"
        )
        assert len(set(keys)) == len(keys), f"KV-REG-04: two primaries for one key\n{self.slots}"
