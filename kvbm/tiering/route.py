"""A route: how blocks get from one tier to the next slower one.

What this is
    A queue of hashes and a limit of copies in flight. Each block that is enqueued goes
    through the same gates, in this order, and ends at the first that stops it:

        source still there?   else evicted      (the queue holds nothing: it never keeps
                                                  a block from being evicted)
        absent in the target? else filtered
        filters agree?        else filtered
        room in the target?   else no_capacity
        copy succeeds?        else failed
        registered            completed

    Finding the source holds it: that is the point of no return. From there to the confirmed
    end of the copy both ends are held, whatever is cancelled meanwhile.

Interface, as rules of use
    * enqueue() from anywhere; higher priority first, then first come, first served.
    * A hash that is on its way already is not copied twice: both callers get one result.
    * The queue is bounded; what does not fit ends with no_capacity at once, never in silence.
    * There is no thread here: whoever enqueues, and whoever finishes a copy, moves the route on.
    * close() cancels what has not begun, and waits for what has.

Clauses: KV-TIR-01, KV-TIR-02, KV-TIR-05, KV-REG-09, KV-LIV-01, KV-SHD-02, KV-SHD-04
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, final

import numpy as np

from kvbm.blocks import BlockList, ImmutableBlock, MutableBlock, SequenceHash
from kvbm.blocks.keys import to_keys
from kvbm.errors import InvalidConfig, NotEnoughBlocksAvailable
from kvbm.identity import scheme as scheme_named
from kvbm.tiering.filters import OffloadFilter
from kvbm.tiering.outcome import Ended, Offload, Outcome
from kvbm.tiering.tier import Mover, Tier, error_of


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a route does at once."""

    transfers: int = 4  # copies in flight
    batch: int = 16  # blocks in one copy
    queued: int = 65_536  # blocks that wait

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if getattr(self, name) < 1:
                raise InvalidConfig(name, getattr(self, name), "must be at least 1")


@dataclass(slots=True, eq=False)
class _Entry:
    """One hash on its way, and all who asked for it."""

    name: SequenceHash
    priority: int
    offloads: list[Offload]


Chosen: TypeAlias = dict[_Entry, ImmutableBlock]
"""Entries of one batch, and their sources, which are held."""


