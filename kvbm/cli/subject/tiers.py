"""Tiers: this package's pools, routes and onboarding, with every copy in the suite's hands.

What this is
    The adapter between `kvbm_spec.tiers` and the parts that a `KvBlockManager` is made of:
    real pools and memory, a `Route` for each pair of tiers, an `Onboarder`, and a mover
    whose engine copies when it is told to. Checksums are on.

Interface, as rules of use
    * A copy that is to begin and not to end runs in a thread that waits inside the engine.

Clauses: KV-TIR-01, KV-TIR-02, KV-TIR-05, KV-SHD-05
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final, cast

from kvbm_spec.subject import Env, Key, PoolConfig
from kvbm_spec.tiers import PENDING, Copy

from kvbm.blocks.handles import Block
from kvbm.cli.subject.pool import PoolManager, refusals
from kvbm.errors import TransferEngineClosed, TransfersAbandoned
from kvbm.layout import BoundLayout, FullyContiguous, LayoutConfig
from kvbm.storage import SystemAllocator
from kvbm.tiering import EngineMover, Limits, Offload, Onboarder, Onboarding, Route, Tier
from kvbm.tiering.onboard import Load
from kvbm.transfer import Faults, ManualExecutor, Transfer, TransferEngine
from kvbm.transfer.faults import invert
from kvbm.transfer.task import Part

TIERS: Final = ("G1", "G2", "G3")

LIMITS: Final = Limits(transfers=2, batch=2, queued=64)
"""Small, so that requests wait and share copies."""


class TierPool(PoolManager):
    """The pool of one tier, whose bytes are in real memory."""

    def __init__(self, slots: int) -> None:
        super().__init__(PoolConfig(slots=slots))
        config = LayoutConfig(slots, num_layers=2, outer_dim=1, page_size=1, inner_dim=2)
        layout = FullyContiguous(config)
        sizes = layout.required_sizes()
        self.place: BoundLayout = layout.bind([SystemAllocator().allocate(n) for n in sizes])

    def write(self, handle: Block, data: bytes) -> None:
        """Fill a block that is not registered."""
        super().write(handle, data)
        for layer, part in enumerate((data[:4], data[4:])):
            view = self.place.layer_view(handle.block_id, layer).bytes()
            view.reshape(-1)[:] = list(part)

    def read(self, handle: Block) -> bytes:
        """Give the bytes of a held block."""
        with refusals():
            views = [self.place.layer_view(handle.block_id, layer) for layer in range(2)]
            return b"".join(view.bytes().tobytes() for view in views)


class Hands:
    """An executor whose steps wait: a `ManualExecutor` that knows the parts that it holds."""

    def __init__(self) -> None:
        self.waiting: list[Part] = []
        self._steps = ManualExecutor()

    def submit(self, function: Callable[[], Any], /) -> Future[Any]:
        """Line a part up."""
        self.waiting.append(cast("Part", function))
        return self._steps.submit(function)

    def run(self, part: Part) -> None:
        """Run one part."""
        index = self.waiting.index(part)
        del self.waiting[index]
        self._steps.run(index)


class Named:
    """A mover that remembers which blocks each of its transfers carries."""

    def __init__(self, mover: EngineMover) -> None:
        self.copies: dict[int, Copy] = {}
        self._mover = mover

    def move(
        self,
        source: Tier,
        source_ids: Sequence[int],
        target: Tier,
        target_ids: Sequence[int],
        layers: range | None = None,
    ) -> Transfer:
        """See Mover."""
        keys = tuple(int(source.pool.slots.name_of(slot)) for slot in source_ids)
        copy = self._mover.move(source, source_ids, target, target_ids, layers)
        transfer = cast("Transfer", copy)
        self.copies[transfer.number] = Copy(keys, source.name, target.name)
        return transfer


@dataclass(slots=True, eq=False)
class Request:
    """What one `offload` or `onboard` was given."""

    keys: tuple[Key, ...]
    offload: Offload | None = None
    onboarding: Onboarding | None = None
    present: tuple[Key, ...] = ()
    loads: tuple[Load, ...] = ()
    missing: str = ""
    """What became of keys that are not loaded."""
    known: dict[Key, str] | None = None
    """What became of each key, once nobody waits any more."""


class KvbmTiers:
    """All tiers. See `kvbm_spec.tiers.TieredManager` for the methods."""

    def __init__(self, slots: Mapping[str, int]) -> None:
        self._hands, self._faults = Hands(), Faults()
        self._engine = TransferEngine(checksums="memory", executor=self._hands, faults=self._faults)
        self._mover = Named(EngineMover(self._engine))
        self._pools = {name: TierPool(count) for name, count in slots.items()}
        self._tiers = [Tier(name, one.pool, one.place) for name, one in self._pools.items()]
        self._routes = {
            (source.name, target.name): Route(source, target, self._mover, limits=LIMITS)
            for source, target in combinations(self._tiers, 2)
        }
        self._onboarder = Onboarder(self._tiers, self._mover, layers=2)
        self._begun: list[tuple[Part, threading.Event, threading.Thread]] = []
        self._closed = False

    def pool(self, tier: str) -> TierPool:
        """Give the pool of a tier."""
        return self._pools[tier]

    def offload(self, keys: Sequence[Key], source: str, target: str) -> Request:
        """Enqueue blocks."""
        with refusals():
            offload = self._routes[source, target].enqueue(keys)
        return Request(tuple(keys), offload=offload)

    def onboard(self, keys: Sequence[Key]) -> Request:
        """Begin to load a prefix."""
        with refusals():
            onboarding = self._onboarder.onboard(keys)
            loads = tuple(onboarding._loads)
            rest = keys[onboarding.present + onboarding.loading :][:1]
            cached = any(one.pool.contains(rest)[0] for one in self._tiers if rest)
        return Request(
            tuple(keys),
            onboarding=onboarding,
            present=tuple(keys[: onboarding.present]),
            loads=loads,
            missing="no_capacity" if cached else "evicted",
        )

    def state(self, ticket: Request) -> dict[Key, str]:
        """Tell what became of each key."""
        if ticket.known is not None:
            return ticket.known
        offload = ticket.offload
        if offload is not None:
            ended = {int(key): end.outcome.value for key, end in offload.ended.items()}
            return {key: ended.get(key, PENDING) for key in ticket.keys}
        states = dict.fromkeys(ticket.keys, ticket.missing)
        for load in ticket.loads:
            states |= {key: _outcome(load) for key in ticket.keys if key in load.names}
        return states | dict.fromkeys(ticket.present, "completed")

    def result(self, ticket: Request) -> list[Block]:
        """Hold the prefix that is there."""
        assert ticket.onboarding is not None, "it was given up"
        with refusals():
            blocks: list[Block] = list(ticket.onboarding.wait(0))
        self._drop(ticket)
        return blocks

    def cancel(self, ticket: Request) -> None:
        """Take an offload out of its queue, or drop an onboarding."""
        if ticket.offload is None:
            self._drop(ticket)
            return
        ticket.offload.cancel()
        for route in self._routes.values():
            route.pump()

    def copies(self) -> list[Copy]:
        """Give what has begun, then what can begin."""
        begun = [replace(self._copy(part), begun=True) for part, _, _ in self._begun]
        return [*begun, *map(self._copy, self._hands.waiting)]

    def begin(self, index: int) -> None:
        """Run a part in a thread, up to the place where the engine would copy."""
        if index < len(self._begun):
            return
        part = self._hands.waiting[index - len(self._begun)]
        go = self._faults.delay(part.task.transfer.number)
        thread = threading.Thread(target=self._hands.run, args=(part,), daemon=True)
        thread.start()
        while not part.task.transfer.future.running():
            time.sleep(0)
        self._begun.append((part, go, thread))

    def finish(self, index: int) -> None:
        """Let a part run to its end."""
        if index < len(self._begun):
            _, go, thread = self._begun.pop(index)
            go.set()
            thread.join()
        else:
            self._hands.run(self._hands.waiting[index - len(self._begun)])

    def fail(self, index: int, *, short: bool) -> None:
        """Let the transfer of a part fail, and run it."""
        waiting = [part for part, _, _ in self._begun] + self._hands.waiting
        transfer = waiting[index].task.transfer
        if short:
            self._faults.short(transfer.number, len(self._mover.copies[transfer.number].keys) // 2)
        else:
            self._faults.fail(transfer.number)
        self.finish(index)

    def corrupt(self, tier: str, key: Key) -> None:
        """Flip a byte in memory."""
        one = self._pools[tier]
        invert(one.place, one.pool._core.registry.entries()[key])

    def close(self, timeout: float) -> list[str]:
        """Close routes, engine and pools, as a `KvBlockManager` does."""
        if self._closed:
            return []
        self._closed = True
        for route in self._routes.values():
            route.close(timeout / len(self._routes) / 2)
        abandoned: list[str] = []
        try:
            self._engine.close(timeout / 2)
        except TransfersAbandoned as error:
            abandoned = [*error.left]
        dead = [part for part in self._hands.waiting if part.task.transfer.done]
        for part in dead:
            self._hands.run(part)  # it copies nothing: its transfer was cancelled
        for one in self._pools.values():
            one.close()
        return abandoned

    def _drop(self, ticket: Request) -> None:
        """Let go of what an onboarding holds, and remember how it stood."""
        states = self.state(ticket)
        ticket.known = {k: "cancelled" if s == PENDING else s for k, s in states.items()}
        ticket.onboarding, ticket.loads = None, ()

    def _copy(self, part: Part) -> Copy:
        return self._mover.copies[part.task.transfer.number]


def _outcome(load: Load) -> str:
    """Tell what became of a load."""
    if not load.done.done():
        return PENDING
    if not load.errors:
        return "completed"
    gone = (CancelledError, TransferEngineClosed, TransfersAbandoned)
    return "cancelled" if all(isinstance(error, gone) for error in load.errors) else "failed"


class Tiering:
    """What makes a subject one with tiers."""

    def tiers(self) -> tuple[str, ...]:
        """Name them."""
        return TIERS

    def open_tiers(self, slots: Mapping[str, int], env: Env) -> KvbmTiers:
        """Open empty tiers."""
        del env
        return KvbmTiers(slots)
