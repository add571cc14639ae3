"""The seam between the replayer and the rules by which a program manages its cache.

What this is
    A `RuleSet` knows what one program looks up, stores, counts and evicts. Everything around
    it (reading, bounds, tables, pages) is the same for all.

Interface, as rules of use
    * `replay` takes requests in file order, each one finished before the next begins.
    * `lookups` says the same in the form that the bounds understand, so that bounds and
      replays count alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from kvbm.replay.observer import Observer
from kvbm.replay.result import ReplayResult
from kvbm.replay.trace import Trace


class RuleSet(Protocol):
    """The rules of one program."""

    @property
    def name(self) -> str:
        """What `--rules` calls it."""

    @property
    def policies(self) -> tuple[str, ...]:
        """The eviction policies that exist under these rules."""

    @property
    def default_policy(self) -> str:
        """The policy that the program itself uses."""

    def replay(
        self,
        trace: Trace,
        *,
        blocks: int | None,
        policy: str | Any,
        observer: Observer | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ReplayResult:
        """Replay the whole trace.

        Parameters
        ----------
        trace
            Is only read.
        blocks : blocks, or None
            Capacity; None is a cache that never evicts.
        policy
            One of `policies`, or a policy of one's own.
        observer
            Watches the blocks.
        progress
            Called now and then with the number of requests done so far.

        Raises
        ------
        InvalidConfig
            The rules do not know the policy, or the capacity is too small for the trace.
        """

    def lookups(self, trace: Trace) -> Iterable[tuple[Sequence[int], int]]:
        """Give, per request, the ids that are looked up and how many leading hits may count."""
