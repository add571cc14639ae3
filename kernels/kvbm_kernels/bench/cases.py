"""Cases of the benchmark: each operation, on each way, beside what else could do it.

What this is
    A case is a name, the bytes it must at least read and write, and for each turn something to
    run. Ours come as works, which are measured as recorded graphs (the device's time) and as
    calls (the host's). The driver's copies and torch come as calls.

Interface, as rules of use
    * `read` and `written` count each byte once, whatever a method really does.
    * A case that does not fit the arena has no turns and is not made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from kvbm_kernels import driver
from kvbm_kernels.batch import copy_batch
from kvbm_kernels.bench.memory import Arena, Layout
from kvbm_kernels.copying import copy_blocks
from kvbm_kernels.digest import checksum_blocks
from kvbm_kernels.dispatch import Way
from kvbm_kernels.filling import fill_pattern, verify_pattern, zero_blocks
from kvbm_kernels.fp8 import dequantize_fp8, peak_blocks, quantize_fp8
from kvbm_kernels.permuting import (
    block_from_universal,
    slice_heads,
    transpose_nhd_hnd,
    universal_from_block,
)
from kvbm_kernels.regions import Regions
from kvbm_kernels.rows import BlockShape, Order, paged, whole
from kvbm_kernels.work import Works

LONGEST_LOOP: Final = 8192
"""Copies that a loop is asked for; more would only take longer."""

BUS_BLOCKS: Final = (4, 8, 12, 16, 32)
"""CUDA blocks that are tried over the bus."""

Call = Callable[[Any], None]
"""Queue everything on a stream."""


@dataclass(frozen=True)
class Case:
    """One operation at one size."""

    operation: str
    method: str
    way: Way
    layout: Layout
    read: int
    written: int
    works: list[Works] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)


def cases(arena: Arena, layout: Layout, blocks: int) -> Iterator[Case]:
    """Make all cases of one layout; `blocks` CUDA blocks work inside the device."""
    if layout.turns:
        yield from _copies(arena, layout, Way.INSIDE_DEVICE, (blocks,))
        yield from _inside(arena, layout, blocks)
        yield from _torch(layout)
    on_host = Layout(layout.shape, layout.count, arena.host)
    if on_host.turns:
        for way in (Way.HOST_TO_DEVICE, Way.DEVICE_TO_HOST):
            yield from _copies(arena, on_host, way, BUS_BLOCKS)
            yield from _permuted_over_the_bus(arena, on_host, way)


def _copies(arena: Arena, layout: Layout, way: Way, tried: tuple[int, ...]) -> Iterator[Case]:
    """Gather pages into whole blocks, or scatter them, by kernel, batch and loop."""
    shape, size = layout.shape, layout.size
    name = "scatter" if way is Way.HOST_TO_DEVICE else "gather"
    pairs = []
    for turn in range(layout.turns):
        other = arena.target if way is Way.INSIDE_DEVICE else arena.pinned
        pages = Regions.at(layout.pages(arena.source, turn))
        planes = shape.layers * shape.outer
        inside = Regions.at(layout.blocks(other, turn), planes, shape.region)
        pairs.append((pages, inside) if name == "scatter" else (inside, pages))
    for blocks in tried:
        works = [copy_blocks(*pair, shape.region, blocks=blocks) for pair in pairs]
        yield Case(name, f"kernel, {blocks} blocks", way, layout, size, size, works)
    plain = [(dst.addresses(), src.addresses()) for dst, src in pairs]
    sizes = np.full(plain[0][0].size, shape.region, np.uint64)

    def batch(dst: Any, src: Any) -> Call:
        return lambda stream: copy_batch(dst, src, sizes, stream)

    def loop(dst: list[int], src: list[int]) -> Call:
        def run(stream: Any) -> None:
            for to, at in zip(dst, src, strict=True):
                driver.copy(to, at, shape.region, stream)

        return run

    calls = [batch(*pair) for pair in plain]
    yield Case(name, "cuMemcpyBatchAsync", way, layout, size, size, calls=calls)
    if sizes.size <= LONGEST_LOOP:
        calls = [loop(dst.tolist(), src.tolist()) for dst, src in plain]
        yield Case(name, "cuMemcpyAsync loop", way, layout, size, size, calls=calls)


def _inside(arena: Arena, layout: Layout, blocks: int) -> Iterator[Case]:
    """Everything else that happens inside the device."""
    shape, size = layout.shape, layout.size
    planes, region = shape.layers * shape.outer, shape.region
    half = BlockShape(shape.layers, shape.outer, shape.tokens, max(shape.heads // 2, 1), shape.row)
    halves = half.block * layout.count
    peaks = arena.target + arena.device - 2**20  # the last MiB: no case that has room reaches it
    keys = np.arange(layout.count * planes, dtype=np.uint64)
    numbers = region // 2

    def pages(turn: int) -> Any:
        return layout.pages(arena.source, turn)

    def bases(turn: int) -> Any:
        return layout.blocks(arena.target, turn)

    def regions(turn: int) -> Regions:
        return Regions.at(pages(turn))

    def small(turn: int) -> Regions:
        return Regions.at(bases(turn), planes, numbers)

    def sliced(turn: int) -> Works:
        target = whole(half, Order.NHD, bases(turn))
        return slice_heads(target, paged(shape, Order.NHD, pages(turn)), 0, blocks=blocks)

    def gathered(order: Order) -> Callable[[int], Works]:
        return lambda turn: universal_from_block(
            bases(turn), pages(turn), shape, order, blocks=blocks
        )

    fp8 = (numbers, peaks, planes, "bf16")
    made: list[tuple[str, int, int, Callable[[int], Works]]] = [
        ("universal_from_block NHD", size, size, gathered(Order.NHD)),
        ("universal_from_block HND", size, size, gathered(Order.HND)),
        (
            "block_from_universal NHD", size, size,
            lambda turn: block_from_universal(
                pages(turn), bases(turn), shape, Order.NHD, blocks=blocks
            ),
        ),
        (
            "transpose_nhd_hnd", size, size,
            lambda turn: transpose_nhd_hnd(
                layout.pages(arena.target, turn), pages(turn), shape, Order.NHD, blocks=blocks
            ),
        ),
        ("slice_heads, half", halves, halves, sliced),
        (
            "peak_blocks bf16", size, 0,
            lambda turn: peak_blocks(peaks, regions(turn), numbers, planes, "bf16", blocks=blocks),
        ),
        (
            "quantize_fp8 bf16", size, size // 2,
            lambda turn: quantize_fp8(small(turn), regions(turn), *fp8, blocks=blocks),
        ),
        (
            "dequantize_fp8 bf16", size // 2, size,
            lambda turn: dequantize_fp8(regions(turn), small(turn), *fp8, blocks=blocks),
        ),
        (
            "checksum_blocks", size, 0,
            lambda turn: checksum_blocks(peaks, regions(turn), region, planes, blocks=blocks),
        ),
        (
            "fill_pattern", 0, size,
            lambda turn: fill_pattern(regions(turn), region, keys, keys, keys, blocks=blocks),
        ),
        (
            "verify_pattern", size, 0,
            lambda turn: verify_pattern(
                peaks, regions(turn), region, keys, keys, keys, blocks=blocks
            ),
        ),
        (
            "zero_blocks", 0, size,
            lambda turn: zero_blocks(regions(turn), region, blocks=blocks),
        ),
    ]  # fmt: skip
    for name, read, written, make in made:
        works = [make(turn) for turn in range(layout.turns)]
        yield Case(name, "kernel", Way.INSIDE_DEVICE, layout, read, written, works)


def _permuted_over_the_bus(arena: Arena, layout: Layout, way: Way) -> Iterator[Case]:
    """Universal blocks in host memory, pages on the device: a change of layout on the way."""
    for blocks in BUS_BLOCKS:
        works = []
        for turn in range(layout.turns):
            inside, pages = layout.blocks(arena.pinned, turn), layout.pages(arena.source, turn)
            works.append(
                block_from_universal(pages, inside, layout.shape, Order.NHD, blocks=blocks)
                if way is Way.HOST_TO_DEVICE
                else universal_from_block(inside, pages, layout.shape, Order.NHD, blocks=blocks)
            )
        name = "block_from_universal" if way is Way.HOST_TO_DEVICE else "universal_from_block"
        method = f"kernel, {blocks} blocks"
        yield Case(f"{name} NHD", method, way, layout, layout.size, layout.size, works)


def _torch(layout: Layout) -> Iterator[Case]:
    """Do the same by torch, in memory of its own, if torch is there and has room."""
    try:
        import torch  # noqa: PLC0415  # not everywhere
    except ImportError:
        return
    shape, size, way = layout.shape, layout.size, Way.INSIDE_DEVICE
    needed = (layout.turns + 3) * size
    if not torch.cuda.is_available() or torch.cuda.mem_get_info()[0] < needed:
        return
    planes, tokens, heads, dim = (
        shape.layers * shape.outer,
        shape.tokens,
        shape.heads,
        shape.row // 2,
    )
    page = (planes, layout.count, tokens, heads, dim)
    sources = [torch.empty(page, dtype=torch.bfloat16, device="cuda") for _ in range(layout.turns)]
    whole_blocks = torch.empty(
        (layout.count, planes, *page[2:]), dtype=torch.bfloat16, device="cuda"
    )
    universal = torch.empty(
        (layout.count, heads, planes, tokens, dim), dtype=torch.bfloat16, device="cuda"
    )
    ids = torch.randperm(layout.count, device="cuda")

    def gather(pages: Any) -> None:
        whole_blocks.copy_(pages[:, ids].transpose(0, 1))

    def permute(pages: Any) -> None:
        universal.copy_(pages.permute(1, 3, 0, 2, 4))

    def on(run: Callable[[Any], None], pages: Any) -> Call:
        def call(stream: Any) -> None:
            with torch.cuda.stream(torch.cuda.ExternalStream(driver.handle(stream))):
                run(pages)

        return call

    for name, run in (("gather", gather), ("universal_from_block NHD", permute)):
        calls = [on(run, pages) for pages in sources]
        yield Case(name, "torch", way, layout, size, size, calls=calls)
