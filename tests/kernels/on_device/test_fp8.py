"""FP8: the device rounds as ml_dtypes does, and keeps the tolerance that it promises."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kvbm_kernels.e4m3 import LARGEST, scale_of
from kvbm_kernels.fp8 import dequantize_fp8, peak_blocks, quantize_fp8
from kvbm_kernels.regions import Regions

TYPES = {"bf16": ml_dtypes.bfloat16, "fp16": np.float16}

dtypes = st.sampled_from(sorted(TYPES))
counts = st.one_of(st.integers(1, 40), st.integers(1, 300))
offsets = st.sampled_from([0, 0, 8, 2])


def values(bits: np.ndarray, dtype: str) -> np.ndarray:
    """As float64. What is no number stays none, without a word."""
    with np.errstate(all="ignore"):
        return bits.view(np.uint16).view(TYPES[dtype]).astype(np.float64)


def run(machine, bits: np.ndarray, dtype: str, offset: int = 0, blocks: int = 3):
    """Bits of (block, region, number) to peaks, codes, and bits again."""
    count, per_block, numbers = bits.shape
    src = machine.buffer(bits.view(np.uint8), offset)
    peaks = machine.buffer(np.full(4 * count, 0xFF, np.uint8))
    codes = machine.buffer(np.zeros(bits.shape, np.uint8), offset)
    back = machine.buffer(np.zeros(2 * bits.size, np.uint8), offset)
    plain = Regions.at(src.rows(2 * numbers * per_block), per_block, 2 * numbers)
    small, large = Regions.at(codes.rows(numbers)), Regions.at(back.rows(2 * numbers))
    rest = numbers, peaks.address, per_block, dtype
    machine.run(peak_blocks(peaks.address, plain, numbers, per_block, dtype, blocks=blocks))
    machine.run(quantize_fp8(small, plain, *rest, blocks=blocks))
    machine.run(dequantize_fp8(large, small, *rest, blocks=blocks))
    assert np.array_equal(src.read(), bits.view(np.uint8).ravel())
    found = peaks.read().view(np.float32)
    return found, codes.read().reshape(bits.shape), back.read().view(np.uint16).reshape(bits.shape)


def check(bits: np.ndarray, dtype: str, peaks: np.ndarray, codes: np.ndarray, back: np.ndarray):
    given_values, kind = values(bits, dtype), TYPES[dtype]
    finite, none = np.isfinite(given_values), np.isnan(given_values)
    want = np.where(finite, np.abs(given_values), 0).max(axis=(1, 2))
    assert np.array_equal(peaks, want.astype(np.float32))

    scale = scale_of(peaks).astype(np.float64)[:, None, None]
    assert (want / scale[:, 0, 0] <= LARGEST).all()
    with np.errstate(all="ignore"):  # the twin
        scaled = np.clip(given_values / scale, -LARGEST, LARGEST)
        coded = scaled.astype(np.float32).astype(ml_dtypes.float8_e4m3fn)
        most = float(ml_dtypes.finfo(kind).max)
        again = np.clip(coded.astype(np.float64) * scale, -most, most).astype(kind)
    assert np.array_equal(codes & 0x7F == 0x7F, none)
    assert np.array_equal(codes[~none], coded.view(np.uint8)[~none])
    assert np.array_equal(np.isnan(values(back, dtype)), none)
    assert np.array_equal(back[~none], again.view(np.uint16)[~none])

    numbers = np.where(finite, given_values, 0)
    error = np.abs(np.where(finite, values(back, dtype), 0) - numbers)
    allowed = np.maximum(np.abs(numbers) / 16, scale / 1024)
    assert (error <= allowed).all()


@settings(max_examples=12)
@given(
    dtypes,
    st.integers(1, 3),
    st.integers(1, 2),
    counts,
    offsets,
    st.integers(1, 3),
    st.integers(0, 2**32),
)
def test_any_bits_are_rounded_as_the_twin_does(
    machine, dtype, count, per_block, numbers, offset, blocks, seed
) -> None:
    bits = np.random.default_rng(seed).integers(0, 2**16, (count, per_block, numbers), np.uint16)
    check(bits, dtype, *run(machine, bits, dtype, offset, blocks))


@settings(max_examples=6)
@given(dtypes, st.integers(-8, 8), st.integers(0, 2**32))
def test_numbers_of_one_size_keep_three_digits(machine, dtype, size, seed) -> None:
    """As keys and values are: normally distributed."""
    numbers = np.random.default_rng(seed).normal(0, 2.0**size, (1, 2, 160))
    bits = numbers.astype(TYPES[dtype]).view(np.uint16)
    check(bits, dtype, *run(machine, bits, dtype))


@pytest.mark.parametrize("dtype", TYPES)
def test_zero_infinity_and_nan_come_back_as_documented(machine, dtype) -> None:
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -2.0, 0.25])
    bits = special.astype(TYPES[dtype]).view(np.uint16).reshape(1, 1, -1)
    peaks, _, back = run(machine, bits, dtype)
    assert peaks.tolist() == [2.0]
    scale = 2.0**-7  # 2 / 448 is between 2**-8 and 2**-7
    largest = LARGEST * scale
    want = [0.0, 0.0, largest, -largest, np.nan, 1.0, -2.0, 0.25]
    assert np.array_equal(values(back, dtype).ravel(), want, equal_nan=True)
    assert (back.ravel()[:2] >> 15).tolist() == [0, 1]


@pytest.mark.parametrize("dtype", TYPES)
def test_a_block_of_zeros_has_scale_one(machine, dtype) -> None:
    bits = np.zeros((1, 1, 20), np.uint16)
    peaks, codes, back = run(machine, bits, dtype)
    assert scale_of(peaks).tolist() == [1.0]
    assert not codes.any()
    assert not back.any()


@pytest.mark.parametrize("dtype", TYPES)
def test_a_peak_above_448_scales_needs_the_next_scale(machine, dtype) -> None:
    next_number = {"bf16": 1.7578125, "fp16": 1.7509765625}[dtype]
    for peak, scale in ((1.75, 2.0**-8), (next_number, 2.0**-7)):
        bits = np.array([peak, -peak], TYPES[dtype]).view(np.uint16).reshape(1, 1, -1)
        peaks, codes, back = run(machine, bits, dtype)
        assert scale_of(peaks).tolist() == [scale]
        check(bits, dtype, peaks, codes, back)


def test_numbers_too_small_for_their_scale_are_rounded_with_the_smallest(machine) -> None:
    for exponent in (-116, -117, -118, -119, -120, -126, -130, -133):
        numbers = np.array([1.0, -1.5, 1.875, 0.25]) * 2.0**exponent
        bits = numbers.astype(TYPES["bf16"]).view(np.uint16).reshape(1, 1, -1)
        peaks, codes, back = run(machine, bits, "bf16")
        assert scale_of(peaks)[0] >= np.float32(2.0**-126)
        check(bits, "bf16", peaks, codes, back)


def test_one_large_region_is_shared_by_many_cuda_blocks(machine) -> None:
    bits = np.random.default_rng(0).integers(0, 2**16, (1, 1, 16 * 64 * 2 + 5), np.uint16)
    check(bits, "bf16", *run(machine, bits, "bf16"))


def test_a_cuda_block_takes_the_peaks_of_many_regions_one_after_the_other(machine) -> None:
    bits = np.zeros((24, 1, 16), np.uint16)
    bits[::2, 0, 1:] = np.array(3.0, np.float16).view(np.uint16)
    peaks, _, _ = run(machine, bits, "fp16", offset=2, blocks=1)
    assert peaks.tolist() == [3.0, 0.0] * 12
