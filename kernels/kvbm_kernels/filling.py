"""Fill blocks: with zeros, with one word, with test patterns; and verify the patterns.

What this is
    The device's side of `pattern.py`: the same bytes, word by word, where the blocks are. A copy
    is tested by filling the source, copying, and verifying the target, and no byte crosses
    the bus.

Interface, as rules of use
    * fill_pattern() and verify_pattern() take for each region the key, the layer and the outer
      index that its bytes follow from, as `pattern.pattern` does.
    * verify_pattern() leaves for each region the index of its first wrong byte, or
      `NONE_WRONG`, in `results`: 64-bit words, one for each region, at a multiple of 8.

Twins: `pattern.fill_pattern`, `pattern.verify_pattern`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import cuda
from numpy.typing import ArrayLike, NDArray

from kvbm_kernels.access import load8, load16, min8, store8, store16
from kvbm_kernels.device import device_function
from kvbm_kernels.pattern import STEP, mix_words
from kvbm_kernels.regions import (
    THREADS,
    Regions,
    check_apart,
    check_disjoint,
    check_size,
    cut,
    piece_of,
    region_at,
    results_at,
    whole_numbers,
)
from kvbm_kernels.words import load_bytes, scramble, store_bytes, way
from kvbm_kernels.work import BLOCKS, Kernel, Work, Works

NONE_WRONG: Final = 2**64 - 1
"""What verify_pattern() leaves for a region that is right."""

PARAMETERS = (
    *("uint64", "uint64"),  # tables: regions, seeds
    *("uint32", "uint64"),  # parts, stride
    *("uint64", "uint64"),  # the word, or where results go; size
    *("uint32", "uint32"),  # regions, pieces
)


def zero_blocks(dst: Regions, size: int, *, blocks: int = BLOCKS) -> Works:
    """Write zeros to each region."""
    return fill_words(dst, size, 0, blocks=blocks)


def fill_words(dst: Regions, size: int, word: int, *, blocks: int = BLOCKS) -> Works:
    """Write one 64-bit word again and again to each region; the last one may be cut."""
    if not 0 <= word < 2**64:
        raise ValueError(f"word = {word}: must be in 0 … 2**64 - 1")
    return _writing(dst, size, None, word, blocks)


def fill_pattern(
    dst: Regions,
    size: int,
    keys: ArrayLike,
    layers: ArrayLike,
    outers: ArrayLike,
    *,
    blocks: int = BLOCKS,
) -> Works:
    """Write to each region the bytes that follow from its key, layer and outer index."""
    seeds = _seeds(dst, keys, layers, outers)
    return _writing(dst, size, seeds, 0, blocks)


def verify_pattern(
    results: int,
    src: Regions,
    size: int,
    keys: ArrayLike,
    layers: ArrayLike,
    outers: ArrayLike,
    *,
    blocks: int = BLOCKS,
) -> Works:
    """Leave at `results` the index of each region's first byte that is not the pattern's."""
    check_size(size)
    seeds = _seeds(src, keys, layers, outers)
    if not len(src):
        return ()
    words = results_at(results, 8, len(src), src, size)
    prepared = fill_words(words, 8 * len(src), NONE_WRONG)
    if not size:
        return prepared
    return (*prepared, _work(make_verify, (), src, size, seeds, results, blocks))


def _seeds(
    regions: Regions, keys: ArrayLike, layers: ArrayLike, outers: ArrayLike
) -> NDArray[np.uint64]:
    """Give `mix(mix(mix(key) ^ layer) ^ outer)` of each region."""
    seeds = np.zeros(len(regions), np.uint64)
    for name, values in (("keys", keys), ("layers", layers), ("outers", outers)):
        numbers = whole_numbers(name, values)
        if numbers.shape != (len(regions),):
            raise ValueError(f"{name} of shape {numbers.shape}: must be one for each region")
        seeds = mix_words(seeds ^ numbers)
    return seeds


def _writing(
    dst: Regions, size: int, seeds: NDArray[np.uint64] | None, word: int, blocks: int
) -> Works:
    """Write patterns, or one word where there are no seeds."""
    check_size(size)
    if not (len(dst) and size):
        return ()
    check_apart(dst, size)
    check_disjoint(dst, size)
    patterned, table = (0, np.zeros(1, np.uint64)) if seeds is None else (1, seeds)
    return (_work(make_fill, (patterned,), dst, size, table, word, blocks),)


def _work(
    make: Any,
    constants: tuple[int, ...],
    regions: Regions,
    size: int,
    seeds: NDArray[np.uint64],
    word: int,
    blocks: int,
) -> Work:
    kernel = Kernel(make, (way(regions), *constants), PARAMETERS)
    pieces, grid = cut(len(regions), -(-size // 8), blocks)
    numbers = (regions.parts, regions.stride, word, size, len(regions), pieces)
    return Work(kernel, (regions.bases, seeds), numbers, grid)


@device_function("uint64", "uint64", "uint32")
def pattern_word(seed: Any, i: Any) -> Any:
    """Give word i of a pattern, in a kernel."""
    return scramble(np.uint64(seed + np.uint64(np.uint64(i) + np.uint64(1)) * np.uint64(STEP)))


def make_fill(alignment: int, patterned: int) -> Any:
    """Write the kernel for one alignment; `patterned`: by seeds, else by one word."""
    u32, u64 = np.uint32, np.uint64
    wide, words = alignment == 16, 2 if alignment == 16 else 1
    step, threads = u64(8 * words), u32(THREADS)

    def fill(
        dst: Any,
        seeds: Any,
        parts: Any,
        stride: Any,
        word: Any,
        size: Any,
        regions: Any,
        pieces: Any,
    ) -> None:
        me = u32(cuda.threadIdx.x)
        unit = u32(cuda.blockIdx.x)
        while unit < u32(regions * pieces):
            region = u32(unit // pieces)
            to = region_at(dst, parts, stride, region)
            seed = load8(seeds + u64(8) * u64(region)) if patterned else u64(0)
            steps = u32(size // step)
            first, last = piece_of(unit, pieces, steps)
            i = u32(first + me)
            while i < last:
                k = u32(i * u32(words))
                one = pattern_word(seed, k) if patterned else word
                if wide:
                    two = pattern_word(seed, u32(k + u32(1))) if patterned else word
                    store16(to + step * u64(i), (one, two))
                elif alignment == 8:
                    store8(to + step * u64(i), one)
                else:
                    store_bytes(to + step * u64(i), one, u32(8))
                i = u32(i + threads)
            k = u32(u32(steps * u32(words)) + me)  # words beyond the last whole step
            begin = u64(8) * u64(k)
            if u32(unit % pieces) == u32(0) and begin < size:
                one = pattern_word(seed, k) if patterned else word
                store_bytes(to + begin, one, u32(min(u64(8), u64(size - begin))))
            unit = u32(unit + u32(cuda.gridDim.x))

    return fill


def make_verify(alignment: int) -> Any:
    """Write the kernel for one alignment."""
    u32, u64 = np.uint32, np.uint64
    wide, words = alignment == 16, 2 if alignment == 16 else 1
    step, threads = u64(8 * words), u32(THREADS)

    @device_function("void", "uint64", "uint32", "uint64", "uint64")
    def compare(result: Any, k: Any, found: Any, right: Any) -> Any:
        wrong = u64(found ^ right)
        if wrong != u64(0):
            at = u64(8) * u64(k)
            while u64(wrong & u64(0xFF)) == u64(0):
                wrong = u64(wrong >> u64(8))
                at = u64(at + u64(1))
            min8(result, at)

    def verify(
        src: Any,
        seeds: Any,
        parts: Any,
        stride: Any,
        results: Any,
        size: Any,
        regions: Any,
        pieces: Any,
    ) -> None:
        me = u32(cuda.threadIdx.x)
        unit = u32(cuda.blockIdx.x)
        while unit < u32(regions * pieces):
            region = u32(unit // pieces)
            at = region_at(src, parts, stride, region)
            seed = load8(seeds + u64(8) * u64(region))
            result = results + u64(8) * u64(region)
            steps = u32(size // step)
            first, last = piece_of(unit, pieces, steps)
            i = u32(first + me)
            while i < last:
                k = u32(i * u32(words))
                if wide:
                    one, two = load16(at + step * u64(i))
                    compare(result, k, one, pattern_word(seed, k))
                    compare(result, u32(k + u32(1)), two, pattern_word(seed, u32(k + u32(1))))
                elif alignment == 8:
                    compare(result, k, load8(at + step * u64(i)), pattern_word(seed, k))
                else:
                    compare(
                        result, k, load_bytes(at + step * u64(i), u32(8)), pattern_word(seed, k)
                    )
                i = u32(i + threads)
            k = u32(u32(steps * u32(words)) + me)  # words beyond the last whole step
            begin = u64(8) * u64(k)
            if u32(unit % pieces) == u32(0) and begin < size:
                count = u64(min(u64(8), u64(size - begin)))
                mask = u64(u64(0xFFFFFFFFFFFFFFFF) >> u64(u64(64) - u64(8) * count))
                compare(result, k, load_bytes(at + begin, u32(count)), pattern_word(seed, k) & mask)
            unit = u32(unit + u32(cuda.gridDim.x))

    return verify
