"""The pool's face: worked examples, refusals with their words, growth, sinks that fail."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from kvbm.blocks import BlockList, ImmutableBlock, State
from kvbm.errors import (
    BlockNotComplete,
    BlockNotFound,
    ErrorKind,
    InvalidConfig,
    NoBlocksToRegister,
    NotEnoughBlocksAvailable,
    NotPinned,
    ProgressEngineShutdown,
    ResetError,
    UnknownScheme,
)
from kvbm.events import EventLog
from kvbm.identity import TokenBlock, TokenBlockSequence
from kvbm.pool import BlockPool, Change, EvictionMode


def publish(pool: BlockPool, *names: Any, parent: Any = None) -> BlockList[ImmutableBlock]:
    blocks = pool.allocate_blocks(len(names))
    blocks.stage(names, parent=parent)
    return pool.register_blocks(blocks)


def changes(log: EventLog) -> list[tuple[str, list[Any]]]:
    batches = [batch.change for batch in log.reader(0).read()]
    return [(change.kind.value, list(change.sequence_hashes)) for change in batches]


@pytest.mark.clause("KV-EVC-02", "KV-EVC-05", "KV-REG-03")
def test_the_worked_example_of_the_priority_policy() -> None:
    pool = BlockPool(4)
    blocks = pool.allocate_blocks(4)
    assert blocks.block_ids == [0, 1, 2, 3]
    assert pool.slots.records["acquired"].tolist() == [0, 1, 2, 3]
    chain, root = blocks.split(3)
    chain.stage([101, 102, 103])
    root.stage([104])
    held, alone = pool.register_blocks(chain), pool.register_blocks(root)
    alone.release()
    a, b, c = held.to_list()
    del held  # the handles live on, and die root first
    a.release()
    b.release()
    c.release()
    pool.available_blocks()
    assert pool._core.policy.order().tolist() == [3, 2, 1, 0], "children before their parents"
    pool.touch_blocks([104])
    assert pool._core.policy.order().tolist() == [2, 1, 0, 3]
    assert pool.allocate_blocks(2).block_ids == [2, 1]
    assert pool.match_sequence_hashes([101, 102, 103]).block_ids == [0]
    assert pool.match_sequence_hashes([104]).block_ids == [3]


@pytest.mark.clause("KV-EVC-02", "KV-LIF-04")
def test_low_priority_goes_first_and_a_new_tenant_has_none() -> None:
    pool = BlockPool(3)
    blocks = [publish(pool, name) for name in (1, 2, 3)]
    for block, priority in zip(blocks, (5, 0, 5), strict=True):
        block.set_priority(priority)
        block.release()
    taken = pool.allocate_blocks(3)
    assert taken.block_ids == [1, 0, 2]
    assert [block.priority for block in taken] == [0, 0, 0]


@pytest.mark.clause("KV-REG-02", "KV-CAP-05")
def test_two_requests_with_an_equal_first_block_share_it() -> None:
    """Measured on kvbm 1.6.1: usage falls from .667 to .5, and b becomes [0, 3]."""
    pool = BlockPool(6)
    first, second = pool.allocate_blocks(2), pool.allocate_blocks(2)
    first.stage([1, 2])
    second.stage([1, 3])
    assert pool.usage() == pytest.approx(4 / 6)
    assert pool.register_blocks(first).block_ids == [0, 1]
    first = pool.match_sequence_hashes([1, 2])  # type: ignore[assignment]
    kept = pool.register_blocks(second)
    assert kept.block_ids == [0, 3]
    assert pool.usage() == 0.5
    assert pool.statistics().deduplicated == 1


@pytest.mark.clause("KV-REG-02", "KV-REG-10", "KV-CAP-08")
@pytest.mark.parametrize("duplicates", ["reject", "allow"])
def test_one_hash_twice_in_one_batch_follows_the_policy(duplicates: str) -> None:
    log = EventLog()
    pool = BlockPool(3, duplicates=duplicates, events=log)
    blocks = pool.allocate_blocks(3)
    complete = [block.stage(name) for block, name in zip(blocks, (7, 7, 8), strict=True)]
    answer = pool.register_blocks(complete)
    if duplicates == "reject":
        assert answer.block_ids == [0, 0, 2]
        assert answer[0].use_count == 2
        assert pool.available_blocks() == 1
    else:
        assert answer.block_ids == [0, 1, 2]
        assert [block.is_duplicate for block in answer] == [False, True, False]
        assert answer[0].use_count == 2, "a duplicate holds its primary"
        answer[0].release()
        assert pool.match_sequence_hashes([7]).block_ids == [0], "and so it is never lost"
    assert changes(log) == [("stored", [7, 8])]


@pytest.mark.clause("KV-CAP-06", "KV-CAP-05")
def test_what_is_available_can_be_had_and_one_more_cannot() -> None:
    pool = BlockPool(4)
    held = publish(pool, 1)
    publish(pool, 2, 3).release()
    assert pool.available_blocks() == 3
    with pytest.raises(NotEnoughBlocksAvailable, match="requested 4 blocks, 3 available") as error:
        pool.allocate_blocks(4)
    assert (error.value.requested, error.value.available) == (4, 3)
    assert error.value.kind is ErrorKind.EXHAUSTED
    assert isinstance(error.value, MemoryError)
    assert pool._core._empty.order().tolist() == [3], "nothing was taken"
    assert pool._core.policy.order().tolist() == [2, 1]
    assert pool.allocate_blocks(0).block_ids == []
    assert pool.allocate_blocks(3).block_ids == [3, 2, 1]
    assert held.block_ids == [0]


@pytest.mark.clause("KV-EVC-06")
def test_evicting_none_does_nothing() -> None:
    log = EventLog()
    pool = BlockPool(2, events=log)
    publish(pool, 1, 2).release()
    pool.allocate_blocks(0)
    assert not len(pool._core.evict(0))
    assert pool.status().inactive_blocks == 2
    assert changes(log) == [("stored", [1, 2])]
    pool.allocate_blocks(1)
    assert changes(log)[1:] == [("removed", [2])], "no more than was needed"


@pytest.mark.clause("KV-EVC-03", "KV-EVT-04", "KV-REG-06")
def test_a_victim_is_forgotten_and_told_before_its_slot_has_a_new_name() -> None:
    log = EventLog()
    pool = BlockPool(1, events=log)
    publish(pool, 1).release()
    blocks = pool.allocate_blocks(1)
    assert not len(pool.match_sequence_hashes([1]))
    blocks.stage([2])
    pool.register_blocks(blocks)
    assert changes(log) == [("stored", [1]), ("removed", [1]), ("stored", [2])]
    assert not len(pool.match_sequence_hashes([1]))


@pytest.mark.clause("KV-CAP-08", "KV-LIF-03", "KV-LIF-09")
def test_a_batch_with_one_bad_block_is_given_back_whole() -> None:
    log = EventLog()
    pool = BlockPool(3, events=log)
    blocks = pool.allocate_blocks(3)
    handles = [blocks[0].stage(1), blocks[1].stage(2), blocks[2]]
    with pytest.raises(BlockNotComplete, match="block 2 is Reset") as error:
        pool.register_blocks(handles)
    assert error.value.block_id == 2
    assert isinstance(error.value, ValueError)
    assert [handle.state for handle in handles] == [State.COMPLETE] * 2 + [State.RESET]
    assert changes(log) == []
    assert pool.register_blocks(handles[:2]).block_ids == [0, 1]


REFUSALS: dict[str, tuple[Callable[[BlockPool], Any], type[Exception], str, str]] = {
    "register nothing": (
        lambda pool: pool.register_blocks([]),
        NoBlocksToRegister,
        "needs at least one block",
        "WrongState",
    ),
    "pin what is absent": (
        lambda pool: pool.pin_blocks([1, 99]),
        BlockNotFound,
        "no block is registered under 99",
        "NotFound",
    ),
    "unpin what is absent": (
        lambda pool: pool.unpin_blocks([99]),
        BlockNotFound,
        "no block is registered under 99",
        "NotFound",
    ),
    "unpin what is not pinned": (
        lambda pool: pool.unpin_blocks([1]),
        NotPinned,
        "1 has no pin to remove",
        "WrongState",
    ),
    "reset what is held": (
        lambda pool: pool.reset(),
        ResetError,
        "total blocks: 2, available blocks: 1",
        "WrongState",
    ),
    "allocate a negative number": (
        lambda pool: pool.allocate_blocks(-1),
        InvalidConfig,
        "count = -1",
        "Invalid",
    ),
    "allocate a part of a block": (
        lambda pool: pool.allocate_blocks(0.5),  # type: ignore[arg-type]
        InvalidConfig,
        "count = 0.5",
        "Invalid",
    ),
    "add a negative number": (
        lambda pool: pool.add_blocks(-1),
        InvalidConfig,
        "count = -1",
        "Invalid",
    ),
    "evict in an unknown mode": (
        lambda pool: pool.trigger_eviction("gently"),  # type: ignore[arg-type]
        ValueError,
        "gently",
        "",
    ),
}


@pytest.mark.clause("KV-LIF-01", "KV-LIF-07", "KV-LIF-09")
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_says_why_and_changes_nothing(name: str) -> None:
    call, error, words, kind = REFUSALS[name]
    log = EventLog()
    pool = BlockPool(2, events=log)
    held = publish(pool, 1)
    before = pool.slots.records.tolist(), pool.statistics(), log.next_number
    with pytest.raises(error, match=words) as refusal:
        call(pool)
    assert not kind or refusal.value.kind.value == kind  # type: ignore[attr-defined]
    assert (pool.slots.records.tolist(), pool.statistics(), log.next_number) == before
    assert held.block_ids == [0]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"total_blocks": 0}, InvalidConfig, "total_blocks = 0"),
        ({"total_blocks": 1.5}, InvalidConfig, "total_blocks = 1.5"),
        ({"page_size": 0}, InvalidConfig, "page_size = 0"),
        ({"policy": "random"}, InvalidConfig, "policy = 'random': known are priority"),
        ({"duplicates": "maybe"}, InvalidConfig, "duplicates = 'maybe'"),
        ({"scheme": "md5"}, UnknownScheme, "md5"),
    ],
)
def test_a_setting_that_cannot_be_is_named(
    settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        BlockPool(**{"total_blocks": 1, **settings})


@pytest.mark.clause("KV-LIF-07", "KV-EVC-01", "KV-OWN-03")
def test_pins_are_counted_held_to_and_never_clamped() -> None:
    pool = BlockPool(2)
    publish(pool, 1, 2).release()
    pool.pin_blocks([1, 2])
    pool.pin_blocks([1])
    assert pool.statistics().pinned == 2
    with pytest.raises(NotEnoughBlocksAvailable):
        pool.allocate_blocks(1)
    with pytest.raises(NotPinned):
        pool.unpin_blocks([2, 2])
    with pytest.raises(BlockNotFound):
        pool.unpin_blocks([1, 3])
    assert pool.slots.records["pins"].tolist() == [2, 1]
    pool.unpin_blocks([1, 1])
    assert pool.status().inactive_blocks == 0, "a held child keeps its parent"
    pool.unpin_blocks([2])
    assert pool.status().inactive_blocks == 2


@pytest.mark.clause("KV-REG-03")
def test_reset_blocks_tells_what_became_of_each() -> None:
    log = EventLog()
    pool = BlockPool(4, events=log)
    held = publish(pool, 1)
    publish(pool, 2).release()
    answer = pool.reset_blocks([2, 3, 1, 2])
    assert answer.reset_blocks == (2,)
    assert answer.not_found_blocks == (3, 2)
    assert answer.not_reset_blocks == (1,)
    assert changes(log)[2:] == [("removed", [2])]
    assert held.block_ids == [0]
    assert not len(pool.match_sequence_hashes([2]))


def test_a_reset_pool_is_as_new_and_its_empty_slots_are_in_order() -> None:
    pool = BlockPool(4)
    publish(pool, 1, 2).release()
    pool.reset()
    assert pool.status().empty_blocks == 4
    assert pool.allocate_blocks(4).block_ids == [2, 3, 1, 0], "old empties, then by eviction"


def test_touching_makes_the_prefix_most_recent_and_leaves_held_blocks_alone() -> None:
    pool = BlockPool(4, policy="lru")
    for name in (1, 2, 3):
        publish(pool, name).release()
    held = publish(pool, 4)
    pool.touch_blocks([1, 4, 9, 2])
    assert pool._core.policy.order().tolist() == [1, 2, 0]
    pool.touch_blocks([1])
    pool.touch_blocks([])
    assert pool._core.policy.order().tolist() == [1, 2, 0], "twice is once"
    pool.touch_blocks([3, 2])
    assert pool._core.policy.order().tolist() == [0, 2, 1], "in the order asked"
    assert held[0].use_count == 1


@pytest.mark.clause("KV-REG-01", "KV-LIF-05")
def test_a_match_is_the_longest_prefix_and_a_scan_is_all_of_it() -> None:
    pool = BlockPool(4)
    publish(pool, 1).release()
    publish(pool, 3).release()
    assert pool.match_sequence_hashes([1, 2, 3]).block_ids == [0]
    assert pool.match_sequence_hashes([2, 1]).block_ids == []
    found = pool.scan_matches(np.array([3, 2, 1, 3], np.uint64))
    assert list(found) == [3, 1]
    assert [block.block_id for block in found.values()] == [1, 0]
    assert pool.status().inactive_blocks == 0
    assert pool.cache_hit_rate() == pytest.approx(1 / 5)
    assert pool.statistics().hit_rate == pool.cache_hit_rate()


@pytest.mark.clause("KV-CAP-09", "KV-CAP-01")
def test_a_pool_that_grows_keeps_all_and_uses_the_new_slots_last() -> None:
    pool = BlockPool(2, policy="lineage")
    held = publish(pool, 1)
    publish(pool, 2, parent=1).release()
    pool.add_blocks(2)
    pool.add_blocks(0)
    assert (pool.total_blocks(), pool.available_blocks()) == (4, 3)
    assert pool.match_sequence_hashes([1, 2]).block_ids == [0, 1]
    assert pool.allocate_blocks(3).block_ids == [2, 3, 1]
    assert held[0].use_count == 1


@pytest.mark.clause("KV-EVC-04", "KV-CAP-07")
@pytest.mark.parametrize("policy", ["lineage", "lineage-fifo"])
def test_no_child_outlives_its_parent_under_lineage(policy: str) -> None:
    pool = BlockPool(6, policy=policy)
    for path in ([1, 2, 3], [1, 2, 4], [1, 5, 6]):
        hits = pool.match_sequence_hashes(path)
        rest = path[len(hits) :]
        publish(pool, *rest, parent=path[len(hits) - 1] if len(hits) else None)
        del hits
    parents = {2: 1, 3: 2, 4: 2, 5: 1, 6: 5}
    while pool.status().inactive_blocks:
        pool.allocate_blocks(1).release() if pool.status().empty_blocks else None
        pool._core.evict(1)
        there = {name for _, name in pool.snapshot().stored}
        assert all(parents[name] in there for name in there if name != 1)


@pytest.mark.clause("KV-EVC-01", "KV-EVC-07")
def test_a_held_child_keeps_its_parent_and_what_was_matched_is_never_the_victim() -> None:
    pool = BlockPool(3)
    publish(pool, 1, 2).release()
    child = pool.match_sequence_hashes([1, 2])[1]
    assert pool.available_blocks() == 1, "the parent is held by its child alone"
    with pytest.raises(NotEnoughBlocksAvailable):
        pool.allocate_blocks(2)
    assert pool.allocate_blocks(1).block_ids == [2]
    child.release()
    assert pool.available_blocks() == 3


@pytest.mark.clause("KV-IDN-06")
def test_a_collision_is_a_counted_miss_and_never_a_hit() -> None:
    def weak(*tokens: int) -> TokenBlock:
        (real,) = TokenBlockSequence(tokens, 2).blocks
        return TokenBlock(real.tokens, 2, real.salt, real.block_hash, 7, None, 0)

    def register(block: TokenBlock) -> BlockList[ImmutableBlock]:
        blocks = pool.allocate_blocks(1)
        blocks.apply_token_blocks([block])
        return pool.register_blocks(blocks)

    log = EventLog()
    pool = BlockPool(4, page_size=2, verify_tokens=True, events=log)
    mine, theirs, twin = register(weak(1, 2)), register(weak(3, 4)), register(weak(1, 2))
    assert (mine.block_ids, theirs.block_ids, twin.block_ids) == ([0], [1], [0])
    assert pool.statistics().collisions == 1
    assert pool.statistics().deduplicated == 1
    assert pool.match_token_blocks([weak(3, 4)]).block_ids == []
    assert pool.match_token_blocks([weak(1, 2)]).block_ids == [0]
    assert pool.statistics().collisions == 2
    assert changes(log) == [("stored", [7])]
    theirs.release()
    assert pool.status().empty_blocks == 3, "a block that is never found is not kept"
    mine.release()
    twin.release()
    pool.trigger_eviction(EvictionMode.AGGRESSIVE)
    assert register(weak(3, 4)).block_ids == [3]
    assert pool.match_token_blocks([weak(3, 4)]).block_ids == [3]


@pytest.mark.clause("KV-IDN-06")
@pytest.mark.parametrize("scheme", ["lineage", "sha256"])
def test_two_long_hashes_of_one_key_are_never_mixed_up(scheme: str) -> None:
    def name(high: int, low: int) -> Any:
        number = high << 64 | low
        return number if scheme == "lineage" else number.to_bytes(32, "big")

    pool = BlockPool(4, scheme=scheme)
    first, second = publish(pool, name(0, 3)), publish(pool, name(1, 2))
    assert pool.match_sequence_hashes([name(0, 3)]).block_ids == [0]
    assert pool.match_sequence_hashes([name(1, 2)]).block_ids == []
    assert list(pool.scan_matches([name(1, 2), name(0, 3)])) == [name(0, 3)]
    assert pool.reset_blocks([name(1, 2)]).not_found_blocks == (name(1, 2),)
    with pytest.raises(BlockNotFound):
        pool.pin_blocks([name(1, 2)])
    assert second[0].sequence_hash() == name(1, 2)
    assert second[0].downgrade().upgrade() is None, "its key leads to another block"
    assert first[0].downgrade().upgrade() is not None
    assert pool.statistics().collisions == 1


class Sink:
    """A sink of the user's own that fails when told to."""

    next_number = 0

    def __init__(self) -> None:
        self.fails = ""

    def append(self, change: Change) -> None:
        if self.fails == "append":
            raise ZeroDivisionError(change)

    def deliver(self) -> None:
        if self.fails == "deliver":
            raise ZeroDivisionError


