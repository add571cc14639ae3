"""Handles: what a client holds, and all that it may do with one block.

What this is
    `MutableBlock` ──► `CompleteBlock` ──► `ImmutableBlock` ⇄ `WeakBlock`. Each but the
    last is one holder of one slot. A handle is a capability: it can be used up once,
    by releasing, staging or registering it, and is dead from then on.

Interface, as rules of use
    * Get a MutableBlock from the pool, give it content, register it, keep what comes back.
    * The owner fills a block in place (init_sequence, add_tokens, commit, or
      apply_token_block), or turns it into a CompleteBlock (complete, stage).
    * Dropping a handle gives its slot back; release() or `with` says so aloud.
    * A dead handle raises StaleHandleError, whatever became of its slot.
    * A handle is for one thread at a time; the handles of one block may be in many.

Clauses: KV-LIF-01, KV-LIF-02, KV-LIF-03, KV-LIF-06, KV-LIF-08, KV-OWN-01, KV-OWN-06
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from kvbm.blocks.home import BlockMemory, Home
from kvbm.blocks.keys import SequenceHash
from kvbm.blocks.lifecycle import Operation, State, after
from kvbm.blocks.slots import Ids
from kvbm.errors import BlockStateInvalid, StaleHandleError, ViewsNotAvailable
from kvbm.identity import PartialTokenBlock, SaltHash, TokenBlock


class BasicMetadata(NamedTuple):
    """What a pool notes of each block beside its content. Ticks count acquires and returns."""

    priority: int
    returned: int  # tick of the last return of the slot, 0 before the first
    acquired: int  # tick of its last allocation


class Block:
    """What handles share: one hold on one slot, which ends once."""

    __slots__ = ("__weakref__", "_hold", "_pool", "_slot")

    def __init__(self, pool: Home, slot: int) -> None:
        self._pool = pool
        self._slot = slot
        # Who pops the hold ends it. list.pop is atomic, so of two threads one gets it. While
        # it is there the slot cannot get another tenant, so no generation need be compared
        # (KV-LIF-02); a WeakBlock, which holds nothing, compares it.
        self._hold = [slot]

    @property
    def block_id(self) -> int:
        """Number of the slot, 0 … total_blocks - 1."""
        return self._held()

    @property
    def state(self) -> State:
        """State of the slot; `state.block_state` is its name in the documented API."""
        return self._pool.slots.state(self._held())

    @property
    def page_size(self) -> int:
        """Tokens that a full block has."""
        return self._pool.page_size

    @property
    def num_layers(self) -> int:
        """Layers of the block. Raises ViewsNotAvailable, as `layer_view`."""
        return int(self._memory().config.num_layers)

    @property
    def inner_dim(self) -> int:
        """Elements of one token in one layer and outer. Raises ViewsNotAvailable."""
        return int(self._memory().config.inner_dim)

    @property
    def is_complete(self) -> bool:
        """Whether the content is fixed, so that the block has a hash."""
        return self.state >= State.COMPLETE

    @property
    def priority(self) -> int:
        """Blocks of low priority are evicted first. 0 … 2³² - 1, 0 for a new block."""
        return int(self._pool.slots.records["priority"][self._held()])

    @priority.setter
    def priority(self, priority: int) -> None:
        self._pool.set_priority(self, priority)

    @property
    def metadata(self) -> BasicMetadata:
        """Priority and ticks, as they are now."""
        record = self._pool.slots.records[self._held()]
        return BasicMetadata(*(int(record[name]) for name in BasicMetadata._fields))

    def sequence_hash(self) -> SequenceHash:
        """Name the block and all before it.

        Raises
        ------
        BlockStateInvalid
            The block is neither Complete nor Registered.
        """
        self._need_content("sequence_hash")
        return self._pool.slots.name_of(self._slot)

    def parent_sequence_hash(self) -> SequenceHash | None:
        """Name all before the block; None for the first block of a sequence. Raises as above."""
        self._need_content("parent_sequence_hash")
        return self._pool.slots.parent_name_of(self._slot)

    @property
    def position(self) -> int:
        """Index of the block in its sequence. Raises as `sequence_hash`."""
        self._need_content("position")
        return int(self._pool.slots.records["position"][self._slot])

    def layer_view(self, layer: int, outer: int = 0) -> Any:
        """View the bytes of one layer and outer, without a copy.

        Returns
        -------
        kvbm.layout.LayerView
            Writable for the owner of a block that is not registered, read-only otherwise. It
            dies with this handle.

        Raises
        ------
        ViewsNotAvailable
            The pool has no memory.
        InvalidLayerIndex, InvalidOuterIndex
            The index is outside.

        Clauses: KV-OWN-05
        """
        memory = self._memory()
        return memory.layer_view(
            self._slot, layer, outer, readonly=self._readonly(), alive=self._alive
        )

    def block_view(self) -> Any:
        """View the block as a sequence of its layers. See `layer_view`."""
        memory = self._memory()
        return memory.block_view(self._slot, readonly=self._readonly(), alive=self._alive)

    def release(self) -> None:
        """Give the slot back. Raises StaleHandleError the second time. Clauses: KV-LIF-06"""
        self._pool.give_back(self._claim())

    def close(self) -> None:
        """Give the slot back if it is still held; nothing if the handle is used up."""
        if self._hold:
            self.release()

    def __len__(self) -> int:
        """Count the tokens in the block."""
        return self.page_size if self.is_complete else 0

    def __bool__(self) -> bool:
        return True  # a handle without tokens is still a handle

    def __enter__(self) -> Self:
        self._held()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # At any time, in any thread, inside any call: only queue it.
        try:
            if not self._hold:
                return  # used up
            slot = self._hold.pop()
        except (AttributeError, IndexError):
            return  # never finished, or another thread was quicker
        self._pool.give_back([slot])

    def __repr__(self) -> str:
        state = f"{self.state.block_state}" if self._hold else "used up"
        return f"{type(self).__name__}(block {self._slot}, {state})"

    def _alive(self) -> bool:
        return bool(self._hold)

    def _readonly(self) -> bool:
        return self.state >= State.ACTIVE

    def _memory(self) -> BlockMemory:
        self._held()
        memory = self._pool.memory
        if memory is None:
            raise ViewsNotAvailable(repr(self))
        return memory

    def _held(self) -> int:
        if not self._hold:
            raise StaleHandleError(repr(self))
        return self._slot

    def _held_ids(self) -> Ids:
        return np.array([self._held()])

    def _claim(self) -> Ids:
        """End the hold, for the caller to pass on. Raises StaleHandleError if it has ended."""
        try:
            return np.array([self._hold.pop()])
        except IndexError:
            raise StaleHandleError(repr(self)) from None

    def _unclaim(self) -> None:
        """Undo `_claim`: an error gives the blocks back."""
        self._hold.append(self._slot)

    def _need_content(self, operation: str) -> None:
        if not self.is_complete:
            reason = "Block is not complete nor registered."
            raise BlockStateInvalid(operation, self.state.block_state, reason)


class MutableBlock(Block):
    """Sole writer of one slot: Reset at first, Partial while it is filled, then Complete."""

    __slots__ = ()

    def __len__(self) -> int:
        """Count the tokens in the block."""
        content = self._pool.slots.contents.get(self._held())
        return len(content) if content is not None else super().__len__()

    @property
    def remaining(self) -> int:
        """How many tokens the block can still take: 0 unless it is Partial."""
        return self.page_size - len(self) if self.state is State.PARTIAL else 0

    @property
    def is_empty(self) -> bool:
        """Whether the block holds no tokens."""
        return len(self) == 0

    @property
    def is_full(self) -> bool:
        """Whether the block holds `page_size` tokens."""
        return len(self) == self.page_size

    @property
    def tokens(self) -> NDArray[np.uint32] | None:
        """The tokens, uint32[len]; None for a Reset block or one staged by hash alone."""
        content = self._pool.slots.contents.get(self._held())
        return None if content is None else np.asarray(content.tokens)

    def init_sequence(self, salt: SaltHash | int | None = None) -> None:
        """Begin to fill the block as the first of a sequence. From Reset to Partial."""
        self._pool.begin(self, salt)

    def add_token(self, token: int) -> None:
        """Append one token to a Partial block. Raises TokenBlockFull if it is full."""
        self._partial(Operation.ADD_TOKENS).add_token(token)

    def add_tokens(self, tokens: Sequence[int]) -> NDArray[np.uint32]:
        """Append what fits to a Partial block, and return what did not."""
        return self._partial(Operation.ADD_TOKENS).add_tokens(tokens)

    def pop_token(self) -> int:
        """Take the last token back. Raises TokenBlockEmpty if there is none."""
        return self._partial(Operation.POP_TOKENS).pop_token()

    def pop_tokens(self, count: int) -> None:
        """Take the last `count` back. Raises InsufficientTokens, and then nothing changed."""
        self._partial(Operation.POP_TOKENS).pop_tokens(count)

    def commit(self) -> None:
        """Fix the content of a full block: from Partial to Complete.

        Raises TokenBlockIncomplete if it is not full. Clauses: KV-LIF-03
        """
        block = self._partial(Operation.COMMIT).commit()
        self._pool.fill(self, Operation.COMMIT, [block])

    def apply_token_block(self, block: TokenBlock) -> None:
        """Fill the block at once, hash and parent included: from Reset to Complete.

        Raises BlockStateInvalid if the sizes differ, or the block is not Reset.
        """
        self._pool.fill(self, Operation.APPLY_TOKEN_BLOCK, [block])

    def complete(self, block: TokenBlock) -> CompleteBlock:
        """As `apply_token_block`, and turn this handle into a CompleteBlock."""
        self.apply_token_block(block)
        return CompleteBlock(self._pool, int(self._claim()[0]))

    def stage(
        self,
        sequence_hash: SequenceHash,
        parent: SequenceHash | None = None,
        position: int = 0,
    ) -> CompleteBlock:
        """Name what the caller has written into the block, and turn it into a CompleteBlock.

        For engines that hash on their own; the tokens stay with them. Raises
        BlockStateInvalid if the block is not Reset, and leaves the handle usable.
        """
        self._pool.stage(self, [sequence_hash], parent, position)
        return CompleteBlock(self._pool, int(self._claim()[0]))

    def reset(self) -> None:
        """Throw the content away: to Reset, from wherever it is. Clauses: KV-LIF-08"""
        self._pool.clear_block(self)

    def _partial(self, operation: Operation) -> PartialTokenBlock:
        state = self.state
        content = self._pool.slots.contents.get(self._slot)
        self._held()  # still: so what was read is this block's own, whatever other threads do
        after(operation, state)
        assert isinstance(content, PartialTokenBlock), f"Partial without tokens: {self}"
        return content


class CompleteBlock(Block):
    """Sole owner of a slot whose content is fixed: register it, or reset it."""

    __slots__ = ()

    @property
    def tokens(self) -> NDArray[np.uint32] | None:
        """The tokens, uint32[page_size], or None if the block was staged by hash alone."""
        content = self._pool.slots.contents.get(self._held())
        return None if content is None else np.asarray(content.tokens)

    def reset(self) -> MutableBlock:
        """Throw the content away and fill the block anew. Clauses: KV-LIF-08"""
        self._pool.clear_block(self)
        return MutableBlock(self._pool, int(self._claim()[0]))


class ImmutableBlock(Block):
    """One of the readers of a registered block."""

    __slots__ = ()

    @property
    def is_duplicate(self) -> bool:
        """Whether another slot answers for the same hash."""
        return self.state is State.DUPLICATE

    @property
    def use_count(self) -> int:
        """Count what keeps the block active: handles, pins, active children, duplicates."""
        return self._pool.holders(self)

    def clone(self) -> ImmutableBlock:
        """Make one more handle on the same block. O(1)."""
        return self._pool.hold_again(self)

    def downgrade(self) -> WeakBlock:
        """Turn this handle into a weak one, which keeps nothing alive."""
        slot = self._held()
        weak = WeakBlock(self._pool, slot, self._pool.slots.name_of(slot))
        self.release()
        return weak


class WeakBlock:
    """Remembers a registered block without holding it. Clauses: KV-OWN-06"""

    __slots__ = ("_content", "_hash", "_pool", "generation", "slot")

    def __init__(self, pool: Home, slot: int, sequence_hash: SequenceHash) -> None:
        self._pool = pool
        self._hash = sequence_hash
        self.slot = slot
        self.generation = int(pool.slots.records["generation"][slot])
        # To tell the block from one of equal hash and other tokens, where that is asked for.
        self._content = pool.slots.contents.get(slot)

    def sequence_hash(self) -> SequenceHash:
        """Name the block that this handle remembers."""
        return self._hash

    def upgrade(self) -> ImmutableBlock | None:
        """Hold the block again: the same slot while it lives, else whichever has the hash.

        Returns None once the hash is no longer registered. Never another block.
        """
        return self._pool.upgrade(self)

    def __repr__(self) -> str:
        return f"WeakBlock({self._hash!r})"
