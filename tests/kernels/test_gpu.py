"""What only a GPU shows: streams, graphs, pinned memory, batches, and addresses far apart.

That each kernel does what its twin does is tested in `on_device`, in the simulator and here.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from kvbm_kernels import driver
from kvbm_kernels.catalogue import FAST, NARROW
from kvbm_kernels.copying import copy_blocks
from kvbm_kernels.dispatch import Method, Rule, Way
from kvbm_kernels.filling import NONE_WRONG, fill_pattern, fill_words, verify_pattern
from kvbm_kernels.launch import Gpu
from kvbm_kernels.pattern import pattern
from kvbm_kernels.permuting import block_from_universal, universal_from_block
from kvbm_kernels.regions import Regions
from kvbm_kernels.rows import BlockShape, Order
from kvbm_kernels.tables import SLOTS
from kvbm_kernels.work import Work

pytestmark = pytest.mark.gpu

MIB = 2**20


@pytest.fixture(scope="module")
def gpu():
    if why := driver.missing():
        pytest.skip(f"no GPU: {why}")
    return Gpu()


@pytest.fixture
def memory(gpu):
    """Allocate on the device, or pinned; all is freed in the end."""
    gpu.stream().sync()
    freed = []

    def allocate(size: int, *, pinned: bool = False) -> int:
        address = driver.pinned_memory(size) if pinned else driver.device_memory(size)
        freed.append((driver.free_pinned_memory if pinned else driver.free_device_memory, address))
        return address

    yield allocate
    for free, address in freed:
        free(address)


def host(address: int, size: int) -> np.ndarray:
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))


def rows(base: int, count: int, size: int) -> np.ndarray:
    return np.uint64(base) + np.uint64(size) * np.arange(count, dtype=np.uint64)


def wrong_bytes(gpu, memory, regions: Regions, size: int, keys: np.ndarray) -> list[int]:
    """The first wrong byte of each region, by the kernel that finds it."""
    results, stream = memory(8 * len(regions)), gpu.stream()
    zeros = np.zeros(len(regions), np.uint64)
    gpu.run(verify_pattern(results, regions, size, keys, zeros, zeros), stream)
    stream.sync()
    found = np.empty(len(regions), np.uint64)
    driver.call("cuMemcpyDtoH", found.ctypes.data, results, found.nbytes)
    return [int(each) for each in found]


@pytest.mark.parametrize(
    ("count", "size", "method"),
    [(4, MIB, Method.BATCH), (64, 32 * 1024, Method.BATCH), (64, 4096, Method.KERNEL)],
)
def test_bytes_go_to_the_device_and_back_by_the_chosen_method(
    gpu, memory, count, size, method
) -> None:
    out, home = memory(count * size, pinned=True), memory(count * size, pinned=True)
    there, keys, stream = memory(count * size), np.arange(count, dtype=np.uint64), gpu.stream()
    order = np.random.default_rng(0).permutation(count)
    for key in range(count):
        host(out + key * size, size)[:] = pattern(size, key, 0, 0)
    host(home, count * size)[:] = 0
    scattered = Regions.at(rows(there, count, size)[order])
    source, target = Regions.at(rows(out, count, size)), Regions.at(rows(home, count, size))
    assert gpu.copy(Way.HOST_TO_DEVICE, scattered, source, size, stream) is method
    assert gpu.copy(Way.DEVICE_TO_HOST, target, scattered, size, stream) is method
    event = stream.record()
    event.sync()
    assert event.is_done
    assert wrong_bytes(gpu, memory, scattered, size, keys) == [NONE_WRONG] * count
    assert np.array_equal(host(home, count * size), host(out, count * size))


@pytest.mark.parametrize("rule", [Rule(few=1), Rule(few=10**6)])
def test_ragged_copies_inside_the_device_agree_whoever_makes_them(memory, rule) -> None:
    gpu = Gpu(rule=rule)
    sizes = np.array([1, 0, 16, 4097, 100_003, 31])
    starts = np.array([0, 8, 16, 48, 4160, 104_200])
    src, dst, stream = memory(MIB), memory(MIB), gpu.stream()
    gpu.run(fill_pattern(Regions.at([src]), MIB, [1], [0], [0]), stream)
    gpu.run(fill_words(Regions.at([dst]), MIB, 0), stream)
    tables = Regions.at(dst + starts), Regions.at(src + starts)
    gpu.copy(Way.INSIDE_DEVICE, *tables, sizes, stream)
    stream.sync()
    found = np.empty(MIB, np.uint8)
    driver.call("cuMemcpyDtoH", found.ctypes.data, dst, MIB)
    want, source = np.zeros(MIB, np.uint8), pattern(MIB, 1, 0, 0)
    for start, size in zip(starts, sizes, strict=True):
        want[start : start + size] = source[start : start + size]
    assert np.array_equal(found, want)


def test_a_recording_is_replayed_on_what_the_memory_then_holds(gpu, memory) -> None:
    src, dst, stream = memory(MIB), memory(MIB), gpu.stream()
    recording = gpu.record(copy_blocks(Regions.at([dst]), Regions.at([src]), MIB))
    for key in (5, 6):
        gpu.run(fill_pattern(Regions.at([src]), MIB, [key], [0], [0]), stream)
        recording.replay(stream)
        stream.sync()
        assert wrong_bytes(gpu, memory, Regions.at([dst]), MIB, np.array([key])) == [NONE_WRONG]
    recording.close()


def test_tables_of_many_launches_under_way_are_not_mixed_up(gpu, memory) -> None:
    """More launches than slots, each with a table of its own, and no waiting in between."""
    count, size, stream = 4 * SLOTS, 64 * 1024, gpu.stream()
    base = memory(count * size)
    for key, address in enumerate(rows(base, count, size)):
        gpu.run(fill_pattern(Regions.at([address]), size, [key], [0], [0]), stream)
    stream.sync()
    regions = Regions.at(rows(base, count, size))
    assert wrong_bytes(gpu, memory, regions, size, np.arange(count)) == [NONE_WRONG] * count


def test_regions_more_than_four_gigabytes_apart_are_reached(gpu, memory) -> None:
    stride = 5 << 30
    free, _ = driver.bindings().cuMemGetInfo()[1:]
    if free < 2 * stride:
        pytest.skip(f"{free >> 30} GiB of device memory are free; this needs 10")
    base, stream = memory(stride + MIB), gpu.stream()
    regions, keys = Regions.at([base], parts=2, stride=stride), np.array([7, 8])
    gpu.run(fill_pattern(regions, MIB, keys, [0, 0], [0, 0]), stream)
    stream.sync()
    assert wrong_bytes(gpu, memory, regions, MIB, keys) == [NONE_WRONG] * 2


def test_blocks_of_llama_become_universal_in_host_memory_and_come_back(gpu, memory) -> None:
    """A change of layout over the bus, at the shape that matters."""
    shape = BlockShape(layers=80, outer=2, tokens=16, heads=8, row=256)
    planes, stream = shape.layers * shape.outer, gpu.stream()
    pages, back, universal = (
        memory(shape.block),
        memory(shape.block),
        memory(shape.block, pinned=True),
    )
    keys, zeros = np.arange(planes), np.zeros(planes, np.uint64)
    source, target = rows(pages, planes, shape.region), rows(back, planes, shape.region)
    gpu.run(fill_pattern(Regions.at(source), shape.region, keys, zeros, zeros), stream)
    few = gpu.blocks(Way.DEVICE_TO_HOST)
    gpu.run(universal_from_block([universal], source, shape, Order.NHD, blocks=few), stream)
    gpu.run(block_from_universal(target, [universal], shape, Order.NHD, blocks=few), stream)
    stream.sync()
    regions = Regions.at(target)
    assert wrong_bytes(gpu, memory, regions, shape.region, keys) == [NONE_WRONG] * planes
    read = host(universal, shape.block).reshape(8, planes, 16, 256)
    page = pattern(shape.region, 3, 0, 0).reshape(16, 8, 256)  # of plane 3
    assert np.array_equal(read[:, 3], page.swapaxes(0, 1))


def test_every_kernel_loads_on_this_device(gpu) -> None:
    gpu.prepare(tuple(Work(kernel, (), (), 1) for kernel in FAST + NARROW))
