"""Handles are capabilities: used up once, dead from then on, worth nothing elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kvbm.blocks import BlockList, CompleteBlock, ImmutableBlock, MutableBlock, State
from kvbm.errors import (
    BlockNotComplete,
    BlockStateInvalid,
    ErrorKind,
    InvalidConfig,
    NotOwnerError,
    NotReturnable,
    StaleHandleError,
    TokenBlockError,
)
from kvbm.identity import PartialTokenBlock, TokenBlock, TokenBlockSequence
from kvbm.pool import BlockPool


def publish(pool: BlockPool, *names: int, parent: int | None = None) -> BlockList[ImmutableBlock]:
    blocks = pool.allocate_blocks(len(names))
    blocks.stage(names, parent=parent)
    return pool.register_blocks(blocks)


@pytest.mark.clause("KV-LIF-02", "KV-LIF-06")
def test_a_released_handle_is_dead_even_when_its_slot_is_in_use_again() -> None:
    pool = BlockPool(1)
    old = pool.allocate_blocks(1)[0]
    old.release()
    new = pool.allocate_blocks(1)[0]
    uses: list[Callable[[], Any]] = [
        old.release,
        old.init_sequence,
        old.commit,
        old.reset,
        lambda: old.add_token(1),
        lambda: old.add_tokens([1]),
        old.pop_token,
        lambda: old.stage(1),
        lambda: old.complete(TokenBlockSequence(range(16), 16).blocks[0]),
        lambda: old.block_id,
        lambda: old.state,
        lambda: old.tokens,
        lambda: len(old),
        lambda: old.priority,
        lambda: setattr(old, "priority", 3),
        old.sequence_hash,
        old.__enter__,
        lambda: pool.register_blocks([old]),
        lambda: pool.try_return_block(old),
    ]
    for use in uses:
        with pytest.raises(StaleHandleError, match="used up") as error:
            use()
        assert error.value.kind is ErrorKind.STALE_HANDLE
        assert isinstance(error.value, LookupError)
    assert (new.block_id, new.state, new.priority) == (0, State.RESET, 0)
    assert pool.available_blocks() == 0


@pytest.mark.clause("KV-LIF-02")
def test_staging_a_handle_uses_it_up_and_hands_its_hold_on() -> None:
    pool = BlockPool(1)
    mutable = pool.allocate_blocks(1)[0]
    complete = mutable.stage(7)
    assert isinstance(complete, CompleteBlock)
    with pytest.raises(StaleHandleError):
        mutable.release()
    again = complete.reset()
    assert isinstance(again, MutableBlock)
    with pytest.raises(StaleHandleError):
        complete.reset()
    assert pool.available_blocks() == 0
    del again, mutable, complete
    assert pool.available_blocks() == 1


@pytest.mark.clause("KV-OWN-02")
def test_a_handle_is_worth_nothing_to_another_pool() -> None:
    mine, other = BlockPool(2), BlockPool(2)
    blocks = mine.allocate_blocks(2)
    blocks.stage([1, 2])
    for call in (other.register_blocks, lambda given: other.register_blocks(given.to_list())):
        with pytest.raises(NotOwnerError, match="another pool") as error:
            call(blocks)
        assert error.value.kind is ErrorKind.NOT_OWNER
        assert isinstance(error.value, PermissionError)
    with pytest.raises(NotOwnerError):
        other.try_return_block(blocks[0])
    assert other.statistics().registered == 0
    assert mine.register_blocks(blocks).block_ids == [0, 1]


@pytest.mark.clause("KV-LIF-06", "KV-CAP-08")
def test_the_same_handle_twice_in_one_batch_is_an_error_that_changes_nothing() -> None:
    pool = BlockPool(2)
    first, second = pool.allocate_blocks(2).to_list()
    first, second = first.stage(1), second.stage(2)
    with pytest.raises(StaleHandleError):
        pool.register_blocks([first, second, first])
    assert pool.register_blocks([first, second]).sequence_hashes() == [1, 2]


@pytest.mark.clause("KV-OWN-06", "KV-LIF-02")
def test_a_weak_handle_holds_nothing_and_never_gives_another_block() -> None:
    pool = BlockPool(1)
    weak = publish(pool, 7)[0].downgrade()
    assert pool.available_blocks() == 1
    again = weak.upgrade()
    assert again is not None
    assert (again.block_id, again.sequence_hash(), weak.sequence_hash()) == (0, 7, 7)
    again.release()
    other = publish(pool, 8)
    assert weak.upgrade() is None
    other.release()
    back = publish(pool, 7)
    assert weak.upgrade() is not None, "the hash is registered again"
    assert back[0].use_count == 1, "the upgraded handle died at once"


@pytest.mark.clause("KV-OWN-06")
def test_a_weak_handle_follows_its_hash_to_another_slot() -> None:
    pool = BlockPool(2, duplicates="allow")
    primary = publish(pool, 7)
    weak = publish(pool, 7)[0].downgrade()
    found = weak.upgrade()
    assert found is not None
    assert (found.block_id, found.is_duplicate) == (0, False)
    assert not primary[0].is_duplicate


@pytest.mark.clause("KV-OWN-03", "KV-LIF-06")
def test_the_use_count_is_what_holds_the_block_now() -> None:
    pool = BlockPool(3, duplicates="allow")
    block = publish(pool, 7)[0]
    assert block.use_count == 1
    twin = block.clone()
    assert block.use_count == 2
    pool.pin_blocks([7])
    child = publish(pool, 8, parent=7)
    copy = publish(pool, 7)
    assert block.use_count == 5
    del twin  # nobody has called the pool since
    assert block.use_count == 4
    pool.unpin_blocks([7])
    copy.release()
    del child
    assert block.use_count == 1


def test_only_a_sole_holder_can_return_a_block_and_then_at_once() -> None:
    pool = BlockPool(2)
    block = publish(pool, 7)[0]
    twin = block.clone()
    with pytest.raises(NotReturnable, match="2 holders") as error:
        pool.try_return_block(block)
    assert (error.value.block_id, error.value.holders) == (0, 2)
    assert error.value.kind is ErrorKind.WRONG_STATE
    assert block.use_count == 2
    twin.release()
    pool.try_return_block(block)
    assert pool.status().inactive_blocks == 1
    pool.try_return_block(pool.allocate_blocks(1)[0])
    assert pool.status().empty_blocks == 1


@pytest.mark.clause("KV-LIF-08")
def test_a_block_that_was_reset_leaves_no_trace() -> None:
    pool = BlockPool(1, page_size=2)
    block = pool.allocate_blocks(1)[0]
    for _ in range(2):
        block.init_sequence()
        block.add_tokens([1, 2])
        block.commit()
        name = block.sequence_hash()
        block.priority = 5
        block.reset()
        assert (block.state, block.priority, block.tokens) == (State.RESET, 0, None)
    assert not len(pool.match_sequence_hashes([name]))
    complete = block.stage(99)
    complete.reset()
    assert not len(pool.match_sequence_hashes([99]))


@pytest.mark.clause("KV-LIF-03")
def test_a_token_block_of_another_size_or_scheme_is_refused_before_all_else() -> None:
    pool = BlockPool(2, page_size=4)
    blocks = pool.allocate_blocks(2)
    fitting = list(TokenBlockSequence(range(8), 4).blocks)
    (wrong,) = TokenBlockSequence(range(8), 8).blocks
    rule = r"TokenBlock size \(8\) does not match Block page size \(4\)"
    with pytest.raises(BlockStateInvalid, match=rule):
        blocks[0].apply_token_block(wrong)
    with pytest.raises(BlockStateInvalid, match=rule):
        blocks.apply_token_blocks([fitting[0], wrong])
    with pytest.raises(InvalidConfig, match="scheme"):
        blocks.apply_token_blocks(list(TokenBlockSequence(range(8), 4, scheme="dynamo-v1").blocks))
    assert [block.state for block in blocks] == [State.RESET] * 2, "all or nothing"
    with pytest.raises(TokenBlockError, match="1 token blocks for 2 blocks"):
        blocks.apply_token_blocks(fitting[:1])
    blocks[1].init_sequence()
    with pytest.raises(BlockStateInvalid, match="Block is not reset"):
        blocks.apply_token_blocks(fitting)
    assert blocks[0].state is State.RESET
    blocks[1].reset()
    blocks.apply_token_blocks(fitting)
    with pytest.raises(BlockStateInvalid, match="size"):
        blocks[0].apply_token_block(wrong)  # the size is told first, then the state
    assert blocks.sequence_hashes() == [block.sequence_hash for block in fitting]


def test_complete_gives_a_handle_of_its_own_kind_and_keeps_the_block_when_refused() -> None:
    pool = BlockPool(1, page_size=4)
    block = pool.allocate_blocks(1)[0]
    with pytest.raises(BlockStateInvalid):
        block.complete(TokenBlockSequence(range(8), 8).blocks[0])
    complete = block.complete(TokenBlockSequence(range(4), 4).blocks[0])
    assert complete.tokens is not None
    assert complete.tokens.tolist() == [0, 1, 2, 3]
    assert complete.is_complete


@pytest.mark.parametrize("priority", [-1, 1 << 32, 1.5, "x", None])
def test_a_priority_that_is_none_is_refused(priority: Any) -> None:
    block = BlockPool(1).allocate_blocks(1)[0]
    with pytest.raises(InvalidConfig, match="priority"):
        block.priority = priority
    assert block.priority == 0


def test_a_handle_says_what_it_is() -> None:
    pool = BlockPool(1)
    block = pool.allocate_blocks(1)[0]
    assert repr(block) == "MutableBlock(block 0, Reset)"
    block.release()
    assert repr(block) == "MutableBlock(block 0, used up)"
    assert bool(block)


# ── lists ─────────────────────────────────────────────────────────────────────────────────


def test_a_list_is_a_sequence_of_handles_that_are_made_once() -> None:
    blocks = BlockPool(4).allocate_blocks(4)
    assert len(blocks) == 4
    assert [block.block_id for block in blocks] == [0, 1, 2, 3]
    assert blocks[-1] is blocks[3]
    assert [block.block_id for block in blocks[1:3]] == [1, 2]
    assert blocks[np.int64(2)] is blocks[2]
    for index in (4, -5):
        with pytest.raises(IndexError, match=f"block {index} of 4"):
            blocks[index]


@pytest.mark.clause("KV-LIF-02", "KV-OWN-01", "KV-OWN-02")
def test_a_list_whose_block_has_gone_on_cannot_touch_the_slot_s_next_tenant() -> None:
    pool = BlockPool(2)
    blocks = pool.allocate_blocks(2)
    blocks[0].release()
    (other,) = pool.allocate_blocks(1)
    assert other.block_id == 0
    token_blocks = list(TokenBlockSequence(range(32), 16).blocks)
    uses: list[Callable[[BlockList[MutableBlock]], Any]] = [
        lambda given: given.stage([1, 2]),
        lambda given: given.set_priority(5),
        lambda given: given.block_ids,
        lambda given: given.sequence_hashes(),
        lambda given: given.apply_token_blocks(token_blocks),
        pool.register_blocks,
        lambda given: given.release(),
        lambda given: given.split(1),
    ]
    for use in uses:
        with pytest.raises(StaleHandleError):
            use(blocks)
    assert (other.state, other.priority) == (State.RESET, 0)
    assert blocks[1].state is State.RESET, "the other block can still be had"
    del blocks
    assert pool.available_blocks() == 1


@pytest.mark.clause("KV-LIF-09", "KV-CAP-10")
@pytest.mark.parametrize("used", [0, 1, 2])
def test_a_with_gives_back_what_is_left_whatever_was_used_up_inside(used: int) -> None:
    pool = BlockPool(3)
    with pool.allocate_blocks(3) as blocks:
        blocks.stage([1, 2, 3])
        held = blocks[0]
        pool.register_blocks([blocks[index] for index in range(used)]) if used else None
    assert pool.available_blocks() == 3
    with pytest.raises(StaleHandleError):
        held.release()
    with pytest.raises(ZeroDivisionError), pool.allocate_blocks(3):
        1 / 0  # noqa: B018
    assert pool.available_blocks() == 3


@pytest.mark.clause("KV-LIF-06")
def test_handles_outlive_their_list_and_the_rest_dies_with_it() -> None:
    pool = BlockPool(4)
    blocks = pool.allocate_blocks(4)
    kept = blocks[2]
    blocks[1]  # made, and nobody keeps it
    del blocks
    assert pool.available_blocks() == 3
    del kept
    assert pool.available_blocks() == 4


def test_a_list_is_released_last_block_first_with_or_without_handles() -> None:
    pool = BlockPool(3)
    publish(pool, 1, 2, 3).release()
    assert pool.available_blocks() == 3
    assert pool._core.policy.order().tolist() == [2, 1, 0]
    blocks = pool.match_sequence_hashes([1, 2, 3])
    blocks[1]
    del blocks
    pool.available_blocks()
    assert pool._core.policy.order().tolist() == [2, 1, 0]


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4, -1])
def test_split_parts_a_list_and_its_handles(at: int) -> None:
    pool = BlockPool(3)
    blocks = pool.allocate_blocks(3)
    handles = [blocks[0], blocks[2]]
    first, second = blocks.split(at)
    assert [*first.block_ids, *second.block_ids] == [0, 1, 2]
    assert first.block_ids == [0, 1, 2][:at]
    assert handles[0] in [*first, *second]
    with pytest.raises(StaleHandleError):
        len(blocks.block_ids)
    del first, second
    assert pool.available_blocks() == 1, "two handles live on"
    del handles
    assert pool.available_blocks() == 3


def test_a_list_can_be_awaited_and_gives_itself() -> None:
    blocks = BlockPool(1).allocate_blocks(1)

    async def wait() -> Any:
        return await blocks

    coroutine = wait()
    with pytest.raises(StopIteration) as done:
        coroutine.send(None)
    assert done.value.value is blocks


def test_names_can_be_asked_for_when_all_blocks_have_content() -> None:
    pool = BlockPool(2)
    blocks = pool.allocate_blocks(2)
    with pytest.raises(BlockNotComplete, match="block 0 is Reset"):
        blocks.sequence_hashes()
    with pytest.raises(TokenBlockError, match="1 hashes for 2 blocks"):
        blocks.stage([1])
    blocks.stage([1, 2], parent=9, position=4)
    assert blocks.sequence_hashes() == [1, 2]
    assert [block.parent_sequence_hash() for block in blocks] == [9, 1]
    assert [block.position for block in blocks] == [4, 5]
    assert repr(blocks) == "BlockList[MutableBlock]([0, 1])"
    blocks.release()
    assert repr(blocks) == "BlockList[MutableBlock](used up)"


# ── one handle, two threads ───────────────────────────────────────────────────────────────


class Interrupted:
    """A lock before which, once, another thread comes first."""

    def __init__(self, lock: Any, first: Callable[[], None]) -> None:
        self.lock = lock
        self.first: Callable[[], None] | None = first

    def acquire(self) -> bool:
        if self.first is not None:
            first, self.first = self.first, None
            thread = threading.Thread(target=first)
            thread.start()
            thread.join()
        return self.lock.acquire()

    def release(self) -> None:
        self.lock.release()


@pytest.mark.clause("KV-LIF-02", "KV-OWN-01")
@pytest.mark.parametrize("call", ["stage", "begin", "apply", "reset", "priority", "list"])
def test_an_owner_who_is_too_late_cannot_touch_the_next_tenant(call: str) -> None:
    """Between an owner's look at his handle and his turn, another thread gives the block away."""
    pool = BlockPool(1, page_size=4)
    blocks = pool.allocate_blocks(1)
    block = blocks[0]
    token_block = TokenBlockSequence(range(4), 4).blocks[0]
    tenants = []

    def give_away() -> None:
        block.release()
        tenants.append(pool.allocate_blocks(1)[0])

    calls: dict[str, Callable[[], Any]] = {
        "stage": lambda: block.stage(1),
        "begin": block.init_sequence,
        "apply": lambda: block.apply_token_block(token_block),
        "reset": block.reset,
        "priority": lambda: setattr(block, "priority", 7),
        "list": lambda: blocks.stage([1]),
    }
    pool._lock = Interrupted(pool._lock, give_away)
    with pytest.raises(StaleHandleError):
        calls[call]()
    (tenant,) = tenants
    assert (tenant.state, tenant.priority) == (State.RESET, 0)


