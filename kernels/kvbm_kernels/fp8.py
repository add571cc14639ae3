"""Quantise blocks: BF16 or FP16 to FP8 with one scale for each block, and back, while they move.

What this is
    Half the bytes for the slow tiers. Quantising gathers the regions of a block into a smaller one,
    dequantising scatters them back; both are copies between `Regions` that round on the way. What
    is rounded how says `e4m3.py`.

    A block needs its peak first: the largest magnitude in it. `peak_blocks` leaves it as a
    float32, `quantize_fp8` and `dequantize_fp8` read it. Keep it with the block.

Interface, as rules of use
    * `count` is numbers in a region, not bytes. `dtype` is "bf16" or "fp16".
    * `peaks` is the address of one float32 for each block, a multiple of 4.
    * Run peak_blocks() and quantize_fp8() on one stream, in that order.
    * 16-byte accesses need all addresses to be multiples of 16; others go number by number.

Twins: ml_dtypes' `float8_e4m3fn` and `bfloat16`, with `e4m3.scale_of`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from kvbm_kernels.access import load1, load2, load4, load16, max4, store1, store2, store16
from kvbm_kernels.device import device_function
from kvbm_kernels.e4m3 import CODES, NUMBERS, PEAKS, bits_of, device_scale, number
from kvbm_kernels.filling import zero_blocks
from kvbm_kernels.regions import (
    MOST,
    THREADS,
    Regions,
    check_apart,
    check_disjoint,
    check_same_count,
    cut,
    piece_of,
    region_at,
    results_at,
)
from kvbm_kernels.work import BLOCKS, Kernel, Work, Works

TABLE = ("uint64", "uint32", "uint64")
REST = (
    *("uint64", "uint32"),  # peaks, numbers in a region
    *("uint32", "uint32", "uint32"),  # regions of a block, regions, pieces
)
PEAK_PARAMETERS = ("uint64", "uint32", "uint64", *REST)
PARAMETERS = ("uint64", "uint64", "uint32", "uint64", "uint32", "uint64", *REST)

TOGETHER = 16
"""Numbers that a thread takes in one step: 32 bytes of one kind, 16 of the other."""


def peak_blocks(
    peaks: int,
    src: Regions,
    count: int,
    regions_per_block: int,
    dtype: str,
    *,
    blocks: int = BLOCKS,
) -> Works:
    """Leave the largest finite magnitude of each block at `peaks`."""
    _check(src, count, regions_per_block, dtype, peaks)
    _aligned("source", src, 2)
    if not len(src):
        return ()
    number_of_blocks = len(src) // regions_per_block
    words = results_at(peaks, 4, number_of_blocks, src, 2 * count)
    prepared = zero_blocks(words, 4 * number_of_blocks)
    if not count:
        return prepared
    wide = _wide(src)
    kernel = Kernel(make_peak_blocks, (dtype, wide), PEAK_PARAMETERS)
    numbers, grid = _numbers(count, wide, regions_per_block, len(src), peaks, blocks)
    return (*prepared, Work(kernel, (src.bases,), (src.parts, src.stride, *numbers), grid))


def quantize_fp8(
    dst: Regions,
    src: Regions,
    count: int,
    peaks: int,
    regions_per_block: int,
    dtype: str,
    *,
    blocks: int = BLOCKS,
) -> Works:
    """Write each source region as FP8, scaled by its block's peak.

    Parameters
    ----------
    dst, src
        Regions of `count` and of `2 * count` bytes, block after block.
    count
        Numbers in a region.
    peaks
        Where peak_blocks() left them.
    regions_per_block
        How many regions share a peak.
    dtype
        "bf16" or "fp16": what the source holds.
    blocks
        How many CUDA blocks may run.

    Raises
    ------
    ValueError
        The counts do not fit, an address is unaligned, or a target overlaps another region or
        the peaks.
    """
    _check(src, count, regions_per_block, dtype, peaks)
    _aligned("source", src, 2)
    sizes = count, 2 * count
    return _moving(
        make_quantize_fp8, dst, src, sizes, count, peaks, regions_per_block, dtype, blocks
    )


def dequantize_fp8(
    dst: Regions,
    src: Regions,
    count: int,
    peaks: int,
    regions_per_block: int,
    dtype: str,
    *,
    blocks: int = BLOCKS,
) -> Works:
    """Write each FP8 region as `dtype`: the way back, with the same parameters."""
    _check(src, count, regions_per_block, dtype, peaks)
    _aligned("target", dst, 2)
    sizes = 2 * count, count
    return _moving(
        make_dequantize_fp8, dst, src, sizes, count, peaks, regions_per_block, dtype, blocks
    )


def _moving(
    make: Any,
    dst: Regions,
    src: Regions,
    sizes: tuple[int, int],
    count: int,
    peaks: int,
    regions_per_block: int,
    dtype: str,
    blocks: int,
) -> Works:
    check_same_count(dst, src)
    if not (len(dst) and count):
        return ()
    check_apart(dst, sizes[0])
    check_disjoint(dst, sizes[0], src, sizes[1])
    check_disjoint(dst, sizes[0], Regions.at([peaks]), 4 * (len(dst) // regions_per_block))
    wide = _wide(dst, src)
    numbers, grid = _numbers(count, wide, regions_per_block, len(dst), peaks, blocks)
    where = (dst.parts, dst.stride, src.parts, src.stride)
    return (
        Work(
            Kernel(make, (dtype, wide), PARAMETERS),
            (dst.bases, src.bases),
            (*where, *numbers),
            grid,
        ),
    )


def _check(src: Regions, count: int, regions_per_block: int, dtype: str, peaks: int) -> None:
    if dtype not in CODES:
        raise ValueError(f"dtype = {dtype!r}: must be one of {sorted(CODES)}")
    if count < 0 or regions_per_block < 1 or len(src) % regions_per_block:
        raise ValueError(f"{len(src)} regions of {count} numbers: no blocks of {regions_per_block}")
    if count > MOST:
        raise ValueError(f"a region of {count} numbers: kernels count to {MOST}")
    if peaks <= 0 or peaks % 4:
        raise ValueError(f"peaks at {peaks:#x}: must be a multiple of 4, not null")


def _aligned(name: str, regions: Regions, size: int) -> None:
    if len(regions) and regions.alignment() < size:
        raise ValueError(f"a {name} address is no multiple of {size}, the size of a number")


def _wide(*regions: Regions) -> int:
    return int(all(each.alignment() == 16 for each in regions))


def _numbers(
    count: int, wide: int, per_block: int, regions: int, peaks: int, blocks: int
) -> tuple[tuple[int, ...], int]:
    pieces, grid = cut(regions, -(-count // (TOGETHER if wide else 1)), blocks)
    return (peaks, count, per_block, regions, pieces), grid


def make_peak_blocks(dtype: str, wide: int) -> Any:
    """Write the kernel for one type; `wide`: 16 numbers in a step, else one."""
    peak = PEAKS[dtype]
    u32, u64 = np.uint32, np.uint64
    together, threads = u32(TOGETHER if wide else 1), u32(THREADS)

    def peak_blocks(
        src: Any,
        parts: Any,
        stride: Any,
        peaks: Any,
        count: Any,
        per_block: Any,
        regions: Any,
        pieces: Any,
    ) -> None:
        found = cuda.shared.array(THREADS, np.uint32)
        me = u32(cuda.threadIdx.x)
        unit = u32(cuda.blockIdx.x)
        while unit < u32(regions * pieces):
            region = u32(unit // pieces)
            at = region_at(src, parts, stride, region)
            steps = u32(count // together)
            first, last = piece_of(unit, pieces, steps)
            largest = u32(0)
            i = u32(first + me)
            while i < last:
                if wide:
                    begin = at + u64(2 * TOGETHER) * u64(i)
                    a, b = load16(begin)
                    c, d = load16(begin + u64(16))
                    largest = max(largest, peak(a), peak(b), peak(c), peak(d))
                else:
                    largest = max(largest, peak(u64(load2(at + u64(2) * u64(i)))))
                i = u32(i + threads)
            k = u32(u32(steps * together) + me)  # numbers beyond the last whole step
            if u32(unit % pieces) == u32(0) and k < count:
                largest = max(largest, peak(u64(load2(at + u64(2) * u64(k)))))
            found[me] = largest
            half = u32(THREADS // 2)
            while half > u32(0):
                cuda.syncthreads()
                if me < half:
                    found[me] = max(found[me], found[u32(me + half)])
                half = u32(half >> u32(1))
            if me == u32(0):
                max4(peaks + u64(4) * u64(u32(region // per_block)), found[0])
            cuda.syncthreads()
            unit = u32(unit + u32(cuda.gridDim.x))

    return peak_blocks


def make_quantize_fp8(dtype: str, wide: int) -> Any:
    """Write the kernel for one type; `wide`: 16 numbers in a step, else one."""
    codes = CODES[dtype]
    u32, u64 = np.uint32, np.uint64

    @device_function("uint64", "uint64", "uint64", "float32")
    def eight(low: Any, high: Any, scale: Any) -> Any:
        upper = u64(codes(high, inverse(scale)))
        return u64(u64(codes(low, inverse(scale))) | u64(upper << u64(32)))

    @device_function("void", "uint64", "uint64", "uint32", "float32")
    def one(to: Any, at: Any, k: Any, scale: Any) -> None:
        code = codes(u64(load2(at + u64(2) * u64(k))), inverse(scale))
        store1(to + u64(k), u32(code & u32(0xFF)))

    @device_function("void", "uint64", "uint64", "uint32", "float32")
    def many(to: Any, at: Any, i: Any, scale: Any) -> None:
        begin = at + u64(2 * TOGETHER) * u64(i)
        a, b = load16(begin)
        c, d = load16(begin + u64(16))
        store16(to + u64(TOGETHER) * u64(i), (eight(a, b, scale), eight(c, d, scale)))

    return _converting(many, one, wide)


def make_dequantize_fp8(dtype: str, wide: int) -> Any:
    """Write the kernel for one type; `wide`: 16 numbers in a step, else one."""
    numbers = NUMBERS[dtype]
    u32, u64 = np.uint32, np.uint64

    @device_function("uint64x2", "uint64", "float32")
    def eight(codes: Any, scale: Any) -> Any:
        low, high = u32(codes & u64(0xFFFFFFFF)), u32(codes >> u64(32))
        return numbers(low, scale), numbers(high, scale)

    @device_function("void", "uint64", "uint64", "uint32", "float32")
    def one(to: Any, at: Any, k: Any, scale: Any) -> None:
        word = numbers(u32(load1(at + u64(k))), scale)
        store2(to + u64(2) * u64(k), u32(word & u64(0xFFFF)))

    @device_function("void", "uint64", "uint64", "uint32", "float32")
    def many(to: Any, at: Any, i: Any, scale: Any) -> None:
        a, b = load16(at + u64(TOGETHER) * u64(i))
        begin = to + u64(2 * TOGETHER) * u64(i)
        store16(begin, eight(a, scale))
        store16(begin + u64(16), eight(b, scale))

    return _converting(many, one, wide)


def _converting(many: Any, one: Any, wide: int) -> Any:
    """Write the kernel that converts by `many`, a step of 16 numbers, and by `one`."""
    u32, u64 = np.uint32, np.uint64
    together, threads = u32(TOGETHER if wide else 1), u32(THREADS)
    step = many if wide else one

    def convert(
        dst: Any, src: Any, dst_parts: Any, dst_stride: Any, src_parts: Any, src_stride: Any,
        peaks: Any, count: Any, per_block: Any, regions: Any, pieces: Any,
    ) -> None:  # fmt: skip
        me = u32(cuda.threadIdx.x)
        unit = u32(cuda.blockIdx.x)
        while unit < u32(regions * pieces):
            region = u32(unit // pieces)
            at = region_at(src, src_parts, src_stride, region)  # (count,)
            to = region_at(dst, dst_parts, dst_stride, region)  # (count,)
            scale = device_scale(load4(peaks + u64(4) * u64(u32(region // per_block))))
            steps = u32(count // together)
            first, last = piece_of(unit, pieces, steps)
            i = u32(first + me)
            while i < last:
                step(to, at, i, scale)
                i = u32(i + threads)
            k = u32(u32(steps * together) + me)  # numbers beyond the last whole step
            if u32(unit % pieces) == u32(0) and k < count:
                one(to, at, k, scale)
            unit = u32(unit + u32(cuda.gridDim.x))

    return convert


@device_function("float32", "float32")
def inverse(scale: Any) -> Any:
    """Invert a scale exactly: it is a power of two."""
    return number(np.uint32(np.uint32(0x7F000000) - bits_of(scale)))
