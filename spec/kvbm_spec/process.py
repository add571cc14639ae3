"""Process: a subject that is a program in any language, which speaks JSON lines.

What this is
    The adapter between `Subject` and the protocol of `spec/protocol.md`: each call is a
    request, its answer is checked for its form, and a refusal becomes a `SubjectError`.

        with ProcessSubject("./my-adapter --fast") as subject:
            pool = subject.open(PoolConfig(slots=2), Env())

Interface, as rules of use
    * One program has one pool at a time. A program is used again for the next pool once its
      pool was closed or forgotten; for two pools at once there are two programs.
    * Events come with the answers; `drain_events` gives what has come, and asks nothing.
    * An answer of the wrong form is an `AdapterError`, a program that dies or is silent a
      `ProgramFailed`. Neither is a refusal.
    * Close the subject when it is done, or use it as a context.

Clauses: KV-LIF-02, KV-EVT-04, KV-SHD-01
"""

from __future__ import annotations

import shlex
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, Self

from kvbm_spec.answer import Answer
from kvbm_spec.pipe import AdapterError, Pipe, ProgramFailed
from kvbm_spec.subject import (
    SPEC_VERSION,
    Capabilities,
    Env,
    Event,
    Handle,
    Key,
    PoolConfig,
    PoolSnapshot,
    SlotView,
    SubjectError,
)

__all__ = ["AdapterError", "ProcessManager", "ProcessSubject", "ProgramFailed"]


class ProcessSubject:
    """An implementation behind a command.

    Parameters
    ----------
    command
        The program with its arguments, as words or as a line of them. No shell is involved.
    deadline : seconds
        How long each answer may take.
    """

    def __init__(self, command: str | Sequence[str], *, deadline: float = 10.0) -> None:
        self._command = shlex.split(command) if isinstance(command, str) else list(command)
        self._deadline = deadline
        self._started: list[Pipe] = []
        self._idle: list[Pipe] = []
        self.stop_all = weakref.finalize(self, _stop, self._started)
        pipe = self._start()
        hello = Answer(pipe, "hello", {"spec": SPEC_VERSION})
        self.name = hello.field("name", str)
        self.version = hello.field("version", str)
        self.spec_version = hello.field("spec", str)
        self._capabilities, self._manager = _declared(hello)
        self._idle.append(pipe)

    def capabilities(self) -> Capabilities:
        """Give what the program said at its start."""
        return self._capabilities

    def open(self, config: PoolConfig, env: Env) -> ProcessManager:
        """Make an empty pool, in a program that has none."""
        idle = [pipe for pipe in self._idle if pipe.alive]
        pipe = idle[-1] if idle else self._start()
        self._idle[:] = idle[:-1]
        arguments = {
            "config": {
                "slots": config.slots,
                "block_size": config.block_size,
                "duplicates": config.duplicates,
                "policy": config.policy,
            },
            "seed": env.seed,
            "scratch": None if env.scratch is None else str(env.scratch),
        }
        manager = self._manager(pipe, self._idle)
        manager.call("open", **arguments)
        return manager

    def close(self) -> None:
        """Stop every program that was started."""
        self.stop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> Pipe:
        self._started[:] = [pipe for pipe in self._started if pipe.alive]
        pipe = Pipe(self._command, self._deadline)
        self._started.append(pipe)
        return pipe


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


class _Inspectable(ProcessManager):
    def snapshot(self) -> PoolSnapshot:
        """Look. See `Inspectable`."""
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


class _Storing(ProcessManager):
    def write(self, handle: Handle, data: bytes) -> None:
        """Fill with bytes. See `Storing`."""
        self.call("write", handle=handle, data=data.hex())

    def read(self, handle: Handle) -> bytes:
        """Give the bytes. See `Storing`."""
        answer = self.call("read", handle=handle)
        try:
            return bytes.fromhex(answer.result)
        except (TypeError, ValueError):
            raise answer.broken("bytes are written as hexadecimal digits") from None


class _InspectableStoring(_Inspectable, _Storing):
    pass


_MANAGERS = {
    (False, False): ProcessManager,
    (True, False): _Inspectable,
    (False, True): _Storing,
    (True, True): _InspectableStoring,
}


def _stop(pipes: Iterable[Pipe]) -> None:
    for pipe in pipes:
        pipe.stop()


def _declared(hello: Answer) -> tuple[Capabilities, type[ProcessManager]]:
    told = dict(hello.field("capabilities", dict))
    manager = _MANAGERS[bool(told.pop("snapshot", False)), bool(told.pop("bytes", False))]
    words: dict[str, Any] = {
        name: tuple(each) if isinstance(each, list) else each for name, each in told.items()
    }
    try:
        return Capabilities(**words), manager
    except TypeError as error:
        raise hello.broken(f"capabilities have another form ({error})") from None
