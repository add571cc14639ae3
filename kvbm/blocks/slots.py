"""Slots: the places for blocks, and every transition of many of them at once.

What this is
    One record of fixed size per slot, in one array, and the loops that walk a batch
    of slots through the table of `lifecycle`. A slot that is held has `refs` ≥ 1.
    A holder is a handle, a pin, or another slot: an active child holds its parent,
    and a duplicate holds its primary, through the link `holds`.

Interface, as rules of use
    * allocate() → stage() → publish → release() is the path of one block.
    * release() removes one holder of each slot, last slot of the batch first.
    * The two steps that must know which slot answers for a hash, to publish and to hold,
      are loops over the same records in `kvbm.pool.registry`.
    * Ticks count acquires and returns. They order nothing themselves: a policy keeps its
      slots in the order of their return. They say how old a block is.
    * A batch is an int64 array of slot ids. Nothing here knows which slots are empty
      or which hash is registered: the pool does, and acts on what is returned.
    * The numbers of `State` and `Operation` are frozen into compiled code: append to
      them, never renumber.

Clauses: KV-LIF-01, KV-LIF-04, KV-LIF-07, KV-OWN-01, KV-OWN-03
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kvbm.blocks.lifecycle import AFTER, REFUSED, Operation, State, after
from kvbm.compiled import compiled
from kvbm.identity import PartialTokenBlock, TokenBlock

Ids: TypeAlias = NDArray[np.int64]
"""int64[blocks]: slot ids in a meaningful order."""

Keys: TypeAlias = NDArray[np.uint64]
"""uint64[blocks]: sequence hashes, or 64 bits of longer ones."""

NONE: Final = -1
"""No slot."""

LARGEST_POSITION: Final = (1 << 32) - 1
"""Index in its sequence that a block can have at most."""

NO_IDS: Final[Ids] = np.empty(0, np.int64)
"""No slots."""

SLOT: Final = np.dtype(
    [
        ("key", "u8"),  # sequence hash, valid from Complete on
        ("parent_key", "u8"),  # sequence hash of the parent, valid if has_parent
        ("holds", "i8"),  # the slot that this one keeps active, or NONE
        ("acquired", "i8"),  # tick of the last allocation
        ("returned", "i8"),  # tick of the last return
        ("refs", "i4"),  # holders
        ("generation", "u4"),  # tenants so far: a stale reference is told by it
        ("priority", "u4"),  # lower is evicted first
        ("position", "u4"),  # index of the block in its sequence
        ("state", "u1"),
        ("has_parent", "u1"),
        ("padding", "u2"),  # a record is 64 bytes: one line of a CPU's cache
        ("pins", "u4"),  # holders that are pins
    ]
)

_ROOT: Final = np.uint64(0)

Records: TypeAlias = NDArray[Any]
"""SLOT[slots]."""


class Released(NamedTuple):
    """What `Slots.release` did, in order of return."""

    resting: Ids  # active before, inactive now
    emptied: Ids  # empty now


class Slots:
    """`count` slots, all of them empty at first."""

    def __init__(self, count: int) -> None:
        self.records: Records = _empty_records(count)
        # Only what does not fit a record, and only for slots that have it:
        self.contents: dict[int, PartialTokenBlock | TokenBlock] = {}  # the tokens
        self.names: dict[int, tuple[int | bytes, int | bytes | None]] = {}  # long hash, parent's
        self.tick = 0
        # A release can let any number of ancestors go: room for all, made once.
        self._resting = np.empty(count, np.int64)
        self._emptied = np.empty(count, np.int64)

    def __len__(self) -> int:
        return len(self.records)

    def grow(self, more: int) -> Ids:
        """Add `more` empty slots and return their ids. O(slots)."""
        before = len(self.records)
        self.records = np.concatenate([self.records, _empty_records(more)])
        self._resting = np.empty(len(self.records), np.int64)
        self._emptied = np.empty(len(self.records), np.int64)
        return np.arange(before, before + more, dtype=np.int64)

    def state(self, slot: int) -> State:
        """Tell the state of one slot. O(1)."""
        return State(self.records["state"][slot])

    def allocate(self, ids: Ids) -> None:
        """Hand slots, empty or just evicted, to one writer: everything of the last tenant goes.

        Complexity: O(blocks). Clauses: KV-LIF-04, KV-OWN-01
        """
        self.forget(ids)
        _allocate(self.records, AFTER, ids, self.tick)
        self.tick += ids.size

    def stage(
        self, ids: Ids, keys: Keys, parent: int | None, position: int, *, chained: bool = True
    ) -> None:
        """Fix what the blocks hold: `keys`, each the parent of the next; from Reset to Complete.

        Parameters
        ----------
        ids, keys : int64[blocks], uint64[blocks]
        parent
            Sequence hash of the block before the first, or None for a root.
        position
            Index of the first block in its sequence.
        chained
            False: these blocks have no parents, for simulators that know of none.

        Raises
        ------
        BlockStateInvalid
            One of the blocks is not Reset. Nothing has changed.
        """
        has_parent, parent_key = parent is not None, np.uint64(parent) if parent else _ROOT
        wrong = _stage(self.records, AFTER, ids, keys, has_parent, parent_key, position, chained)
        if wrong != NONE:
            after(Operation.STAGE, self.state(wrong))  # raises: the loop has changed nothing

    def adopt(self, ids: Ids, source: Slots, source_ids: Ids) -> None:
        """Make owned slots what registered, held slots of another tier are: to Complete.

        Hashes, parents, positions, priorities and tokens are taken over; ticks are not.

        Raises
        ------
        BlockStateInvalid
            One of the slots is not Reset. Nothing has changed.

        Complexity
        ----------
        O(blocks).
        """
        states = self.records["state"][ids]
        for wrong in ids[states != State.RESET][:1].tolist():
            after(Operation.STAGE, self.state(wrong))  # raises
        for name in ("key", "parent_key", "has_parent", "position", "priority"):
            self.records[name][ids] = source.records[name][source_ids]
        self.records["state"][ids] = after(Operation.STAGE, State.RESET)
        if source.contents or source.names:
            for slot, original in zip(ids.tolist(), source_ids.tolist(), strict=True):
                if original in source.contents:
                    self.contents[slot] = source.contents[original]
                if original in source.names:
                    self.names[slot] = source.names[original]

    def begin(self, slot: int, tokens: PartialTokenBlock) -> None:
        """Start to collect tokens: from Reset to Partial. Raises BlockStateInvalid."""
        self.records["state"][slot] = after(Operation.INIT_SEQUENCE, self.state(slot))
        self.contents[slot] = tokens

    def fill(
        self, slot: int, operation: Operation, key: int, parent_key: int | None, block: TokenBlock
    ) -> None:
        """Fix the content of one slot: to Complete, by `operation`. Raises BlockStateInvalid."""
        state = after(operation, self.state(slot))
        record = self.records[slot]
        record["key"] = key
        record["parent_key"] = parent_key or 0
        record["has_parent"] = parent_key is not None
        record["position"] = block.position
        record["state"] = state
        self.contents[slot] = block

    def reset(self, slot: int) -> None:
        """Throw the content of an owned slot away. Raises BlockStateInvalid. KV-LIF-08"""
        state = after(Operation.RESET, self.state(slot))
        self.wipe(np.array([slot]))
        self.records["state"][slot] = state

    def release(self, ids: Ids) -> Released:
        """Remove one holder from each slot, last of `ids` first.

        A slot without holders rests (registered) or is emptied, and lets go of the slot that
        it holds, so leaves return before their parents. A loop, no recursion.

        Complexity: O(blocks + ancestors that come to rest). Clauses: KV-LIF-06, KV-LIF-07
        """
        rested, freed = _release(self.records, AFTER, ids, self.tick, self._resting, self._emptied)
        self.tick += rested + freed
        if not freed:
            return Released(self._resting[:rested].copy(), NO_IDS)
        result = Released(self._resting[:rested].copy(), self._emptied[:freed].copy())
        self.forget(result.emptied)
        return result

    def touch(self, ids: Ids) -> None:
        """Note inactive slots as returned now, in this order. O(blocks)."""
        self.records["returned"][ids] = np.arange(self.tick, self.tick + len(ids))
        self.tick += len(ids)

    def clear(self, ids: Ids) -> None:
        """Empty inactive slots. O(blocks). Clauses: KV-LIF-04"""
        _clear(self.records, AFTER, ids)
        self.wipe(ids)

    def wipe(self, ids: Ids) -> None:
        """Forget what the slots held. O(blocks). Clauses: KV-LIF-04, KV-LIF-08"""
        _wipe_all(self.records, ids)
        self.forget(ids)

    def name_of(self, slot: int) -> int | bytes:
        """Give the whole sequence hash of a slot from Complete on. O(1)."""
        return self.names[slot][0] if slot in self.names else int(self.records["key"][slot])

    def parent_name_of(self, slot: int) -> int | bytes | None:
        """Give the whole sequence hash of its parent, or None for a root. O(1)."""
        if slot in self.names:
            return self.names[slot][1]
        record = self.records[slot]
        return int(record["parent_key"]) if record["has_parent"] else None

    def names_of(self, ids: Ids) -> list[int | bytes]:
        """Give `name_of` each slot. O(slots)."""
        if self.names:
            return [self.name_of(slot) for slot in ids.tolist()]
        keys: list[int | bytes] = self.records["key"][ids].tolist()
        return keys

    def parent_names_of(self, ids: Ids) -> list[int | bytes | None]:
        """Give `parent_name_of` each slot. O(slots)."""
        if self.names:
            return [self.parent_name_of(slot) for slot in ids.tolist()]
        keys: list[int | bytes | None] = self.records["parent_key"][ids].tolist()
        for index in np.flatnonzero(self.records["has_parent"][ids] == 0).tolist():
            keys[index] = None
        return keys

    def forget(self, ids: Ids) -> None:
        """Drop the tokens and names that belong to `ids`. O(1) where none are kept."""
        if self.contents or self.names:
            for slot in ids.tolist():
                self.contents.pop(slot, None)
                self.names.pop(slot, None)

    def _check(self) -> None:
        """Assert what each record must satisfy on its own and with the slot that it holds."""
        records = self.records
        held = np.isin(records["state"], (State.EMPTY, State.INACTIVE), invert=True)
        assert ((records["refs"] > 0) == held).all(), f"KV-OWN-03: refs and state disagree: {self}"
        holding = records["holds"] != NONE
        assert not (holding & ~held).any(), f"KV-OWN-03: a slot without holders holds: {self}"
        kept = records[records["holds"][holding]]
        assert (kept["state"] == State.ACTIVE).all(), f"KV-OWN-03: holds an idle slot: {self}"
        links = np.bincount(records["holds"][holding], minlength=len(records))
        known = links + records["pins"]
        assert (known <= records["refs"]).all(), f"KV-OWN-03: more holders than refs: {self}"
        fresh = records["state"] == State.EMPTY
        for field in ("priority", "pins", "position", "has_parent", "key", "parent_key"):
            assert not records[field][fresh].any(), f"KV-LIF-04: {field} outlived its block: {self}"
        filled = {int(State.PARTIAL), int(State.COMPLETE), *(int(s) for s in State if s >= 4)}
        for slot in self.contents:
            assert int(records["state"][slot]) in filled, f"KV-LIF-08: tokens remain in {slot}"

    def __str__(self) -> str:
        rows = (
            f"{slot}:{State(record['state'])} refs {record['refs']}"
            + (f" key {record['key']}" if record["state"] >= State.COMPLETE else "")
            + (f" holds {record['holds']}" if record["holds"] != NONE else "")
            for slot, record in enumerate(self.records)
        )
        return "\n".join(rows)


def _empty_records(count: int) -> Records:
    records = np.zeros(count, SLOT)
    records["holds"] = NONE
    return records


# ── the loops ─────────────────────────────────────────────────────────────────────────────


@compiled
def _wipe(slot: Any) -> None:
    """Forget the last tenant. KV-LIF-04"""
    slot.key = 0
    slot.parent_key = 0
    slot.has_parent = 0
    slot.position = 0
    slot.priority = 0
    slot.pins = 0


@compiled
def _allocate(records: Records, after: Any, ids: Ids, tick: int) -> None:
    for slot_id in ids:
        slot = records[slot_id]
        _wipe(slot)
        slot.state = after[Operation.ALLOCATE.value, slot.state]
        slot.refs = 1
        slot.generation += 1
        slot.acquired = tick
        tick += 1


@compiled
def _stage(
    records: Records,
    after: Any,
    ids: Ids,
    keys: Keys,
    has_parent: bool,
    parent_key: np.uint64,
    position: int,
    chained: bool,
) -> int:
    """Stage all of `ids` and return NONE, or none of them and return one that cannot be."""
    for slot_id in ids:
        if after[Operation.STAGE.value, records[slot_id].state] == REFUSED:
            return int(slot_id)
    for index in range(ids.size):
        slot = records[ids[index]]
        slot.state = after[Operation.STAGE.value, slot.state]
        slot.key = keys[index]
        slot.parent_key = parent_key
        slot.has_parent = has_parent
        slot.position = position
        if chained:
            parent_key = keys[index]
            has_parent = True
            position += 1
    return NONE


@compiled
def _release(
    records: Records, after: Any, ids: Ids, tick: int, resting: Ids, emptied: Ids
) -> tuple[int, int]:
    n_resting = n_emptied = 0
    for slot_id in ids[::-1]:
        while slot_id != NONE:
            slot = records[slot_id]
            if slot.refs == 0:
                raise ValueError("KV-LIF-07: a slot without holders was released")
            slot.refs -= 1
            if slot.refs > 0:
                break
            if slot.state == State.ACTIVE:
                resting[n_resting] = slot_id
                n_resting += 1
            else:
                emptied[n_emptied] = slot_id
                n_emptied += 1
                _wipe(slot)
            slot.state = after[Operation.RELEASE.value, slot.state]
            slot.returned = tick
            tick += 1
            # Up to the parent (or primary) that this slot held.
            slot_id = slot.holds
            slot.holds = NONE
    return n_resting, n_emptied


@compiled
def _clear(records: Records, after: Any, ids: Ids) -> None:
    for slot_id in ids:
        slot = records[slot_id]
        slot.state = after[Operation.CLEAR.value, slot.state]


@compiled
def _wipe_all(records: Records, ids: Ids) -> None:
    for slot_id in ids:
        _wipe(records[slot_id])
