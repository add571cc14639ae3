"""`kvbm bench transfer`: bytes per second from host memory to host memory.

What this is
    256 MiB in blocks of 4 MiB, from and to shuffled places, by the transfer engine: between
    layouts of the same order (regions of 64 KiB each where layers are apart), and between
    orders. Submitting, checking and planning are in the figure.

    The limit is one `memcpy` of the same bytes: one piece, in order, in the same run; and
    two of them at once, of half the bytes each, for the engine has two threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

import numpy as np

from kvbm.cli.bench.timing import Report, Subject, take_turns
from kvbm.layout import (
    BlockOrder,
    BoundLayout,
    FullyContiguous,
    LayerSeparate,
    Layout,
    LayoutConfig,
)
from kvbm.storage import SystemAllocator
from kvbm.transfer import TransferEngine

CONFIG: Final = LayoutConfig(64, 32, 2, 32, 1024, num_heads=8, order=BlockOrder.NHD)
"""Blocks of 4 MiB; a region has 64 KiB, and one head of one token 256 bytes."""
REFERENCE: Final = "memcpy"


def measure(rounds: int) -> Report:
    """Run the benchmark."""
    whole = FullyContiguous(CONFIG)
    ways: list[tuple[str, Layout, Layout]] = [
        ("contiguous to contiguous", whole, whole),
        ("contiguous to layers apart", whole, LayerSeparate(CONFIG)),
        ("layers apart to contiguous", LayerSeparate(CONFIG), whole),
        (
            "layers apart to layers apart, outer first",
            LayerSeparate(CONFIG),
            LayerSeparate(CONFIG, outer_contiguous=True),
        ),
        ("NHD to HND", whole, _in_order(BlockOrder.HND)),
        ("HND to NHD", _in_order(BlockOrder.HND), whole),
        ("NHD to universal", whole, _in_order(BlockOrder.UNIVERSAL)),
        ("universal to NHD", _in_order(BlockOrder.UNIVERSAL), whole),
    ]
    size = CONFIG.num_blocks * CONFIG.bytes_per_block
    one, other = _bind(whole), _bind(whole)
    first, second = one.memories[0].addr, other.memories[0].addr
    targets = np.random.default_rng(1).permutation(CONFIG.num_blocks)

    def halves() -> None:
        half = size // 2
        other = threads.submit(ctypes.memmove, first + half, second + half, half)
        ctypes.memmove(first, second, half)
        other.result()

    with (
        TransferEngine() as engine,
        TransferEngine(1) as alone,
        TransferEngine(checksums=True) as checked,
        ThreadPoolExecutor(1) as threads,
    ):
        subjects = [Subject(REFERENCE, *_one(lambda: ctypes.memmove(first, second, size), size))]
        for name, source, target in ways:
            ends = _bind(source), _bind(target)
            subjects.append(Subject(name, *_one(_copy(engine, *ends, targets), size)))
        apart = _bind(LayerSeparate(CONFIG))
        for name, by, target_end in (
            ("one thread, contiguous to contiguous", alone, other),
            ("one thread, contiguous to layers apart", alone, apart),
            ("contiguous to contiguous, with checksums", checked, other),
        ):
            subjects.append(Subject(name, *_one(_copy(by, one, target_end, targets), size)))
        subjects.append(Subject("memcpy, two at once", *_one(halves, size)))
        rows = take_turns(subjects, rounds)
    return Report(
        title="Transfers in host memory",
        workload="256 MiB in blocks of 4 MiB, shuffled; regions of 64 KiB, 32 layers",
        unit="GB/s",
        columns=("copy",),
        rows=rows,
        reference=REFERENCE,
        notes=(f"{REFERENCE}: all bytes in one piece, which is the limit.",),
    )


def _one(
    work: Callable[[], object], size: int
) -> tuple[dict[str, Callable[[], object]], dict[str, float]]:
    return {"copy": work}, {"copy": size / 1e9}


def _copy(
    engine: TransferEngine, source: BoundLayout, target: BoundLayout, targets: np.ndarray
) -> Callable[[], object]:
    sources = range(CONFIG.num_blocks)
    return lambda: engine.transfer(source, sources, target, targets).result()


def _in_order(order: BlockOrder) -> Layout:
    return FullyContiguous(replace(CONFIG, order=order))


def _bind(layout: Layout) -> BoundLayout:
    allocator = SystemAllocator()
    bound = layout.bind([allocator.allocate(size) for size in layout.required_sizes()])
    for memory in bound.memories:
        memory.array()[:] = 1  # the first touch of a page is not what we measure
    return bound