@pytest.mark.clause("KV-LIF-09", "KV-CAP-10")
@pytest.mark.parametrize("where", ["append", "deliver"])
def test_a_sink_that_raises_loses_no_block(where: str) -> None:
    sink = Sink()
    pool = BlockPool(2, events=sink)
    calls: list[Callable[[], Any]] = [
        lambda: pool.allocate_blocks(2),
        lambda: pool.match_sequence_hashes([1]),
        lambda: pool.scan_matches([1]),
        lambda: publish(pool, 5, 6),
    ]
    publish(pool, 1, 2).release()
    for call in calls:
        sink.fails = where
        with suppress(ZeroDivisionError):
            call()
        sink.fails = ""
        assert pool.available_blocks() == 2
        pool._check()
    for duplicate in (False, True):
        blocks = pool.allocate_blocks(1)
        blocks.stage([1])
        if duplicate:
            publish(pool, 1)
        sink.fails = where
        with suppress(ZeroDivisionError):
            pool.register_blocks(blocks)
        sink.fails = ""
        del blocks
        assert pool.available_blocks() == 2
        pool._check()


@pytest.mark.clause("KV-LIF-09")
def test_a_closed_pool_refuses_and_its_blocks_can_still_be_dropped() -> None:
    pool = BlockPool(3)
    block = publish(pool, 1)[0]
    weak, left = block.clone().downgrade(), pool.allocate_blocks(1)
    with pool:
        pass
    pool.close()
    calls: list[Callable[[], Any]] = [
        pool.available_blocks,
        pool.status,
        pool.snapshot,
        pool.reset,
        block.clone,
        weak.upgrade,
        lambda: pool.allocate_blocks(1),
        lambda: pool.match_sequence_hashes([1]),
        lambda: left.stage([1]),
        lambda: pool.register_blocks(left),
        lambda: pool.try_return_block(block),
        lambda: pool.add_blocks(1),
    ]
    for call in calls:
        with pytest.raises(ProgressEngineShutdown, match="closed") as error:
            call()
        assert error.value.kind is ErrorKind.CLOSED
    assert left.block_ids == [1], "a refused call gives the blocks back"
    left.release()
    block.release()
    del weak


