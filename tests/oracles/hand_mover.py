"""A mover whose copies begin, end and fail when a test says so. A place is a list of values."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from kvbm.pool import BlockPool
from kvbm.tiering import Tier

NOTHING = None


@dataclass(eq=False)
class Move:
    """One copy that has begun."""

    source: Tier
    source_ids: list[int]
    target: Tier
    target_ids: list[int]
    layers: range | None
    future: Future[None]
    finished: Future[None]

    def give_up(self, error: Exception) -> None:
        """Tell who waits that the copy failed; it may still write."""
        self.future.set_exception(error)

    def finish(self) -> None:
        for here, there in zip(self.source_ids, self.target_ids, strict=True):
            self.target.place[there] = self.source.place[here]
        if not self.future.done():
            self.future.set_result(None)
        self.finished.set_result(None)

    def fail(self, error: Exception) -> None:
        for there in self.target_ids:
            self.target.place[there] = "garbage"
        if not self.future.done():
            self.future.set_exception(error)
        self.finished.set_result(None)


class HandMover:
    """Collects copies in `moves`; `at_once` finishes each as it begins."""

    def __init__(self, *, at_once: bool = False) -> None:
        self.moves: list[Move] = []
        self.at_once = at_once

    def move(
        self,
        source: Tier,
        source_ids: Sequence[int],
        target: Tier,
        target_ids: Sequence[int],
        layers: range | None = None,
    ) -> Move:
        move = Move(source, list(source_ids), target, list(target_ids), layers, Future(), Future())
        self.moves.append(move)
        if self.at_once:
            self.moves.remove(move)
            move.finish()
        return move

    def finish(self, index: int = 0) -> None:
        self.moves.pop(index).finish()

    def fail(self, error: Exception, index: int = 0) -> None:
        self.moves.pop(index).fail(error)


def tier(name: str, blocks: int, **options: object) -> Tier:
    return Tier(name, BlockPool(blocks, page_size=4, tier=name, **options), [NOTHING] * blocks)


def store(tier: Tier, names: Sequence[int], *, priority: int = 0, parent: int | None = None):
    """Register blocks whose bytes say what they are; give the handles."""
    blocks = tier.pool.allocate_blocks(len(names))
    for slot, name in zip(blocks.block_ids, names, strict=True):
        tier.place[slot] = f"bytes of {name}"
    blocks.stage(names, parent=parent)
    blocks.set_priority(priority)
    return tier.pool.register_blocks(blocks)


def readable(tier: Tier, name: int) -> object:
    """Read what a match of `name` would read, or None for a miss."""
    with tier.pool.match_sequence_hashes([name]) as found:
        return tier.place[found.block_ids[0]] if len(found) else None
