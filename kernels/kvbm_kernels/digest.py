"""Digests of blocks: 64 bits that change when a byte does, computed where the block is.

What this is
    A checksum that a GPU can take at the speed of its memory, in any order of words:

        digest = size + sum of mix((word ^ mix(r + 1)) + (i + 1) * STEP)    modulo 2**64

    over all words of all regions of the block: word i of region r, numbered inside the block; the
    last word of a region is filled up with zeros; `size` is the bytes of the block. `mix` is a
    bijection, so that one changed word is always seen. Swapped words, regions and halves are
    seen with the odds of a coin thrown 64 times. It is no defence against somebody who
    chooses the bytes.

Interface, as rules of use
    * The first region of a block is number 0, and so on: digests of a block agree between tiers
      if its regions come in the same order there, wherever they lie.
    * checksum_blocks() leaves the digests at `results`: 64-bit words, one for each block.

Twin: `digest`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numba import cuda

from kvbm_kernels.access import add8, load8, load16
from kvbm_kernels.device import device_function
from kvbm_kernels.filling import fill_words
from kvbm_kernels.pattern import STEP, Region, mix, mix_words
from kvbm_kernels.regions import THREADS, Regions, cut, piece_of, region_at, results_at
from kvbm_kernels.words import load_bytes, scramble, way
from kvbm_kernels.work import BLOCKS, Kernel, Work, Works

PARAMETERS = (
    "uint64",  # table: regions
    *("uint32", "uint64"),  # parts, stride
    *("uint64", "uint64"),  # where results go, size
    *("uint32", "uint32", "uint32"),  # regions of a block, regions, pieces
)


def digest(regions: Iterable[Region | bytes]) -> int:
    """Give the digest of one block from its regions, on the host. O(bytes).

    Examples
    --------
    >>> hex(digest([b"keys", b"values"]))
    '0xd5d53aeb4a34f405'
    """
    total = 0
    for number, region in enumerate(regions):
        found = np.frombuffer(region, np.uint8)
        words = np.zeros(-(-found.size // 8), "<u8")
        words.view(np.uint8)[: found.size] = found
        places = np.arange(1, words.size + 1, dtype=np.uint64) * np.uint64(STEP)
        scrambled = mix_words((words.astype(np.uint64) ^ np.uint64(mix(number + 1))) + places)
        total += found.size + int(scrambled.sum(dtype=np.uint64))
    return total % 2**64


def checksum_blocks(
    results: int, src: Regions, size: int, regions_per_block: int, *, blocks: int = BLOCKS
) -> Works:
    """Leave the digest of each block at `results`.

    Parameters
    ----------
    results
        Address of one 64-bit word for each block, a multiple of 8.
    src, size
        The regions of all blocks, block after block, and the bytes of each.
    regions_per_block
        How many regions a block has.
    blocks
        How many CUDA blocks may run.

    Raises
    ------
    ValueError
        The regions are no whole number of blocks, or `results` overlaps one or is unaligned.
    """
    if size < 0 or regions_per_block < 1 or len(src) % regions_per_block:
        raise ValueError(f"{len(src)} regions of {size} bytes: no blocks of {regions_per_block}")
    if not len(src):
        return ()
    count = len(src) // regions_per_block
    words = results_at(results, 8, count, src, size)
    prepared = fill_words(words, 8 * count, size * regions_per_block)
    if not size:
        return prepared
    kernel = Kernel(make_checksum_blocks, (way(src),), PARAMETERS)
    pieces, grid = cut(len(src), -(-size // 8), blocks)
    numbers = (src.parts, src.stride, results, size, regions_per_block, len(src), pieces)
    return (*prepared, Work(kernel, (src.bases,), numbers, grid))


def make_checksum_blocks(alignment: int) -> Any:
    """Write the kernel for one alignment."""
    u32, u64 = np.uint32, np.uint64
    wide, words = alignment == 16, 2 if alignment == 16 else 1
    step, threads = u64(8 * words), u32(THREADS)

    @device_function("uint64", "uint64", "uint32", "uint64")
    def term(word: Any, i: Any, key: Any) -> Any:
        place = u64(u64(i) + u64(1)) * u64(STEP)
        return scramble(u64(u64(word ^ key) + place))

    @device_function("uint64", "uint64", "uint32", "uint64")
    def terms(at: Any, k: Any, key: Any) -> Any:
        if wide:
            one, two = load16(at)
            return u64(term(one, k, key) + term(two, u32(k + u32(1)), key))
        return term(load8(at) if alignment == 8 else load_bytes(at, u32(8)), k, key)

    def checksum_blocks(
        src: Any,
        parts: Any,
        stride: Any,
        results: Any,
        size: Any,
        per_block: Any,
        regions: Any,
        pieces: Any,
    ) -> None:
        sums = cuda.shared.array(THREADS, np.uint64)
        me = u32(cuda.threadIdx.x)
        unit = u32(cuda.blockIdx.x)
        while unit < u32(regions * pieces):
            region = u32(unit // pieces)
            at = region_at(src, parts, stride, region)
            key = scramble(u64(u32(region % per_block)) + u64(1))
            steps = u32(size // step)
            first, last = piece_of(unit, pieces, steps)
            total = u64(0)
            i = u32(first + me)
            while i < last:
                total = u64(total + terms(at + step * u64(i), u32(i * u32(words)), key))
                i = u32(i + threads)
            k = u32(u32(steps * u32(words)) + me)  # words beyond the last whole step
            begin = u64(8) * u64(k)
            if u32(unit % pieces) == u32(0) and begin < size:
                word = load_bytes(at + begin, u32(min(u64(8), u64(size - begin))))
                total = u64(total + term(word, k, key))
            sums[me] = total
            half = u32(THREADS // 2)
            while half > u32(0):
                cuda.syncthreads()
                if me < half:
                    sums[me] += sums[u32(me + half)]
                half = u32(half >> u32(1))
            if me == u32(0):
                add8(results + u64(8) * u64(u32(region // per_block)), sums[0])
            cuda.syncthreads()
            unit = u32(unit + u32(cuda.gridDim.x))

    return checksum_blocks
