"""Record: a manager that is used as ever, and writes its history down.

What this is
    The pen for `history`. It stands between clients and a manager, gives every handle a
    name, and writes a line before and a line after each call.

        pen = Recorder(stream.write, PoolConfig(slots=4), Capabilities())
        alice, bob = pen.client("alice", manager), pen.client("bob", manager)

Interface, as rules of use
    * One client is one thread at a time. Several may be at work at once.
    * The names are the handles: any client may use what another was given.
    * A refusal is written and raised. Any other exception is written as `info`, since
      nobody knows what happened, and raised.
    * Events are not written: between overlapping calls nobody can tell whose they are.

Clauses: KV-CON-01
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

from kvbm_spec.subject import Capabilities, Handle, Key, Manager, PoolConfig, SubjectError


class Recorder:
    """The order of all lines, and the names of all handles."""

    def __init__(
        self, write: Callable[[str], object], config: PoolConfig, capabilities: Capabilities
    ) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._handles: dict[str, Handle] = {}
        self._seq = 0
        first = {
            "type": "config",
            "slots": config.slots,
            "duplicates": config.duplicates,
            "policy": config.policy,
            "holds_parents": capabilities.holds_parents,
        }
        self._write(json.dumps(first) + "\n")

    def client(self, name: str, manager: Manager) -> Recorded:
        """Give a client its own view of the manager."""
        return Recorded(self, name, manager)

    def line(self, client: str, op: str, kind: str, **rest: Any) -> None:
        """Write the next line."""
        with self._lock:
            self._seq += 1
            line = {"seq": self._seq, "client": client, "op": op, "type": kind, **rest}
            self._write(json.dumps(line) + "\n")

    def name(self, handle: Handle) -> str:
        """Name a handle that was given out."""
        with self._lock:
            name = f"s{len(self._handles)}"
            self._handles[name] = handle
            return name

    def handle(self, name: str) -> Handle:
        """Give the handle of a name."""
        return self._handles[name]


class Recorded:
    """A `Manager` whose handles are names. See there for the calls."""

    def __init__(self, pen: Recorder, client: str, manager: Manager) -> None:
        self._pen = pen
        self._client = client
        self._manager = manager

    def allocate(self, n: int) -> list[str] | None:
        """Take blocks."""

        def call() -> list[str] | None:
            try:
                handles = self._manager.allocate(n)
            except SubjectError as refusal:
                if refusal.kind != "Exhausted":
                    raise
                handles = None
            return None if handles is None else self._names(handles)

        names: list[str] | None = self._record("allocate", {"n": n}, call)
        return names

    def stage(self, handle: str, key: Key, parent: Key | None = None) -> str:
        """Fix content and key."""
        given = {"handle": handle, "key": key, "parent": parent}
        return self._new("stage", given, lambda real: self._manager.stage(real, key, parent))

    def register(self, handle: str) -> str:
        """Publish."""
        return self._new("register", {"handle": handle}, self._manager.register)

    def match(self, keys: Sequence[Key]) -> list[str]:
        """Hold a prefix."""
        given = {"keys": list(keys)}
        names: list[str] = self._record(
            "match", given, lambda: self._names(self._manager.match(keys))
        )
        return names

    def scan(self, keys: Sequence[Key]) -> dict[Key, str]:
        """Hold what is there."""

        def call() -> list[list[Any]]:
            found = self._manager.scan(keys)
            return [[key, self._pen.name(handle)] for key, handle in found.items()]

        return dict(self._record("scan", {"keys": list(keys)}, call))

    def release(self, handle: str) -> None:
        """Let go."""
        real = self._pen.handle(handle)
        self._record("release", {"handle": handle}, lambda: self._manager.release(real))

    def reset(self, handle: str) -> str:
        """Write anew."""
        return self._new("reset", {"handle": handle}, self._manager.reset)

    # ── inside ────────────────────────────────────────────────────────────────────────────

    def _names(self, handles: Sequence[Handle]) -> list[str]:
        return [self._pen.name(handle) for handle in handles]

    def _new(self, op: str, given: dict[str, Any], act: Callable[[Handle], Handle]) -> str:
        real = self._pen.handle(given["handle"])
        name: str = self._record(op, given, lambda: self._pen.name(act(real)))
        return name

    def _record(self, op: str, given: dict[str, Any], call: Callable[[], Any]) -> Any:
        self._pen.line(self._client, op, "invoke", args=given)
        try:
            result = call()
        except SubjectError as refusal:
            self._pen.line(self._client, op, "fail", error=refusal.kind)
            raise
        except BaseException as crash:
            self._pen.line(self._client, op, "info", reason=repr(crash))
            raise
        self._pen.line(self._client, op, "ok", result=result)
        return result
