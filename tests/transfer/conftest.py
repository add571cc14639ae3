"""What these tests share: places of every kind, and an oracle that is a plain loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kvbm.layout import BoundLayout, Layout
from kvbm.storage import (
    BorrowedStorage,
    DeviceAllocator,
    DiskAllocator,
    DiskCalls,
    DiskStorage,
    PinnedAllocator,
    SystemAllocator,
)

Bytes = NDArray[np.uint8]


def elements(bound: BoundLayout, block: int) -> Iterator[tuple[tuple[int, ...], int, int]]:
    """Give each element's index, its storage and its offset, by the formulas of the layouts."""
    layout, config = bound.layout, bound.config
    width = config.dtype.width
    for layer in range(config.num_layers):
        for outer in range(config.outer_dim):
            storage, start = layout.offset(block, layer, outer)
            start += bound.base_offsets[storage]
            shape, strides = layout.region_shape(layer), layout.region_strides(layer)
            assert strides[-1] == width
            for index in itertools.product(*map(range, shape)):
                offset = sum(i * s for i, s in zip(index, strides, strict=True))
                yield (layer, outer, *index), storage, start + offset


def content(bound: BoundLayout) -> list[Bytes]:
    """Read all bytes of all memories."""
    found = []
    for memory in bound.memories:
        if isinstance(memory, DiskStorage):
            data = np.empty(memory.size, np.uint8)
            memory.read(0, [data], bounce=True)
        else:
            data = memory.array().copy()
        found.append(data)
    return found


def write(bound: BoundLayout, data: list[Bytes]) -> None:
    """Overwrite all bytes of all memories."""
    for memory, each in zip(bound.memories, data, strict=True):
        if isinstance(memory, DiskStorage):
            memory.write(0, [each], bounce=True)
        else:
            memory.array()[:] = each


def copied(
    source: BoundLayout,
    source_ids: Any,
    target: BoundLayout,
    target_ids: Any,
    layers: range | None = None,
    before: list[Bytes] | None = None,
) -> list[Bytes]:
    """Say what the target's memories must hold after a copy: element by element, in Python."""
    here, there = content(source), content(target) if before is None else before
    width = source.config.dtype.width
    for ours, theirs in zip(source_ids, target_ids, strict=True):
        places = {index: (s, at) for index, s, at in elements(target, int(theirs))}
        for index, storage, at in elements(source, int(ours)):
            if layers is None or index[0] in layers:
                other, to = places[index]
                there[other][to : to + width] = here[storage][at : at + width]
    return there


class World:
    """A directory and a stock of memory; everything random comes from one seed."""

    def __init__(self, directory: Path, seed: int = 0) -> None:
        self.directory = directory
        self.random = np.random.default_rng(seed)
        self._storages: list[Any] = []

    def bind(
        self,
        layout: Layout,
        kind: str = "system",
        skew: int = 0,
        calls: DiskCalls | None = None,
        sizes: Sequence[int] = (),
    ) -> BoundLayout:
        """Bind a layout in memory of some kind, filled with noise. Host memory may be skewed."""
        memories = [
            self._memory(kind, size, skew, calls) for size in sizes or layout.required_sizes()
        ]
        bound = layout.bind(memories)
        self.scramble(bound)
        return bound

    def scramble(self, bound: BoundLayout) -> None:
        write(bound, [self.noise(memory.size) for memory in bound.memories])

    def noise(self, size: int) -> Bytes:
        return self.random.integers(0, 256, size, np.uint8)

    def _memory(self, kind: str, size: int, skew: int, calls: DiskCalls | None) -> Any:
        if kind == "skewed":
            whole = np.zeros(size + skew, np.uint8)
            return BorrowedStorage(whole[skew:])
        allocators: dict[str, Any] = {
            "system": SystemAllocator(),
            "pinned": PinnedAllocator(),
            "device": DeviceAllocator.emulated(0),
            "device 1": DeviceAllocator.emulated(1),
            "disk": DiskAllocator(self.directory, calls=calls),
        }
        storage = allocators[kind].allocate(size)
        self._storages.append(storage)
        return storage

    def close(self) -> None:
        for storage in self._storages:
            storage.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def new_world(tmp_path: Path) -> Callable[[int], World]:
    """Make a world; for Hypothesis, which runs one test function many times."""
    return lambda seed: World(tmp_path, seed)


@pytest.fixture
def expected_copy() -> Callable[..., list[Bytes]]:
    return copied


@pytest.fixture
def bytes_of() -> Callable[[BoundLayout], list[Bytes]]:
    return content
