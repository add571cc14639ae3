"""A GPU that runs works: compiled once, launched with scalars, on streams of one's own.

What this is
    The last step of every operation. A kernel is compiled on first use and kept. A launch
    costs about a microsecond of the host: it passes addresses and numbers, never arrays, and the
    tables go ahead of it through pinned memory. A `Recording` replays works as a CUDA graph,
    without even that.

Interface, as rules of use
    * run() and copy() queue and return. What they touch must stay until the stream has passed:
      `stream.record()` gives an event with `sync()` and `is_done`.
    * Streams are cuda.core's. stream() makes one; borrow() wraps another library's.
    * An error of a kernel comes up in a later call, as CUDA has it.
    * Host memory in works must be pinned: driver.pinned_memory(), or registered.
    * close() after the last event has passed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kvbm_kernels import driver
from kvbm_kernels.batch import copy_batch
from kvbm_kernels.build import entry, to_cubin, to_ptx
from kvbm_kernels.copying import copy_blocks
from kvbm_kernels.dispatch import Method, Rule, Way, joined
from kvbm_kernels.regions import THREADS, Regions
from kvbm_kernels.tables import Slot, Tables, fill
from kvbm_kernels.work import Kernel, Works


class Gpu:
    """One device.

    Parameters
    ----------
    ordinal
        Which one.
    rule
        When a kernel copies and when a copy engine does.

    Raises
    ------
    RuntimeError
        There is no GPU to use, or something is missing to compile for it. It says what.
    """

    def __init__(self, ordinal: int = 0, rule: Rule | None = None) -> None:
        if why := driver.missing():
            raise RuntimeError(f"no GPU: {why}")
        self.rule = rule or Rule()
        self._ordinal = ordinal
        self._kernels: dict[Kernel, Any] = {}
        self._lock = threading.Lock()
        device = self._current()
        self.name = str(device.name)
        self.capability = (
            device.compute_capability.major,
            device.compute_capability.minor,
        )
        self.multiprocessors = int(device.properties.multiprocessor_count)
        self._tables = Tables()

    def _current(self) -> Any:
        """Make the device current on this thread, whatever another library did."""
        device = driver.core().Device(self._ordinal)
        device.set_current()
        return device

    def stream(self) -> Any:
        """Make a stream that does not wait for the legacy default stream."""
        return self._current().create_stream()

    def borrow(self, handle: int) -> Any:
        """Wrap another library's stream, which must outlive the wrapper."""
        self._current()
        return driver.core().Stream.from_handle(handle)

    def blocks(self, way: Way) -> int:
        """Say how many CUDA blocks to give to an operation on this way."""
        return self.rule.blocks(way, self.multiprocessors)

    def prepare(self, works: Works) -> None:
        """Compile and load what the works need, so that the first run does not wait for it."""
        self._current()
        for work in works:
            self._loaded(work.kernel)

    def run(self, works: Works, stream: Any) -> None:
        """Queue the works, in order."""
        if not works:
            return
        self.prepare(works)
        with self._lock:
            addresses, slot = self._tables.put(
                [table for work in works for table in work.tables], stream
            )
            try:
                self._launch(works, addresses, stream)
            finally:
                self._tables.done(slot, stream)

    def copy(
        self, way: Way, dst: Regions, src: Regions, size: int | ArrayLike, stream: Any
    ) -> Method | None:
        """Queue a plain copy of regions, by the method that the rule chooses; None if no work.

        The same checks are made whichever way it goes.
        """
        if np.ndim(size) == 0:
            dst, src, size = joined(dst, src, int(np.asarray(size)))
        works = copy_blocks(dst, src, size, blocks=self.blocks(way))
        if not works:
            return None
        sizes = np.broadcast_to(np.asarray(size, np.uint64), (len(dst),))
        chosen = np.flatnonzero(sizes)  # a copy of no bytes is none
        sizes = sizes[chosen]
        method = self.rule.method(way, sizes.size, int(sizes.min()))
        if method is Method.KERNEL:
            self.run(works, stream)
        else:
            self._current()
            copy_batch(dst.addresses()[chosen], src.addresses()[chosen], sizes, stream)
        return method

    def record(self, works: Works) -> Recording:
        """Make a graph of the works; their tables are uploaded once, here."""
        self.prepare(works)
        stream, slot = self.stream(), Slot()
        try:
            addresses = fill(slot, [table for work in works for table in work.tables], stream)
            stream.sync()
            with closing(stream.create_graph_builder()) as builder:
                builder.begin_building()
                self._launch(works, addresses, builder)
                graph = builder.end_building().complete()
        except BaseException:
            slot.close()
            raise
        return Recording(graph, slot, self._current)

    def close(self) -> None:
        """Free the tables. Nothing may be under way."""
        self._current()
        self._tables.close()

    def _launch(self, works: Works, addresses: list[int], stream: Any) -> None:
        core = driver.core()
        remaining = iter(addresses)
        for work in works:
            own = tuple(next(remaining) for _ in work.tables)
            config = core.LaunchConfig(grid=work.blocks, block=THREADS)
            core.launch(stream, config, self._loaded(work.kernel), *work.arguments(own))

    def _loaded(self, kernel: Kernel) -> Any:
        if kernel not in self._kernels:
            cubin = to_cubin(kernel, self.capability)
            name = entry(to_ptx(kernel, self.capability))
            self._kernels[kernel] = cubin.get_kernel(name)
        return self._kernels[kernel]


class Recording:
    """Works as a CUDA graph, with tables of its own. Made by `Gpu.record`."""

    def __init__(self, graph: Any, slot: Slot, current: Callable[[], Any]) -> None:
        self._graph = graph
        self._slot = slot
        self._current = current

    def replay(self, stream: Any) -> None:
        """Queue all works again, on the same addresses."""
        self._current()
        self._graph.launch(stream)

    def close(self) -> None:
        """Free graph and tables, when no replay is under way."""
        self._current()
        self._graph.close()
        self._slot.close()
