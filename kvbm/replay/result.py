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

    def as_json(self) -> dict[str, Any]:
        """Every field under its own name; `note` only when there is one."""
        fields = asdict(self)
        if self.note is None:
            del fields["note"]
        return fields
