"""A mirror: the registry of another process, rebuilt from its events.

What this is
    The reader's half of the event protocol: what a router keeps about each worker.

Interface, as rules of use
    * apply() takes batches and gaps in the order read, repeats included.
    * After a Gap, or a batch that is too new, `synced` is False and apply() raises nothing:
      take the snapshot() of each pool of the log and call reset(*snapshots).

Clauses: KV-EVT-01, KV-EVT-03, KV-EVT-05
"""

from __future__ import annotations

from collections.abc import Iterable

from kvbm.blocks.keys import SequenceHash
from kvbm.events.batch import EventBatch, Gap
from kvbm.pool.changes import ChangeKind
from kvbm.pool.snapshot import Snapshot


class Mirror:
    """The set of (tier, sequence hash) that the batches so far add up to."""

    def __init__(self) -> None:
        self.stored: set[tuple[str, SequenceHash]] = set()
        self.next_number = 0
        self.synced = True

    def reset(self, *snapshots: Snapshot) -> bool:
        """Start over from a snapshot, or from one of each pool that shares the log.

        Snapshots of several pools differ in age; the batches from the oldest on are then
        applied again, which changes nothing that they had changed before.

        Returns
        -------
        bool
            False, and nothing has changed, if the snapshots are older than what is known.
            (A source that began anew counts from 0 again: give it a new mirror.)

        Complexity
        ----------
        O(stored).
        """
        number = min((snapshot.next_number for snapshot in snapshots), default=0)
        if number < self.next_number:
            return False  # KV-EVT-05: the cursor never moves back
        self.stored = set().union(*(snapshot.stored for snapshot in snapshots))
        self.next_number = number
        self.synced = True
        return True

    def apply(self, item: EventBatch | Gap) -> None:
        """Take in one item. One that was seen already changes nothing. O(blocks)."""
        if isinstance(item, Gap):
            self.synced = self.synced and item.last < self.next_number
            return
        if item.number < self.next_number:
            return
        if item.number > self.next_number:
            self.synced = False
        if not self.synced:
            return
        self.next_number += 1
        change = item.change
        keys = {(change.tier, name) for name in change.sequence_hashes}
        if change.kind is ChangeKind.STORED:
            self.stored |= keys
        else:
            self.stored -= keys


def fold(items: Iterable[EventBatch | Gap]) -> set[tuple[str, SequenceHash]]:
    """Add up batches from the first on. Clauses: KV-EVT-01"""
    mirror = Mirror()
    for item in items:
        mirror.apply(item)
    return mirror.stored
