"""A tier: a pool, which knows who is where, and a place where the bytes are.

What this is
    The one object in which the logical and the physical plane meet. Slot i of the pool is
    block i of the place.

Interface, as rules of use
    * A `Mover` copies whole blocks between places. Whoever starts a copy holds both ends
      until it is `finished`, whatever its outcome is and whoever has been told of it.
    * What is copied is then made what its source is, by `BlockPool.adopt`: hashes, tokens
      and priority travel with a block, ticks do not.

Clauses: KV-TIR-01, KV-TIR-02
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from kvbm.errors import TransferCancelled
from kvbm.pool import BlockPool


@dataclass(frozen=True, slots=True, eq=False)
class Tier:
    """One level of storage."""

    name: str
    pool: BlockPool
    place: Any  # what the mover understands: a bound layout


class Copy(Protocol):
    """A copy that has begun."""

    @property
    def future(self) -> Future[Any]:
        """The one outcome."""

    @property
    def finished(self) -> Future[None]:
        """Done, never with an error, when nobody touches either end any more.

        Later than the outcome only where a copy did not answer in time.
        """


class Mover(Protocol):
    """Who copies bytes between tiers."""

    def move(
        self,
        source: Tier,
        source_ids: Sequence[int],
        target: Tier,
        target_ids: Sequence[int],
        layers: range | None = None,
    ) -> Copy:
        """Copy block by block, all layers or some.

        Raises nothing for what goes wrong while copying: that is the outcome. Raises at
        once for what cannot be begun, and then nothing was copied.
        """


def error_of(outcome: Future[Any]) -> BaseException | None:
    """Give what a copy ended with, or None; that it was cancelled is an error, too."""
    return TransferCancelled("a copy") if outcome.cancelled() else outcome.exception()
