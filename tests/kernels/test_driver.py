"""The way to a GPU, against the driver of `host_driver.py`.

It shows that our side keeps the driver's rules: who waits for what, which table lies where, what a
batch looks like in memory. It shows nothing about a real driver; the tests marked `gpu` do.
"""

from __future__ import annotations

import ctypes
import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
from host_driver import Stream
from hypothesis import given
from hypothesis import strategies as st
from kvbm_kernels import batch, driver, launch
from kvbm_kernels.batch import Attributes, batched, copy_batch, one_by_one
from kvbm_kernels.copying import copy_blocks
from kvbm_kernels.dispatch import Method, Rule, Way, joined
from kvbm_kernels.filling import zero_blocks
from kvbm_kernels.launch import Gpu
from kvbm_kernels.regions import Regions
from kvbm_kernels.tables import ALIGNMENT, SMALLEST, Slot, Tables, fill


def words(address: int, count: int) -> list[int]:
    return list((ctypes.c_uint64 * count).from_address(address))


# ── tables ────────────────────────────────────────────────────────────────────────────────


def test_tables_lie_one_behind_the_other_on_the_device(fake) -> None:
    slot = Slot()
    one, two = np.arange(3, dtype=np.uint64), np.arange(10, 14, dtype=np.uint64)
    addresses = fill(slot, [one, two], Stream())
    assert [words(addresses[0], 3), words(addresses[1], 4)] == [one.tolist(), two.tolist()]
    assert all(each % ALIGNMENT == slot.device % ALIGNMENT for each in addresses)
    assert fake.copies == [(slot.device, slot.pinned, 32 + 32)]


def test_a_slot_grows_and_gives_back_what_it_had(fake) -> None:
    slot, table = Slot(), np.zeros(SMALLEST // 8 + 1, np.uint64)
    fill(slot, [table[:1]], Stream())
    assert slot.size == SMALLEST
    fill(slot, [table], Stream())
    assert slot.size == 2 * SMALLEST
    assert len(fake.memory) == 2
    slot.close()
    slot.close()
    assert not fake.memory


def test_a_slot_is_used_again_only_after_its_last_launch(fake) -> None:
    tables, stream = Tables(slots=2), Stream()
    table = [np.ones(1, np.uint64)]
    events = []
    for _ in range(3):
        _, slot = tables.put(table, stream)
        tables.done(slot, stream)
        events.append(slot.event)
    assert events[0] is events[2] is not events[1]
    assert [event.waits for event in events[:2]] == [1, 0]
    tables.close()
    assert not fake.memory


def test_memory_of_a_slot_that_was_refused_half_is_given_back(fake, monkeypatch) -> None:
    def refused(size):
        raise driver.CudaError(f"no {size} bytes")

    monkeypatch.setattr(driver, "device_memory", refused)
    slot = Slot()
    with pytest.raises(driver.CudaError):
        fill(slot, [np.ones(1, np.uint64)], Stream())
    assert len(fake.memory) == 1
    slot.close()
    assert not fake.memory


def test_no_tables_need_no_memory(fake) -> None:
    assert fill(Slot(), [], Stream()) == []
    assert not fake.memory


# ── batches ───────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 3), max_size=5), st.booleans())
def test_a_batch_reaches_the_driver_as_its_header_says(copies, fail_index) -> None:
    seen = []

    def entry(*arguments):
        dst, src, sizes, count, attributes, first, kinds = arguments[:7]
        seen.extend(zip(*(words(each, count) for each in (dst, src, sizes)), strict=True))
        assert list((ctypes.c_int * 6).from_address(attributes)) == [1, 0, 0, 0, 0, 0]
        assert (words(first, 1), kinds, arguments[-1]) == ([0], 1, Stream.HANDLE)
        assert len(arguments) == 8 + fail_index
        return 0

    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    kinds = [pointer, pointer, pointer, size, pointer, pointer, size, *[pointer] * (1 + fail_index)]
    function = ctypes.CFUNCTYPE(ctypes.c_int, *kinds)(entry)
    address = ctypes.cast(function, ctypes.c_void_p).value
    columns = np.array(copies, np.uint64).reshape(-1, 3)
    batched(address, fail_index=fail_index)(*np.ascontiguousarray(columns.T), Stream())
    assert seen == copies


def test_a_batch_that_the_driver_refuses_is_an_error() -> None:
    function = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 700)
    address = ctypes.cast(function, ctypes.c_void_p).value
    one = np.ones(1, np.uint64)
    with pytest.raises(driver.CudaError, match="CUDA error 700"):
        batched(address, fail_index=False)(one, one, one, Stream())


