"""Disciplined: the caller that an engine without handles relies on.

What this is
    Many pools give out bare blocks and trust their caller never to use one twice. Such a
    pool fails the first clauses at once, and little is learned of the rest. This adaptor
    stands between suite and subject and is that caller: what misuses a handle is refused
    here, and never reaches the engine.

Interface, as rules of use
    * `Disciplined(subject)` is a subject with the capabilities of `subject`.
    * It remembers of each handle whether it lives, and whether its block is mutable,
      staged or shared. It knows no slot, counts nothing, and passes all else on.
    * What it answers is its own merit, and not the engine's: `ANSWERS` lists those
      clauses. Judge the engine alone to see what it does there.

Clauses: KV-LIF-01, KV-LIF-02, KV-LIF-06, KV-OWN-05
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from kvbm_spec.subject import (
    Capabilities,
    Env,
    Event,
    Handle,
    Inspectable,
    Key,
    Manager,
    PoolConfig,
    PoolSnapshot,
    Storing,
    Subject,
    SubjectError,
)

ANSWERS: Final = ("KV-LIF-01", "KV-LIF-02", "KV-LIF-06", "KV-OWN-05")
"""Clauses that a run with this adaptor says nothing about."""


class Disciplined:
    """`inner`, called by somebody who makes no mistakes."""

    def __init__(self, inner: Subject) -> None:
        self._inner = inner
        self.name = f"{inner.name}, disciplined"
        self.version = inner.version
        self.spec_version = inner.spec_version

    def capabilities(self) -> Capabilities:
        """See Subject."""
        return self._inner.capabilities()

    def open(self, config: PoolConfig, env: Env) -> Caller:
        """See Subject. The pool shows its inside and its bytes where the inner one does."""
        pool = self._inner.open(config, env)
        shows = isinstance(pool, Inspectable), isinstance(pool, Storing)
        return _CALLERS[shows](pool)


@dataclass(eq=False, slots=True)
class Held:
    """One handle: the engine's, and what may be done with it."""

    inner: Handle
    kind: str
    """`mutable`, `staged` or `shared`."""
    alive: bool = True


class Caller:
    """One pool. See `kvbm_spec.subject.Manager` for the methods."""

    def __init__(self, pool: Manager) -> None:
        self._pool: Any = pool

    # ── Manager ───────────────────────────────────────────────────────────────────────────

    def allocate(self, n: int) -> list[Held] | None:
        """Pass on."""
        given = self._pool.allocate(n)
        return None if given is None else [Held(each, "mutable") for each in given]

    def stage(self, handle: Held, key: Key, parent: Key | None = None) -> Held:
        """Pass on for a block that is being written."""
        self._need(handle, "mutable")
        return self._exchange(handle, self._pool.stage(handle.inner, key, parent), "staged")

    def register(self, handle: Held) -> Held:
        """Pass on for a staged block."""
        self._need(handle, "staged")
        return self._exchange(handle, self._pool.register(handle.inner), "shared")

    def match(self, keys: Sequence[Key]) -> list[Held]:
        """Pass on."""
        return [Held(each, "shared") for each in self._pool.match(keys)]

    def scan(self, keys: Sequence[Key]) -> dict[Key, Held]:
        """Pass on."""
        return {key: Held(each, "shared") for key, each in self._pool.scan(keys).items()}

    def release(self, handle: Held) -> None:
        """Pass on, once."""
        self._need(handle, "mutable", "staged", "shared")
        self._pool.release(handle.inner)
        handle.alive = False

    def reset(self, handle: Held) -> Held:
        """Pass on for a block that is not shared."""
        self._need(handle, "mutable", "staged")
        return self._exchange(handle, self._pool.reset(handle.inner), "mutable")

    def drain_events(self) -> list[Event]:
        """Pass on."""
        events: list[Event] = self._pool.drain_events()
        return events

    def close(self) -> None:
        """Pass on."""
        self._pool.close()

    # ── inside ────────────────────────────────────────────────────────────────────────────

    def _need(self, handle: Held, *kinds: str) -> None:
        if not handle.alive:
            raise SubjectError("StaleHandle")
        if handle.kind not in kinds:
            raise SubjectError("WrongState", f"the block is {handle.kind}")

    def _exchange(self, handle: Held, inner: Handle, kind: str) -> Held:
        handle.alive = False
        return Held(inner, kind)


class Showing(Caller):
    """A caller of a pool that shows its inside."""

    def snapshot(self) -> PoolSnapshot:
        """Pass on."""
        seen: PoolSnapshot = self._pool.snapshot()
        return seen


class Writing(Caller):
    """A caller of a pool whose blocks have bytes."""

    def write(self, handle: Held, data: bytes) -> None:
        """Pass on for a block that is not shared."""
        self._need(handle, "mutable", "staged")
        self._pool.write(handle.inner, data)

    def read(self, handle: Held) -> bytes:
        """Pass on."""
        self._need(handle, "mutable", "staged", "shared")
        data: bytes = self._pool.read(handle.inner)
        return data


class ShowingAndWriting(Showing, Writing):
    """A caller of a pool that has both."""


_CALLERS: Final = {
    (False, False): Caller,
    (True, False): Showing,
    (False, True): Writing,
    (True, True): ShowingAndWriting,
}
"""By whether the pool shows its inside, and its bytes."""
