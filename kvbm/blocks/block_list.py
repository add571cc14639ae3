"""BlockList: many blocks, one guard.

What this is
    What allocate, register and match return: a sequence of handles that costs one object
    however many blocks there are. Handles are made when somebody asks for one.

Interface, as rules of use
    * A list holds each of its blocks once. `with`, release(), close() or dropping it ends
      that, last block first, so that leaves go before their parents.
    * `blocks[i]` gives a handle that takes over that block's hold: it outlives the list,
      and the list still knows it, so `register_blocks(blocks)` consumes both. Once such a
      handle is used up on its own, calls on the list as a whole refuse with StaleHandleError,
      and the end of a `with` gives the other blocks back.
    * stage() and apply_token_blocks() fill a list of mutable blocks in one call.
    * `await blocks` gives the list: where an asynchronous API is expected, it fits.

Clauses: KV-LIF-02, KV-LIF-06
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

import numpy as np

from kvbm.blocks.handles import Block
from kvbm.blocks.home import Home
from kvbm.blocks.keys import Hashes, SequenceHash
from kvbm.blocks.lifecycle import Operation, State
from kvbm.blocks.slots import Ids
from kvbm.errors import BlockNotComplete, StaleHandleError, TokenBlockError
from kvbm.identity import TokenBlock

B = TypeVar("B", bound=Block)


class BlockList(Sequence[B], Generic[B]):
    """A guard over slots `ids` of `pool`, seen as handles of class `kind`."""

    __slots__ = ("__weakref__", "_handles", "_hold", "_ids", "_kind", "_pool")

    def __init__(self, pool: Home, ids: Ids, kind: type[B]) -> None:
        self._pool = pool
        self._ids = ids
        self._kind = kind
        self._hold = [ids]  # as in Block: who pops it ends it
        self._handles: dict[int, B] = {}

    @property
    def block_ids(self) -> list[int]:
        """Slot numbers, in order."""
        ids: list[int] = self._held_ids().tolist()
        return ids

    def sequence_hashes(self) -> list[SequenceHash]:
        """Name each block, in order. Raises BlockNotComplete unless all have content."""
        self._held_ids()
        slots = self._pool.slots
        for slot in self._ids[slots.records["state"][self._ids] < State.COMPLETE][:1].tolist():
            raise BlockNotComplete(slot, slots.state(slot).block_state)
        return slots.names_of(self._ids)

    def set_priority(self, priority: int) -> None:
        """Give all blocks one priority: lower ones are evicted first."""
        self._pool.set_priority(self, priority)

    def stage(
        self,
        sequence_hashes: Hashes,
        *,
        parent: SequenceHash | None = None,
        position: int = 0,
    ) -> None:
        """Name what the caller has written into the blocks, each the parent of the next.

        Parameters
        ----------
        sequence_hashes : uint64[blocks] or sequence
            One a block, in order.
        parent
            Hash of the block before the first; None if that is the first of its sequence.
        position
            Index of the first block in its sequence.

        Raises
        ------
        BlockStateInvalid
            A block is not Reset. Nothing has changed.
        TokenBlockError
            There are more or fewer hashes than blocks. Nothing has changed.
        """
        self._held()
        self._need_one_each(len(sequence_hashes), "hashes")
        self._pool.stage(self, sequence_hashes, parent, position)

    def apply_token_blocks(self, token_blocks: Sequence[TokenBlock]) -> None:
        """Fill the blocks with whole token blocks, in order. Raises as `stage`."""
        self._held()
        self._need_one_each(len(token_blocks), "token blocks")
        self._pool.fill(self, Operation.APPLY_TOKEN_BLOCK, token_blocks)

    def split(self, index: int) -> tuple[BlockList[B], BlockList[B]]:
        """Part the list at `index`; this list is used up."""
        self._claim()
        first = BlockList(self._pool, self._ids[:index], self._kind)
        second = BlockList(self._pool, self._ids[index:], self._kind)
        for position, handle in self._handles.items():
            target, offset = (first, 0) if position < len(first) else (second, len(first))
            target._handles[position - offset] = handle
            handle._unclaim()
        self._handles = {}
        return first, second

    def release(self) -> None:
        """Give all blocks back, last first. Raises StaleHandleError the second time."""
        self._pool.give_back(self._claim())

    def close(self) -> None:
        """Give back what the list still holds, last first; nothing if it is used up."""
        if self._hold and all(handle._hold for handle in self._handles.values()):
            self.release()
        elif self._hold:  # some blocks were used up one by one; the others go now
            ids = self._hold.pop()
            for index in range(len(ids) - 1, -1, -1):
                handle = self._handles.get(index)
                if handle is None:
                    self._pool.give_back(ids[index : index + 1])
                elif handle._hold:
                    handle.release()

    def to_list(self) -> list[B]:
        """Make a handle for each block."""
        return list(self)

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> B: ...
    @overload
    def __getitem__(self, index: slice) -> list[B]: ...
    def __getitem__(self, index: int | slice) -> B | list[B]:
        """Make a handle, or give the one made before; a slice gives a list of them."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self._ids)))]
        self._held()
        if not -len(self._ids) <= index < len(self._ids):
            raise IndexError(f"block {index} of {len(self._ids)}")
        index %= len(self._ids)
        handle = self._handles.get(index)
        if handle is None:
            handle = self._handles[index] = self._kind(self._pool, int(self._ids[index]))
        return handle

    def __await__(self) -> Generator[Any, None, Self]:
        yield from ()
        return self

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
        try:
            if not self._hold:
                return  # used up: the common case, and an exception would cost more than all else
            ids = self._hold.pop()
        except (AttributeError, IndexError):
            return  # never finished, or another thread was quicker
        if not self._handles:
            self._pool.give_back(ids)
            return
        # Handles that live elsewhere keep their blocks; the others die here, in order.
        for index in range(len(ids) - 1, -1, -1):
            if self._handles.pop(index, None) is None:
                self._pool.give_back(ids[index : index + 1])

    def __repr__(self) -> str:
        kind = self._kind.__name__
        return f"BlockList[{kind}]({self._ids.tolist() if self._hold else 'used up'})"

    def _held(self) -> None:
        if not self._hold:
            raise StaleHandleError(repr(self))

    def _held_ids(self) -> Ids:
        self._held()
        for handle in self._handles.values():
            handle._held()
        return self._ids

    def _claim(self) -> Ids:
        """End the list's holds and those of its handles, for the caller to pass on."""
        try:
            ids = self._hold.pop()
        except IndexError:
            raise StaleHandleError(repr(self)) from None
        if self._handles:
            try:
                claim_all(self._handles.values())
            except StaleHandleError:
                self._hold.append(ids)
                raise
        return ids

    def _unclaim(self) -> None:
        self._hold.append(self._ids)
        for handle in self._handles.values():
            handle._unclaim()

    def _need_one_each(self, count: int, what: str) -> None:
        if count != len(self._ids):
            raise TokenBlockError(f"{count} {what} for {len(self._ids)} blocks; give one each")


def claim_all(blocks: Iterable[Block]) -> Ids:
    """End the hold of each handle, or of none.

    Raises
    ------
    StaleHandleError
        One of them was used up before, or is given twice. All others stay usable.
    """
    claimed: list[Block] = []
    ids: list[int] = []
    try:
        for block in blocks:
            ids.append(int(block._claim()[0]))
            claimed.append(block)
    except StaleHandleError:
        unclaim_all(claimed)
        raise
    return np.array(ids, np.int64)


def unclaim_all(blocks: Iterable[Block]) -> None:
    """Undo `claim_all`."""
    for block in blocks:
        block._unclaim()