@final
class Route:
    """From `source` to `target`."""

    def __init__(
        self,
        source: Tier,
        target: Tier,
        mover: Mover,
        *,
        limits: Limits | None = None,
        filters: Sequence[OffloadFilter] = (),
    ) -> None:
        self.source, self.target = source, target
        self._mover = mover
        self._limits = limits or Limits()
        self._filters = tuple(filters)
        self._lock = threading.RLock()  # a finaliser may close the route in the middle of a call
        self._idle = threading.Condition(self._lock)
        self._queue: list[tuple[int, int, _Entry]] = []  # heap: -priority, arrival
        self._pending: dict[SequenceHash, _Entry] = {}  # until the outcome
        self._arrivals = 0
        self._in_flight = 0
        self._pumping = False
        self._closed = False
        self.paused = False
        self.ended = dict.fromkeys(Outcome, 0)  # blocks by outcome
        self.enqueued = 0

    @property
    def pending(self) -> int:
        """Blocks without an outcome."""
        return len(self._pending)

    def enqueue(self, hashes: Sequence[SequenceHash], priorities: Sequence[int] = ()) -> Offload:
        """Ask for copies of registered blocks; a repeated hash counts once.

        Parameters
        ----------
        hashes
            Blocks of the source tier.
        priorities
            One a hash, 0 for all without it.

        Raises
        ------
        InvalidHash
            One of them is no hash. Nothing was enqueued.
        """
        names = dict(zip(hashes, priorities or [0] * len(hashes), strict=True))
        # Now: in a batch it would be the failure of the others in it.
        to_keys(list(names), scheme_named(self.source.pool.scheme).bits)
        offload = Offload(list(names))
        refused: list[tuple[_Entry, Outcome, str]] = []
        with self._lock:
            self.enqueued += len(names)
            for name, priority in names.items():
                entry = self._pending.get(name)
                if entry is not None:
                    entry.offloads.append(offload)
                    continue
                entry = _Entry(name, priority, [offload])
                if self._closed:
                    refused.append((entry, Outcome.CANCELLED, "the route is closed"))
                elif len(self._queue) >= self._limits.queued:
                    refused.append((entry, Outcome.NO_CAPACITY, "the queue is full"))
                else:
                    self._pending[name] = entry
                    heapq.heappush(self._queue, (-priority, self._arrivals, entry))
                    self._arrivals += 1
        for entry, outcome, reason in refused:
            self._end(entry, outcome, reason)
        self.pump()
        return offload

    def pump(self) -> None:
        """Start copies as far as the limits allow. Harmless at any time, in any thread."""
        # One loop at a time: a copy that ends at once calls back here, and would nest.
        with self._lock:
            if self._pumping:
                return
            self._pumping = True
        try:
            while self._next_batch():
                pass
        except BaseException:  # such as KeyboardInterrupt: the next call goes on
            self._pumping = False
            raise

    def _next_batch(self) -> bool:
        """Start one copy; False, and the end of pumping, if there is none to start."""
        with self._lock:
            if self.paused or not self._queue or self._in_flight >= self._limits.transfers:
                self._pumping = False
                return False
            count = min(self._limits.batch, len(self._queue))
            batch = [heapq.heappop(self._queue)[2] for _ in range(count)]
            self._in_flight += 1
        begun = False
        try:
            begun = self._start(batch)
        finally:
            if not begun:
                self._copy_ended()
        return True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is on its way; False if `timeout` seconds were not enough."""
        with self._idle:
            return self._idle.wait_for(lambda: not (self._pending or self._in_flight), timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Cancel what waits and wait for what runs; False if that took too long. Idempotent."""
        with self._lock:
            self._closed = True
            waiting = [entry for _, _, entry in self._queue]
            self._queue.clear()
        for entry in waiting:
            self._end(entry, Outcome.CANCELLED, "the route was closed")
        with self._idle:
            return self._idle.wait_for(lambda: not self._in_flight, timeout)

    # ── one batch ─────────────────────────────────────────────────────────────────────

    def _start(self, batch: list[_Entry]) -> bool:
        """Take a batch through the gates; tell whether a copy has begun."""
        try:
            chosen = self._admitted(self._present(self._uncancelled(batch)))
            copies = self._room(chosen)
            if not chosen:
                return False
            copy = self._mover.move(
                self.source,
                [original.block_id for original in chosen.values()],
                self.target,
                copies.block_ids,
            )
        except BaseException as error:
            for entry in batch:
                self._end(entry, Outcome.FAILED, f"{type(error).__name__}: {error}")
            if not isinstance(error, Exception):
                raise  # it is the outcome of these blocks, and more
            return False
        copy.future.add_done_callback(partial(self._landed, chosen, copies))
        copy.finished.add_done_callback(partial(self._let_go, chosen, copies))
        return True

    def _uncancelled(self, batch: list[_Entry]) -> list[_Entry]:
        """Sweep out entries that nobody wants any more."""
        wanted = []
        for entry in batch:
            with self._lock:  # nobody may join an entry between the question and its end
                cancelled = all(offload.cancelled for offload in entry.offloads)
                offloads = self._take_out(entry, Outcome.CANCELLED) if cancelled else []
            if cancelled:
                _tell(entry, offloads, Ended(Outcome.CANCELLED, "cancelled before the copy began"))
            else:
                wanted.append(entry)
        return wanted

    def _present(self, batch: list[_Entry]) -> Chosen:
        """Hold the sources that still exist, and let go of those that the target has."""
        names = [entry.name for entry in batch]
        held = self.source.pool.scan_matches(names, touch=False)
        chosen = {}
        for entry, known in zip(batch, self.target.pool.contains(names), strict=True):
            if entry.name not in held:
                self._end(entry, Outcome.EVICTED, f"no longer in {self.source.name}")
            elif known:
                self._end(entry, Outcome.FILTERED, f"already in {self.target.name}")
            else:
                chosen[entry] = held[entry.name]
        return chosen

    def _admitted(self, chosen: Chosen) -> Chosen:
        """Ask the filters."""
        admitted = {}
        for entry, original in chosen.items():
            asked = (one.refuses(entry.name, entry.priority) for one in self._filters)
            reason = next((reason for reason in asked if reason is not None), None)
            if reason is None:
                admitted[entry] = original
            else:
                self._end(entry, Outcome.FILTERED, reason)
        return admitted

    def _room(self, chosen: Chosen) -> BlockList[MutableBlock]:
        """Allocate in the target, as much as there is; what finds no room leaves `chosen`."""
        pool = self.target.pool
        while True:
            fitting = min(len(chosen), pool.available_blocks())
            try:
                copies = pool.allocate_blocks(fitting)
            except NotEnoughBlocksAvailable:
                continue  # somebody was quicker: there is less now
            for entry in list(chosen)[fitting:]:
                del chosen[entry]
                self._end(entry, Outcome.NO_CAPACITY, f"no room in {self.target.name}")
            return copies

    def _landed(self, chosen: Chosen, copies: BlockList[MutableBlock], done: Future[Any]) -> None:
        """Publish what has arrived, and tell who waits. Runs where the copy ended."""
        error = error_of(done)
        try:
            if error is None:
                ids = np.array([original.block_id for original in chosen.values()])
                self.target.pool.adopt(copies, self.source.pool.slots, ids)
                self.target.pool.register_blocks(copies).release()
        except Exception as problem:  # noqa: BLE001  it is these blocks' outcome
            error = problem
        for entry in chosen:
            if error is None:
                self._end(entry, Outcome.COMPLETED, f"copied to {self.target.name}")
            elif isinstance(error, CancelledError):
                self._end(entry, Outcome.CANCELLED, "the copy was cancelled before it began")
            else:
                self._end(entry, Outcome.FAILED, f"{type(error).__name__}: {error}")

    def _let_go(self, chosen: Chosen, copies: BlockList[MutableBlock], _: Future[None]) -> None:
        """Release both ends, now that nobody touches them, and go on."""
        copies.close()  # what was published is used up; what was not goes back
        for original in chosen.values():
            original.release()
        self._copy_ended()
        self.pump()

    def _copy_ended(self) -> None:
        with self._idle:
            self._in_flight -= 1
            self._idle.notify_all()

    def _end(self, entry: _Entry, outcome: Outcome, reason: str) -> None:
        """End an entry for all who asked for it; nothing if it has ended."""
        with self._lock:
            offloads = self._take_out(entry, outcome)
        _tell(entry, offloads, Ended(outcome, reason))

    def _take_out(self, entry: _Entry, outcome: Outcome) -> list[Offload]:
        """Note the outcome, once; give those who are to be told. With the lock held."""
        if self._pending.get(entry.name) is entry:  # not another, that came after it
            del self._pending[entry.name]
        offloads, entry.offloads = entry.offloads, []
        self.ended[outcome] += len(offloads)
        self._idle.notify_all()
        return offloads


def _tell(entry: _Entry, offloads: Sequence[Offload], ended: Ended) -> None:
    for offload in offloads:
        offload.end(entry.name, ended)