@pytest.mark.clause("KV-LIF-02", "KV-OWN-06")
def test_a_reader_who_is_too_late_cannot_hold_the_next_tenant() -> None:
    pool = BlockPool(1)
    block = publish(pool, 7)[0]
    tenants: list[BlockList[MutableBlock]] = []

    def give_away() -> None:
        block.release()
        tenants.append(pool.allocate_blocks(1))

    pool._lock = Interrupted(pool._lock, give_away)
    with pytest.raises(StaleHandleError):
        block.clone()
    assert pool.slots.records["refs"].tolist() == [1]


@pytest.mark.clause("KV-LIF-02", "KV-OWN-01")
def test_a_writer_who_is_too_late_cannot_add_to_the_next_tenant_s_tokens() -> None:
    pool = BlockPool(1, page_size=4)
    block = pool.allocate_blocks(1)[0]
    block.init_sequence()
    tenants: list[MutableBlock] = []

    class Contents(dict[int, Any]):
        def get(self, slot: int, default: Any = None) -> Any:
            if not tenants:
                block.release()
                tenants.append(pool.allocate_blocks(1)[0])
                tenants[0].init_sequence()
            return super().get(slot, default)

    pool.slots.contents = Contents(pool.slots.contents)
    with pytest.raises(StaleHandleError):
        block.add_token(1)
    assert tenants[0].is_empty


# ── equal hashes, other tokens ────────────────────────────────────────────────────────────


def weak_hash(tokens: list[int], name: int = 7, parent: int | None = None) -> TokenBlock:
    """A token block under a hash that says nothing of its tokens."""
    partial = PartialTokenBlock(2)
    partial.add_tokens(tokens)
    real = partial.commit()
    position = 0 if parent is None else 1
    return TokenBlock(real.tokens, 2, real.salt, 0, name, parent, position)


@pytest.mark.clause("KV-IDN-06")
def test_a_weak_handle_is_not_fooled_by_a_collision() -> None:
    pool = BlockPool(2, page_size=2, verify_tokens=True)
    first = pool.allocate_blocks(1)
    first.apply_token_blocks([weak_hash([1, 2])])
    second = pool.allocate_blocks(1)
    second.apply_token_blocks([weak_hash([3, 4])])
    primary = pool.register_blocks(first)
    weak = pool.register_blocks(second)[0].downgrade()
    assert pool.statistics().collisions == 1
    assert weak.upgrade() is None, "the same hash names other tokens"
    assert pool.statistics().collisions == 2
    assert primary[0].downgrade().upgrade() is not None
