"""A test pattern is worth something only if no mistake of a copy leaves it whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from kvbm_kernels.pattern import STEP, fill_pattern, mix, pattern, verify_pattern

regions = st.tuples(
    st.integers(0, 2**64 - 1),  # key
    st.integers(0, 255),  # layer
    st.integers(0, 1),  # outer
)
sizes = st.integers(16, 200)  # bytes; two words, so that a likeness by chance has odds of 2**-128


@given(regions, st.integers(0, 200))
def test_what_was_filled_is_verified(region: tuple[int, int, int], size: int) -> None:
    buffer = np.full(size, 0xEE, np.uint8)
    fill_pattern(buffer, *region)
    assert verify_pattern(buffer, *region) is None


@given(regions, sizes, st.data(), st.integers(1, 255))
def test_a_flip_of_any_byte_is_found_where_it_is(
    region: tuple[int, int, int], size: int, data: st.DataObject, flip: int
) -> None:
    buffer = pattern(size, *region)
    index = data.draw(st.integers(0, size - 1))
    buffer[index] ^= flip
    assert verify_pattern(buffer, *region) == index


@given(regions, regions, st.integers(0, 2), sizes)
def test_two_regions_that_were_swapped_are_both_found(
    one: tuple[int, int, int], donor: tuple[int, int, int], field: int, size: int
) -> None:
    """They differ in one of key, layer and outer: the nearest that two regions can be."""
    assume(one[field] != donor[field])
    key, layer, outer = (donor[index] if index == field else one[index] for index in range(3))
    assert verify_pattern(pattern(size, *one), key, layer, outer) is not None
    assert verify_pattern(pattern(size, key, layer, outer), *one) is not None


@given(regions, sizes, st.integers(1, 199))
def test_a_shift_by_any_number_of_bytes_is_found(
    region: tuple[int, int, int], size: int, shift: int
) -> None:
    assume(shift % size)
    assert verify_pattern(np.roll(pattern(size, *region), shift), *region) is not None
    longer = pattern(size + shift, *region)
    assert verify_pattern(longer[shift:], *region) is not None


@given(regions, sizes, st.data())
def test_a_copy_that_stopped_early_is_found_where_it_stopped(
    region: tuple[int, int, int], size: int, data: st.DataObject
) -> None:
    copied = data.draw(st.integers(0, size - 8))
    buffer = np.zeros(size, np.uint8)
    buffer[:copied] = pattern(size, *region)[:copied]
    found = verify_pattern(buffer, *region)
    assert found is not None
    assert copied <= found < copied + 8


@given(regions, st.integers(0, 200))
def test_a_short_region_begins_like_a_long_one(region: tuple[int, int, int], size: int) -> None:
    assert pattern(200, *region)[:size].tolist() == pattern(size, *region).tolist()


@given(regions)
def test_the_bytes_are_those_of_the_documented_rule(region: tuple[int, int, int]) -> None:
    key, layer, outer = region
    start = mix(mix(mix(key) ^ layer) ^ outer)
    words = [mix((start + (index + 1) * STEP) % 2**64) for index in range(5)]
    expected = b"".join(word.to_bytes(8, "little") for word in words)
    assert pattern(40, *region).tobytes() == expected


def test_mix_is_the_output_function_of_splitmix64() -> None:
    """The first two outputs of SplitMix64 from seed 0, as published with its sources."""
    assert mix(STEP) == 0xE220A8397B1DCDAF
    assert mix(2 * STEP % 2**64) == 0x6E789E6AA1B965F4


def test_any_contiguous_memory_is_a_region() -> None:
    halves = np.zeros((2, 4, 8), np.float16)
    fill_pattern(halves, 1, 2, 3)
    assert halves.tobytes() == pattern(128, 1, 2, 3).tobytes()
    plain = bytearray(20)
    fill_pattern(plain, 1, 2, 3)
    assert verify_pattern(memoryview(plain), 1, 2, 3) is None


def test_memory_with_gaps_and_memory_that_cannot_be_written_are_refused() -> None:
    with pytest.raises(ValueError, match="contiguous"):
        fill_pattern(np.zeros((4, 8), np.uint8)[:, ::2], 1, 2, 3)
    with pytest.raises(ValueError, match="read-only"):
        fill_pattern(memoryview(b"12345678"), 1, 2, 3)


@pytest.mark.parametrize("wrong", [(-1, 0, 0), (0, 2**64, 0), (0, 0, -1)])
def test_a_number_that_is_no_64_bits_is_refused_by_name(wrong: tuple[int, int, int]) -> None:
    buffer = bytearray(8)
    with pytest.raises(ValueError, match=r"(key|layer|outer) = .*must be in"):
        fill_pattern(buffer, *wrong)
    assert buffer == bytes(8)
