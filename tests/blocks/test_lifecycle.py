"""The table of the lifecycle: what it says is all that can happen, and all of it happens."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from kvbm.blocks import BlockList, CompleteBlock, ImmutableBlock, MutableBlock, Operation, State
from kvbm.blocks.lifecycle import AFTER, REFUSED, TABLE, after, diagram, table
from kvbm.errors import BlockNotComplete, BlockStateInvalid, ErrorKind, KvbmError
from kvbm.identity import PartialTokenBlock, TokenBlock, TokenBlockSequence
from kvbm.pool import BlockPool, EvictionMode

OWNED = (State.RESET, State.PARTIAL, State.COMPLETE)


def token_block(first: int = 0) -> TokenBlock:
    partial = PartialTokenBlock(2)
    partial.add_tokens([first, first + 1])
    return partial.commit()


def owned(pool: BlockPool, state: State, name: int = 7) -> MutableBlock:
    """A block in one of the states that an owner can see."""
    (block,) = pool.allocate_blocks(1).to_list()
    if state is State.PARTIAL:
        block.init_sequence()
        block.add_tokens([1, 2])
    elif state is State.COMPLETE:
        pool.stage(block, [name], None, 0)
    return block


def registered(pool: BlockPool, name: int = 7) -> ImmutableBlock:
    (block,) = pool.register_blocks([owned(pool, State.COMPLETE, name)]).to_list()
    return block


CALLS: dict[Operation, Callable[[MutableBlock], Any]] = {
    Operation.INIT_SEQUENCE: MutableBlock.init_sequence,
    Operation.ADD_TOKENS: lambda block: block.add_tokens([]),
    Operation.POP_TOKENS: lambda block: block.pop_tokens(1),
    Operation.COMMIT: MutableBlock.commit,
    Operation.APPLY_TOKEN_BLOCK: lambda block: block.apply_token_block(token_block()),
    Operation.STAGE: lambda block: block.stage(9),
    Operation.RESET: MutableBlock.reset,
    Operation.RELEASE: MutableBlock.release,
}
"""What an owner can ask of a block, in the states that it can be in."""

REASONS = {
    Operation.INIT_SEQUENCE: "Block is not reset",
    Operation.ADD_TOKENS: "Block is not partial",
    Operation.POP_TOKENS: "Block is not partial",
    Operation.COMMIT: "Block is not partial",
    Operation.APPLY_TOKEN_BLOCK: "Block is not reset",
    Operation.STAGE: "Block is not reset",
}


@pytest.mark.clause("KV-LIF-01")
@pytest.mark.parametrize(("operation", "state"), list(product(CALLS, OWNED)))
def test_every_call_of_an_owner_does_what_the_table_says_or_nothing(
    operation: Operation, state: State
) -> None:
    pool = BlockPool(2, page_size=2)
    block = owned(pool, state)
    target = int(AFTER[operation, state])
    before = pool.slots.records.tolist(), dict(pool.slots.contents), pool.statistics()
    if target == REFUSED:
        with pytest.raises(BlockStateInvalid, match=REASONS[operation]) as error:
            CALLS[operation](block)
        assert error.value.kind is ErrorKind.WRONG_STATE
        assert (error.value.operation, error.value.state) == (operation.label, state.block_state)
        assert (
            pool.slots.records.tolist(),
            dict(pool.slots.contents),
            pool.statistics(),
        ) == before
        assert block.state is state
    else:
        slot = block.block_id
        answer = CALLS[operation](block)
        pool.available_blocks()
        assert pool.slots.state(slot) is State(target)
        assert answer is None or not isinstance(answer, CompleteBlock) or answer.block_id == slot


@pytest.mark.clause("KV-LIF-01", "KV-LIF-03")
@pytest.mark.parametrize("state", [State.RESET, State.PARTIAL])
def test_a_block_without_content_cannot_be_registered(state: State) -> None:
    pool = BlockPool(2, page_size=4)
    block = owned(pool, state)
    with pytest.raises(BlockNotComplete) as error:
        pool.register_blocks([block])
    assert (error.value.block_id, error.value.state) == (block.block_id, state.block_state)
    assert error.value.kind is ErrorKind.WRONG_STATE
    assert block.state is state


@pytest.mark.clause("KV-LIF-01")
def test_a_registered_block_cannot_be_registered_again_or_filled() -> None:
    pool = BlockPool(2, page_size=2)
    block = registered(pool)
    with pytest.raises(BlockNotComplete, match="Registered"):
        pool.register_blocks([block])
    for name in ("stage", "init_sequence", "add_token", "commit", "apply_token_block", "reset"):
        assert not hasattr(block, name), f"a reader could {name}"
    with pytest.raises(BlockStateInvalid):
        pool.stage(block, [9], None, 0)
    with pytest.raises(BlockStateInvalid):
        pool.clear_block(block)
    assert block.state is State.ACTIVE


def rows_of_a_life() -> set[tuple[Operation, State, State]]:
    """Lead blocks through everything that can happen, and note each step with the states seen."""
    seen = set()
    pool = BlockPool(2, page_size=2, duplicates="allow")

    def step(operation: Operation, slot: int, act: Callable[[], Any]) -> Any:
        pool.available_blocks()
        source = pool.slots.state(slot)
        answer = act()
        pool.available_blocks()
        seen.add((operation, source, pool.slots.state(slot)))
        return answer

    def handle(blocks: BlockList[Any]) -> Any:
        return blocks[0]

    block = handle(step(Operation.ALLOCATE, 0, lambda: pool.allocate_blocks(1)))
    step(Operation.RESET, 0, block.reset)
    step(Operation.INIT_SEQUENCE, 0, block.init_sequence)
    step(Operation.ADD_TOKENS, 0, lambda: block.add_tokens([1, 2]))
    step(Operation.POP_TOKENS, 0, lambda: block.pop_tokens(1))
    step(Operation.RESET, 0, block.reset)
    block.init_sequence()
    step(Operation.ADD_TOKENS, 0, lambda: block.add_tokens([1, 2]))
    step(Operation.COMMIT, 0, block.commit)
    step(Operation.RESET, 0, block.reset)
    step(Operation.APPLY_TOKEN_BLOCK, 0, lambda: block.apply_token_block(token_block()))
    first = handle(step(Operation.REGISTER, 0, lambda: pool.register_blocks([block])))
    twin = step(Operation.ACQUIRE, 0, first.clone)

    second = handle(pool.allocate_blocks(1))
    name = first.sequence_hash()
    complete = step(Operation.STAGE, 1, lambda: second.stage(name))
    copy = handle(step(Operation.REGISTER_DUPLICATE, 1, lambda: pool.register_blocks([complete])))
    again = step(Operation.ACQUIRE, 1, copy.clone)
    again.release()
    step(Operation.RELEASE, 1, copy.release)
    twin.release()
    step(Operation.RELEASE, 0, first.release)
    step(Operation.ACQUIRE, 0, lambda: pool.match_sequence_hashes([name])).release()
    rest = pool.allocate_blocks(1)
    evicted = step(Operation.ALLOCATE, 0, lambda: pool.allocate_blocks(1))
    rest.release()
    step(Operation.RELEASE, 0, evicted.release)

    for state in (State.PARTIAL, State.COMPLETE):
        block = owned(pool, state)
        step(Operation.RELEASE, block.block_id, block.release)
    block = registered(pool)
    slot = block.block_id
    block.release()
    step(Operation.CLEAR, slot, lambda: pool.trigger_eviction(EvictionMode.AGGRESSIVE))

    pool = BlockPool(2, page_size=2)
    primary = registered(pool)
    block = owned(pool, State.COMPLETE)
    assert step(
        Operation.REGISTER_REJECTED, 1, lambda: pool.register_blocks([block])
    ).block_ids == [0]
    assert primary.state is State.ACTIVE
    step(Operation.RESTORE, 1, lambda: pool.restore([1], [9], [None], [0], [0]))
    return seen


@pytest.mark.clause("KV-LIF-01")
def test_every_row_of_the_table_happens_in_a_pool() -> None:
    rows = {(row.operation, row.source, row.target) for row in TABLE}
    assert rows_of_a_life() == rows


def test_the_compiled_table_is_the_table_and_nothing_else() -> None:
    rows = {(row.operation, row.source): row.target for row in TABLE}
    assert len(rows) == len(TABLE), "one operation leads from one state to one other"
    for operation, state in product(Operation, State):
        expected = rows.get((operation, state), REFUSED)
        assert AFTER[operation, state] == expected
        if expected == REFUSED:
            with pytest.raises(BlockStateInvalid):
                after(operation, state)
        else:
            assert after(operation, state) is expected
    with pytest.raises(ValueError, match="read-only"):
        AFTER[0, 0] = 0


def test_states_have_the_words_of_both_vocabularies() -> None:
    assert [state.block_state for state in State] == [
        *("Reset", "Reset", "Partial", "Complete"),
        *("Registered", "Registered", "Registered"),
    ]
    assert [state.role for state in State] == [
        *("empty", "owned", "owned", "owned"),
        *("active", "inactive", "duplicate"),
    ]


def test_the_rendered_table_has_a_line_for_each_row() -> None:
    head, rule, *lines = table().splitlines()
    assert head == "| operation | from | to | when |"
    assert rule == "|---|---|---|---|"
    assert len(lines) == len(TABLE)
    assert "| `commit` | Partial, owned | Complete, owned | full |" in lines


def test_the_diagram_has_one_arrow_for_each_pair_of_states() -> None:
    head, start, *arrows = diagram().splitlines()
    assert (head, start) == ("stateDiagram-v2", "    [*] --> EMPTY")
    assert len(arrows) == len({(row.source, row.target) for row in TABLE})
    assert "    INACTIVE --> ACTIVE: acquire" in arrows
    assert "    RESET --> COMPLETE: apply_token_block, stage" in arrows


@pytest.mark.clause("KV-LIF-03")
def test_seven_slots_through_the_whole_table_and_a_fifth_token_refused() -> None:
    pool = BlockPool(7, page_size=4)
    blocks = pool.allocate_blocks(7)
    block = blocks[0]
    assert (len(block), block.remaining, block.is_empty, block.is_full) == (0, 0, True, False)
    assert block.tokens is None
    block.init_sequence()
    block.add_token(0)
    assert block.add_tokens([1, 2, 3, 4, 5]).tolist() == [4, 5]
    assert (len(block), block.remaining, block.is_full) == (4, 0, True)
    with pytest.raises(KvbmError) as error:
        block.add_token(4)
    assert type(error.value).__name__ == "TokenBlockFull"
    assert block.add_tokens([9]).tolist() == [9]
    assert block.pop_token() == 3
    with pytest.raises(IndexError) as short:
        block.pop_tokens(4)
    assert type(short.value).__name__ == "InsufficientTokens"
    assert block.tokens is not None
    assert block.tokens.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="holds 3 of 4 tokens"):
        block.commit()
    for query in (block.sequence_hash, block.parent_sequence_hash):
        with pytest.raises(BlockStateInvalid, match="not complete nor registered"):
            query()
    block.add_token(3)
    block.commit()
    expected = TokenBlockSequence(range(4), 4).blocks[0]
    assert block.sequence_hash() == expected.sequence_hash
    assert block.parent_sequence_hash() is None
    assert block.is_complete
    assert block.tokens.tolist() == [0, 1, 2, 3]
    block.reset()
    block.init_sequence()
    with pytest.raises(IndexError) as empty:
        block.pop_token()
    assert type(empty.value).__name__ == "TokenBlockEmpty"
    assert np.array_equal(block.add_tokens([]), [])
