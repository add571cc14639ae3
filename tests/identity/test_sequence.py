"""Sequences: any calls leave the hashes of the tokens, hashed from scratch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kvbm.errors import (
    InsufficientTokens,
    InvalidBlockSize,
    InvalidMultimodalRun,
    InvalidPosition,
    InvalidToken,
    MultimodalRunsPresent,
)
from kvbm.identity import (
    MultimodalRun,
    PositionalLineageHash,
    SaltHash,
    TokenBlockSequence,
    block_hashes,
    sequence_hashes,
)

TOKENS = st.lists(st.integers(0, 2**32 - 1), max_size=12)
RUN = MultimodalRun(0xABCD, 3, 3)


def state(sequence: TokenBlockSequence) -> tuple[object, ...]:
    tokens = sequence.tokens_at(0, len(sequence)).tolist()
    return tokens, sequence.block_hashes, sequence.sequence_hashes


class SequenceMachine(RuleBasedStateMachine):
    """Compares a sequence with a list of tokens and its hashes."""

    @initialize(
        tokens=TOKENS,
        block_size=st.integers(1, 5),
        scheme=st.sampled_from(["dynamo", "dynamo-v1", "lineage", "sha256"]),
    )
    def start(self, tokens: list[int], block_size: int, scheme: str) -> None:
        self.model = list(tokens)
        self.block_size = block_size
        self.scheme = scheme
        self.sequence = TokenBlockSequence(tokens, block_size, scheme=scheme)

    @rule(token=st.integers(0, 2**32 - 1))
    def append(self, token: int) -> None:
        self.model.append(token)
        completes = len(self.model) % self.block_size == 0
        index = len(self.model) // self.block_size - 1
        assert self.sequence.append(token) == (index if completes else None)

    @rule(tokens=TOKENS)
    def extend(self, tokens: list[int]) -> None:
        before = len(self.model) // self.block_size
        self.model += tokens
        completed = range(before, len(self.model) // self.block_size)
        assert self.sequence.extend(tokens) == (completed or None)

    @rule(length=st.integers(0, 40))
    def truncate(self, length: int) -> None:
        del self.model[length:]
        self.sequence.truncate(length)

    @rule(count=st.integers(-1, 14))
    def unwind(self, count: int) -> None:
        if 0 <= count <= len(self.model):
            del self.model[len(self.model) - count :]
            self.sequence.unwind(count)
            return
        with pytest.raises(InsufficientTokens):
            self.sequence.unwind(count)

    @rule()
    def pop(self) -> None:
        assert self.sequence.pop() == (self.model.pop() if self.model else None)

    @precondition(lambda self: len(self.model) > 20)
    @rule()
    def reset(self) -> None:
        self.model.clear()
        self.sequence.reset()

    @rule(bad=st.sampled_from([-1, 2**32, True, 0.5]))
    def refuse(self, bad: int) -> None:
        for call in (lambda: self.sequence.append(bad), lambda: self.sequence.extend([1, bad])):
            with pytest.raises(InvalidToken):
                call()
        with pytest.raises(InsufficientTokens):
            self.sequence.truncate(-1)

    @rule(start=st.integers(-30, 30), stop=st.integers(-30, 30))
    def tokens_at(self, start: int, stop: int) -> None:
        assert self.sequence.tokens_at(start, stop).tolist() == self.model[start:stop]

    @invariant()
    def hashes_are_those_of_the_tokens(self) -> None:
        arguments = (self.model, self.block_size)
        assert self.sequence.block_hashes == list(block_hashes(*arguments, scheme=self.scheme))
        assert self.sequence.sequence_hashes == list(
            sequence_hashes(*arguments, scheme=self.scheme)
        )
        assert len(self.sequence) == self.sequence.total_tokens == len(self.model)
        self.sequence._check()

    @invariant()
    def parts_are_those_of_the_tokens(self) -> None:
        blocks, rest = self.sequence.into_parts()
        tokens = [token for block in blocks for token in block.tokens.tolist()]
        assert tokens + rest.tokens.tolist() == self.model
        assert [block.sequence_hash for block in blocks] == self.sequence.sequence_hashes
        assert rest.position == len(blocks) == len(self.sequence.blocks)
        assert rest.parent == (blocks[-1].sequence_hash if blocks else None)


TestSequence = pytest.mark.clause("KV-IDN-01")(SequenceMachine.TestCase)
TestSequence.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


def test_a_sequence_tells_what_it_holds() -> None:
    sequence = TokenBlockSequence(range(10), 4, SaltHash(7), scheme="dynamo-v1")
    assert str(sequence) == "10 tokens: 2 blocks of 4, and 2 tokens"
    assert (sequence.scheme, sequence.salt, sequence.block_size) == ("dynamo-v1", 7, 4)
    sequence.reset()
    assert (len(sequence), sequence.sequence_hashes, sequence.salt) == (0, [], 7)


def test_the_tokens_of_the_caller_are_copied() -> None:
    mine = np.arange(8, dtype=np.uint32)
    sequence = TokenBlockSequence(mine, 4)
    block = sequence.block(0)
    mine[:] = 0
    sequence.truncate(2)
    assert sequence.tokens_at(0, 2).tolist() == [0, 1]
    assert block.tokens.tolist() == [0, 1, 2, 3]


def test_blocks_are_a_sequence_of_token_blocks() -> None:
    sequence = TokenBlockSequence(range(12), 4)
    blocks = sequence.blocks
    assert [block.position for block in blocks] == [0, 1, 2]
    assert blocks[-1] == blocks[2] == sequence.block(2)
    assert blocks[1:] == list(blocks)[1:]
    assert blocks[0] != blocks[1]
    for index in (3, -4):
        with pytest.raises(IndexError):
            blocks[index]
    sequence.extend(range(4))
    assert len(blocks) == 4


def test_the_current_block_can_be_filled_on_its_own() -> None:
    sequence = TokenBlockSequence(range(6), 4)
    partial = sequence.current_block
    partial.add_tokens([6, 7])
    assert len(sequence) == 6
    sequence.extend([6, 7])
    assert partial.commit() == sequence.block(1)


def test_a_lineage_too_long_leaves_the_sequence_as_it_was() -> None:
    sequence = TokenBlockSequence([1, 2], 1, scheme="lineage")
    # A chain of 2**24 blocks takes a while, so the last hash is put there.
    sequence._sequence_hashes[-1] = PositionalLineageHash.pack(1, 2, 2**24 - 2)
    before = state(sequence)
    with pytest.raises(InvalidPosition, match="position 16777216 is outside"):
        sequence.extend([3, 4])
    assert state(sequence) == before


def test_a_bad_block_size_is_refused() -> None:
    with pytest.raises(InvalidBlockSize, match="block_size = 0: must be an integer of at least 1"):
        TokenBlockSequence([1], 0)


def test_a_sequence_with_runs_can_only_grow() -> None:
    sequence = TokenBlockSequence(range(1, 9), 4, runs=[RUN])
    before = state(sequence)
    for operation, call in (
        ("truncate", lambda: sequence.truncate(1)),
        ("unwind", lambda: sequence.unwind(1)),
        ("pop", sequence.pop),
    ):
        with pytest.raises(MultimodalRunsPresent, match=f"{operation}: the sequence holds"):
            call()
    assert state(sequence) == before
    sequence.reset()
    sequence.extend([1, 2, 3, 4])
    assert sequence.pop() == 4


@pytest.mark.clause("KV-IDN-01")
def test_runs_may_come_in_any_pieces(scheme_name: str) -> None:
    runs = [RUN, MultimodalRun(5, 9, 2)]
    whole = TokenBlockSequence(range(1, 17), 4, scheme=scheme_name, runs=runs)
    pieces = TokenBlockSequence(range(1, 4), 4, scheme=scheme_name)
    pieces.extend(range(4, 8), runs=runs[:1])
    partial = pieces.current_block
    pieces.append(8)
    pieces.extend([9])
    pieces.extend([10, 11], runs=runs[1:])
    for token in range(12, 17):
        pieces.append(token)
    assert state(pieces) == state(whole)
    pieces._check()
    partial.add_token(8)
    assert partial.commit() == whole.block(1)


def test_a_run_lies_in_the_new_tokens() -> None:
    sequence = TokenBlockSequence(range(1, 9), 4)
    before = state(sequence)
    with pytest.raises(InvalidMultimodalRun, match="starts before the new tokens"):
        sequence.extend([9, 10], runs=[MultimodalRun(1, 7, 2)])
    assert state(sequence) == before


def test_a_wrong_hash_is_found_by_the_check() -> None:
    sequence = TokenBlockSequence(range(8), 4)
    sequence._sequence_hashes[1] = 5
    with pytest.raises(AssertionError, match="KV-IDN-01: 8 tokens: 2 blocks of 4"):
        sequence._check()


def test_the_check_runs_after_every_call_when_asked_for() -> None:
    program = """
from kvbm.identity import TokenBlockSequence
sequence = TokenBlockSequence(range(8), 4)
sequence._block_hashes[0] = 5
try:
    sequence.truncate(6)
except AssertionError:
    print("found")
"""
    result = subprocess.run(  # noqa: S603 — our own program
        [sys.executable, "-c", program],
        env={"KVBM_CHECK": "1"},
        capture_output=True,
        check=True,
    )
    assert result.stdout.split() == [b"found"]
