"""The upkeep of a pool: its numbers, pins, evictions by hand, resets and restores.

What this is
    The half of `BlockPool` that operators and observers use. The other half, the life of a
    block, is in `kvbm.pool.pool`.

Clauses: KV-CAP-05, KV-CAP-09, KV-EVC-01, KV-EVC-02, KV-EVT-05, KV-LIF-07, KV-LIF-09
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

import numpy as np

from kvbm.blocks.keys import Hashes, SequenceHash, fold, to_keys
from kvbm.blocks.lifecycle import State
from kvbm.blocks.slots import NONE, Ids
from kvbm.errors import (
    BlockNotFound,
    InvalidConfig,
    NotPinned,
    ResetError,
)
from kvbm.identity.tokens import exact_integer
from kvbm.pool.core import PoolCore
from kvbm.pool.home import PoolHome
from kvbm.pool.snapshot import (
    BlockPoolStatus,
    PoolStatistics,
    ResetBlocksResponse,
    Snapshot,
)


class EvictionMode(Enum):
    """How much `trigger_eviction` empties. Held blocks are never touched."""

    NORMAL = "normal"
    AGGRESSIVE = "aggressive"

    # As the documents spell them.
    Normal = NORMAL
    Aggressive = AGGRESSIVE


class PoolUpkeep(PoolHome):
    """What `BlockPool` offers besides allocating, registering and matching blocks."""

    # ── numbers ───────────────────────────────────────────────────────────────────────

    def total_blocks(self) -> int:
        """Count all slots. O(1)."""
        return len(self._core)

    def available_blocks(self) -> int:
        """Count what an allocation could take now: empty and inactive. O(1). KV-CAP-05"""
        with self._turn as core:
            return core.available

    def usage(self) -> float:
        """Give the share of slots that are held, 0.0 … 1.0. Cached blocks are not in use."""
        with self._turn as core:
            return (len(core) - core.available) / len(core)

    usage_rate = usage

    def cache_hit_rate(self) -> float:
        """Give the share of asked hashes that matched, since the pool was made."""
        return self._counted.matched / self._counted.requested if self._counted.requested else 0.0

    def status(self) -> BlockPoolStatus:
        """Count the slots that are active, inactive, empty and owned. O(slots)."""
        now = self.statistics()
        return BlockPoolStatus(now.active + now.duplicates, now.inactive, now.empty, now.owned)

    def statistics(self) -> PoolStatistics:
        """Take a picture of all numbers. O(slots)."""
        with self._turn as core:
            states = core.counts()
            owned = states[State.RESET] + states[State.PARTIAL] + states[State.COMPLETE]
            return PoolStatistics(
                total=len(core),
                empty=states[State.EMPTY],
                owned=owned,
                active=states[State.ACTIVE],
                inactive=states[State.INACTIVE],
                duplicates=states[State.DUPLICATE],
                pinned=int(np.count_nonzero(core.slots.records["pins"])),
                allocated=self._counted.allocated,
                evicted=self._counted.evicted,
                registered=self._counted.registered,
                deduplicated=self._counted.deduplicated,
                collisions=self._counted.collisions,
                requested=self._counted.requested,
                matched=self._counted.matched,
            )

    def snapshot(self) -> Snapshot:
        """List all registered hashes, and the number of the first event after that.

        The number is 0 where the pool has no `events`. O(registered). Clauses: KV-EVT-05
        """
        with self._turn as core:
            slots = np.array(list(core.registry.entries().values()), np.int64)
            names = [(self._tier, core.slots.name_of(slot)) for slot in slots.tolist()]
            number = self._events.next_number if self._events is not None else 0
            return Snapshot(number, frozenset(names))

    def eviction_order(self) -> list[SequenceHash]:
        """List the inactive blocks, next victim first. A look that changes nothing.

        Complexity: O(inactive), O(inactive · log inactive) under `lineage`.
        """
        with self._turn as core:
            return core.slots.names_of(core.policy.order())

    # ── blocks that outlived a process ────────────────────────────────────────────────

    def restore(
        self,
        slots: Sequence[int],
        sequence_hashes: Sequence[SequenceHash],
        parents: Sequence[SequenceHash | None],
        positions: Sequence[int],
        priorities: Sequence[int],
    ) -> list[int]:
        """Register blocks whose bytes lie in empty slots already, such as those of a file.

        Parameters
        ----------
        slots
            Distinct and empty.
        sequence_hashes, parents, positions, priorities
            One a slot. A parent is a hash, or None for a root; it need not be here.

        Returns
        -------
        list of int
            The slots that hold a block now: nobody holds it, and the first is the least
            recently returned. A hash that another slot answers for is left out.

        Raises
        ------
        InvalidConfig
            A slot is given twice, or there is no such slot. Nothing has changed.
        BlockStateInvalid
            A slot is not empty. Nothing has changed.

        Complexity
        ----------
        O(blocks).

        Clauses: KV-LIF-01, KV-REG-04, KV-EVT-02
        """
        ids = np.array(slots, np.int64)
        if len(np.unique(ids)) != len(ids) or ((ids < 0) | (ids >= len(self._core))).any():
            rule = f"must be distinct, and in 0 … {len(self._core) - 1}"
            raise InvalidConfig("slots", list(slots), rule)
        bits = self._hash_bits
        keys = to_keys(sequence_hashes, bits)
        parent_keys = [None if parent is None else fold(parent, bits) for parent in parents]
        with self._turn as core:
            restored = core.restore(ids, keys, parent_keys, positions, priorities)
            filled = set(restored.tolist())
            for slot, name, parent in zip(slots, sequence_hashes, parents, strict=True):
                if slot in filled:
                    self._note_names([slot], [name], parent)
            self._tell_stored(restored)
        listed: list[int] = restored.tolist()
        return listed

    def locate(self, sequence_hashes: Sequence[SequenceHash]) -> list[int]:
        """Give the slots of registered hashes. For change sinks: it takes no turn, they are in one.

        Complexity: O(hashes).
        """
        slots: list[int] = self._core.registry.find(
            to_keys(sequence_hashes, self._hash_bits)
        ).tolist()
        return slots

    # ── pins ──────────────────────────────────────────────────────────────────────────

    def pin_blocks(self, sequence_hashes: Hashes) -> None:
        """Keep registered blocks active without a handle, all of them or none.

        Raises
        ------
        BlockNotFound
            A hash is not registered. Nothing was pinned.

        Clauses: KV-EVC-01, KV-LIF-09
        """
        with self._turn as core:
            ids = self._all_of(core, sequence_hashes)
            core.acquire(ids)
            np.add.at(core.slots.records["pins"], ids, 1)

    def unpin_blocks(self, sequence_hashes: Hashes) -> None:
        """Undo one `pin_blocks` of the same hashes, for all of them or none.

        Raises
        ------
        BlockNotFound, NotPinned
            A hash is not registered, or has no pin left. Nothing has changed.

        Clauses: KV-LIF-07, KV-LIF-09
        """
        with self._turn as core:
            ids = self._all_of(core, sequence_hashes)
            wanted = np.bincount(ids, minlength=len(core))
            short = np.flatnonzero(wanted > core.slots.records["pins"])
            if len(short):
                raise NotPinned(core.slots.name_of(int(short[0])))
            np.subtract.at(core.slots.records["pins"], ids, 1)
            core.release(ids)
        self._wake()

    # ── eviction and reset ────────────────────────────────────────────────────────────

    def trigger_eviction(self, mode: EvictionMode = EvictionMode.NORMAL) -> int:
        """Empty inactive blocks now, in the policy's order; return how many.

        `NORMAL` empties half of them, rounded up, `AGGRESSIVE` all. `usage()` does not
        change: held blocks cannot be evicted. Clauses: KV-EVC-01, KV-EVC-02
        """
        if not isinstance(mode, EvictionMode):
            raise InvalidConfig("mode", mode, "must be an EvictionMode")
        with self._turn as core:
            share = 1 if mode is EvictionMode.AGGRESSIVE else 2
            names = core.evict(-(-core.inactive // share))
            self._counted.evicted += len(names)
            self._tell_removed(names)
            return len(names)

    def reset(self) -> None:
        """Empty the whole pool.

        Raises
        ------
        ResetError
            Blocks are held. Nothing has changed.
        """
        with self._turn as core:
            if core.available != len(core):
                raise ResetError(len(core), core.available)
            self._tell_removed(core.clear(core.policy.order()))

    def reset_blocks(self, sequence_hashes: Sequence[SequenceHash]) -> ResetBlocksResponse:
        """Empty the inactive ones among these blocks; tell what became of each."""
        keys = to_keys(sequence_hashes, self._hash_bits)
        done: list[SequenceHash] = []
        absent: list[SequenceHash] = []
        held: list[SequenceHash] = []
        with self._turn as core:
            chosen: list[int] = []
            for name, slot in zip(sequence_hashes, core.registry.find(keys), strict=True):
                if slot == NONE or slot in chosen or not len(self._named([name], slot[None])):
                    absent.append(name)
                elif core.slots.state(slot) is State.INACTIVE:
                    done.append(name)
                    chosen.append(int(slot))
                else:
                    held.append(name)
            self._tell_removed(core.clear(np.array(chosen, np.int64)))
        return ResetBlocksResponse(tuple(done), tuple(absent), tuple(held))

    def add_blocks(self, count: int) -> None:
        """Grow the pool by `count` empty slots, which are used after those that are there."""
        count = checked_count(count)
        with self._turn as core:
            core.grow(count)
        self._wake()

    @property
    def on_evict(self) -> Callable[[Ids], None] | None:
        """Who sees victims before they lose their slots: slot ids, in order of eviction.

        Called within the call that evicts; it must not call this pool. One at a time.
        """
        return self._core.on_evict

    @on_evict.setter
    def on_evict(self, hook: Callable[[Ids], None] | None) -> None:
        if hook is not None and self._core.on_evict is not None:
            raise InvalidConfig("on_evict", hook, "the pool has a hook already; remove it first")
        self._core.on_evict = hook

    status_blocking = status
    reset_blocking = reset
    reset_blocks_blocking = reset_blocks
    add_blocks_blocking = add_blocks

    # ── inside ────────────────────────────────────────────────────────────────────────

    def _all_of(self, core: PoolCore, hashes: Hashes) -> Ids:
        ids = self._named(hashes, core.registry.find_prefix(to_keys(hashes, self._hash_bits)))
        if len(ids) < len(hashes):
            raise BlockNotFound(hashes[len(ids)])
        return ids


def checked_count(count: int) -> int:
    """Give a number of blocks as an int, or raise InvalidConfig."""
    number = exact_integer(count)
    if number is None or number < 0:
        raise InvalidConfig("count", count, "must be a number of blocks, 0 or more")
    return number