def test_the_counters_count_what_happened() -> None:
    pool = BlockPool(3)
    publish(pool, 1, 2).release()
    held = publish(pool, 1)
    pool.match_sequence_hashes([1, 2, 3])
    pool.allocate_blocks(2).release()
    pool.trigger_eviction()
    held.release()
    pool.trigger_eviction()
    pool.reset()
    now = pool.statistics()
    assert (now.allocated, now.registered, now.deduplicated) == (5, 2, 1)
    assert (now.requested, now.matched, now.hit_rate) == (3, 2, pytest.approx(2 / 3))
    assert now.evicted == 2, "one to make room, one when asked"
    assert pool.usage() == pool.usage_rate() == 0.0


def test_every_call_has_its_blocking_name() -> None:
    names = [name for name in dir(BlockPool) if name.endswith("_blocking")]
    assert len(names) == 10
    for name in names:
        assert getattr(BlockPool, name) is getattr(BlockPool, name.removesuffix("_blocking"))


def test_a_pool_draws_itself() -> None:
    pool = BlockPool(2)
    blocks = publish(pool, 255)
    child = publish(pool, 1, parent=255)
    assert str(pool).splitlines() == [
        "BlockPool(2 blocks of 16 tokens, device)",
        "0:active refs 2 key 255",
        "1:active refs 1 key 1 holds 0",
    ]
    del blocks, child


def test_the_documents_spell_the_modes_of_eviction_otherwise() -> None:
    assert EvictionMode.Normal is EvictionMode.NORMAL
    assert EvictionMode.Aggressive is EvictionMode.AGGRESSIVE
    assert list(EvictionMode) == [EvictionMode.NORMAL, EvictionMode.AGGRESSIVE]


def test_a_watcher_of_evictions_that_raises_loses_no_victim() -> None:
    pool = BlockPool(2)
    publish(pool, 1, 2).close()

    def refuse(victims: Any) -> None:
        raise OSError(f"{len(victims)} victims cannot be saved")

    pool.on_evict = refuse
    with pytest.raises(OSError, match="2 victims cannot be saved"):
        pool.allocate_blocks(2)
    pool._check()
    pool.on_evict = None
    assert pool.status().inactive_blocks == 2
    assert len(pool.allocate_blocks(2)) == 2
