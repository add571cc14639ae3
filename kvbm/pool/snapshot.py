"""Pictures of a pool at one moment. Safe to keep; they never change."""

from __future__ import annotations

from dataclasses import dataclass

from kvbm.blocks.keys import SequenceHash


@dataclass(frozen=True, slots=True)
class BlockPoolStatus:
    """How many slots are where. The first three are the documented ones."""

    active_blocks: int  # registered and held, duplicates included
    inactive_blocks: int  # registered, nobody holds them
    empty_blocks: int
    owned_blocks: int  # allocated and not yet registered


@dataclass(frozen=True, slots=True)
class ResetBlocksResponse:
    """What `reset_blocks` did with each hash, in the order asked."""

    reset_blocks: tuple[SequenceHash, ...]  # were inactive, are gone
    not_found_blocks: tuple[SequenceHash, ...]  # are not registered
    not_reset_blocks: tuple[SequenceHash, ...]  # are held, stay


@dataclass(slots=True)
class Counters:
    """What a pool counts as it goes; see PoolStatistics for each."""

    allocated: int = 0
    evicted: int = 0
    registered: int = 0
    deduplicated: int = 0
    collisions: int = 0
    requested: int = 0
    matched: int = 0


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """Slots by role now, and what happened since the pool was made.

    `empty + owned + active + inactive + duplicates == total`, always.
    """

    total: int
    empty: int
    owned: int
    active: int
    inactive: int
    duplicates: int
    pinned: int  # active slots that have at least one pin
    allocated: int  # slots handed out
    evicted: int  # registered blocks that lost their slot
    registered: int  # blocks whose hash was new
    deduplicated: int  # blocks whose hash was registered already
    collisions: int  # equal hashes of different content, never a hit
    requested: int  # hashes asked for by match
    matched: int  # and found

    @property
    def available(self) -> int:
        """What an allocation could take."""
        return self.empty + self.inactive

    @property
    def hit_rate(self) -> float:
        """Share of requested hashes that matched; 0.0 before the first request."""
        return self.matched / self.requested if self.requested else 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that was registered just before event batch `next_number`."""

    next_number: int
    stored: frozenset[tuple[str, SequenceHash]]  # (tier, sequence hash)
