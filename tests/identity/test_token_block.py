"""One block: filling it, committing it, and what it refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kvbm.errors import (
    IdentityError,
    InsufficientTokens,
    InvalidBlockSize,
    InvalidPosition,
    InvalidToken,
    MultimodalRunsPresent,
    TokenBlockEmpty,
    TokenBlockFull,
    TokenBlockIncomplete,
    UnknownScheme,
)
from kvbm.identity import (
    MultimodalRun,
    PartialTokenBlock,
    PositionalLineageHash,
    SaltHash,
    TokenBlock,
    TokenBlockSequence,
    block_hashes,
    sequence_hashes,
)


def partial(*tokens: int, block_size: int = 4) -> PartialTokenBlock:
    block = PartialTokenBlock(block_size, SaltHash(1337))
    block.add_tokens(tokens)
    return block


def test_a_partial_block_fills_up() -> None:
    block = partial(1, 2)
    assert (len(block), block.remaining, block.tokens.tolist()) == (2, 2, [1, 2])
    block.add_token(3)
    assert str(block) == "block 0: 3 of 4 tokens"
    assert block.add_tokens([4, 5, 6]).tolist() == [5, 6]
    assert (len(block), block.remaining, block.tokens.tolist()) == (4, 0, [1, 2, 3, 4])
    assert block.add_tokens([7]).tolist() == [7]


def test_the_tokens_that_were_read_are_a_copy() -> None:
    block = partial(1, 2)
    before = block.tokens
    block.add_token(3)
    assert before.tolist() == [1, 2]
    assert not before.flags.writeable


def test_a_full_block_takes_no_token() -> None:
    block = partial(1, 2, 3, 4)
    with pytest.raises(TokenBlockFull, match="holds 4 of 4 tokens; commit it first"):
        block.add_token(5)
    assert block.tokens.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("bad", [-1, 2**32, 1.5, True, "1"])
def test_a_bad_token_adds_nothing(bad: int) -> None:
    block = partial(1)
    with pytest.raises(InvalidToken, match=f"token {bad!r} at index 0"):
        block.add_token(bad)
    with pytest.raises(InvalidToken, match=f"token {bad!r} at index 6"):
        block.add_tokens([2, 3, 4, 5, 6, 7, bad])
    assert block.tokens.tolist() == [1]


def test_popping_gives_tokens_back_last_first() -> None:
    block = partial(1, 2, 3, 4)
    assert block.pop_token() == 4
    block.pop_tokens(2)
    assert block.tokens.tolist() == [1]
    block.pop_tokens(0)
    assert block.pop_token() == 1
    with pytest.raises(TokenBlockEmpty, match="holds no tokens"):
        block.pop_token()


@pytest.mark.parametrize("count", [3, -1])
def test_more_tokens_than_there_are_cannot_be_popped(count: int) -> None:
    block = partial(1, 2)
    with pytest.raises(InsufficientTokens, match=f"cannot remove {count} tokens, there are 2"):
        block.pop_tokens(count)
    assert block.tokens.tolist() == [1, 2]


def test_a_block_is_committed_only_when_full() -> None:
    block = partial(1, 2, 3)
    with pytest.raises(TokenBlockIncomplete, match="holds 3 of 4 tokens; fill it first"):
        block.commit()
    assert block.tokens.tolist() == [1, 2, 3]


@pytest.mark.clause("KV-IDN-01")
def test_committed_blocks_have_the_hashes_of_the_whole_sequence(scheme_name: str) -> None:
    block = PartialTokenBlock(4, scheme=scheme_name)
    made = []
    for first in (1, 5, 9):
        block.add_tokens(range(first, first + 4))
        made.append(block.commit())
    assert [each.block_hash for each in made] == list(
        block_hashes(range(1, 13), 4, scheme=scheme_name)
    )
    chain = [each.sequence_hash for each in made]
    assert chain == list(sequence_hashes(range(1, 13), 4, scheme=scheme_name))
    assert [each.parent_sequence_hash for each in made] == [None, *chain[:-1]]
    assert [each.position for each in made] == [0, 1, 2]
    assert {(each.scheme, each.salt, each.block_size) for each in made} == {
        (scheme_name, block.salt, 4)
    }
    assert (len(block), block.position, block.parent) == (0, 3, chain[-1])


def test_a_block_in_the_middle_continues_from_its_parent(scheme_name: str) -> None:
    whole = TokenBlockSequence(range(1, 9), 4, scheme=scheme_name)
    parent = whole.sequence_hashes[0]
    block = PartialTokenBlock(4, whole.salt, scheme_name, parent=parent, position=1)
    block.add_tokens([5, 6, 7, 8])
    assert block.commit() == whole.block(1)


def test_a_token_block_never_changes() -> None:
    block = partial(1, 2, 3, 4).commit()
    assert len(block) == 4
    assert block.tokens.dtype == np.uint32
    assert not block.tokens.flags.writeable
    with pytest.raises(dataclasses.FrozenInstanceError):
        block.position = 1  # type: ignore[misc]
    assert str(block) == "block 0: 4 tokens, dynamo 14643705804678351452"


def test_token_blocks_are_equal_if_names_and_tokens_are() -> None:
    block = partial(1, 2, 3, 4).commit()
    assert block == partial(1, 2, 3, 4).commit()
    assert hash(block) == hash(partial(1, 2, 3, 4).commit())
    other: dict[str, object] = {
        "tokens": np.array([1, 2, 3, 5], np.uint32),
        "salt": 1,
        "block_hash": 1,
        "sequence_hash": 1,
        "parent_sequence_hash": 1,
        "position": 1,
        "scheme": "dynamo-v1",
    }
    for field, value in other.items():
        assert block != dataclasses.replace(block, **{field: value}), field  # type: ignore[arg-type]
    assert block != 14643705804678351452


def test_a_collision_of_hashes_is_no_equality() -> None:
    block = partial(1, 2, 3, 4).commit()
    forged = dataclasses.replace(block, tokens=np.array([9, 9, 9, 9], np.uint32))
    assert isinstance(forged, TokenBlock)
    assert hash(forged) == hash(block)
    assert forged != block


@pytest.mark.parametrize(("parent", "position"), [(None, 1), (5, 0), (5, -1)])
def test_only_the_first_block_has_no_parent(parent: int | None, position: int) -> None:
    with pytest.raises(IdentityError, match=f"position {position} with parent {parent}"):
        PartialTokenBlock(4, 1337, parent=parent, position=position)


def test_a_lineage_knows_its_position() -> None:
    parent = PositionalLineageHash.pack(1, 2, 7)
    with pytest.raises(IdentityError, match="position 7 does not come after the parent, 7:"):
        PartialTokenBlock(4, scheme="lineage", parent=parent, position=7)


def test_a_lineage_ends_and_the_block_stays_full() -> None:
    parent = PositionalLineageHash.pack(1, 2, 2**24 - 1)
    block = PartialTokenBlock(1, scheme="lineage", parent=parent, position=2**24)
    block.add_token(1)
    with pytest.raises(InvalidPosition, match="position 16777216 is outside"):
        block.commit()
    assert block.tokens.tolist() == [1]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(InvalidBlockSize, match="block_size = 0"):
        PartialTokenBlock(0)
    with pytest.raises(UnknownScheme, match="unknown hash scheme 'md5'"):
        PartialTokenBlock(4, scheme="md5")
    with pytest.raises(IdentityError, match="salt = -1"):
        PartialTokenBlock(4, -1)


def test_a_block_that_a_run_touches_can_only_grow() -> None:
    run = MultimodalRun(0xABCD, 3, 3)
    whole = TokenBlockSequence(range(1, 9), 4, runs=[run])
    block = PartialTokenBlock(4, 1337, runs=[run])
    block.add_tokens([1, 2])
    for operation, call in (
        ("pop_token", block.pop_token),
        ("pop_tokens", lambda: block.pop_tokens(1)),
    ):
        with pytest.raises(MultimodalRunsPresent, match=f"{operation}: the sequence holds"):
            call()
    block.add_tokens([3, 4])
    assert block.commit() == whole.block(0)
    block.add_tokens([5, 6, 7, 8])
    assert block.commit() == whole.block(1)
    block.add_token(9)
    assert block.pop_token() == 9


def test_a_run_that_ends_with_the_block_before_does_not_touch() -> None:
    block = PartialTokenBlock(4, 1337, runs=[MultimodalRun(5, 2, 2)])
    block.add_tokens([1, 2, 3, 4])
    block.commit()
    block.add_token(5)
    assert block.pop_token() == 5
