"""Copy blocks: equal or ragged regions from table to table, each by the widest access.

What this is
    The vectorised copy of a block manager. It gathers from paged layers into contiguous
    blocks, scatters back, and copies block for block: all are `Regions` to `Regions`.

Interface, as rules of use
    * copy_blocks() groups the pairs by the widest access that both addresses allow, and
      gives one work for each group. Bytes beyond the last whole access go one by one.
    * A pair is read and written once. Overlap is refused, whichever way it lies.
    * `blocks` says how many CUDA blocks may run. Few (4 to 16) are enough to fill a PCIe bus
      and leave the GPU to others; a copy inside the GPU wants them all.

Twin: `dst[:] = src`, region by region.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import ArrayLike, NDArray

from kvbm_kernels.access import LOADS, STORES, load1, load8, store1
from kvbm_kernels.regions import (
    THREADS,
    Regions,
    check_apart,
    check_disjoint,
    check_same_count,
    cut,
    piece_of,
    region_at,
    whole_numbers,
    widest,
)
from kvbm_kernels.work import BLOCKS, Kernel, Work, Works

PARAMETERS = (
    *("uint64", "uint64", "uint64"),  # tables: targets, sources, sizes
    *("uint32", "uint64", "uint32", "uint64"),  # parts and stride of both
    *("uint64", "uint32", "uint32"),  # size, regions, pieces
)


def copy_blocks(
    dst: Regions, src: Regions, size: int | ArrayLike, *, blocks: int = BLOCKS
) -> Works:
    """Copy each source region to the target region of the same index.

    Parameters
    ----------
    dst, src
        As many targets as sources.
    size
        Bytes of each region: one number for all, or one for each (ragged).
    blocks
        How many CUDA blocks may run.

    Raises
    ------
    ValueError
        The counts differ, a size is no whole number of bytes, or a target overlaps another region.

    Complexity
    ----------
    O(bases · log(bases)), and O(regions · log(regions)) if ragged.
    """
    check_same_count(dst, src)
    sizes = whole_numbers("size", size)
    if sizes.ndim:
        return _ragged(dst, src, sizes, blocks)
    size = int(sizes)
    if not (len(dst) and size):
        return ()
    check_apart(dst, size)
    check_disjoint(dst, size, src, size)
    return (_work(dst, src, None, size, widest(0, dst, src), blocks),)


def _ragged(dst: Regions, src: Regions, sizes: NDArray[np.uint64], blocks: int) -> Works:
    if sizes.shape != (len(dst),):
        raise ValueError(f"sizes of shape {sizes.shape} for {len(dst)} regions: one for each")
    targets, sources = dst.addresses(), src.addresses()
    filled = np.flatnonzero(sizes)
    targets, sources, sizes = targets[filled], sources[filled], sizes[filled]
    _check_ragged(targets, sources, sizes)
    bits = targets | sources | np.uint64(16)
    widths = bits & (~bits + np.uint64(1))  # the lowest bit that is set
    works = []
    for width in np.unique(widths)[::-1]:
        chosen = widths == width
        pairs = Regions(targets[chosen]), Regions(sources[chosen])
        largest = int(sizes[chosen].max())
        works.append(_work(*pairs, sizes[chosen], largest, int(width), blocks))
    return tuple(works)


def _check_ragged(
    targets: NDArray[np.uint64], sources: NDArray[np.uint64], sizes: NDArray[np.uint64]
) -> None:
    """Refuse overlap of regions whose sizes differ: two sorted lists of ends and starts."""
    order = np.argsort(targets)
    starts, ends = targets[order], (targets + sizes)[order]
    if (starts[1:] < ends[:-1]).any():
        raise ValueError("targets overlap: each byte is written once")
    begun = np.searchsorted(starts, sources + sizes, "left")  # targets that begin before its end
    ended = np.searchsorted(ends, sources, "right")  # targets that end before it begins
    if (begun != ended).any():
        raise ValueError("a source overlaps a target: nothing reads what it writes")


def _work(
    dst: Regions,
    src: Regions,
    sizes: NDArray[np.uint64] | None,
    size: int,
    width: int,
    blocks: int,
) -> Work:
    pieces, grid = cut(len(dst), -(-size // width), blocks)
    kernel = Kernel(make_copy_blocks, (width, sizes is not None), PARAMETERS)
    numbers = (dst.parts, dst.stride, src.parts, src.stride, size, len(dst), pieces)
    tables = (dst.bases, src.bases, np.zeros(1, np.uint64) if sizes is None else sizes)
    return Work(kernel, tables, numbers, grid)


def make_copy_blocks(width: int, ragged: bool) -> Any:
    """Write the kernel for one width of access and one kind of sizes."""
    load, store = LOADS[width], STORES[width]
    u32, u64 = np.uint32, np.uint64
    step, threads, four = u64(width), u32(THREADS), u32(4 * THREADS)
    by1, by2, by3 = (u64(n * width * THREADS) for n in (1, 2, 3))
    more = u32(3 * THREADS)

    def copy_blocks(
        dst: Any, src: Any, sizes: Any,
        dst_parts: Any, dst_stride: Any, src_parts: Any, src_stride: Any,
        size: Any, regions: Any, pieces: Any,
    ) -> None:  # fmt: skip
        me = u32(cuda.threadIdx.x)
        unit = u32(cuda.blockIdx.x)
        while unit < u32(regions * pieces):
            region = u32(unit // pieces)
            source = region_at(src, src_parts, src_stride, region)
            target = region_at(dst, dst_parts, dst_stride, region)
            length = load8(sizes + u64(8) * u64(region)) if ragged else size
            steps = u32(length // step)
            first, last = piece_of(unit, pieces, steps)
            i = u32(first + me)
            while u32(i + more) < last:
                at, to = source + step * u64(i), target + step * u64(i)
                a, b, c, d = load(at), load(at + by1), load(at + by2), load(at + by3)
                store(to, a)
                store(to + by1, b)
                store(to + by2, c)
                store(to + by3, d)
                i = u32(i + four)
            while i < last:
                store(target + step * u64(i), load(source + step * u64(i)))
                i = u32(i + threads)
            tail = step * u64(steps) + u64(me)  # fewer bytes than threads
            if u32(unit % pieces) == u32(0) and tail < length:
                store1(target + tail, load1(source + tail))
            unit = u32(unit + u32(cuda.gridDim.x))

    return copy_blocks