def test_the_attributes_lie_as_the_bindings_have_them() -> None:
    if importlib.util.find_spec("cuda") is None:
        pytest.skip("cuda-python is not installed")
    theirs = driver.bindings()
    attributes, here, there = (
        theirs.CUmemcpyAttributes(), theirs.CUmemLocation(), theirs.CUmemLocation()
    )  # fmt: skip
    here.type, here.id = theirs.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE, 5
    there.type, there.id = theirs.CUmemLocationType.CU_MEM_LOCATION_TYPE_HOST, 9
    attributes.srcAccessOrder = theirs.CUmemcpySrcAccessOrder.CU_MEMCPY_SRC_ACCESS_ORDER_STREAM
    attributes.srcLocHint, attributes.dstLocHint, attributes.flags = here, there, 7
    ours = Attributes.from_address(attributes.getPtr())
    assert [getattr(ours, name) for name, _ in Attributes._fields_] == [1, 1, 5, 2, 9, 7]


@pytest.mark.parametrize("version", [12000, 13000])
def test_a_driver_without_batches_copies_one_by_one(fake, monkeypatch, version) -> None:
    monkeypatch.setattr(driver, "entry_point", lambda *_: 0)
    fake.version = version
    source, target = np.arange(8, dtype=np.uint64), np.zeros(8, np.uint64)
    at, to = source.ctypes.data, target.ctypes.data
    arrays = [np.array(each, np.uint64) for each in ([to, to + 16], [at + 8, at], [8, 0])]
    copy_batch(*arrays, Stream())
    assert fake.copies == [(to, at + 8, 8)]
    assert target[0] == 1


@pytest.mark.parametrize(
    ("version", "asked", "fail_index"),
    [(12080, 12080, True), (12090, 12080, True), (13000, 13000, False), (13010, 13000, False)],
)
def test_the_form_of_a_batch_follows_the_version_of_the_driver(
    fake, monkeypatch, version, asked, fail_index
) -> None:
    seen = []
    monkeypatch.setattr(driver, "entry_point", lambda *given: seen.append(given) or 4096)
    monkeypatch.setattr(
        batch, "batched", lambda at, *, fail_index: lambda *_: seen.append((at, fail_index))
    )
    fake.version = version
    one = np.ones(1, np.uint64)
    copy_batch(one, one, one, Stream())
    assert seen == [("cuMemcpyBatchAsync", asked), (4096, fail_index)]


@pytest.mark.parametrize(
    "wrong", [np.zeros(2, np.uint64), np.zeros(3, np.int64), np.zeros(6, np.uint64)[::2]]
)
def test_arrays_that_do_not_fit_each_other_are_refused(wrong) -> None:
    right = np.zeros(3, np.uint64)
    with pytest.raises(ValueError, match="equally long"):
        copy_batch(right, wrong, right, Stream())


# ── dispatch ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("way", "copies", "smallest", "method"),
    [
        (Way.INSIDE_DEVICE, 15, 1 << 20, Method.BATCH),
        (Way.INSIDE_DEVICE, 16, 1 << 20, Method.KERNEL),
        (Way.HOST_TO_DEVICE, 15, 1, Method.BATCH),
        (Way.HOST_TO_DEVICE, 16, 28 * 1024, Method.BATCH),
        (Way.HOST_TO_DEVICE, 16, 28 * 1024 - 1, Method.KERNEL),
        (Way.DEVICE_TO_HOST, 16, 28 * 1024, Method.BATCH),
        (Way.DEVICE_TO_HOST, 4096, 4096, Method.KERNEL),
    ],
)
def test_the_rule_is_the_documented_one(way, copies, smallest, method) -> None:
    assert Rule().method(way, copies, smallest) is method


def test_the_rule_can_be_tuned() -> None:
    eager = Rule(few=1, chunk=1 << 30, bus_blocks=4, blocks_per_multiprocessor=2)
    assert eager.method(Way.HOST_TO_DEVICE, 1, 1 << 20) is Method.KERNEL
    assert eager.blocks(Way.HOST_TO_DEVICE, 132) == 4
    assert eager.blocks(Way.INSIDE_DEVICE, 132) == 264
    with pytest.raises(ValueError, match="few = 0: must be at least 1"):
        Rule(few=0)


