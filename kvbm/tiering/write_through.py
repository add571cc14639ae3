"""Write-through: a block goes to the slower tier when it is registered.

What this is
    A subscriber of the event log. What is stored in a tier goes on the route that begins
    there; when it lands in the next tier it is stored there, and so goes on from there.

Interface, as rules of use
    * `log.subscribe(WriteThrough(routes, ...))`. It is called with no lock held.
    * A gap in the log is a missed chance to copy, and no harm.

Clauses: KV-TIR-01, KV-EVT-01
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from kvbm.events import EventBatch, Gap
from kvbm.pool import Change, ChangeKind, ChangeSink
from kvbm.tiering.route import Route


@final
class WriteThrough:
    """Offloads what is stored.

    Parameters
    ----------
    routes
        One from each tier that has a slower one behind it.
    least_priority
        Of the blocks of one call in the device tier, only those before the first of a lower
        priority are copied: a prefix is worth it only as far as it is unbroken. None
        copies all.
    """

    def __init__(self, routes: Sequence[Route], least_priority: int | None = None) -> None:
        self._route_of = {route.source.name: route for route in routes}
        self._least = least_priority

    def __call__(self, item: EventBatch | Gap) -> None:
        """Take in one batch of the log."""
        if isinstance(item, Gap) or item.change.kind is not ChangeKind.STORED:
            return
        change = item.change
        route = self._route_of.get(change.tier)
        if route is None:
            return
        hashes, priorities = list(change.sequence_hashes), list(change.priorities)
        if self._least is not None and change.tier == "device":
            low = (i for i, priority in enumerate(priorities) if priority < self._least)
            end = next(low, len(hashes))
            hashes, priorities = hashes[:end], priorities[:end]
        route.enqueue(hashes, priorities)


@final
class TwoSinks(ChangeSink):
    """Tells changes to a log of our own, and to the caller's sink if there is one."""

    def __init__(self, log: ChangeSink, other: ChangeSink | None) -> None:
        self._log = log
        self._other = other

    @property
    def next_number(self) -> int:
        """See ChangeSink: that of the log."""
        return self._log.next_number

    def append(self, change: Change) -> None:
        """See ChangeSink."""
        self._log.append(change)
        if self._other is not None:
            self._other.append(change)

    def deliver(self) -> None:
        """See ChangeSink."""
        self._log.deliver()
        if self._other is not None:
            self._other.deliver()
