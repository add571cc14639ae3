"""Keys: every sequence hash that a scheme can make, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvbm.blocks.keys import fold, to_keys
from kvbm.errors import ErrorKind, InvalidHash
from kvbm.pool import BlockPool

ALL_ONES = (1 << 64) - 1
words = st.integers(0, ALL_ONES)


@given(st.lists(words | st.sampled_from([0, 1, 1 << 63, ALL_ONES])))
def test_a_hash_of_64_bits_is_its_own_key_however_it_is_written(hashes: list[int]) -> None:
    forms: list[Any] = [hashes, tuple(hashes), np.array(hashes, np.uint64)]
    forms += [np.array(hashes, ">u8"), [np.uint64(name) for name in hashes]]
    for form in forms:
        keys = to_keys(form)
        assert keys.dtype == np.uint64
        assert keys.tolist() == hashes
        assert keys.flags.c_contiguous


def test_an_array_is_taken_as_it_is_and_a_strided_one_is_copied() -> None:
    array = np.arange(6, dtype=np.uint64)
    assert to_keys(array) is array
    assert to_keys(array[::2]).tolist() == [0, 2, 4]
    array.flags.writeable = False
    assert to_keys(array).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.clause("KV-IDN-08")
@given(low=words, high=words)
def test_every_bit_of_a_long_hash_counts(low: int, high: int) -> None:
    number = high << 64 | low
    assert fold(number, 128) == low ^ high
    assert fold(number.to_bytes(32, "big"), 256) == low ^ high
    for bit in (0, 63, 64, 127):
        assert fold(number ^ 1 << bit, 128) != fold(number, 128)


BAD: list[tuple[Any, int]] = [
    ([1, -1], 1),
    ([1.0], 0),
    ([0, 1, 1 << 64], 2),
    (["a"], 0),
    ([1, None], 1),
    ([1, b"12345678"], 1),
    ([[1]], 0),
    (np.array([1, -1]), 1),
    (np.array([0.5]), 0),
    (np.zeros((2, 2), np.uint64), 0),
    ("ab", 0),
    (b"12345678", 0),
    (bytearray(8), 0),
    (None, 0),
]


@pytest.mark.parametrize(("hashes", "index"), BAD, ids=[repr(bad) for bad, _ in BAD])
def test_what_is_no_hash_is_refused_and_named(hashes: Any, index: int) -> None:
    with pytest.raises(InvalidHash) as error:
        to_keys(hashes)
    assert error.value.kind is ErrorKind.INVALID
    assert (error.value.index, error.value.bits) == (index, 64)
    assert f"at index {index}" in str(error.value)
    assert isinstance(error.value, TypeError)
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("bits", [128, 256])
@pytest.mark.parametrize("bad", [-1, 1.5, "x", None, [1]])
def test_what_is_no_long_hash_is_refused_at_its_place(bits: int, bad: Any) -> None:
    with pytest.raises(InvalidHash) as error:
        to_keys([0, 1, bad], bits)
    assert (error.value.index, error.value.bits) == (2, bits)
    with pytest.raises(InvalidHash):
        to_keys([0, 1 << bits], bits)
    assert to_keys([(1 << bits) - 1], bits).size == 1


def test_a_bool_is_the_integer_that_python_says_it_is() -> None:
    assert to_keys([True, False]).tolist() == [1, 0]


CALLS = {
    "match": lambda pool, bad: pool.match_sequence_hashes(bad),
    "scan": lambda pool, bad: pool.scan_matches(bad),
    "touch": lambda pool, bad: pool.touch_blocks(bad),
    "pin": lambda pool, bad: pool.pin_blocks(bad),
    "unpin": lambda pool, bad: pool.unpin_blocks(bad),
    "reset": lambda pool, bad: pool.reset_blocks(bad),
    "stage": lambda pool, bad: pool.allocate_blocks(2).stage(bad),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("scheme", ["dynamo", "lineage"])
def test_every_call_of_a_pool_refuses_a_bad_hash_and_goes_on(call: str, scheme: str) -> None:
    pool = BlockPool(2, scheme=scheme)
    for bad in ([3, -1], [3, "x"], [0.5, 3], [1 << 128, 3]):
        with pytest.raises(InvalidHash):
            CALLS[call](pool, bad)
    assert pool.available_blocks() == 2
    pool._check()


def test_a_bad_parent_or_position_leaves_the_block_as_it_was() -> None:
    pool = BlockPool(1)
    blocks = pool.allocate_blocks(1)
    for parent in (-1, 1 << 64, 0.5, "x", b"12345678"):
        with pytest.raises(InvalidHash):
            blocks.stage([1], parent=parent)
    for position in (-1, 1 << 32, 0.5, "x", None):
        with pytest.raises(ValueError, match="position"):
            blocks.stage([1], position=position)
    assert not blocks[0].is_complete
    blocks.stage([1], parent=np.uint64(9), position=(1 << 32) - 1)
    assert (blocks[0].parent_sequence_hash(), blocks[0].position) == (9, (1 << 32) - 1)
