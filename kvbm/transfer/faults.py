"""Faults: copies that go wrong on purpose, for tests of all that stands on copies.

What this is
    A plan of what shall go wrong, by the number of the transfer in the order of submission,
    from 0. Everything else goes well.

Interface, as rules of use
    * `TransferEngine(faults=Faults().fail(2))`; methods give the plan back, so they chain.
    * delay() gives an event; the copy begins when you set it.

Clauses: KV-TIR-05, KV-INT-03

Examples
--------
>>> Faults().fail(0).short(3, pairs=1)
Faults: 0 fails, 3 stops after 1 pairs
"""

from __future__ import annotations

import errno
import os
import threading
from typing import Self, final

import numpy as np

from kvbm.layout import BoundLayout
from kvbm.storage import DiskStorage
from kvbm.transfer.plan import Integers


@final
class Faults:
    """What shall go wrong."""

    def __init__(self) -> None:
        self._errors: dict[int, BaseException] = {}
        self._short: dict[int, int] = {}
        self._delays: dict[int, threading.Event] = {}
        self._corrupt: dict[int, tuple[int, int]] = {}

    def fail(self, number: int, error: BaseException | None = None) -> Self:
        """Let a transfer fail before it copies; by default with EIO."""
        self._errors[number] = error or OSError(errno.EIO, os.strerror(errno.EIO))
        return self

    def short(self, number: int, pairs: int) -> Self:
        """Let a transfer copy its first `pairs` pairs and then fail."""
        self._short[number] = pairs
        return self

    def delay(self, number: int) -> threading.Event:
        """Let a transfer wait, once it has begun, until the event is set."""
        return self._delays.setdefault(number, threading.Event())

    def corrupt(self, number: int, position: int = 0, byte: int = 0) -> Self:
        """Invert a byte of the target of a pair, before it is verified.

        Parameters
        ----------
        number
        position
            Of the pair, in the lists of the call.
        byte
            Counted from the start of layer 0, outer 0.
        """
        self._corrupt[number] = position, byte
        return self

    # ── for the engine ────────────────────────────────────────────────────────────────

    def begin(self, number: int) -> None:
        """Wait, or raise, as planned."""
        if number in self._delays:
            self._delays[number].wait()
        if number in self._errors:
            raise self._errors[number]

    def limit(self, number: int) -> int | None:
        """Give how many pairs shall be copied; None for all."""
        return self._short.get(number)

    def touch(self, number: int, bound: BoundLayout, ids: Integers, positions: Integers) -> None:
        """Corrupt what has arrived, as planned."""
        if number not in self._corrupt:
            return
        position, byte = self._corrupt[number]
        for block in ids[positions == position].tolist():
            invert(bound, block, byte)

    def __repr__(self) -> str:
        plans = [
            *(f"{n} fails" for n in self._errors),
            *(f"{n} stops after {pairs} pairs" for n, pairs in self._short.items()),
            *(f"{n} waits" for n in self._delays),
            *(f"{n} is corrupted" for n in self._corrupt),
        ]
        return "Faults: " + (", ".join(plans) or "none")


def invert(bound: BoundLayout, block: int, byte: int = 0) -> None:
    """Invert one byte of a block, in memory or on disk."""
    storage, offset = bound.layout.offset(block, 0, 0)
    memory = bound.memories[storage]
    place = bound.base_offsets[storage] + offset + byte
    if isinstance(memory, DiskStorage):
        one = np.zeros(1, np.uint8)
        memory.read(place, [one], bounce=True)
        memory.write(place, [~one], bounce=True)
    else:
        memory.array()[place] ^= 0xFF