@given(st.integers(1, 4), st.integers(1, 4), st.booleans(), st.booleans())
def test_joining_keeps_every_byte(dst_parts, src_parts, dst_gap, src_gap) -> None:
    bases = Regions.at([1 << 20, 1 << 21], dst_parts, 64 + dst_gap)
    others = Regions.at([1 << 30, 1 << 31], src_parts, 64 + src_gap)
    dst, src, size = joined(bases, others, 64)

    def pairs(to, at, each):
        return {
            (target + n, source + n)
            for target, source in zip(
                to.addresses().tolist(), at.addresses().tolist(), strict=False
            )
            for n in range(each)
        }

    assert pairs(dst, src, size) == pairs(bases, others, 64)
    if dst_parts == src_parts and not dst_gap and not src_gap:
        assert len(dst) == 2


# ── launches ──────────────────────────────────────────────────────────────────────────────


def test_a_launch_passes_typed_scalars_and_the_addresses_of_its_tables(core) -> None:
    gpu, stream = Gpu(), Stream()
    assert (gpu.name, gpu.capability, gpu.multiprocessors) == ("fake 0", (9, 0), 132)
    works = zero_blocks(Regions.at([4096, 8192]), 128) + copy_blocks(
        Regions.at([1 << 20]), Regions.at([1 << 21]), 64
    )
    gpu.run(works, stream)
    assert [kernel for _, _, kernel, _ in core.launches] == ["kernel it"] * 2
    for work, (_, config, _, arguments) in zip(works, core.launches, strict=True):
        assert config[0] == work.blocks
        assert [each.dtype.name for each in arguments] == list(work.kernel.parameters)
        count = len(work.tables)
        assert [int(each) for each in arguments[count:]] == list(work.numbers)
        for address, table in zip(arguments[:count], work.tables, strict=True):
            assert words(int(address), table.size) == table.tolist()
    gpu.close()


def test_no_work_is_no_launch(core, fake) -> None:
    Gpu().run((), Stream())
    assert not core.launches
    assert not fake.memory


@pytest.mark.usefixtures("core")
def test_a_kernel_is_compiled_once(monkeypatch) -> None:
    made = []
    code = SimpleNamespace(get_kernel=lambda name: name)
    monkeypatch.setattr(launch, "to_cubin", lambda kernel, _: made.append(kernel) or code)
    gpu = Gpu()
    for size in (128, 256):
        gpu.run(zero_blocks(Regions.at([4096]), size), Stream())
    assert len(made) == 1


def refuse(*_):
    raise driver.CudaError("cuLaunchKernel: CUDA_ERROR_INVALID_VALUE")


def test_the_slot_of_a_launch_that_fails_is_waited_for(core, monkeypatch) -> None:
    """An earlier launch of the same works may read its tables."""
    gpu, stream = Gpu(), Stream()
    done = []
    monkeypatch.setattr(gpu._tables, "done", lambda slot, stream: done.append((slot.size, stream)))
    core.launch = refuse
    with pytest.raises(driver.CudaError):
        gpu.run(zero_blocks(Regions.at([4096]), 128), stream)
    assert done == [(SMALLEST, stream)]


def test_a_recording_that_fails_keeps_no_memory(core, fake, monkeypatch) -> None:
    gpu, stream = Gpu(), Stream()
    monkeypatch.setattr(gpu, "stream", lambda: stream)
    core.launch = refuse
    with pytest.raises(driver.CudaError):
        gpu.record(zero_blocks(Regions.at([4096]), 128))
    assert not fake.memory
    assert stream.builders[0].calls == ["begin", "close"]


def test_the_device_is_current_whatever_another_library_did(core) -> None:
    gpu, stream = Gpu(), Stream()
    works = zero_blocks(Regions.at([4096]), 128)
    recording = gpu.record(works)
    for call in (
        gpu.stream,
        lambda: gpu.prepare(works),
        lambda: gpu.run(works, stream),
        lambda: recording.replay(stream),
        recording.close,
        gpu.close,
    ):
        before = core.made_current
        call()
        assert core.made_current > before


@pytest.mark.parametrize("count", [2, 40])
def test_a_plain_copy_goes_as_the_rule_says(core, count) -> None:
    source, target = np.arange(count * 8, dtype=np.uint64), np.zeros(count * 8, np.uint64)
    rows = 64 * np.arange(count, dtype=np.uint64)
    dst = Regions.at(np.uint64(target.ctypes.data) + rows)
    src = Regions.at(np.uint64(source.ctypes.data) + rows)
    method = Gpu().copy(Way.HOST_TO_DEVICE, dst, src, 64, Stream())
    if count < Rule().few:
        assert method is Method.BATCH
        assert np.array_equal(target, source)
    else:
        assert method is Method.KERNEL
        assert core.launches[0][1][0] <= Rule().bus_blocks


