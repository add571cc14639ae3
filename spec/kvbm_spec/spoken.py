"""Spoken: the calls of a manager, made over a pipe.

What this is
    `ProcessManager` has the calls that every pool has, and one small class for each ability
    the further ones. `process` puts together what a program declares.

Interface, as rules of use
    * `SPOKEN` maps the word by which a program declares an ability to its calls.
    * Events come with the answers; `drain_events` gives what has come, and asks nothing.

Clauses: KV-LIF-02, KV-EVT-04, KV-SHD-01
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kvbm_spec.answer import Answer
from kvbm_spec.pipe import Pipe
from kvbm_spec.subject import Event, Handle, Key, PoolSnapshot, SlotView, SubjectError


class ProcessManager:
    """One pool of a program. The calls are those of `Manager`."""

    def __init__(self, pipe: Pipe, idle: list[Pipe]) -> None:
        self._pipe = pipe
        pipe.turn += 1
        self._turn = pipe.turn
        self._events: list[Event] = []
        self._forget = weakref.finalize(self, idle.append, pipe)
        self._forget.atexit = False

    def call(self, operation: str, **arguments: Any) -> Answer:
        """Ask, keep the events, and raise what was refused."""
        if self._turn != self._pipe.turn:
            raise SubjectError("Closed", "the program has gone on to another pool")
        answer = Answer(self._pipe, operation, arguments)
        self._events += answer.events()
        answer.raise_refusal()
        return answer

    def allocate(self, n: int) -> list[Handle] | None:
        """Take blocks. See `Manager`."""
        answer = self.call("allocate", n=n)
        return None if answer.result is None else answer.handles(answer.result)

    def stage(self, handle: Handle, key: Key, parent: Key | None = None) -> Handle:
        """Fix content and key. See `Manager`."""
        return self.call("stage", handle=handle, key=key, parent=parent).handle()

    def register(self, handle: Handle) -> Handle:
        """Publish. See `Manager`."""
        return self.call("register", handle=handle).handle()

    def match(self, keys: Sequence[Key]) -> list[Handle]:
        """Hold a prefix. See `Manager`."""
        answer = self.call("match", keys=list(keys))
        return answer.handles(answer.result)

    def scan(self, keys: Sequence[Key]) -> dict[Key, Handle]:
        """Hold what is there. See `Manager`."""
        answer = self.call("scan", keys=list(keys))
        pairs = answer.pairs(answer.result)
        return dict(
            zip([key for key, _ in pairs], answer.handles([h for _, h in pairs]), strict=True)
        )

    def release(self, handle: Handle) -> None:
        """Let go. See `Manager`."""
        self.call("release", handle=handle)

    def reset(self, handle: Handle) -> Handle:
        """Write anew. See `Manager`."""
        return self.call("reset", handle=handle).handle()

    def drain_events(self) -> list[Event]:
        """Give the events that came with the answers since the last time."""
        events, self._events = self._events, []
        return events

    def close(self) -> None:
        """End the pool. The program can be used for the next."""
        if self._turn == self._pipe.turn:
            self.call("close")
            self._forget()


class Inspecting(ProcessManager):
    """See `subject.Inspectable`."""

    def snapshot(self) -> PoolSnapshot:
        """Look. See there."""
        answer = self.call("snapshot")
        try:
            seen = dict(answer.result)
            return PoolSnapshot(
                slots=tuple(SlotView(**slot) for slot in seen["slots"]),
                registry=dict(answer.pairs(seen["registry"])),
                free=tuple(seen["free"]),
                inactive=tuple(seen["inactive"]),
                available=seen["available"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise answer.broken(f"a snapshot has another form ({error!r})") from None


class Storing(ProcessManager):
    """See `subject.Storing`."""

    def write(self, handle: Handle, data: bytes) -> None:
        """Fill with bytes. See there."""
        self.call("write", handle=handle, data=data.hex())

    def read(self, handle: Handle) -> bytes:
        """Give the bytes. See there."""
        answer = self.call("read", handle=handle)
        try:
            return bytes.fromhex(answer.result)
        except (TypeError, ValueError):
            raise answer.broken("bytes are written as hexadecimal digits") from None


class Remembering(ProcessManager):
    """See `abilities.Remembering`."""

    def downgrade(self, handle: Handle) -> Handle:
        """Let go, and remember. See there."""
        return self.call("downgrade", handle=handle).handle()

    def upgrade(self, weak: Handle) -> Handle | None:
        """Hold again. See there."""
        answer = self.call("upgrade", weak=weak)
        return None if answer.result is None else answer.handle()


class Clearing(ProcessManager):
    """See `abilities.Clearing`."""

    def evict_all(self) -> int:
        """Empty what is inactive. See there."""
        return self.call("evict_all").number()

    def forget(self, keys: Sequence[Key]) -> list[Key]:
        """Empty some. See there."""
        return self.call("forget", keys=list(keys)).numbers()


class Pinning(ProcessManager):
    """See `abilities.Pinning`."""

    def pin(self, keys: Sequence[Key]) -> None:
        """Keep. See there."""
        self.call("pin", keys=list(keys))

    def unpin(self, keys: Sequence[Key]) -> None:
        """Undo a pin. See there."""
        self.call("unpin", keys=list(keys))


class Counting(ProcessManager):
    """See `abilities.Counting`."""

    def counters(self) -> Mapping[str, int]:
        """Count. See there."""
        answer = self.call("counters")
        if not isinstance(answer.result, dict):
            raise answer.broken("counters are an object")
        return answer.result


SPOKEN: Final[Mapping[str, type[ProcessManager]]] = {
    "snapshot": Inspecting,
    "bytes": Storing,
    "weak_references": Remembering,
    "clearing": Clearing,
    "pins": Pinning,
    "counters": Counting,
}
"""Abilities that a program may declare. The others are for subjects in Python."""
