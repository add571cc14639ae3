"""What a pool tells of its registry: blocks stored, blocks removed.

What this is
    One `Change` per call that changed what can be matched. Who holds a block, and
    duplicates, are nobody's business. The pool tells a `ChangeSink`, such as the event
    log of `kvbm.events`, and knows nothing else of its audience.

Clauses: KV-EVT-02, KV-EVT-04, KV-EVT-06, KV-EVT-07, KV-CON-03
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from kvbm.blocks.keys import SequenceHash


class ChangeKind(Enum):
    """What happened to the blocks of a change."""

    STORED = "stored"
    REMOVED = "removed"


class ChangedBlock(NamedTuple):
    """One block of a change. A removed block carries its hash alone."""

    sequence_hash: SequenceHash
    parent_sequence_hash: SequenceHash | None = None
    position: int | None = None  # index in its sequence; its tokens start at position * block_size
    tokens: NDArray[np.uint32] | None = None  # where the pool was given them
    priority: int = 0  # when it was stored


@dataclass(frozen=True, slots=True)
class Change:
    """All that one call stored, parents first, or all that it removed, in order.

    One column per property: a call may change thousands of blocks, and an object for
    each would cost more than the call. `blocks` makes the objects when asked.
    """

    kind: ChangeKind
    tier: str
    scheme: str  # how the hashes were made
    block_size: int  # tokens
    sequence_hashes: Sequence[SequenceHash]
    parent_sequence_hashes: Sequence[SequenceHash | None] = ()  # of stored blocks, as are these:
    positions: Sequence[int] = ()
    tokens: Sequence[NDArray[np.uint32] | None] = ()
    priorities: Sequence[int] = ()
    group: int = 0  # KV cache group of the model

    @property
    def blocks(self) -> list[ChangedBlock]:
        """The change block by block. O(blocks)."""
        if self.kind is ChangeKind.REMOVED:
            return [ChangedBlock(name) for name in self.sequence_hashes]
        columns = (
            self.sequence_hashes,
            self.parent_sequence_hashes,
            self.positions,
            self.tokens,
            self.priorities,
        )
        return [ChangedBlock(*row) for row in zip(*columns, strict=True)]


class ChangeSink(Protocol):
    """Where a pool sends its changes."""

    def append(self, change: Change) -> None:
        """Note a change; called in the order of the registry, with the pool's lock held."""

    def deliver(self) -> None:
        """Pass on what was noted; called with no lock held."""

    @property
    def next_number(self) -> int:
        """How many changes were noted so far."""
