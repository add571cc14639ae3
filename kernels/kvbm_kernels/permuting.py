"""Permute blocks: move head rows between layouts, layer ranges and ranges of heads.

What this is
    One kernel moves rows from strides to strides. Its named uses:

        universal_from_block   paged regions (NHD or HND) into universal blocks
        block_from_universal   and back
        transpose_nhd_hnd      swap tokens and heads, region by region
        slice_heads            some of the source's heads: to a larger tensor-parallel degree
        merge_heads            into some of the target's heads: to a smaller degree
        permute                any two descriptions of equal sizes

    Gathering from pages and scattering to them needs no kernel of its own: a description
    says where each region lies. The bytes of a row stay as they are, whatever they mean.

Interface, as rules of use
    * Layer ranges outside a block, unequal sizes and overlap are refused before the launch.
    * Other layers and other heads of the target are not touched.
    * A resharding is one call for each pair of ranks that share heads. All of them may run at once.

Twin: a transposition and a slice in NumPy, as the tests write them: for HND,
`universal[:, l0:l1] = block.transpose(2, 0, 1, 3, 4)`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import ArrayLike

from kvbm_kernels.access import LOADS, STORES
from kvbm_kernels.device import device_function
from kvbm_kernels.regions import THREADS, check_disjoint, cut, piece_of, region_at, widest
from kvbm_kernels.rows import BlockShape, Order, Rows, paged, universal
from kvbm_kernels.work import BLOCKS, Kernel, Work, Works

PARAMETERS = (
    *("uint64", "uint64"),  # tables: targets, sources
    *("uint32", "uint64", "uint32", "uint64"),  # parts and stride of both
    *("uint32", "uint32", "uint32", "uint32"),  # token and head strides of both, in steps
    *("uint32", "uint32", "uint32"),  # steps, regions, pieces
)


def universal_from_block(
    universal_addresses: ArrayLike,
    block_addresses: ArrayLike,
    shape: BlockShape,
    order: Order,
    *,
    first_layer: int = 0,
    layers: int | None = None,
    blocks: int = BLOCKS,
) -> Works:
    """Gather paged regions into universal blocks.

    Parameters
    ----------
    universal_addresses
        One for each block.
    block_addresses
        One for each region, at `(b * layers + l) * outer + o`.
    shape, order
        Of the whole universal block, and inside a region.
    first_layer, layers
        Which layers of the universal block the regions are; all, if nothing is said.
    blocks
        How many CUDA blocks may run.
    """
    whole, pages = _both(universal_addresses, block_addresses, shape, order, first_layer, layers)
    return permute(whole, pages, blocks=blocks)


def block_from_universal(
    block_addresses: ArrayLike,
    universal_addresses: ArrayLike,
    shape: BlockShape,
    order: Order,
    *,
    first_layer: int = 0,
    layers: int | None = None,
    blocks: int = BLOCKS,
) -> Works:
    """Scatter universal blocks into paged regions: the inverse, with the same parameters."""
    whole, pages = _both(universal_addresses, block_addresses, shape, order, first_layer, layers)
    return permute(pages, whole, blocks=blocks)


def _both(
    universal_addresses: ArrayLike,
    block_addresses: ArrayLike,
    shape: BlockShape,
    order: Order,
    first_layer: int,
    layers: int | None,
) -> tuple[Rows, Rows]:
    """Give the rows of the universal blocks, and those of their pages."""
    whole = universal(shape, universal_addresses, first_layer=first_layer, layers=layers)
    return whole, paged(shape, order, block_addresses, whole.regions.parts // shape.outer)


def transpose_nhd_hnd(
    dst: ArrayLike, src: ArrayLike, shape: BlockShape, order: Order, *, blocks: int = BLOCKS
) -> Works:
    """Swap tokens and heads in each region; `order` is the one that the source has.

    The tables have one address for each region; it does not matter of which block and layer.
    """
    other = Order.HND if order is Order.NHD else Order.NHD
    region = replace(shape, layers=1, outer=1)
    return permute(paged(region, other, dst), paged(region, order, src), blocks=blocks)


def slice_heads(dst: Rows, src: Rows, start: int, *, blocks: int = BLOCKS) -> Works:
    """Copy as many heads as the target has, from head `start` of the source on."""
    return permute(dst, src.slice(start, dst.heads), blocks=blocks)


def merge_heads(dst: Rows, src: Rows, start: int, *, blocks: int = BLOCKS) -> Works:
    """Copy all heads of the source into the target, from its head `start` on."""
    return permute(dst.slice(start, src.heads), src, blocks=blocks)


def permute(dst: Rows, src: Rows, *, blocks: int = BLOCKS) -> Works:
    """Copy each row to where the target has it.

    Raises
    ------
    ValueError
        The two have unequal sizes, or overlap.

    Complexity
    ----------
    O(bases · log(bases)).
    """
    for name, here, there in (
        ("regions", len(dst.regions), len(src.regions)),
        ("tokens", dst.tokens, src.tokens),
        ("heads", dst.heads, src.heads),
        ("row", dst.row, src.row),
    ):
        if here != there:
            raise ValueError(f"{name}: {there} in the source, {here} in the target; must be equal")
    if not len(dst.regions):
        return ()
    check_disjoint(dst.regions, dst.extent, src.regions, src.extent)
    return (_work(dst, src, blocks),)


def _work(dst: Rows, src: Rows, blocks: int) -> Work:
    strides = (dst.token_stride, dst.head_stride, src.token_stride, src.head_stride)
    width = widest(src.row | int(np.bitwise_or.reduce(strides)), dst.regions, src.regions)
    if max(dst.extent, src.extent) // width >= 2**32:
        raise ValueError("rows of one region more than 2**32 accesses apart: kernels count to that")
    row, token_first = src.row // width, src.token_stride >= src.head_stride
    kernel = Kernel(
        make_permute,
        (width, row, src.heads if token_first else src.tokens, token_first),
        PARAMETERS,
    )
    steps = src.tokens * src.heads * row
    pieces, grid = cut(len(dst.regions), steps, blocks)
    numbers = (
        *(dst.regions.parts, dst.regions.stride, src.regions.parts, src.regions.stride),
        *(stride // width for stride in strides),
        *(steps, len(dst.regions), pieces),
    )
    return Work(kernel, (dst.regions.bases, src.regions.bases), numbers, grid)


def make_permute(width: int, row: int, inner: int, token_first: bool) -> Any:
    """Write the kernel for one geometry, so that its divisions are by constants.

    Parameters
    ----------
    width
        Bytes of an access.
    row
        Accesses of a row.
    inner
        Extent of the faster of token and head, in the order in which the source has them.
    token_first
        Whether the token is the slower one.
    """
    load, store = LOADS[width], STORES[width]
    u32, u64 = np.uint32, np.uint64
    step, threads, more = u64(width), u32(THREADS), u32(3 * THREADS)
    steps_of_row, faster = u32(row), u32(inner)

    @device_function("uint64", "uint32", "uint32", "uint32")
    def offset(i: Any, token_stride: Any, head_stride: Any) -> Any:  # bytes
        line, dim = u32(i // steps_of_row), u32(i % steps_of_row)
        slow, fast = u32(line // faster), u32(line % faster)
        token, head = (slow, fast) if token_first else (fast, slow)
        place = u32(u32(token * token_stride) + u32(head * head_stride))
        return step * u64(u32(place + dim))

    def permute(
        dst: Any, src: Any,
        dst_parts: Any, dst_stride: Any, src_parts: Any, src_stride: Any,
        dst_token: Any, dst_head: Any, src_token: Any, src_head: Any,
        steps: Any, regions: Any, pieces: Any,
    ) -> None:  # fmt: skip
        me = u32(cuda.threadIdx.x)
        unit = u32(cuda.blockIdx.x)
        while unit < u32(regions * pieces):
            region = u32(unit // pieces)
            at = region_at(src, src_parts, src_stride, region)  # [token][head][dim], by strides
            to = region_at(dst, dst_parts, dst_stride, region)
            first, last = piece_of(unit, pieces, steps)
            i = u32(first + me)
            while u32(i + more) < last:
                j, k, m = u32(i + threads), u32(i + threads + threads), u32(i + more)
                a = load(at + offset(i, src_token, src_head))
                b = load(at + offset(j, src_token, src_head))
                c = load(at + offset(k, src_token, src_head))
                d = load(at + offset(m, src_token, src_head))
                store(to + offset(i, dst_token, dst_head), a)
                store(to + offset(j, dst_token, dst_head), b)
                store(to + offset(k, dst_token, dst_head), c)
                store(to + offset(m, dst_token, dst_head), d)
                i = u32(m + threads)
            while i < last:
                store(
                    to + offset(i, dst_token, dst_head), load(at + offset(i, src_token, src_head))
                )
                i = u32(i + threads)
            unit = u32(unit + u32(cuda.gridDim.x))

    return permute
