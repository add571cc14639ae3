"""`kvbm bench disk`: bytes per second to and from a file, without the page cache.

What this is
    256 MiB in blocks of 2 MiB at shuffled places of one preallocated file: by the transfer
    engine in one call, straight and with a change of order over bounce buffers.

    The limit is raw: `preadv` and `pwritev` of the same blocks, one call each, by as many
    plain threads as the engine's queue is deep, on the same file in the same run.

Interface, as rules of use
    * The file is in `DYN_KVBM_DISK_CACHE_DIR`, or in the directory for temporary files, and
      has no name. Where direct access is refused, the report says that it measured memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

import numpy as np

from kvbm.cli.bench.timing import Report, Subject, take_turns
from kvbm.layout import BlockOrder, BoundLayout, FullyContiguous, LayoutConfig
from kvbm.storage import PAGE, DiskAllocator, DiskStorage, SystemAllocator
from kvbm.transfer import TransferEngine

CONFIG: Final = LayoutConfig(
    128, 16, 2, 32, 1024, alignment=PAGE, num_heads=8, order=BlockOrder.NHD
)
"""Blocks of 2 MiB."""
DEPTH: Final = 4
REFERENCE: Final = "raw preadv, pwritev"


def measure(rounds: int) -> Report:
    """Run the benchmark."""
    layout = FullyContiguous(CONFIG)
    (size,) = layout.required_sizes()
    places = np.random.default_rng(1).permutation(CONFIG.num_blocks)
    with (
        DiskAllocator().allocate(size) as storage,
        TransferEngine(queue_depth=DEPTH) as engine,
        TransferEngine(queue_depth=DEPTH, checksums="disk") as checked,
        ThreadPoolExecutor(DEPTH) as threads,
    ):
        disk, host = layout.bind([storage]), _bind(layout)
        other = _bind(FullyContiguous(replace(CONFIG, order=BlockOrder.HND)))
        raw = _Raw(storage, host, places, threads)
        amount = CONFIG.num_blocks * CONFIG.bytes_per_block / 1e9
        amounts = {"write": amount, "read": amount}
        subjects = [
            Subject(REFERENCE, {"write": raw.write, "read": raw.read}, amounts),
            Subject("straight", _copies(engine, host, disk, places), amounts),
            Subject("straight, with checksums", _copies(checked, host, disk, places), amounts),
            Subject("HND in memory, NHD on disk", _copies(engine, other, disk, places), amounts),
        ]
        direct = storage.direct
        rows = take_turns(subjects, rounds)
    access = "direct access" if direct else "NO direct access here: this measures the page cache"
    return Report(
        title="Transfers to and from disk",
        workload=f"256 MiB in blocks of 2 MiB, shuffled, queue depth {DEPTH}; {access}",
        unit="GB/s",
        columns=("write", "read"),
        rows=rows,
        reference=REFERENCE,
        notes=(f"{REFERENCE}: one call a block, {DEPTH} threads, nothing checked.",),
    )


class _Raw:
    """The same bytes, by the calls of the system alone."""

    def __init__(
        self,
        storage: DiskStorage,
        host: BoundLayout,
        places: np.ndarray,
        threads: ThreadPoolExecutor,
    ) -> None:
        descriptor = storage.storage_type.id
        assert descriptor is not None, "a disk has a descriptor"
        step, array = CONFIG.bytes_per_block, host.memories[0].array()
        self._descriptor = descriptor
        self._calls = [
            ([array[i * step : (i + 1) * step]], int(place) * step)
            for i, place in enumerate(places.tolist())
        ]
        self._threads = threads

    def write(self) -> None:
        self._all(os.pwritev)

    def read(self) -> None:
        self._all(os.preadv)

    def _all(self, call: Callable[..., int]) -> None:
        run = [self._threads.submit(call, self._descriptor, *each) for each in self._calls]
        assert all(each.result() == CONFIG.bytes_per_block for each in run), "a short transfer"


def _copies(
    engine: TransferEngine, host: BoundLayout, disk: BoundLayout, places: np.ndarray
) -> dict[str, Callable[[], object]]:
    ids = range(CONFIG.num_blocks)
    return {
        "write": lambda: engine.transfer(host, ids, disk, places).result(),
        "read": lambda: engine.transfer(disk, places, host, ids).result(),
    }


def _bind(layout: FullyContiguous) -> BoundLayout:
    bound = layout.bind([SystemAllocator().allocate(layout.required_sizes()[0])])
    bound.memories[0].array()[:] = 1
    return bound
