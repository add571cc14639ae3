"""Subject: what an implementation shows to the suite, so that it can be judged.

What this is
    The seam. An implementation writes a small adapter with these methods; in another
    language, `process` speaks them over a pipe. Everything that would otherwise be ambient
    (clock, seed, scratch directory) comes in with `Env`.

        class Mine:
            name, version, spec_version = "mine", "0.1", "1.0"
            def capabilities(self): return Capabilities(policies=("lru",))
            def open(self, config, env): return MyManager(config.slots)

Interface, as rules of use
    * A handle is yours: any object. The suite only keeps it and gives it back. A slot's
      number alone is no handle, because it does not die (KV-LIF-02).
    * `stage`, `register`, `reset` and `release` use their handle up. The first three give
      a new one for the same block; after a refusal the old one is as good as before.
    * A refusal is a `SubjectError` with one of `KINDS`. Any other exception is a failure of
      the subject. A refused call has changed nothing and sent no event.
    * Not enough slots is an answer: `allocate` gives None.
    * What you do not support, leave out of `Capabilities`: it is skipped, not failed.
    * More methods show more: `Inspectable`, `Storing`.

Clauses: KV-LIF-01, KV-LIF-02, KV-CAP-06, KV-REG-01, KV-REG-02, KV-SHD-01
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

SPEC_VERSION: Final = "1.0"

KINDS: Final = (
    "NotFound",
    "Exhausted",
    "WrongState",
    "StaleHandle",
    "NotOwner",
    "Corrupt",
    "Cancelled",
    "Closed",
    "Unsupported",
)
"""Why a call can be refused. Texts of messages are never compared."""

Key: TypeAlias = int
"""Identity of a block, 0 … 2⁶⁴ - 1. The suite invents keys; it never computes one."""

Handle: TypeAlias = Any
"""What the subject gave out. Opaque."""


class SubjectError(Exception):
    """A call was refused for the reason `kind`, one of `KINDS`, and has changed nothing."""

    def __init__(self, kind: str, reason: str = "") -> None:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of refusal; there are {', '.join(KINDS)}")
        super().__init__(f"{kind}: {reason}" if reason else kind)
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a subject declares. What is not declared is not asked.

    Parameters
    ----------
    policies
        Orders of eviction, the default first: `fifo`, `lru`, `priority`, `multi-lru`,
        `lineage` or `lineage-fifo`, each exactly as the model has it (KV-EVC-02).
    duplicates
        What registering a present key may do, the default first. `reject`: the caller
        shares the first block, and the slot is free again. `allow`: the slot is kept, is
        never matched, and holds the first block for as long as it lives (KV-REG-10).
    events
        Whether `drain_events` tells what happened.
    holds_parents
        Whether an active block keeps its parent active.
    prefix_closed
        Those of `policies` under which no block outlives its parent. KV-EVC-04
    owners
        Whether a pool refuses a handle of another pool with `NotOwner`. KV-OWN-02
    threads
        Whether several threads may call one pool at once. KV-CON-01
    """

    policies: tuple[str, ...] = ("lru",)
    duplicates: tuple[str, ...] = ("reject",)
    events: bool = True
    holds_parents: bool = False
    prefix_closed: tuple[str, ...] = ()
    owners: bool = False
    threads: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """The pool that is asked for. Both words are among those that the subject declares."""

    slots: int
    block_size: int = 4
    duplicates: str = "reject"
    policy: str = "lru"
    own_keys: bool = False
    """Whether its keys are those that the subject computes, and not numbers of 64 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Env:
    """All that may decide beside the calls. Time stands still unless the suite moves it."""

    seed: int = 0
    clock: Callable[[], float] = field(default=lambda: 0.0)
    scratch: Path | None = None
    """A directory for this pool alone; None where the subject must write no files."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change of the registry: `kind` is Stored, Removed or Cleared (then without a key)."""

    kind: str
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class SlotView:
    """One slot as the subject sees it.

    `state` is `free`, `mutable`, `staged`, `active`, `inactive` or `duplicate`; `key` is
    whatever the slot still remembers; `holders` counts what keeps it, None if unknown.
    """

    state: str
    key: Key | None = None
    holders: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    """The subject's own view of everything, between two calls."""

    slots: tuple[SlotView, ...]
    registry: Mapping[Key, int]
    """The primary of each key, by its index in `slots`."""
    free: tuple[int, ...]
    inactive: tuple[int, ...]
    """The next victim first."""
    available: int
    """What the subject reports as available. KV-CAP-05"""


class Manager(Protocol):
    """One pool, from `open` to `close`."""

    def allocate(self, n: int) -> list[Handle] | None:
        """Take `n` blocks to write, free slots first, then victims; None if there are fewer."""
        ...

    def stage(self, handle: Handle, key: Key, parent: Key | None = None) -> Handle:
        """Fix the content of a block that is being written, and its key."""
        ...

    def register(self, handle: Handle) -> Handle:
        """Publish a staged block. Under `reject` the answer may be a block that was there."""
        ...

    def match(self, keys: Sequence[Key]) -> list[Handle]:
        """Hold the longest registered prefix of `keys`."""
        ...

    def scan(self, keys: Sequence[Key]) -> dict[Key, Handle]:
        """Hold all that are registered among `keys`, each once."""
        ...

    def release(self, handle: Handle) -> None:
        """Let go of a block. An owned block is lost; a registered one is kept while it can be."""
        ...

    def reset(self, handle: Handle) -> Handle:
        """Throw the content of a block away that is not registered; write it anew."""
        ...

    def drain_events(self) -> list[Event]:
        """Give what happened since the last time, in order."""
        ...

    def close(self) -> None:
        """End the pool. Idempotent; every later call is refused with Closed."""
        ...


class Subject(Protocol):
    """An implementation under test. It is made without arguments."""

    name: str
    version: str
    spec_version: str

    def capabilities(self) -> Capabilities:
        """Declare what there is. The same every time."""
        ...

    def open(self, config: PoolConfig, env: Env) -> Manager:
        """Make an empty pool. Same config, seed and calls: same answers."""
        ...


@runtime_checkable
class Inspectable(Protocol):
    """A manager that shows its inside: failures are found earlier, and more of them."""

    def snapshot(self) -> PoolSnapshot:
        """Look, and change nothing."""
        ...


@runtime_checkable
class Storing(Protocol):
    """A manager whose blocks have bytes, eight of them for the suite. KV-INT-01, KV-OWN-05"""

    def write(self, handle: Handle, data: bytes) -> None:
        """Fill a block that is being written. WrongState once it is registered."""
        ...

    def read(self, handle: Handle) -> bytes:
        """Give the bytes of a held block."""
        ...
