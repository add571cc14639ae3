"""Abilities: what this package's pool can do beside the calls that every pool has.

What this is
    The further protocols of `kvbm_spec.abilities`, each a few lines on `PoolManager`.

Clauses: KV-LIF-03, KV-OWN-06, KV-EVT-05, KV-CON-03, KV-OBS-01
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias
from weakref import finalize

from kvbm_spec.subject import Key, SubjectError

from kvbm.blocks import BlockList, CompleteBlock, ImmutableBlock, MutableBlock, State, WeakBlock
from kvbm.blocks.handles import Block
from kvbm.cli.subject.pool import KINDS, PoolManager, plain, refusals
from kvbm.errors import BlockStateInvalid, NotEnoughBlocksAvailable, TokenBlockFull
from kvbm.events import EventBatch, Gap
from kvbm.pool import EvictionMode

Waiter: TypeAlias = "asyncio.Task[BlockList[MutableBlock]]"


class KvbmManager(PoolManager):
    """A BlockPool with all that it can do."""

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """Where the coroutines of those who wait run, a few steps at a time."""
        loop = asyncio.new_event_loop()
        finalize(self, loop.close)  # after a close, those who wait still ask once
        return loop

    # ── Batching ──────────────────────────────────────────────────────────────────────

    def allocate_batch(self, n: int) -> BlockList[MutableBlock] | None:
        """Take blocks, or none."""
        with refusals():
            try:
                return self.pool.allocate_blocks(n)
            except NotEnoughBlocksAvailable:
                return None

    def stage_batch(
        self, batch: BlockList[MutableBlock], keys: Sequence[Key], parent: Key | None
    ) -> BlockList[MutableBlock]:
        """Name the blocks of a list, which stays the same one."""
        with refusals():
            batch.stage(keys, parent=parent)
            return batch

    def register_batch(self, batch: BlockList[MutableBlock]) -> BlockList[ImmutableBlock]:
        """Publish a list."""
        with refusals():
            return self.pool.register_blocks(batch)

    def match_batch(self, keys: Sequence[Key]) -> BlockList[ImmutableBlock]:
        """Hold the longest prefix."""
        with refusals():
            return self.pool.match_sequence_hashes(keys)

    def release_batch(self, batch: BlockList[Any]) -> None:
        """Let go of a list."""
        with refusals():
            batch.release()
            self.pool.available_blocks()  # a drop is seen by the next call: this one

    # ── Listing ───────────────────────────────────────────────────────────────────────

    def register_all(self, handles: Sequence[Block]) -> list[ImmutableBlock]:
        """Publish blocks that were taken one by one."""
        with refusals():
            return list(self.pool.register_blocks([_owned(handle) for handle in handles]))

    # ── Filling ───────────────────────────────────────────────────────────────────────

    def append(self, handle: Block, tokens: Sequence[int]) -> None:
        """Add tokens to a block that is being written, all or none."""
        with refusals():
            block = _mutable(handle, "add tokens to")
            if block.state is State.RESET:
                block.init_sequence()
            if len(tokens) > block.remaining:
                raise TokenBlockFull(block.page_size)
            block.add_tokens(tokens)

    def commit(self, handle: Block) -> tuple[Block, Any]:
        """Fix the content of a full block; its handle stays the same."""
        with refusals():
            block = _mutable(handle, "commit")
            block.commit()
            return block, plain(block.sequence_hash())

    # ── Clearing, Pinning, Prioritizing ───────────────────────────────────────────────

    def evict_all(self) -> int:
        """Empty all inactive blocks."""
        with refusals():
            return self.pool.trigger_eviction(EvictionMode.AGGRESSIVE)

    def forget(self, keys: Sequence[Key]) -> list[Key]:
        """Empty the inactive ones among these."""
        with refusals():
            return [plain(key) for key in self.pool.reset_blocks(keys).reset_blocks]

    def pin(self, keys: Sequence[Key]) -> None:
        """Keep blocks without a handle."""
        with refusals():
            self.pool.pin_blocks(keys)

    def unpin(self, keys: Sequence[Key]) -> None:
        """Undo one pin of each."""
        with refusals():
            self.pool.unpin_blocks(keys)

    def prioritize(self, handle: Block, priority: int) -> None:
        """Set the priority of a held block."""
        with refusals():
            handle.priority = priority

    # ── Remembering ───────────────────────────────────────────────────────────────────

    def downgrade(self, handle: Block) -> WeakBlock:
        """Let go of a block, and remember it."""
        with refusals():
            return _registered(handle, "downgrade").downgrade()

    def upgrade(self, weak: WeakBlock) -> ImmutableBlock | None:
        """Hold the block again, if it is there."""
        with refusals():
            return weak.upgrade()

    # ── Waiting, Resizing ─────────────────────────────────────────────────────────────

    def wait(self, n: int) -> Waiter:
        """Queue as a coroutine does."""
        return self._loop.create_task(self.pool.wait_for_blocks(n))

    def ready(self, ticket: Waiter) -> list[MutableBlock] | None:
        """Let the coroutines go on, and look."""
        for _ in range(3):  # a wake-up, what it leads to, and the end of that
            self._loop.run_until_complete(asyncio.sleep(0))
        if ticket.cancelled():
            raise SubjectError("Cancelled", "the task was cancelled")
        with refusals():
            return list(ticket.result()) if ticket.done() else None

    def cancel(self, ticket: Waiter) -> None:
        """Cancel the coroutine."""
        ticket.cancel()

    def resize(self, slots: int) -> int:
        """Grow."""
        grown = slots - self.pool.total_blocks()
        if grown < 0:
            raise SubjectError("Unsupported", "a pool does not shrink")
        with refusals():
            self.pool.add_blocks(grown)
        return self.pool.total_blocks()

    # ── Logging, Notifying, Counting ──────────────────────────────────────────────────

    def log(self, after: int) -> list[tuple[int, str, Key | None, Mapping[str, Any]]]:
        """Give events, each with the number of its batch."""
        batches = self.told.reader(after + 1).read()
        return [event for batch in batches for event in _numbered(batch)]

    def registered(self) -> tuple[int, set[Key]]:
        """Give the number of the last batch, and what is registered after it."""
        seen = self.pool.snapshot()
        return seen.next_number - 1, {plain(name) for _, name in seen.stored}

    def subscribe(self, callback: Callable[[str, Key | None], None]) -> None:
        """Call for every block of every later batch."""

        def called(batch: EventBatch | Gap) -> None:
            for _, kind, key, _ in _numbered(batch):
                callback(kind, key)

        self.told.subscribe(called)

    def counters(self) -> Mapping[str, int]:
        """Read the statistics of the pool."""
        seen = self.pool.statistics()
        return {
            "allocated": seen.allocated,
            "registered": seen.registered,
            "deduplicated": seen.deduplicated,
            "evicted": seen.evicted,
            "queried": seen.requested,
            "hits": seen.matched,
            "free": seen.empty,
            "inactive": seen.inactive,
            "active": seen.active,
        }


def _numbered(batch: EventBatch | Gap) -> Iterator[tuple[int, str, Key, Mapping[str, Any]]]:
    """Take a batch apart."""
    assert isinstance(batch, EventBatch), f"the log keeps all batches, and has lost {batch}"
    change = batch.change
    for block in change.blocks:
        fields: dict[str, Any] = {"tier": change.tier, "group": change.group}
        if block.position is not None:
            start = block.position * change.block_size
            fields |= {
                "parent": block.parent_sequence_hash,
                "span": (start, start + change.block_size),
            }
        yield batch.number, KINDS[change.kind], plain(block.sequence_hash), fields


def _mutable(handle: Block, operation: str) -> MutableBlock:
    if not isinstance(handle, MutableBlock):
        raise BlockStateInvalid(operation, handle.state.block_state, "It is not being written.")
    return handle


def _owned(handle: Block) -> MutableBlock | CompleteBlock:
    if not isinstance(handle, MutableBlock | CompleteBlock):
        raise BlockStateInvalid("register", handle.state.block_state, "It is shared.")
    return handle


def _registered(handle: Block, operation: str) -> ImmutableBlock:
    if not isinstance(handle, ImmutableBlock):
        raise BlockStateInvalid(operation, handle.state.block_state, "It is not registered.")
    return handle
