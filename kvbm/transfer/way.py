"""Way: from source to target in one hop or over stages, and what becomes of each pair.

What this is
    A chain of places: source, perhaps stages, target. Pairs go along it in groups. With
    stages there are two halves that work in turn: while one is filled, the other is emptied.

Interface, as rules of use
    * `way_of` chooses the stages; `Way.move(piece, …)` moves some pairs, in the calling
      thread, and says in an Ended which failed. It raises nothing.
    * When one group fails, no new one begins; but all that was begun is waited for. So the
      pairs that an Ended does not name did arrive.
    * `Ended.late` are requests that did not answer in time. Source, target and stage stay in
      use until they finish.

Clauses: KV-TIR-02, KV-TIR-05, KV-INT-03
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias, final

import numpy as np

from kvbm.errors import InvalidConfig, UnsupportedTransfer
from kvbm.layout import BoundLayout, Layout
from kvbm.transfer.bounce import BounceBuffers, bind_stage, stage_bytes, stage_layout
from kvbm.transfer.checksums import Checks
from kvbm.transfer.disk import DiskExecutor
from kvbm.transfer.memory import MemoryExecutor
from kvbm.transfer.piece import Piece, on_real_device, place_of
from kvbm.transfer.plan import Integers
from kvbm.transfer.request import Request, settle
from kvbm.transfer.strategy import Capabilities, Place, Route, Strategy, resolve

Touch: TypeAlias = Callable[[BoundLayout, Integers, Integers], None]
"""Called with target, ids and positions when copies have arrived, before they are verified."""

ON_HOST: Final = {
    Strategy.COPY,
    Strategy.HOST_TO_DEVICE,
    Strategy.DEVICE_TO_HOST,
    Strategy.PAGEABLE_TO_DEVICE,
    Strategy.DEVICE_TO_PAGEABLE,
    Strategy.DEVICE_TO_DEVICE,
    Strategy.PEER,
}
"""Strategies that are a copy in host memory where the device is an emulated one."""


@final
@dataclass(slots=True, eq=False)
class Ended:
    """What became of some pairs. Those that are not in `failed` arrived."""

    failed: set[int] = field(default_factory=set)
    error: BaseException | None = None
    corrupt: bool = False
    late: list[Future[int]] = field(default_factory=list)

    def fail(self, positions: set[int], error: BaseException, *, corrupt: bool = False) -> None:
        """Note that pairs failed. The first error is the one that is told."""
        self.failed |= positions
        if self.error is None:
            self.error, self.corrupt = error, corrupt


@final
@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """Route, and the layouts of the stages, as a function of how many blocks they have."""

    route: Route
    stages: tuple[Layout, ...]
    """Layouts that the stages are like; empty if there is no stage."""
    disk: DiskExecutor
    bounce: BounceBuffers

    def move(self, piece: Piece, checks: Checks, touch: Touch) -> Ended:
        """Move some pairs, and wait for them."""
        ended = Ended()
        if not len(piece):
            return ended
        if not self.stages:
            group = _Group([(piece.source, piece.source_ids), (piece.target, piece.target_ids)],
                           piece, self, checks, touch, ended)  # fmt: skip
            group.begin()
            group.proceed()
            group.end()
            return ended
        try:
            block = sum(stage_bytes(stage_layout(like, 1)) for like in self.stages)
            slots = min(len(piece), max(1, self.bounce.size // block))
            layouts = [stage_layout(like, slots) for like in self.stages]
            storage = self.bounce.take(sum(map(stage_bytes, layouts)))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the outcome
            ended.fail(set(piece.positions.tolist()), error)
            return ended
        try:
            start, stages = 0, []
            for layout in layouts:
                stages.append(bind_stage(layout, storage, start))
                start += stage_bytes(layout)
            self.in_turn(piece, stages, range(slots), checks, touch, ended)
        finally:
            _when_all(ended.late, partial(self.bounce.give, storage))
        return ended

    def in_turn(
        self,
        piece: Piece,
        stages: list[BoundLayout],
        slots: range,
        checks: Checks,
        touch: Touch,
        ended: Ended,
    ) -> None:
        """Move all pairs over `slots` of the stages: two halves in turn, or one slot.

        Raises
        ------
        InvalidConfig
            There are no slots. Nothing would arrive, and nobody would know.
        """
        if not slots:
            raise InvalidConfig("bounce blocks", slots, "there must be at least one")
        size = max(1, len(slots) // 2)
        halves = [slots[:size], slots[size : 2 * size]] if len(slots) > 1 else [slots]
        emptying: deque[_Group] = deque()
        filling: _Group | None = None
        for number, first in enumerate(range(0, len(piece), size)):
            if len(emptying) + (filling is not None) == len(halves):
                if not emptying and filling is not None:  # the only half: no turns to take
                    filling.proceed()
                    emptying.append(filling)
                    filling = None
                emptying.popleft().end()
            if ended.error is not None:
                # KV-TIR-02: a late request may still use the half that would be next.
                ended.fail(set(piece.positions[first:].tolist()), ended.error)
                break
            part = piece.take(slice(first, first + size))
            half = np.array(halves[number % len(halves)][: len(part)])
            chain = [(part.source, part.source_ids), *((stage, half) for stage in stages)]
            chain.append((part.target, part.target_ids))
            group = _Group(chain, part, self, checks, touch, ended)
            group.begin()
            if filling is not None:
                filling.proceed()
                emptying.append(filling)
            filling = group
            if not group.on_its_way:  # filled already: empty it while the next one is filled
                group.proceed()
                emptying.append(group)
                filling = None
        if filling is not None:
            filling.proceed()
            emptying.append(filling)
        for group in emptying:
            group.end()

    def start(self, piece: Piece) -> list[Request]:
        """Begin one hop, by the executor of its two ends."""
        if place_of(piece.source)[0] is Place.DISK:
            return self.disk.start(piece, "read")
        if place_of(piece.target)[0] is Place.DISK:
            return self.disk.start(piece, "write")
        return MemoryExecutor().start(piece)


@final
class _Group:
    """Some pairs on their way along the chain, some of them lost by and by."""

    def __init__(
        self,
        chain: list[tuple[BoundLayout, Integers]],
        piece: Piece,
        way: Way,
        checks: Checks,
        touch: Touch,
        ended: Ended,
    ) -> None:
        self._chain = chain
        self._piece = piece
        self._way = way
        self._checks = checks
        self._touch = touch
        self._ended = ended
        self._alive = np.ones(len(piece), bool)
        self._at = 0  # place in the chain that the pairs have reached
        self.on_its_way: list[Request] = []

    def begin(self) -> None:
        """Start the first hop."""
        self._look()
        self._start()

    def proceed(self) -> None:
        """Wait until the first hop has ended, and start the last one."""
        while self._at < len(self._chain) - 1:
            self._arrive()
            self._start()

    def end(self) -> None:
        """Wait until the last hop has ended."""
        self._arrive()

    def _start(self) -> None:
        if self._at + 1 == len(self._chain) or not self._alive.any():
            return
        (source, source_ids), (target, target_ids) = self._chain[self._at : self._at + 2]
        hop = Piece(
            source, source_ids, target, target_ids, self._piece.layers, self._piece.positions
        ).take(np.flatnonzero(self._alive))
        try:
            self.on_its_way = self._way.start(hop)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the outcome
            self._lose(set(hop.positions.tolist()), error)

    def _arrive(self) -> None:
        failed, error = settle(self.on_its_way)
        if error is not None:
            self._lose(failed, error)
        self._ended.late += [
            request.finished for request in self.on_its_way if not request.finished.done()
        ]
        self.on_its_way = []
        if self._at + 1 < len(self._chain):
            self._at += 1
            if self._at + 1 == len(self._chain):
                alive = np.flatnonzero(self._alive)
                bound, ids = self._chain[-1]
                self._touch(bound, ids[alive], self._piece.positions[alive])
            self._look()

    def _look(self) -> None:
        bound, ids = self._chain[self._at]
        if place_of(bound)[0] is Place.DISK:
            return
        alive = np.flatnonzero(self._alive)
        try:
            wrong = self._checks.look(bound, ids[alive], self._piece.positions[alive])
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the outcome
            self._lose(set(self._piece.positions[alive].tolist()), error)
            return
        if wrong:
            differs = ValueError(f"the checksums of pairs {wrong} differ")
            self._lose(set(wrong), differs, corrupt=True)

    def _lose(self, positions: set[int], error: BaseException, *, corrupt: bool = False) -> None:
        self._ended.fail(positions, error, corrupt=corrupt)
        self._alive &= ~np.isin(self._piece.positions, list(positions))


def way_of(
    piece: Piece, capabilities: Capabilities, disk: DiskExecutor, bounce: BounceBuffers
) -> Way:
    """Choose the way of some pairs.

    Raises
    ------
    UnsupportedTransfer
        There is none, or none that is built into this package.
    """
    (from_place, from_id), (to_place, to_id) = place_of(piece.source), place_of(piece.target)
    route = resolve(from_place, to_place, capabilities, same_device=from_id == to_id)
    for hop in route.hops:
        if hop.strategy not in ON_HOST | {Strategy.READ, Strategy.WRITE}:
            raise UnsupportedTransfer(from_place, to_place, f"nothing here does {hop}")
    for place, bound in ((from_place, piece.source), (to_place, piece.target)):
        if on_real_device(bound):
            raise UnsupportedTransfer(from_place, to_place, f"{place} memory is on a real GPU")
    stages: list[Layout] = []
    if from_place is Place.DISK and not (
        to_place is not Place.DISK and not route.needs_bounce and disk.fits(piece, "read")
    ):
        stages.append(piece.source.layout)
    if to_place is Place.DISK:
        direct = from_place is not Place.DISK and not route.needs_bounce
        alike = stages and stage_layout(stages[0], 1) == stage_layout(piece.target.layout, 1)
        if not (direct and disk.fits(piece, "write")) and not alike:
            stages.append(piece.target.layout)
    if route.needs_bounce and not stages:
        stages.append(piece.source.layout)
    return Way(route, tuple(stages), disk, bounce)


def _when_all(futures: list[Future[int]], then: Callable[[], None]) -> None:
    """Call `then` when all are done; now, if they are."""
    if not futures:
        then()
        return
    first, *rest = futures
    first.add_done_callback(lambda _future: _when_all(rest, then))
