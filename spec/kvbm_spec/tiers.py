"""Tiers: what a subject shows that keeps blocks in several memories, and copies between them.

What this is
    The seam for trials of offload and onboard. Every copy is in the hands of the suite: it
    begins, ends and fails when the suite says so, and in the order that it says. So every
    race is a short list of calls, and no thread and no clock takes part.

        class Mine:
            def tiers(self): return ("G1", "G2")
            def open_tiers(self, slots, env): return MyTiers(slots)

Interface, as rules of use
    * Each tier is a pool like any other (`subject.Manager`), with bytes (`subject.Storing`).
    * `offload` and `onboard` return at once. What became of each key is asked of their
      ticket: `pending`, then one of `OUTCOMES`, for good.
    * A copy is in `copies()` for as long as it holds slots: its sources, and as many slots
      of the target. A request that only waits holds none, and has no copy.
    * A block keeps its slot in the source when it is copied, until it is evicted there. A
      subject that moves instead lets go of it in the step in which the copy ends.
    * Who waits for an onboard may hold what is in the fastest tier for it; `result` gives
      those handles out, once.
    * A copy that moves no byte before its end may leave `begin` with nothing to do.

Clauses: KV-TIR-01, KV-TIR-02, KV-TIR-05, KV-LIV-01, KV-SHD-04, KV-SHD-05
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from kvbm_spec.subject import Env, Handle, Key, Manager, Storing

PENDING: Final = "pending"

OUTCOMES: Final = ("completed", "filtered", "evicted", "no_capacity", "failed", "cancelled")
"""How a key of a request ends: in the target; not wanted there, or there already; no longer
anywhere; no slot for it; its copy failed; given up, or the manager closed."""

Ticket: TypeAlias = Any
"""What a subject gave out for one request. Opaque."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Blocks on their way from one tier to another."""

    keys: tuple[Key, ...]
    source: str
    target: str
    begun: bool = False
    """Whether it moves bytes: then it can no longer be cancelled."""

    def __str__(self) -> str:
        keys = ", ".join(f"K{key}" for key in self.keys)
        return f"{keys} from {self.source} to {self.target}"


class TierPool(Manager, Storing, Protocol):
    """One tier: a pool with bytes."""


class TieredManager(Protocol):
    """All tiers, from `open_tiers` to `close`."""

    def pool(self, tier: str) -> TierPool:
        """Give the pool of a tier."""
        ...

    def offload(self, keys: Sequence[Key], source: str, target: str) -> Ticket:
        """Ask for copies of blocks in a tier to the next slower one."""
        ...

    def onboard(self, keys: Sequence[Key]) -> Ticket:
        """Ask for the longest prefix of `keys` that is in any tier to be in the fastest."""
        ...

    def state(self, ticket: Ticket) -> Mapping[Key, str]:
        """Give what became of each key."""
        ...

    def result(self, ticket: Ticket) -> list[Handle]:
        """Hold the prefix that an onboard has brought; called once, when nothing is pending."""
        ...

    def cancel(self, ticket: Ticket) -> None:
        """Give up. A copy that has begun goes on to its end, and needs no one to wait for it."""
        ...

    def copies(self) -> list[Copy]:
        """Give all copies that have not ended and wait for none before them."""
        ...

    def begin(self, index: int) -> None:
        """Let a copy begin: it has moved some of its bytes, and stays in `copies`."""
        ...

    def finish(self, index: int) -> None:
        """Let a copy move all its bytes, and end."""
        ...

    def fail(self, index: int, *, short: bool) -> None:
        """Let a copy fail: at once with an error, or `short` of bytes, having moved some."""
        ...

    def corrupt(self, tier: str, key: Key) -> None:
        """Flip a stored byte of a registered block, behind the manager's back.

        Unsupported where bytes cannot be reached, or no checksum would find it out.
        """
        ...

    def close(self, timeout: float) -> list[str]:
        """End all, within so many seconds; name the copies that are abandoned.

        What has not begun is cancelled. What is still in `copies` after that was named. Idempotent.
        """
        ...


@runtime_checkable
class Tiered(Protocol):
    """A subject with several tiers. Its ability is `tiers`."""

    def tiers(self) -> tuple[str, ...]:
        """Name the tiers, the fastest first; two or more."""
        ...

    def open_tiers(self, slots: Mapping[str, int], env: Env) -> TieredManager:
        """Open all tiers, empty. Same slots, seed and calls: same answers."""
        ...
