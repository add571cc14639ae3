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

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import numpy as np

from kvbm.blocks.block_list import BlockList
from kvbm.blocks.handles import Block, CompleteBlock, ImmutableBlock, MutableBlock
from kvbm.blocks.keys import Hashes, SequenceHash, to_keys
from kvbm.blocks.slots import NO_IDS, NONE, Ids, Keys
from kvbm.errors import (
    InvalidConfig,
    NoBlocksToRegister,
    NotEnoughBlocksAvailable,
    NotReturnable,
)
from kvbm.identity import PartialTokenBlock, TokenBlock
from kvbm.identity import scheme as scheme_named
from kvbm.pool.changes import ChangeSink
from kvbm.pool.core import PoolCore
from kvbm.pool.policies import EvictionPolicy, make_policy
from kvbm.pool.upkeep import PoolUpkeep, checked_count
from kvbm.pool.waiting import WaitingRoom


class BlockPool(PoolUpkeep):
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
        count = checked_count(count)
        with self._turn as core:
            taken = core.allocate(count)
            if taken is None:
                raise NotEnoughBlocksAvailable(count, core.available)
            self._counted.allocated += count
            self._counted.evicted += len(taken.evicted)
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
                self._counted.registered += len(done.stored)
                self._counted.collisions += len(collisions)
                self._counted.deduplicated += len(ids) - len(done.stored) - len(collisions)
                self._tell_stored(done.stored)
                if done.emptied.size:
                    self._wake()
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
                    self._counted.collisions += 1
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
                self._wake()
        except BaseException:
            undo()
            raise

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
        # Without the lock: a call that is running is the last one, and may take its time.
        self._closed = True
        self._wake()

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

    # ── inside ────────────────────────────────────────────────────────────────────────

    def _hit(self, core: PoolCore, ids: Ids, requested: int) -> BlockList[ImmutableBlock]:
        core.hold(ids)
        self._counted.requested += requested
        self._counted.matched += len(ids)
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
        self._counted.collisions += not same
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
