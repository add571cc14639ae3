"""Tokens: what is accepted, what is copied, what is refused."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.errors import IdentityError, InvalidBlockSize, InvalidToken
from kvbm.identity import Tokens
from kvbm.identity.tokens import as_tokens, checked_block_size, owned_tokens

IDS = [0, 1, 2, 4294967295]


@pytest.mark.parametrize(
    "given_as",
    [
        IDS,
        tuple(IDS),
        iter(IDS),
        array("I", IDS),
        memoryview(array("I", IDS)),
        np.array(IDS, np.uint32),
        np.array(IDS, np.int64),
        np.array(IDS, ">u4"),
        np.array(IDS, object),
        [np.uint32(token) for token in IDS],
        Tokens(IDS),
    ],
)
def test_every_form_of_integers_gives_the_same_array(given_as: object) -> None:
    result = as_tokens(given_as)  # type: ignore[arg-type]
    assert result.dtype == np.uint32
    assert result.dtype.isnative
    assert result.flags.c_contiguous
    assert not result.flags.writeable
    assert result.tolist() == IDS


def test_a_uint32_array_is_taken_without_a_copy_and_stays_writable_for_its_owner() -> None:
    mine = np.arange(8, dtype=np.uint32)
    theirs = Tokens(mine).array
    assert np.shares_memory(mine, theirs)
    assert mine.flags.writeable


def test_owned_tokens_are_a_copy() -> None:
    mine = np.arange(8, dtype=np.uint32)
    theirs = owned_tokens(mine)
    mine[:] = 9
    assert theirs.tolist() == list(range(8))
    assert not theirs.flags.writeable


def test_a_strided_array_becomes_contiguous() -> None:
    result = as_tokens(np.arange(8, dtype=np.uint32)[::2])
    assert result.tolist() == [0, 2, 4, 6]
    assert result.flags.c_contiguous


@pytest.mark.parametrize("empty", [[], (), np.array([]), np.array([], np.uint32), iter(())])
def test_no_tokens_are_tokens(empty: object) -> None:
    assert as_tokens(empty).size == 0  # type: ignore[arg-type]


@pytest.mark.clause("KV-IDN-08")
@pytest.mark.parametrize(
    ("tokens", "index", "shown"),
    [
        ([5, -1], 1, "-1"),
        ([5, 6, 2**32], 2, "4294967296"),
        ([5, 1.0], 1, "1.0"),
        ([5, True], 1, "True"),
        ([False, 5], 0, "False"),
        ([5, "6"], 1, "'6'"),
        ([5, None], 1, "None"),
        ([[1, 2]], 0, "[1, 2]"),
        (np.array([5, -1]), 1, "-1"),
        (np.array([5, 2**32]), 1, "4294967296"),
        (np.array([5, 2**63], np.uint64), 1, "9223372036854775808"),
        (np.array([1.0, 2.0]), 0, "1.0"),
        (np.array([True, False]), 0, "True"),
        (np.array([5, None], object), 1, "None"),
    ],
)
def test_what_is_no_token_is_refused_by_index_and_value(
    tokens: object, index: int, shown: str
) -> None:
    with pytest.raises(InvalidToken) as caught:
        as_tokens(tokens)  # type: ignore[arg-type]
    assert str(caught.value) == f"token {shown} at index {index} is no integer in 0 … 4294967295"
    assert isinstance(caught.value, OverflowError)


@pytest.mark.parametrize("text", ["text", b"bytes", bytearray(b"abcd")])
def test_text_is_not_taken_for_tokens(text: object) -> None:
    with pytest.raises(IdentityError, match="is text and not tokens"):
        as_tokens(text)  # type: ignore[arg-type]


def test_tokens_have_one_dimension() -> None:
    with pytest.raises(IdentityError, match=r"shape \(2, 2\)"):
        as_tokens(np.zeros((2, 2), np.uint32))


@given(st.lists(st.integers(0, 2**32 - 1)))
def test_tokens_are_a_sequence_of_ints(ids: list[int]) -> None:
    tokens = Tokens(ids)
    assert list(tokens) == ids
    assert [tokens[index] for index in range(len(tokens))] == ids
    assert tokens[1:3] == Tokens(ids[1:3])
    assert (tokens == ids) is False
    assert hash(tokens) == hash(Tokens(np.array(ids, np.int64)))
    assert np.asarray(tokens).tolist() == ids
    assert np.array(tokens, dtype=np.int64, copy=True).tolist() == ids
    assert repr(tokens) == f"Tokens({ids})"


@pytest.mark.parametrize("block_size", [0, -1, 2.0, True, None, "16"])
def test_a_block_size_is_a_positive_integer(block_size: object) -> None:
    with pytest.raises(InvalidBlockSize, match="must be an integer of at least 1 token"):
        checked_block_size(block_size)


def test_a_block_size_may_be_a_numpy_integer() -> None:
    assert checked_block_size(np.int32(16)) == 16