@pytest.mark.usefixtures("core")
def test_copies_are_joined_before_the_rule_counts_them(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(Rule, "method", lambda _, *given: asked.append(given) or Method.KERNEL)
    tables = Regions.at([4096], parts=4, stride=64), Regions.at([1 << 20], parts=4, stride=64)
    Gpu().copy(Way.HOST_TO_DEVICE, *tables, 64, Stream())
    assert asked == [(Way.HOST_TO_DEVICE, 1, 256)]


@pytest.mark.usefixtures("core")
def test_copies_of_no_bytes_do_not_count_in_the_rule(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(Rule, "method", lambda _, *given: asked.append(given) or Method.KERNEL)
    tables = Regions.at([4096, 8192, 9999]), Regions.at([1 << 20, 1 << 21, 1 << 22])
    Gpu().copy(Way.HOST_TO_DEVICE, *tables, [64, 0, 32], Stream())
    assert asked == [(Way.HOST_TO_DEVICE, 2, 32)]


@pytest.mark.usefixtures("core")
def test_ragged_copies_leave_out_those_of_no_bytes() -> None:
    source, target = np.arange(8, dtype=np.uint64), np.zeros(8, np.uint64)
    at, to = source.ctypes.data, target.ctypes.data
    tables = Regions.at([to, to + 32]), Regions.at([at + 8, at + 16])
    assert Gpu().copy(Way.DEVICE_TO_HOST, *tables, [8, 0], Stream()) is Method.BATCH
    assert target.tolist() == [1, *[0] * 7]
    assert Gpu().copy(Way.DEVICE_TO_HOST, *tables, 0, Stream()) is None


def test_a_recording_has_tables_of_its_own_and_gives_them_back(core, fake) -> None:
    gpu, stream = Gpu(), Stream()
    works = zero_blocks(Regions.at([4096]), 128)
    recording = gpu.record(works)
    (builder,) = {launched[0] for launched in core.launches}
    assert builder.calls == ["begin", "end", "complete", "close"]
    recording.replay(stream)
    recording.replay(stream)
    assert builder.calls[4:] == ["launch", "launch"]
    assert len(fake.memory) == 2
    recording.close()
    assert builder.calls[6:] == ["close graph"]
    assert not fake.memory


# ── errors ────────────────────────────────────────────────────────────────────────────────


def test_an_error_names_the_call(monkeypatch) -> None:
    class Refused:
        name = "CUDA_ERROR_OUT_OF_MEMORY"

        def __int__(self) -> int:
            return 2

    refusing = SimpleNamespace(cuMemAlloc=lambda _: (Refused(), None))
    monkeypatch.setattr(driver, "bindings", lambda: refusing)
    with pytest.raises(driver.CudaError, match="cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY"):
        driver.device_memory(1)


def test_a_machine_without_a_gpu_is_told_what_is_missing(monkeypatch) -> None:
    monkeypatch.setattr(driver, "missing", lambda: "the driver sees no device")
    with pytest.raises(RuntimeError, match="no GPU: the driver sees no device"):
        Gpu()


def test_what_is_missing_is_said_in_one_line(monkeypatch) -> None:
    def absent():
        raise ImportError("No module named 'cuda'")

    def broken(_):
        raise RuntimeError("libcuda.so.1 is not there\nand more")

    def with_driver(**functions):
        return lambda: SimpleNamespace(**functions)

    started = {"cuInit": lambda _: (0,)}
    monkeypatch.setattr(driver, "WHY_NOT", "")
    for bindings, why in (
        (absent, "cuda-python is not installed: No module named 'cuda'"),
        (with_driver(cuInit=broken), "libcuda.so.1 is not there"),
        (with_driver(**started, cuDeviceGetCount=lambda: (0, 0)), "the driver sees no device"),
        (with_driver(**started, cuDeviceGetCount=lambda: (0, 2)), ""),
    ):
        monkeypatch.setattr(driver, "bindings", bindings)
        assert driver.missing() == why
    monkeypatch.setattr(driver, "WHY_NOT", "install the extra cuda13")
    assert driver.missing() == "install the extra cuda13"


@pytest.mark.usefixtures("fake")
def test_one_by_one_skips_nothing_but_empty_copies() -> None:
    source, target = np.arange(4, dtype=np.uint64), np.zeros(4, np.uint64)
    offsets = 8 * np.arange(4, dtype=np.uint64)
    to, at = np.uint64(target.ctypes.data) + offsets, np.uint64(source.ctypes.data) + offsets
    one_by_one(to, at, np.array([8, 0, 8, 8], np.uint64), Stream())
    assert target.tolist() == [0, 0, 2, 3]
