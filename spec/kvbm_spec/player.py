"""Player: a subject, driven by operations.

What this is
    The other half of the lockstep. It binds symbols to whatever handles the subject gives
    out, turns answers and refusals into `Outcome`s, and keeps dead handles, so that they
    can be used again on purpose.

Interface, as rules of use
    * `Player(subject, config)` opens a fresh pool; `play(op)` makes one call.
    * An exception that is no `SubjectError` is an outcome too: `crash: ...`. A subject
      that raises it is wrong, and the suite goes on.
    * Where the subject has bytes, a block is filled with its key before it is staged, and
      read whenever it is handed out again. KV-INT-01

Clauses: KV-LIF-02, KV-INT-01, KV-OWN-05
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kvbm_spec.operations import Op, Outcome, Symbol
from kvbm_spec.subject import (
    Env,
    Handle,
    Inspectable,
    PoolConfig,
    PoolSnapshot,
    Storing,
    Subject,
    SubjectError,
)

UNREADABLE = -1
"""Stands for a key where the bytes are those of no key."""


class Player:
    """One pool of `subject`."""

    def __init__(self, subject: Subject, config: PoolConfig, seed: int = 0) -> None:
        self.manager = subject.open(config, Env(seed=seed))
        self.bytes = self.manager if isinstance(self.manager, Storing) else None
        self._inside = self.manager if isinstance(self.manager, Inspectable) else None
        self._tells = subject.capabilities().events
        self._handles: dict[Symbol, Handle] = {}
        self._writable: set[Symbol] = set()
        self._calls: dict[str, Callable[[Op], tuple[Any, list[Handle]]]] = {
            "allocate": self._allocate,
            "stage": self._stage,
            "register": self._register,
            "match": self._match,
            "scan": self._scan,
            "release": self._release,
            "reset": self._reset,
            "write": self._write,
        }

    def play(self, op: Op) -> Outcome:
        """Make one call, and tell all that could be seen of it."""
        value: Any = None
        error: str | None = None
        handles: list[Handle] = []
        try:
            value, handles = self._calls[op.name](op)
        except SubjectError as refusal:
            error = refusal.kind
        except Exception as crash:  # noqa: BLE001 - whatever a subject does is its outcome
            error = f"crash: {type(crash).__name__}: {crash}"
        try:
            events = self.manager.drain_events() if self._tells else []
        except Exception as crash:  # noqa: BLE001 - as above
            events, error = [], f"crash: drain_events(): {type(crash).__name__}: {crash}"
        return Outcome(
            value,
            error,
            tuple((event.kind, event.key) for event in events),
            None if self.bytes is None else tuple(self._read(handle) for handle in handles),
        )

    def snapshot(self) -> PoolSnapshot | None:
        """Show the inside of the subject, if it does."""
        return None if self._inside is None else self._inside.snapshot()

    def close(self) -> None:
        """End the pool. What it raises then is not what was asked about here."""
        with suppress(Exception):
            self.manager.close()

    # ── calls ─────────────────────────────────────────────────────────────────────────────

    def _allocate(self, op: Op) -> tuple[Any, list[Handle]]:
        handles = self.manager.allocate(op.n)
        if handles is None:
            return None, []
        symbols = [self._bind(handle, writable=True) for handle in handles]
        for handle in handles:
            self._fill(handle, b"\xff" * 8)  # who reads this reads what was never written
        return symbols, []

    def _stage(self, op: Op) -> tuple[Any, list[Handle]]:
        handle = self._handles[op.handle or ""]
        if op.handle in self._writable:
            self._fill(handle, op.keys[0].to_bytes(8, "big"))
        answer = self.manager.stage(handle, op.keys[0], op.parent)
        self._writable.discard(op.handle or "")
        return self._bind(answer), []

    def _register(self, op: Op) -> tuple[Any, list[Handle]]:
        handle = self.manager.register(self._handles[op.handle or ""])
        return self._bind(handle), [handle]

    def _match(self, op: Op) -> tuple[Any, list[Handle]]:
        handles = list(self.manager.match(op.keys))
        return [self._bind(handle) for handle in handles], handles

    def _scan(self, op: Op) -> tuple[Any, list[Handle]]:
        found = self.manager.scan(op.keys)
        return {key: self._bind(handle) for key, handle in found.items()}, [*found.values()]

    def _release(self, op: Op) -> tuple[Any, list[Handle]]:
        self.manager.release(self._handles[op.handle or ""])
        self._writable.discard(op.handle or "")
        return None, []

    def _reset(self, op: Op) -> tuple[Any, list[Handle]]:
        answer = self.manager.reset(self._handles[op.handle or ""])
        self._writable.discard(op.handle or "")
        return self._bind(answer, writable=True), []

    def _write(self, op: Op) -> tuple[Any, list[Handle]]:
        assert self.bytes is not None, "only subjects with bytes are asked to write"
        self.bytes.write(self._handles[op.handle or ""], b"\xee" * 8)
        return None, []

    # ── inside ────────────────────────────────────────────────────────────────────────────

    def _bind(self, handle: Handle, *, writable: bool = False) -> Symbol:
        symbol = f"h{len(self._handles)}"
        self._handles[symbol] = handle
        if writable:
            self._writable.add(symbol)
        return symbol

    def _fill(self, handle: Handle, data: bytes) -> None:
        if self.bytes is not None:
            self.bytes.write(handle, data)

    def _read(self, handle: Handle) -> int:
        """Tell which key's bytes a block holds. KV-INT-01"""
        assert self.bytes is not None, "only subjects with bytes are read"
        try:
            return int.from_bytes(self.bytes.read(handle), "big")
        except Exception:  # noqa: BLE001 - a read that fails is a wrong read
            return UNREADABLE
