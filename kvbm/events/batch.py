"""What a reader of events gets: numbered changes, or word that some are missing.

Interface, as rules of use
    * Batches of one source are numbered 0, 1, 2 … without gaps; one pool call that
      changed the registry is one batch.
    * Per (hash, tier) stored and removed alternate, in the order of the registry.
    * A `Gap` stands for batches that a reader missed: start over from a snapshot.

Clauses: KV-EVT-05
"""

from __future__ import annotations

from dataclasses import dataclass

from kvbm.pool.changes import Change


@dataclass(frozen=True, slots=True)
class EventBatch:
    """One change of a registry, with its number and the name of its source."""

    number: int
    source: str
    change: Change


@dataclass(frozen=True, slots=True)
class Gap:
    """Batches `first` … `last` can no longer be had."""

    first: int
    last: int
