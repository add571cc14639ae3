"""Where kernels run: the same tests drive Numba's simulator and a GPU.

`test_simulator.py` starts them in a process with the simulator. Anywhere else they need a GPU,
are marked `gpu`, and skip without one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from kvbm_kernels import driver, simulator
from kvbm_kernels.device import SIMULATED
from kvbm_kernels.launch import Gpu
from kvbm_kernels.work import Works
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

GUARD = 64
"""Bytes before and after each buffer that nobody may touch."""


class Machine(Protocol):
    def buffer(self, content: Bytes, offset: int = 0) -> Buffer: ...
    def run(self, works: Works) -> None: ...
    def read(self, address: int, size: int) -> Bytes: ...


class Buffer:
    """Memory where the kernels are, `offset` bytes after a multiple of 16, between guards."""

    def __init__(self, machine: Machine, address: int, size: int) -> None:
        self.address, self.size, self._machine = address, size, machine

    def rows(self, size: int) -> NDArray[np.uint64]:
        """The addresses of consecutive pieces of `size` bytes."""
        return np.arange(self.address, self.address + self.size, size, dtype=np.uint64)

    def read(self) -> Bytes:
        """The content. The guards are as they were."""
        found = self._machine.read(self.address - GUARD, self.size + 2 * GUARD)
        inside = found[GUARD : GUARD + self.size]
        assert (found[:GUARD] == 0xA5).all(), "bytes before the buffer were written"
        assert (found[GUARD + self.size :] == 0xA5).all(), "bytes after the buffer were written"
        return inside


def framed(content: Bytes) -> Bytes:
    guard = np.full(GUARD, 0xA5, np.uint8)
    return np.concatenate([guard, content.view(np.uint8).ravel(), guard])


class Simulated:
    """Host memory and Numba's simulator."""

    def buffer(self, content: Bytes, offset: int = 0) -> Buffer:
        frame = framed(content)
        memory = np.empty(frame.size + 32, np.uint8)
        start = -memory.ctypes.data % 16 + offset
        memory[start : start + frame.size] = frame
        made = Buffer(self, memory.ctypes.data + start + GUARD, frame.size - 2 * GUARD)
        made.memory = memory  # type: ignore[attr-defined]  # lives as long as the buffer
        return made

    def run(self, works: Works) -> None:
        simulator.run(works)

    def read(self, address: int, size: int) -> Bytes:
        return np.frombuffer(ctypes.string_at(address, size), np.uint8)


class OnGpu:
    """Device memory; each buffer lives as long as the test session, which is small."""

    def __init__(self) -> None:
        self.gpu = Gpu()
        self.stream = self.gpu.stream()
        self._arena, self._size, self._used = driver.device_memory(1 << 28), 1 << 28, 0

    def buffer(self, content: Bytes, offset: int = 0) -> Buffer:
        frame = framed(content)
        if self._used + frame.size + 32 > self._size:
            self._used = 0  # tests run one after the other; the oldest buffers are long done
        address = self._arena + self._used + offset
        self._used += -(-(frame.size + 32) // 16) * 16
        driver.call("cuMemcpyHtoD", address, frame.ctypes.data, frame.size)
        return Buffer(self, address + GUARD, frame.size - 2 * GUARD)

    def run(self, works: Works) -> None:
        self.gpu.run(works, self.stream)
        self.stream.sync()

    def read(self, address: int, size: int) -> Bytes:
        found = np.empty(size, np.uint8)
        driver.call("cuMemcpyDtoH", found.ctypes.data, address, size)
        return found


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    if SIMULATED:
        yield Simulated()
    elif why := driver.missing():
        pytest.skip(f"no GPU: {why}")
    else:
        yield OnGpu()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not SIMULATED:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.gpu)
