"""Abilities: what a subject may show beyond the calls that every pool has.

What this is
    One small protocol for each. A manager that has the methods has the ability, and the
    clauses that need it are asked; one that has not is not asked, and loses nothing. Those
    at the end belong to the subject itself, for they open more than one pool.

Interface, as rules of use
    * Same rules as in `subject`: handles are opaque, refusals are `SubjectError`s, a
      refused call has changed nothing.
    * `ABILITIES`, `SUBJECT_ABILITIES` and `DECLARED` say how an ability is found, by the
      name that a check asks for.
    * Implement a protocol whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from kvbm_spec.identity import Colliding, Hashing, Reusing, Schemed, Separating, Sharing
from kvbm_spec.persistence import Persistent
from kvbm_spec.subject import (
    Capabilities,
    Env,
    Handle,
    Inspectable,
    Key,
    PoolConfig,
    Storing,
    Subject,
)
from kvbm_spec.tiers import Tiered

Batch: TypeAlias = Any
"""What a subject gave out for several blocks at once. Opaque, with a length."""

Ticket: TypeAlias = Any
"""What a subject gave out to somebody who waits. Opaque."""

Weak: TypeAlias = Any
"""What a subject gave out to remember a block by. Opaque."""


@runtime_checkable
class Batching(Protocol):
    """A manager that gives and takes several blocks as one thing. KV-CAP-08, KV-REG-02

    A batch is opaque, but has a `len()`. The calls are those of `Manager` for each of its
    blocks in order, all or none, and use a batch up as those use handles up.
    """

    def allocate_batch(self, n: int) -> Batch | None:
        """Take `n` blocks to write; None if there are fewer."""
        ...

    def stage_batch(self, batch: Batch, keys: Sequence[Key], parent: Key | None) -> Batch:
        """Name the blocks, each the parent of the next."""
        ...

    def register_batch(self, batch: Batch) -> Batch:
        """Publish staged blocks."""
        ...

    def match_batch(self, keys: Sequence[Key]) -> Batch:
        """Hold the longest registered prefix of `keys`."""
        ...

    def release_batch(self, batch: Batch) -> None:
        """Let go of all, the last one first."""
        ...


@runtime_checkable
class Listing(Protocol):
    """A manager that publishes a list of single handles. KV-CAP-08, KV-LIF-06"""

    def register_all(self, handles: Sequence[Handle]) -> list[Handle]:
        """Publish staged blocks in order, all or none."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A manager with weak references. KV-OWN-06"""

    def downgrade(self, handle: Handle) -> Weak:
        """Let go of a registered block, and remember it."""
        ...

    def upgrade(self, weak: Weak) -> Handle | None:
        """Hold the remembered block again, if it is there."""
        ...


@runtime_checkable
class Filling(Protocol):
    """A manager whose blocks collect tokens. KV-LIF-03, KV-LIF-08, KV-INT-06"""

    def append(self, handle: Handle, tokens: Sequence[int]) -> None:
        """Add tokens to a block that is being written; WrongState if they do not fit."""
        ...

    def commit(self, handle: Handle) -> tuple[Handle, Key]:
        """Stage a full block under the key of its tokens; WrongState if it is not full."""
        ...


@runtime_checkable
class Clearing(Protocol):
    """A manager that can be told to forget. KV-EVC-01, KV-REG-03"""

    def evict_all(self) -> int:
        """Empty all inactive slots, the next victim first; give how many."""
        ...

    def forget(self, keys: Sequence[Key]) -> list[Key]:
        """Empty those of `keys` that are inactive; give them."""
        ...


@runtime_checkable
class Pinning(Protocol):
    """A manager that keeps blocks without a handle. KV-EVC-01, KV-LIF-07, KV-LIF-09"""

    def pin(self, keys: Sequence[Key]) -> None:
        """Keep registered blocks, all or none; NotFound if one is not."""
        ...

    def unpin(self, keys: Sequence[Key]) -> None:
        """Undo one pin of each, all or none; WrongState if one has none."""
        ...


