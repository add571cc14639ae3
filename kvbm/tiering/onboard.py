"""Onboarding: a cached prefix, wherever it lies, into the fastest tier.

What this is
    The prefix is looked up in the target tier, then goes on in the next slower one, and so
    on; a gap ends it, and a tier is not asked again after a slower one. What is not in the
    target yet is copied there, all layers at once or one after the other.

Interface, as rules of use
    * onboard() returns at once. `wait()` or `await` gives the blocks that are in the target
      in the end; `wait_for_layer(i)` is enough to compute layer i.
    * A block that another request is loading is not loaded twice: both get that copy.
    * A block whose copy fails becomes a miss: it is removed from the tier that could not
      give it, and everybody who waits gets the shorter prefix. One that is cancelled, or
      meets a closed engine, says nothing about the block: it stays where it is.
    * Who stops waiting cancels nothing: the copy may be another's, too.
    * Sources and targets are held until their copy has ended, and what has arrived until
      all who asked for it have had it.

Clauses: KV-TIR-01, KV-TIR-02, KV-TIR-05, KV-TIR-06, KV-TIR-07, KV-REG-07, KV-LIV-02
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from functools import partial
from itertools import takewhile
from typing import Any, final

import numpy as np

from kvbm.blocks import BlockList, ImmutableBlock, MutableBlock, SequenceHash
from kvbm.errors import (
    NotEnoughBlocksAvailable,
    ProgressEngineShutdown,
    TransferEngineClosed,
    TransfersAbandoned,
    WaitCancelled,
)
from kvbm.pool.postponed import events_postponed
from kvbm.tiering.tier import Copy, Mover, Tier, error_of

logger = logging.getLogger(__name__)


@final
class Load:
    """Blocks on their way from one tier to another: one copy, however many wait for it."""

    def __init__(
        self,
        source: Tier,
        names: Sequence[SequenceHash],
        originals: BlockList[ImmutableBlock],
        copies: BlockList[MutableBlock],
        parts: int,
    ) -> None:
        self.source = source
        self.names = names
        self.originals = originals
        self.copies = copies
        self.arrived: BlockList[ImmutableBlock] | None = None  # holds what was published
        # Outcomes, one for all layers or one each. All are here at once: who shares the load
        # may wait for the last layer before the copy of the first was asked for.
        self.layers = [_promise() for _ in range(parts)]
        self.done = _promise()  # after everything was published, or given up

    @property
    def errors(self) -> list[BaseException]:
        """What the copies that have failed so far failed with."""
        errors = [part.exception() for part in self.layers if part.done()]
        return [error for error in errors if error is not None]


@final
class Onboarding:
    """A prefix on its way into the target tier."""

    def __init__(
        self,
        target: Tier,
        names: Sequence[SequenceHash],
        present: BlockList[ImmutableBlock],
        loads: Sequence[Load],
        found: Mapping[str, int],
    ) -> None:
        self._target = target
        self._names = names
        self._present: BlockList[ImmutableBlock] | None = present
        self._loads: Sequence[Load] = loads
        self.present = len(present)  # blocks that were in the target at once
        self.loading = len(names) - len(present)
        self.found = found  # blocks, by the name of the tier in which each was found

    @property
    def done(self) -> bool:
        """Whether every copy has ended."""
        return all(load.done.done() for load in self._loads)

    def wait_for_layer(self, layer: int, timeout: float | None = None) -> None:
        """Wait until this layer of all blocks is in the target.

        Raises
        ------
        WaitCancelled
            It took longer than `timeout` seconds.
        Exception
            What the copy of this layer failed with: the prefix must be computed.
        """
        parts = [load.layers[min(layer, len(load.layers) - 1)] for load in self._loads]
        until = None if timeout is None else time.monotonic() + timeout
        for part in parts:  # in order, so that an error need not wait for what comes after it
            left = None if until is None else max(0.0, until - time.monotonic())
            if wait([part], left).not_done:
                raise WaitCancelled(self.loading, f"layer {layer} took longer than {timeout} s")
            part.result()

    def wait(self, timeout: float | None = None) -> BlockList[ImmutableBlock]:
        """Wait for all copies, and hold the longest prefix that is in the target then.

        Raises
        ------
        WaitCancelled
            It took longer than `timeout` seconds. The copies go on; wait again.
        """
        if wait([load.done for load in self._loads], timeout).not_done:
            raise WaitCancelled(self.loading, f"the copies took longer than {timeout} s")
        if not self._loads and self._present is not None:  # a second match was a second use
            present, self._present = self._present, None
            return present
        result = self._target.pool.match_sequence_hashes(self._names)
        # Only now: until the result holds them, nobody could evict them.
        self._present, self._loads = None, ()
        return result

    def __await__(self) -> Generator[Any, None, BlockList[ImmutableBlock]]:
        for load in self._loads:
            yield from asyncio.wrap_future(load.done)
        return self.wait(0)


@final
class Onboarder:
    """Brings prefixes into `tiers[0]` from the slower ones behind it."""

    def __init__(self, tiers: Sequence[Tier], mover: Mover, *, layers: int) -> None:
        self._target, *self._slower = tiers
        self._mover = mover
        self._layers = layers
        # Re-entrant: a finaliser may onboard in the middle of a call.
        self._lock = threading.RLock()
        self._none_loading = threading.Condition(self._lock)
        self._loading: dict[SequenceHash, Load] = {}
        # Blocks that could not be loaded and could not be removed, since somebody holds them.
        self._bad: set[tuple[str, SequenceHash]] = set()

    def onboard(
        self, sequence_hashes: Sequence[SequenceHash], *, layer_wise: bool = False
    ) -> Onboarding:
        """Find the longest cached prefix over all tiers and start to bring it here.

        Parameters
        ----------
        sequence_hashes
            Of one sequence, from its first block on.
        layer_wise
            One copy a layer, so that `wait_for_layer` can return early.

        Complexity
        ----------
        O(hits), and the copies.
        """
        names = list(sequence_hashes)
        # Postponed, since a subscriber must not be called under the lock. And it may wait for
        # one of these loads, so they have begun by then.
        with events_postponed():
            return self._begin(names, self._layers if layer_wise else 1)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no load holds a block any more; False if `timeout` seconds were not enough.

        A load that has failed tells those who wait for it first, and gives its room back then.
        """
        with self._none_loading:
            return self._none_loading.wait_for(lambda: not self._loading, timeout)

    def _begin(self, names: Sequence[SequenceHash], parts: int) -> Onboarding:
        started: list[Load] = []
        try:
            return self._look_up(names, parts, started)
        finally:  # also after an error: others may wait for these already
            for load in started:
                self._start(load)

    def _look_up(
        self, names: Sequence[SequenceHash], parts: int, started: list[Load]
    ) -> Onboarding:
        """Find who has what, and make the loads that nobody has made; they go to `started`."""
        with self._lock:
            # What lands is published before it leaves `_loading`: here it is in one of both.
            present = self._target.pool.match_sequence_hashes(names)
            end, loads = len(present), []
            found = Counter({self._target.name: len(present)})
            slower = list(self._slower)
            while end < len(names):
                load = self._loading.get(names[end])
                if load is None:
                    load = self._found(names[end:], slower, parts)
                    if load is None:
                        break
                    started.append(load)
                loads.append(load)
                run = sum(1 for _ in takewhile(set(load.names).__contains__, names[end:]))
                found[load.source.name] += run
                end += run
        return Onboarding(self._target, names[:end], present, loads, found)

    def _found(self, names: Sequence[SequenceHash], slower: list[Tier], parts: int) -> Load | None:
        """Make a load of what the next tier that has `names[0]` can give; drop those before."""
        while slower:
            wanted = list(takewhile(partial(self._may_load, slower[0]), names))
            originals = slower[0].pool.match_sequence_hashes(wanted)
            if len(originals):
                return self._load(slower[0], wanted, originals, parts)
            slower.pop(0)
        return None

    def _may_load(self, source: Tier, name: SequenceHash) -> bool:
        """Say no to what is being loaded, and to what failed and is still there."""
        if name in self._loading:
            return False
        bad = (source.name, name)
        if bad in self._bad:
            if source.pool.reset_blocks([name]).not_reset_blocks:
                return False
            self._bad.remove(bad)  # removed now, or gone long ago: a miss like any other
        return True

    def _load(
        self,
        source: Tier,
        names: Sequence[SequenceHash],
        originals: BlockList[ImmutableBlock],
        parts: int,
    ) -> Load | None:
        """Allocate room for what was found, or for as much of it as there is."""
        pool = self._target.pool
        while True:
            room = min(len(originals), pool.available_blocks())
            if not room:
                return None
            try:
                copies = pool.allocate_blocks(room)
            except NotEnoughBlocksAvailable:
                continue  # somebody was quicker: there is less now
            kept, _ = originals.split(room)
            load = Load(source, names[:room], kept, copies, parts)
            self._loading.update(dict.fromkeys(load.names, load))
            return load

    def _start(self, load: Load) -> None:
        source, whole = load.source, len(load.layers) == 1
        begun: list[Copy] = []
        for index, outcome in enumerate(load.layers):
            layers = None if whole else range(index, index + 1)
            try:
                copy = self._mover.move(
                    source, load.originals.block_ids, self._target, load.copies.block_ids, layers
                )
            except Exception as error:  # noqa: BLE001  it is the load's outcome
                outcome.set_exception(error)
            else:
                begun.append(copy)
                copy.future.add_done_callback(partial(_pass_on, outcome))
        # The copies are all asked for before anything is concluded from the first.
        landed = _Countdown(len(load.layers), partial(self._landed, load))
        for future in load.layers:
            future.add_done_callback(landed)
        finished = _Countdown(1 + len(begun), partial(self._let_go, load))
        for copy in begun:
            copy.finished.add_done_callback(finished)
        load.done.add_done_callback(finished)

    def _landed(self, load: Load) -> None:
        """Publish what has arrived, and tell who waits. Runs where the last copy ended."""
        try:
            if not load.errors:
                ids = np.array(load.originals.block_ids)
                self._target.pool.adopt(load.copies, load.source.pool.slots, ids)
                load.arrived = self._target.pool.register_blocks(load.copies)
        except Exception:
            logger.exception("blocks arrived from %s and could not be published", load.source.name)
        finally:
            load.done.set_result(None)

    def _let_go(self, load: Load) -> None:
        """Release both ends, now that nobody touches them; what failed becomes a miss."""
        load.copies.close()  # what was published is used up; what was not goes back
        load.originals.close()
        blameless = (CancelledError, TransferEngineClosed, TransfersAbandoned)
        if not all(isinstance(error, blameless) for error in load.errors):
            with suppress(ProgressEngineShutdown):  # then it has no blocks any more
                held = load.source.pool.reset_blocks(load.names).not_reset_blocks
                with self._lock:
                    self._bad.update((load.source.name, name) for name in held)
        with self._lock:
            for name in load.names:
                self._loading.pop(name, None)  # a list may name a block twice
            self._none_loading.notify_all()


def _promise() -> Future[Any]:
    """Make a future that nobody can cancel: of many who wait, one may want to."""
    promise: Future[Any] = Future()
    promise.set_running_or_notify_cancel()
    return promise


def _pass_on(outcome: Future[Any], done: Future[Any]) -> None:
    error = error_of(done)
    if error is None:
        outcome.set_result(None)
    else:
        outcome.set_exception(error)


class _Countdown:
    """Calls `then` when it was called itself `count` times."""

    def __init__(self, count: int, then: Any) -> None:
        self._left = count
        self._then = then
        self._lock = threading.Lock()

    def __call__(self, _: Future[Any]) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        # Forget it: the futures of the load know this object, and the load knows them.
        then, self._then = self._then, None
        then()
