"""Pool: BlockPool with the calls that the suite makes of every pool.

What this is
    The adapter between `kvbm_spec.subject` and this package's own pool: names and errors
    are translated, and nothing is decided here. An example for adapters of other pools.

Interface, as rules of use
    * `abilities` adds what this pool can do beside that.
    * A pool has no bytes: the adapter keeps eight of them for each slot.

Clauses: KV-LIF-01, KV-LIF-02, KV-INT-01
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import kvbm_spec.subject as spec
from kvbm_spec.subject import Event, Key, PoolConfig, PoolSnapshot, SlotView

from kvbm.blocks import CompleteBlock, MutableBlock, State
from kvbm.blocks.handles import Block
from kvbm.errors import BlockStateInvalid, KvbmError
from kvbm.events import EventBatch, EventLog
from kvbm.pool import BlockPool
from kvbm.pool.changes import ChangeKind

_STATES = {
    State.EMPTY: "free",
    State.RESET: "mutable",
    State.PARTIAL: "mutable",
    State.COMPLETE: "staged",
    State.ACTIVE: "active",
    State.INACTIVE: "inactive",
    State.DUPLICATE: "duplicate",
}

KINDS = {ChangeKind.STORED: "Stored", ChangeKind.REMOVED: "Removed"}
"""Words of the suite for what a pool tells."""


class PoolManager:
    """One BlockPool. See `kvbm_spec.subject.Manager` for the methods."""

    def __init__(self, config: PoolConfig, scheme: str = "dynamo") -> None:
        self.told = EventLog(keep=1 << 20)
        self._events = self.told.reader()
        self.pool = BlockPool(
            config.slots,
            page_size=config.block_size,
            scheme=scheme,
            policy=config.policy,
            duplicates=config.duplicates,
            events=self.told,
        )
        self._bytes: dict[int, bytes] = {}
        self._positions: dict[Key, int] = {}  # the suite tells parents, and no positions

    # ── Manager ───────────────────────────────────────────────────────────────────────

    def allocate(self, n: int) -> list[Block] | None:
        """Take blocks, or none."""
        with refusals():
            if n > self.pool.available_blocks():
                return None
            return list(self.pool.allocate_blocks(n))

    def stage(self, handle: Block, key: Key, parent: Key | None = None) -> Block:
        """Name a block that is being written."""
        with refusals():
            if not isinstance(handle, MutableBlock):
                raise BlockStateInvalid("stage", handle.state.block_state, "It is not Reset.")
            position = 0 if parent is None else self._positions.get(parent, -1) + 1
            self._positions[key] = position
            return handle.stage(key, parent, position)

    def register(self, handle: Block) -> Block:
        """Publish a staged block."""
        with refusals():
            if not isinstance(handle, MutableBlock | CompleteBlock):
                raise BlockStateInvalid("register", handle.state.block_state, "It is shared.")
            return self.pool.register_blocks([handle])[0]

    def match(self, keys: Sequence[Key]) -> list[Block]:
        """Hold the longest prefix."""
        with refusals():
            return list(self.pool.match_sequence_hashes(keys))

    def scan(self, keys: Sequence[Key]) -> dict[Key, Block]:
        """Hold all that are there."""
        with refusals():
            found = self.pool.scan_matches(keys)
            return {plain(key): block for key, block in found.items()}

    def release(self, handle: Block) -> None:
        """Let go of one block."""
        with refusals():
            handle.release()  # which the next call of the pool sees

    def reset(self, handle: Block) -> Block:
        """Throw the content away."""
        with refusals():
            if isinstance(handle, CompleteBlock):
                return handle.reset()
            if not isinstance(handle, MutableBlock):
                raise BlockStateInvalid("reset", handle.state.block_state, "It is shared.")
            handle.reset()
            return MutableBlock(self.pool, int(handle._claim()[0]))

    def drain_events(self) -> list[Event]:
        """Tell what was stored and removed since the last time."""
        return [
            Event(KINDS[batch.change.kind], plain(key))
            for batch in self._events.read()
            if isinstance(batch, EventBatch)
            for key in batch.change.sequence_hashes
        ]

    def close(self) -> None:
        """End the pool."""
        self.pool.close()

    # ── Inspectable, Storing ──────────────────────────────────────────────────────────

    def snapshot(self) -> PoolSnapshot:
        """Read the records of all slots."""
        available = self.pool.available_blocks()  # first: it lets in what was released
        core = self.pool._core
        slots = tuple(
            SlotView(
                _STATES[State(record["state"])],
                record["key"] if record["state"] >= State.COMPLETE else None,
                record["refs"],
            )
            for record in (
                dict(zip(core.slots.records.dtype.names or (), row, strict=True))
                for row in core.slots.records.tolist()
            )
        )
        return PoolSnapshot(
            slots=slots,
            registry=core.registry.entries(),
            free=tuple(core._empty.order().tolist()),
            inactive=tuple(core.policy.order().tolist()),
            available=available,
        )

    def write(self, handle: Block, data: bytes) -> None:
        """Fill a block that is not registered."""
        with refusals():
            if handle._readonly():
                raise BlockStateInvalid("write", handle.state.block_state, "It is shared.")
            self._bytes[handle.block_id] = data

    def read(self, handle: Block) -> bytes:
        """Give the bytes of a held block."""
        with refusals():
            return self._bytes.get(handle.block_id, bytes(8))


def plain(name: Any) -> Any:
    """Give a hash as the suite has it: bytes of scheme `sha256`, or an int of Python's."""
    return name if isinstance(name, bytes) else int(name)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn this package's errors into refusals of the suite."""
    try:
        yield
    except KvbmError as error:
        # Without its frames: they would keep handles alive.
        raise spec.SubjectError(error.kind.value, str(error)) from None
