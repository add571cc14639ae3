"""BlockPool: allocate, register, match, evict. The face of one tier.

What this is
    The documented pool over `total_blocks` slots. Every operation is synchronous, takes
    one lock, works in memory and returns; `*_blocking` is the same under its other name.

        with pool.allocate_blocks(3) as blocks:          # Reset, ours alone
            blocks.apply_token_blocks(sequence.blocks)   # Complete
            cached = pool.register_blocks(blocks)        # Registered, shared
        again = pool.match_sequence_hashes(hashes)       # later, by anyone

Interface, as rules of use
    * Give content to blocks before you register them; an error gives them all back.
    * Hold what match returned before you allocate the rest: held blocks are never evicted.
    * A block dropped before a call is seen by that call.
    * What really waits says so: `await pool.wait_for_blocks(n)`.

Clauses: KV-CAP-03, KV-CAP-05, KV-CAP-06, KV-CAP-08, KV-CAP-10, KV-REG-01, KV-REG-02,
KV-REG-03, KV-EVC-03, KV-EVC-05, KV-EVC-07, KV-EVT-04
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Self

import numpy as np

from kvbm.blocks.block_list import BlockList
from kvbm.blocks.handles import Block, CompleteBlock, ImmutableBlock, MutableBlock
from kvbm.blocks.keys import Hashes, SequenceHash, fold, to_keys
from kvbm.blocks.lifecycle import State
from kvbm.blocks.slots import NO_IDS, NONE, Ids, Keys
from kvbm.errors import (
    BlockNotFound,
    InvalidConfig,
    NoBlocksToRegister,
    NotEnoughBlocksAvailable,
    NotPinned,
    NotReturnable,
    ProgressEngineShutdown,
    ResetError,
)
from kvbm.identity import PartialTokenBlock, TokenBlock
from kvbm.identity import scheme as scheme_named
from kvbm.identity.tokens import exact_integer
from kvbm.pool.changes import ChangeSink
from kvbm.pool.core import PoolCore
from kvbm.pool.home import PoolHome
from kvbm.pool.policies import EvictionPolicy, make_policy
from kvbm.pool.snapshot import (
    BlockPoolStatus,
    PoolStatistics,
    ResetBlocksResponse,
    Snapshot,
)
from kvbm.pool.waiting import WaitingRoom


class EvictionMode(Enum):
    """How much `trigger_eviction` empties. Held blocks are never touched."""

    NORMAL = "normal"
    AGGRESSIVE = "aggressive"


class BlockPool(PoolHome):
    """A pool of `total_blocks` slots for blocks of `page_size` tokens.

    Parameters
    ----------
    total_blocks : blocks
        Number of slots.
    page_size : tokens
        Size of a full block.
    policy
        Order of eviction: a name of `POLICIES` or an `EvictionPolicy` of your own.
    duplicates : "reject" or "allow"
        What registering a hash does that is registered already: give the slot back and
        share the first block, or keep a second one that is never matched.
    scheme
        Hash scheme of the blocks (`kvbm.identity`); also sets how long a hash may be.
    verify_tokens
        Compare the tokens of blocks with equal hashes, in `register_blocks`,
        `match_token_blocks` and `WeakBlock.upgrade`. A collision is then counted in
        `statistics()` and is a miss, never a hit. Works for blocks that came with tokens;
        `match_sequence_hashes` sees none and trusts the hash.
    tier
        Name of the tier in events.
    events
        Where changes go, such as `kvbm.events.EventLog`; several pools may share one.

    Raises
    ------
    InvalidConfig
        A value is out of range; the message names it.

    Examples
    --------
    >>> pool = BlockPool(4, page_size=16)
    >>> blocks = pool.allocate_blocks(2)
    >>> blocks.stage([101, 102])
    >>> cached = pool.register_blocks(blocks)
    >>> pool.match_sequence_hashes([101, 102, 103]).block_ids
    [0, 1]
    >>> pool.available_blocks()
    2
    """

    def __init__(
        self,
        total_blocks: int,
        *,
        page_size: int = 16,
        policy: str | EvictionPolicy = "priority",
        duplicates: str = "reject",
        scheme: str = "dynamo",
        verify_tokens: bool = False,
        tier: str = "device",
        events: ChangeSink | None = None,
    ) -> None:
        for field, value in (("total_blocks", total_blocks), ("page_size", page_size)):
            if not isinstance(value, int) or value < 1:
                raise InvalidConfig(field, value, "must be an integer of at least 1")
        if duplicates not in ("reject", "allow"):
            raise InvalidConfig("duplicates", duplicates, "must be 'reject' or 'allow'")
        core = PoolCore(total_blocks, make_policy(policy), allow_duplicates=duplicates == "allow")
        super().__init__(
            core,
            page_size=page_size,
            scheme=scheme,
            hash_bits=scheme_named(scheme).bits,
            tier=tier,
            events=events,
        )
        self._verify_tokens = verify_tokens
        self._waiting = WaitingRoom(self)
        self._allocated = self._evicted = self._registered = self._deduplicated = 0
        self._collisions = self._requested = self._matched = 0

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
        return self._matched / self._requested if self._requested else 0.0

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
                allocated=self._allocated,
                evicted=self._evicted,
                registered=self._registered,
                deduplicated=self._deduplicated,
                collisions=self._collisions,
                requested=self._requested,
                matched=self._matched,
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

    # ── the life of a block ───────────────────────────────────────────────────────────

    def allocate_blocks(self, count: int) -> BlockList[MutableBlock]:
        """Take `count` blocks or none: empty slots first, longest empty first, then by eviction.

        Parameters
        ----------
        count : blocks

        Returns
        -------
        BlockList of MutableBlock
            In the order taken, each Reset and of priority 0.

        Raises
        ------
        NotEnoughBlocksAvailable
            Fewer are available. Nothing was taken.

        Complexity
        ----------
        O(count), times what a victim costs the policy.

        Clauses: KV-CAP-06, KV-CAP-08, KV-EVC-03, KV-EVC-05, KV-OWN-01
        """
        count = _checked_count(count)
        with self._turn as core:
            taken = core.allocate(count)
            if taken is None:
                raise NotEnoughBlocksAvailable(count, core.available)
            self._allocated += count
            self._evicted += len(taken.evicted)
            blocks = BlockList(self, taken.ids, MutableBlock)  # a sink that raises loses none
            self._tell_removed(taken.evicted)
        return blocks

    def register_blocks(
        self, blocks: BlockList[MutableBlock] | Sequence[MutableBlock | CompleteBlock]
    ) -> BlockList[ImmutableBlock]:
        """Publish complete blocks under their sequence hashes.

        Parameters
        ----------
        blocks
            Complete blocks of this pool, parents before children. They are used up.

        Returns
        -------
        BlockList of ImmutableBlock
            One a block, in order. Under `reject` a block whose hash was registered already
            is replaced by the first one, so its id may differ from the one given.

        Raises
        ------
        NoBlocksToRegister
            The list is empty.
        BlockNotComplete
            A block has no content. None was registered; all blocks stay usable.
        StaleHandleError, NotOwnerError
            A handle is used up, given twice, or of another pool. As above.

        Complexity
        ----------
        O(blocks).

        Clauses: KV-CAP-08, KV-REG-02, KV-LIF-03, KV-EVT-02
        """
        if not len(blocks):
            raise NoBlocksToRegister
        ids, undo = self._claim(blocks)
        registered = None
        try:
            with self._turn as core:
                collisions = self._find_collisions(ids)
                done = core.register(ids, collisions)
                registered = BlockList(self, done.holders, ImmutableBlock)
                self._registered += len(done.stored)
                self._collisions += len(collisions)
                self._deduplicated += len(ids) - len(done.stored) - len(collisions)
                self._tell_stored(done.stored)
                if done.emptied.size:
                    self._waiting.wake()
        except BaseException:
            if registered is None:  # else the holds are its own
                undo()
            raise
        return registered

    def match_sequence_hashes(self, sequence_hashes: Hashes) -> BlockList[ImmutableBlock]:
        """Hold the longest registered prefix of `sequence_hashes`.

        Parameters
        ----------
        sequence_hashes : uint64[blocks] or sequence
            Hashes of one sequence, from its first block on.

        Returns
        -------
        BlockList of ImmutableBlock
            The hits, in order; empty if the first hash is absent. Never an error.

        Complexity
        ----------
        O(hits): the walk stops at the first miss.

        Clauses: KV-REG-01, KV-LIF-05, KV-EVC-07
        """
        keys = to_keys(sequence_hashes, self._hash_bits)
        with self._turn as core:
            ids = self._named(sequence_hashes, core.registry.find_prefix(keys))
            return self._hit(core, ids, len(keys))

    def match_token_blocks(self, token_blocks: Sequence[TokenBlock]) -> BlockList[ImmutableBlock]:
        """Hold the longest registered prefix of `token_blocks`, tokens compared.

        With `verify_tokens`, a block of equal hash and other tokens is a miss. As
        `match_sequence_hashes` otherwise. Clauses: KV-IDN-06
        """
        hashes = [block.sequence_hash for block in token_blocks]
        keys = to_keys(hashes, self._hash_bits)
        with self._turn as core:
            ids = self._named(hashes, core.registry.find_prefix(keys))
            for index, slot in enumerate(ids.tolist()):
                if self._verify_tokens and not self._same_tokens(slot, token_blocks[index]):
                    self._collisions += 1
                    ids = ids[:index]
                    break
            return self._hit(core, ids, len(keys))

    def scan_matches(
        self, sequence_hashes: Hashes, *, touch: bool = True
    ) -> dict[SequenceHash, ImmutableBlock]:
        """Hold every registered block of `sequence_hashes`, wherever it is in the list.

        Parameters
        ----------
        sequence_hashes
            Hashes in any order.
        touch
            Whether this counts as a use of each block that is found.

        Returns
        -------
        dict
            A handle for each hash found, in order of the list; a repeated hash counts once.

        Complexity
        ----------
        O(hashes).

        Clauses: KV-REG-01
        """
        keys = to_keys(sequence_hashes, self._hash_bits)
        with self._turn as core:
            found = self._found(core, sequence_hashes, keys)
            slots = np.array(list(found.values()), np.int64)
            core.acquire(slots)
            if touch:
                core.policy.used(slots)
            return {name: ImmutableBlock(self, slot) for name, slot in found.items()}

    def contains(self, sequence_hashes: Hashes) -> list[bool]:
        """Tell which hashes are registered now. A look that changes nothing. O(hashes)."""
        keys = to_keys(sequence_hashes, self._hash_bits)
        with self._turn as core:
            found = self._found(core, sequence_hashes, keys)
        return [name in found for name in sequence_hashes]

    def touch_blocks(self, sequence_hashes: Hashes) -> None:
        """Make the inactive blocks of a registered prefix the most recently returned ones.

        Active blocks are left alone; the walk stops at the first hash that is absent, which
        is no error. O(hits).
        """
        keys = to_keys(sequence_hashes, self._hash_bits)
        with self._turn as core:
            core.touch(self._named(sequence_hashes, core.registry.find_prefix(keys)))

    def try_return_block(self, block: Block) -> None:
        """Give one block back if nobody else holds it.

        Raises
        ------
        NotReturnable
            A shared block has other holders. The handle stays usable.
        StaleHandleError, NotOwnerError
            The handle is used up, or of another pool.
        """
        ids, undo = self._claim([block])
        try:
            with self._turn as core:
                holders = int(core.slots.records["refs"][ids[0]])
                if holders > 1:
                    raise NotReturnable(int(ids[0]), holders)
                core.release(ids)
                self._waiting.wake()
        except BaseException:
            undo()
            raise

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
        self._waiting.wake()

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
            self._evicted += len(names)
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
        count = _checked_count(count)
        with self._turn as core:
            core.grow(count)
        self._waiting.wake()

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

    # ── waiting and closing ───────────────────────────────────────────────────────────

    async def wait_for_blocks(
        self, count: int, timeout: float | None = None
    ) -> BlockList[MutableBlock]:
        """Allocate `count` blocks as soon as they are available; first come, first served.

        Parameters
        ----------
        count : blocks
        timeout : seconds
            How long to wait; for ever without it.

        Raises
        ------
        NotEnoughBlocksAvailable
            The pool has fewer blocks in all: no wait could help.
        WaitCancelled
            They did not come in time, or the pool was closed.

        Clauses: KV-LIV-01, KV-LIV-05, KV-SHD-04
        """
        return await self._waiting.wait(count, timeout)

    def close(self) -> None:
        """Refuse all later calls. Idempotent; who waits is told. Clauses: KV-SHD-01, KV-SHD-04"""
        with suppress(ProgressEngineShutdown):  # of several that close, one does
            with self._turn:
                self._closed = True
            self._waiting.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    allocate_blocks_blocking = allocate_blocks
    register_blocks_blocking = register_blocks
    match_sequence_hashes_blocking = match_sequence_hashes
    scan_matches_blocking = scan_matches
    touch_blocks_blocking = touch_blocks
    try_return_block_blocking = try_return_block
    status_blocking = status
    reset_blocking = reset
    reset_blocks_blocking = reset_blocks
    add_blocks_blocking = add_blocks

    # ── inside ────────────────────────────────────────────────────────────────────────

    def _hit(self, core: PoolCore, ids: Ids, requested: int) -> BlockList[ImmutableBlock]:
        core.hold(ids)
        self._requested += requested
        self._matched += len(ids)
        return BlockList(self, ids, ImmutableBlock)

    def _found(self, core: PoolCore, hashes: Hashes, keys: Keys) -> dict[SequenceHash, int]:
        """Find the slot of each hash that is registered, in order of the list."""
        slots = core.registry.find(keys)
        listed = hashes.tolist() if isinstance(hashes, np.ndarray) else hashes
        return {
            name: int(slots[index])
            for index, name in enumerate(listed)
            if slots[index] != NONE and len(self._named([name], slots[index : index + 1]))
        }

    def _all_of(self, core: PoolCore, hashes: Hashes) -> Ids:
        ids = self._named(hashes, core.registry.find_prefix(to_keys(hashes, self._hash_bits)))
        if len(ids) < len(hashes):
            raise BlockNotFound(hashes[len(ids)])
        return ids

    def _find_collisions(self, ids: Ids) -> Ids:
        """Find blocks whose key is that of another block with other content. KV-IDN-06"""
        if not self._verify_tokens and self._hash_bits == 64:
            return NO_IDS
        slots, keys = self._core.slots, self._core.keys(ids)
        first: dict[int, int] = {}
        collisions = []
        known = self._core.registry.find(keys)
        for slot, key, registered in zip(ids.tolist(), keys.tolist(), known.tolist(), strict=True):
            primary = first.setdefault(key, slot if registered == NONE else registered)
            content = slots.contents.get(slot)
            same = slots.name_of(primary) == slots.name_of(slot)
            if same and self._verify_tokens and isinstance(content, TokenBlock):
                same = self._same_tokens(primary, content)
            if not same:
                collisions.append(slot)
        return np.array(collisions, np.int64)

    def _agrees(self, slot: int, content: PartialTokenBlock | TokenBlock | None) -> bool:
        """See PoolHome. Clauses: KV-IDN-06"""
        if not self._verify_tokens or not isinstance(content, TokenBlock):
            return True
        same = self._same_tokens(slot, content)
        self._collisions += not same
        return same

    def _same_tokens(self, slot: int, block: TokenBlock) -> bool:
        """Compare what is known of the slot's content with `block`, parent included."""
        content = self._core.slots.contents.get(slot)
        parent = self._core.slots.parent_name_of(slot)
        return parent == block.parent_sequence_hash and (
            content is None or np.array_equal(content.tokens, block.tokens)
        )

    def _check(self) -> None:
        """Assert the pool's invariants. Clauses: KV-CAP-02, KV-CAP-03, KV-REG-05"""
        with self._turn as core:
            core._check()

    def __repr__(self) -> str:
        return f"BlockPool({len(self._core)} blocks of {self._page_size} tokens, {self._tier})"

    def __str__(self) -> str:
        with self._turn as core:
            return f"{self!r}\n{core.slots}"


def _checked_count(count: int) -> int:
    number = exact_integer(count)
    if number is None or number < 0:
        raise InvalidConfig("count", count, "must be a number of blocks, 0 or more")
    return number
