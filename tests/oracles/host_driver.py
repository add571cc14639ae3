"""A CUDA driver that is a few lines of Python and host memory.

It has the calls of cuda-python that `kvbm_kernels` makes. Copies happen at once; launches are
written down and do nothing; a millisecond passes between two events.
"""

from __future__ import annotations

import ctypes
from types import SimpleNamespace


class Driver:
    """cuda-python's functions, over host memory. Copies happen at once."""

    def __init__(self) -> None:
        self.memory: dict[int, ctypes.Array] = {}
        self.copies: list[tuple[int, int, int]] = []
        self.version = 12000

    def __getattr__(self, name):
        def function(*arguments):
            made = getattr(self, f"_{name}")(*arguments)
            return (0,) if made is None else (0, made)

        return function

    def _cuMemAlloc(self, size):  # noqa: N802  # the driver's names
        block = (ctypes.c_uint8 * size)()
        self.memory[ctypes.addressof(block)] = block
        return ctypes.addressof(block)

    def _cuMemHostAlloc(self, size, flags):  # noqa: N802
        assert flags == 1  # CU_MEMHOSTALLOC_PORTABLE
        return self._cuMemAlloc(size)

    def _cuMemFree(self, address):  # noqa: N802
        del self.memory[address]

    def _cuMemFreeHost(self, address):  # noqa: N802
        self._cuMemFree(address)

    def _cuMemcpyAsync(self, dst, src, size, stream):  # noqa: N802
        assert stream == Stream.HANDLE
        self.copies.append((dst, src, size))
        ctypes.memmove(dst, src, size)

    def _cuEventCreate(self, flags):  # noqa: N802
        assert flags == 0
        return 1

    def _cuEventRecord(self, event, stream):  # noqa: N802
        assert (event, stream) == (1, Stream.HANDLE)

    def _cuEventSynchronize(self, event):  # noqa: N802
        assert event == 1

    def _cuEventElapsedTime(self, start, end):  # noqa: N802
        assert start == end == 1
        return 1.0

    def _cuEventDestroy(self, event):  # noqa: N802
        assert event == 1

    def _cuDriverGetVersion(self):  # noqa: N802
        return self.version


class Event:
    def __init__(self) -> None:
        self.waits = 0

    def sync(self) -> None:
        self.waits += 1


class Stream:
    HANDLE = 77

    def __init__(self) -> None:
        self.builders: list[Builder] = []
        self.waits = 0

    def __cuda_stream__(self):
        return 0, self.HANDLE

    def record(self, event=None):
        return event or Event()

    def sync(self) -> None:
        self.waits += 1

    def create_graph_builder(self):
        assert self.waits, "nobody waited for what the graph reads"
        self.builders.append(Builder())
        return self.builders[-1]


class Builder:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def begin_building(self):
        self.calls.append("begin")
        return self

    def end_building(self):
        self.calls.append("end")
        return self

    def complete(self):
        self.calls.append("complete")
        return SimpleNamespace(
            launch=lambda _: self.calls.append("launch"),
            close=lambda: self.calls.append("close graph"),
        )

    def close(self):
        self.calls.append("close")


class Core:
    """cuda-python's objects."""

    def __init__(self) -> None:
        self.launches: list[tuple] = []
        self.made_current = 0

    def Device(self, ordinal):  # noqa: N802
        return SimpleNamespace(
            set_current=self._set_current, create_stream=Stream, name=f"fake {ordinal}",
            compute_capability=SimpleNamespace(major=9, minor=0),
            properties=SimpleNamespace(multiprocessor_count=132),
        )  # fmt: skip

    def _set_current(self) -> None:
        self.made_current += 1

    def LaunchConfig(self, grid, block):  # noqa: N802
        return grid, block

    def launch(self, stream, config, kernel, *arguments):
        self.launches.append((stream, config, kernel, arguments))
