"""The inside of a pool: one lock, one return queue, and what handles ask of it.

What this is
    `BlockPool` is the face; this is the room behind it. Every public call is one *turn*:
    take the lock, let the dropped blocks in, work, check, let go of the lock, deliver events.

Interface, as rules of use
    * `with self._turn as core:` around everything that reads or changes slots.
    * A turn inside a turn of the same thread (a policy that calls the pool) is refused.
    * give_back() is the only thing that finalisers do. It appends to a deque, which is
      atomic, so it can run at any time, in any thread, inside any call, and the next
      turn sees what was dropped before it.

Clauses: KV-LIF-06, KV-CON-03, KV-SHD-01, KV-OWN-04
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

import numpy as np

from kvbm.blocks.block_list import BlockList, claim_all, unclaim_all
from kvbm.blocks.handles import Block, ImmutableBlock, WeakBlock
from kvbm.blocks.home import BlockMemory, Holder
from kvbm.blocks.keys import Hashes, SequenceHash, fold, to_keys
from kvbm.blocks.lifecycle import Operation, State, after
from kvbm.blocks.slots import LARGEST_POSITION, Ids, Slots
from kvbm.errors import (
    BlockStateInvalid,
    InvalidConfig,
    NotOwnerError,
    ProgressEngineShutdown,
    ReentrantCall,
)
from kvbm.identity import PartialTokenBlock, SaltHash, TokenBlock
from kvbm.pool.changes import Change, ChangeKind, ChangeSink
from kvbm.pool.core import Names, PoolCore
from kvbm.pool.postponed import deliver
from kvbm.pool.snapshot import Counters

_CHECK: Final = os.environ.get("KVBM_CHECK", "0") not in ("", "0")
"""Whether every turn ends with `_check()`."""


class PoolHome:
    """What `BlockPool` is built on. See the module's rules of use."""

    def __init__(
        self,
        core: PoolCore,
        *,
        page_size: int,
        scheme: str,
        hash_bits: int,
        tier: str,
        events: ChangeSink | None,
    ) -> None:
        self._core = core
        self._page_size = page_size
        self._scheme = scheme
        self._hash_bits = hash_bits
        self._tier = tier
        self._events = events
        self.memory: BlockMemory | None = None  # set by who has memory for the blocks
        self._counted = Counters()
        self._closed = False
        self._returns: deque[Ids | list[int]] = deque()
        self._wakers: list[Callable[[], None]] = []  # who waits for returned blocks
        self._later: deque[ChangeSink] = deque()  # whose events wait for the end of the turn
        self._lock = threading.RLock()  # a finaliser may call in before `_in_turn` is set
        self._in_turn = False
        self._turn = _Turn(self)

    # ── turns ─────────────────────────────────────────────────────────────────────────

    @property
    def in_turn(self) -> bool:
        """Whether this thread is in the middle of a call of this pool."""
        if not self._lock.acquire(blocking=False):
            return False  # another thread may be
        inside = self._in_turn
        self._lock.release()
        return inside

    def deliver_later(self, sink: ChangeSink) -> None:
        """See `postponed.Turns`."""
        self._later.append(sink)

    def _let_in(self) -> None:
        """Release what was dropped, in the order in which it was."""
        returns = self._returns
        ids = returns.popleft()
        if returns:
            batches = [ids, *(returns.popleft() for _ in range(len(returns)))]
            # release() walks its batch backwards, so the batches go in backwards too.
            ids = np.concatenate(batches[::-1])
        self._core.release(np.asarray(ids, np.int64))

    def _wake(self) -> None:
        """Let those who wait for blocks look again."""
        for wake in tuple(self._wakers):
            wake()

    # ── what handles ask ──────────────────────────────────────────────────────────────

    @property
    def slots(self) -> Slots:
        """The slots of the pool. For handles: clients ask the pool."""
        return self._core.slots

    @property
    def page_size(self) -> int:
        """Tokens in a block."""
        return self._page_size

    @property
    def scheme(self) -> str:
        """Name of the hash scheme of the blocks that are filled here."""
        return self._scheme

    def give_back(self, ids: Ids | list[int]) -> None:
        """Queue the end of one hold on each slot; last first. Never waits, never raises."""
        if self._closed or not len(ids):
            return
        self._returns.append(ids)
        self._wake()

    # In these a holder is asked for its slots inside the turn: whoever still holds them then
    # does so until the turn ends, whatever other threads do with the same handle.

    def begin(self, holder: Holder, salt: SaltHash | int | None) -> None:
        """Start to collect tokens in an owned slot."""
        tokens = PartialTokenBlock(self._page_size, salt, scheme=self._scheme)
        with self._turn as core:
            core.slots.begin(int(holder._held_ids()[0]), tokens)

    def fill(self, holder: Holder, operation: Operation, blocks: Sequence[TokenBlock]) -> None:
        """Fix the content of owned slots, of all of them or none."""
        bits = self._hash_bits
        keys = to_keys([block.sequence_hash for block in blocks], bits).tolist()
        parents = [block.parent_sequence_hash for block in blocks]
        parent_keys = [None if parent is None else fold(parent, bits) for parent in parents]
        with self._turn as core:
            ids = holder._held_ids().tolist()
            for slot, block in zip(ids, blocks, strict=True):
                self._need_fit(core.slots.state(slot), operation, block)
            for index, (slot, block) in enumerate(zip(ids, blocks, strict=True)):
                core.slots.fill(slot, operation, keys[index], parent_keys[index], block)
                self._note_names([slot], [block.sequence_hash], parents[index])

    def _need_fit(self, state: State, operation: Operation, block: TokenBlock) -> None:
        if len(block) != self._page_size:
            sizes = f"size ({len(block)}) does not match Block page size ({self._page_size})"
            raise BlockStateInvalid(operation.label, state.block_state, f"TokenBlock {sizes}")
        if block.scheme != self._scheme:
            rule = f"a pool of scheme {self._scheme} cannot hold the block"
            raise InvalidConfig("scheme", block.scheme, rule)
        after(operation, state)

    def stage(
        self, holder: Holder, hashes: Hashes, parent: SequenceHash | None, position: int
    ) -> None:
        """Name what the owner has written into slots."""
        keys = to_keys(hashes, self._hash_bits)
        parent_key = None if parent is None else fold(parent, self._hash_bits)
        if not isinstance(position, int) or not 0 <= position <= LARGEST_POSITION - len(keys) + 1:
            rule = "must be an integer, and all positions must fit 32 bits"
            raise InvalidConfig("position", position, rule)
        with self._turn as core:
            ids = holder._held_ids()
            core.slots.stage(ids, keys, parent_key, position)
            if self._hash_bits > 64:
                self._note_names(ids.tolist(), hashes, parent)

    def adopt(self, holder: Holder, source: Slots, source_ids: Ids) -> None:
        """Make owned blocks what registered, held slots of another tier are. See Slots.adopt."""
        with self._turn as core:
            core.slots.adopt(holder._held_ids(), source, source_ids)

    def clear_block(self, holder: Holder) -> None:
        """Throw the content of an owned slot away."""
        with self._turn as core:
            core.slots.reset(int(holder._held_ids()[0]))

    def set_priority(self, holder: Holder, priority: int) -> None:
        """Set the priority of held slots."""
        if not isinstance(priority, int) or not 0 <= priority < 1 << 32:
            raise InvalidConfig("priority", priority, "must be an integer in 0 … 4294967295")
        with self._turn as core:
            core.slots.records["priority"][holder._held_ids()] = priority

    def holders(self, holder: Holder) -> int:
        """Count the holders of a held slot."""
        with self._turn as core:
            return int(core.slots.records["refs"][holder._held_ids()[0]])

    def hold_again(self, holder: Holder) -> ImmutableBlock:
        """Make one more handle on a registered slot that is held."""
        with self._turn as core:
            ids = holder._held_ids()
            core.acquire(ids)
            return ImmutableBlock(self, int(ids[0]))

    def upgrade(self, weak: WeakBlock) -> ImmutableBlock | None:
        """Find the block of a weak handle: its own slot while that is held, else by hash."""
        name = weak.sequence_hash()
        with self._turn as core:
            record = core.slots.records[weak.slot]
            live = record["generation"] == weak.generation and record["refs"] > 0
            if live:
                ids = np.array([weak.slot])
            else:
                ids = self._named(
                    [name], core.registry.find_prefix(to_keys([name], self._hash_bits))
                )
                if len(ids) and not self._agrees(int(ids[0]), weak._content):
                    ids = ids[:0]
            core.acquire(ids)
            return ImmutableBlock(self, int(ids[0])) if len(ids) else None

    # ── names, events, ownership ──────────────────────────────────────────────────────

    def _note_names(
        self,
        ids: Sequence[int],
        hashes: Hashes,
        parent: SequenceHash | None,
    ) -> None:
        """Keep hashes that are longer than a key beside their slots."""
        if self._hash_bits > 64:
            for slot, name in zip(ids, hashes, strict=True):
                self._core.slots.names[slot] = (name, parent)
                parent = name

    def _named(self, hashes: Hashes, ids: Ids) -> Ids:
        """Keep the slots that are really those of `hashes`, up to the first that is not."""
        if self._core.slots.names:
            for index, slot in enumerate(ids.tolist()):
                if self._core.slots.name_of(slot) != hashes[index]:
                    return ids[:index]
        return ids

    def _agrees(self, slot: int, content: PartialTokenBlock | TokenBlock | None) -> bool:
        """Whether a registered slot may be taken for a block of equal hash and this content."""
        raise NotImplementedError

    def _tell_stored(self, ids: Ids) -> None:
        if self._events is None or not len(ids):
            return
        slots, listed = self._core.slots, ids.tolist()
        contents = [slots.contents.get(slot) for slot in listed] if slots.contents else ()
        change = Change(
            ChangeKind.STORED,
            self._tier,
            self._scheme,
            self._page_size,
            sequence_hashes=slots.names_of(ids),
            parent_sequence_hashes=slots.parent_names_of(ids),
            positions=slots.records["position"][ids].tolist(),
            tokens=[
                content.tokens if isinstance(content, TokenBlock) else None for content in contents
            ]
            or [None] * len(listed),
            priorities=slots.records["priority"][ids].tolist(),
        )
        self._events.append(change)

    def _tell_removed(self, names: Names) -> None:
        if self._events is None or not len(names):
            return
        listed = names.tolist() if isinstance(names, np.ndarray) else names
        self._events.append(
            Change(ChangeKind.REMOVED, self._tier, self._scheme, self._page_size, listed)
        )

    def _claim(self, blocks: BlockList[Any] | Sequence[Block]) -> tuple[Ids, Callable[[], None]]:
        """End the holds of `blocks` for a call to take over; also give what undoes that."""
        if isinstance(blocks, BlockList):
            if blocks._pool is not self:
                raise NotOwnerError(repr(blocks))
            return blocks._claim(), blocks._unclaim
        handles = list(blocks)
        for handle in handles:
            if handle._pool is not self:
                raise NotOwnerError(repr(handle))
        return claim_all(handles), lambda: unclaim_all(handles)


class _Turn:
    """One call's time with the pool. Not a generator: entering one costs half as much."""

    __slots__ = ("_home",)

    def __init__(self, home: PoolHome) -> None:
        self._home = home

    def __enter__(self) -> PoolCore:
        home = self._home
        home._lock.acquire()
        if home._in_turn:
            home._lock.release()
            raise ReentrantCall
        home._in_turn = True
        try:
            if home._closed:
                raise ProgressEngineShutdown
            if home._returns:
                home._let_in()
        except BaseException:  # such as a policy of the user's raises
            home._in_turn = False
            home._lock.release()
            raise
        return home._core

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        home = self._home
        try:
            if _CHECK:
                home._core._check()
        finally:
            home._in_turn = False
            home._lock.release()
        if home._events is not None:
            deliver(home._events)
        while home._later:
            with suppress(IndexError):  # another thread was quicker
                deliver(home._later.popleft())
