"""The outcome of one replay, in numbers.

What this is
    What `kvbm replay --json` prints for one rule set, policy and capacity.

Interface, as rules of use
    * A replay may have no outcome (a cache that was never full gives none under the rules
      `kvcache-sim`). Then the hits and the rate are None and `note` says why: no number is
      better than a wrong one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TierResult:
    """What a replay with bytes adds, tier by tier. Safe to keep; it never changes.

    Parameters
    ----------
    blocks : blocks
        Capacity of each tier.
    hit_blocks, hit_tokens
        Found in each tier: the first one that had them.
    evictions : blocks
    moved_bytes : bytes
        Copied between tiers.
    move_seconds : seconds
        Waited for copies.
    wrong_blocks : blocks, or None
        Hits whose bytes were not those that had been stored; None if nobody looked.
    """

    blocks: dict[str, int]
    hit_blocks: dict[str, int]
    hit_tokens: dict[str, int]
    evictions: dict[str, int]
    moved_bytes: int
    move_seconds: float
    wrong_blocks: int | None

    @property
    def gigabytes_per_second(self) -> float:
        """Copied bytes by waiting time, in 10⁹ bytes a second."""
        return self.moved_bytes / self.move_seconds / 1e9 if self.move_seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Numbers of each tier under its name, and of all together."""
        columns = ("blocks", "hit_blocks", "hit_tokens", "evictions")
        tiers = {
            name: {column: getattr(self, column)[name] for column in columns}
            for name in self.blocks
        }
        return {
            "tiers": tiers,
            "moved_bytes": self.moved_bytes,
            "move_seconds": self.move_seconds,
            "gigabytes_per_second": self.gigabytes_per_second,
            "wrong_blocks": self.wrong_blocks,
        }


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """Counts of one replay. Safe to keep; it never changes.

    Parameters
    ----------
    rules
        Name of the rule set.
    policy
        Name of the eviction policy, or of the bound.
    blocks : blocks, or None
        Capacity; None is an infinite cache.
    requests
        How many requests were counted.
    hit_blocks, total_blocks : blocks, or None
        Blocks that were found, of those that the requests are made of.
    hit_tokens, total_tokens : tokens, or None
        Prompt tokens that need not be computed, of all.
    hit_rate
        `hit_tokens / total_tokens`, or None.
    evictions : blocks, or None
        Cached blocks that were thrown away; None where nobody counted.
    seconds
        Time that the replay took.
    note
        What a reader must know about the numbers.
    tiers
        More, where the replay went through several tiers with real bytes.
    """

    rules: str
    policy: str
    blocks: int | None
    requests: int
    hit_blocks: int | None
    total_blocks: int
    hit_tokens: int | None
    total_tokens: int
    hit_rate: float | None
    evictions: int | None
    seconds: float
    note: str | None = None
    tiers: TierResult | None = None

    def as_json(self) -> dict[str, Any]:
        """Every field under its own name; `note` and what belongs to tiers only if there."""
        fields = asdict(self)
        del fields["tiers"]
        if self.note is None:
            del fields["note"]
        return fields | (self.tiers.as_json() if self.tiers is not None else {})