@runtime_checkable
class Prioritizing(Protocol):
    """A manager whose policy `priority` evicts the lowest first. KV-LIF-04, KV-EVC-02

    Among equals the one goes first that was released first. A new block has priority 0.
    """

    def prioritize(self, handle: Handle, priority: int) -> None:
        """Give a held block a priority, 0 … 9."""
        ...


@runtime_checkable
class Resizing(Protocol):
    """A manager whose number of slots can change. KV-CAP-09"""

    def resize(self, slots: int) -> int:
        """Ask for another number of slots; give how many there are then.

        Shrinking takes free and inactive slots alone, so there may be more than asked for.
        Unsupported where it is not offered.
        """
        ...


@runtime_checkable
class Waiting(Protocol):
    """A manager that lets callers wait for blocks. KV-LIV-05, KV-SHD-04

    Nothing blocks: who waits asks again. First come, first served.
    """

    def wait(self, n: int) -> Ticket:
        """Queue for `n` blocks to write."""
        ...

    def ready(self, ticket: Ticket) -> list[Handle] | None:
        """Give the blocks, once; None while they are waited for. Cancelled if it was."""
        ...

    def cancel(self, ticket: Ticket) -> None:
        """Give up."""
        ...


@runtime_checkable
class Logging(Protocol):
    """A manager whose events have numbers. KV-EVT-05, KV-EVT-06, KV-EVT-07"""

    def log(self, after: int) -> list[tuple[int, str, Key | None, Mapping[str, Any]]]:
        """Give (number, kind, key, fields) of all events after a number; -1 gives all.

        Numbers begin with 0 and rise by one; events of one call may share theirs.
        `fields` has at least `tier`, and of a Stored event `parent` and `span`, the first
        token of the block and the one behind its last.
        """
        ...

    def registered(self) -> tuple[int, set[Key]]:
        """Give the number of the last event, and what is registered after it."""
        ...


@runtime_checkable
class Notifying(Protocol):
    """A manager that calls back. KV-CON-03"""

    def subscribe(self, callback: Callable[[str, Key | None], None]) -> None:
        """Call with the kind and the key of every later event."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A manager with counters. KV-OBS-01"""

    def counters(self) -> Mapping[str, int]:
        """Give how often things happened since open, and how many slots there are now.

        Events: `allocated`, `registered`, `deduplicated`, `evicted` blocks, `queried` keys of
        matches and the `hits` among them. Slots: `free`, `inactive`, `active`.
        """
        ...


ABILITIES: Final[Mapping[str, type]] = {
    "snapshot": Inspectable,
    "bytes": Storing,
    "batches": Batching,
    "lists": Listing,
    "weak references": Remembering,
    "tokens": Filling,
    "clearing": Clearing,
    "pins": Pinning,
    "priorities": Prioritizing,
    "resizing": Resizing,
    "waiting": Waiting,
    "numbered events": Logging,
    "callbacks": Notifying,
    "counters": Counting,
}
"""Abilities of a manager, by the words of reports."""

SUBJECT_ABILITIES: Final[Mapping[str, type]] = {
    "hashing": Hashing,
    "schemes": Schemed,
    "tenants": Separating,
    "weak hash": Colliding,
    "sharing": Sharing,
    "rule for full hits": Reusing,
    "restart": Persistent,
    "tiers": Tiered,
}
"""Abilities of a subject."""


DECLARED: Final[Mapping[str, Callable[[Capabilities], bool]]] = {
    "": lambda _: True,
    "events": lambda declared: declared.events,
    "allow": lambda declared: "allow" in declared.duplicates,
    "threads": lambda declared: declared.threads,
    "owners": lambda declared: declared.owners,
    "prefix closed": lambda declared: bool(declared.prefix_closed),
}
"""Abilities that are declared and have no calls of their own."""


def has(subject: Subject, ability: str, config: PoolConfig) -> bool:
    """Tell whether a subject has an ability; a pool is opened to see it."""
    if ability in DECLARED:
        return DECLARED[ability](subject.capabilities())
    if ability in SUBJECT_ABILITIES:
        return isinstance(subject, SUBJECT_ABILITIES[ability])
    manager = subject.open(config, Env())
    able = isinstance(manager, ABILITIES[ability])
    manager.close()
    return able
