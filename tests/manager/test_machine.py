"""A real manager on real memory and a real file, whose disk fails as the test says.

Bytes follow from hashes, so every hit can be checked without a record. All copies have ended
after each step, so a failing run can be repeated.
"""

from __future__ import annotations

import errno
import os
import tempfile

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from kvbm.config import (
    KvBlockManagerConfig,
    KvManagerLayoutConfig,
    KvManagerModelConfig,
    KvManagerRuntimeConfig,
    OffloadConfig,
)
from kvbm.errors import NotEnoughBlocksAvailable
from kvbm.layout import LayoutType
from kvbm.manager import KvBlockManager
from kvbm.storage import DeviceAllocator, DiskAllocator, DiskCalls, PinnedAllocator
from kvbm.tiering import Outcome

NAMES = st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True)
FAULTS = ("none", "none", "none", "EIO", "ENOSPC", "short")
MODEL = KvManagerModelConfig(num_layers=2, outer_dim=2, page_size=4, inner_dim=128)
PATIENCE = 20


class Disk:
    """The calls of a disk, which go wrong while `fault` says so."""

    def __init__(self) -> None:
        self.fault = "none"

    def calls(self) -> DiskCalls:
        return DiskCalls(read=self._guarded(os.preadv), write=self._guarded(os.pwritev))

    def _guarded(self, call):
        def run(fd, buffers, offset):
            if self.fault == "short":
                return call(fd, buffers, offset) // 2
            if self.fault != "none":
                raise OSError(getattr(errno, self.fault), "injected")
            return call(fd, buffers, offset)

        return run


class Managed(RuleBasedStateMachine):
    reached: dict[object, int]

    @initialize(
        mode=st.sampled_from(["write_through", "write_back"]),
        kind=st.sampled_from([LayoutType.FullyContiguous, LayoutType.Paged]),
        hosts=st.sampled_from([0, 3]),
        checksums=st.booleans(),
    )
    def begin(self, mode, kind, hosts, checksums):
        self.disk = Disk()
        self.folder = tempfile.TemporaryDirectory()
        disk = DiskAllocator(self.folder.name, calls=self.disk.calls())
        host = KvManagerLayoutConfig(num_blocks=3, allocator=PinnedAllocator(), layout_type=kind)
        self.manager = KvBlockManager(
            KvBlockManagerConfig(
                runtime=KvManagerRuntimeConfig(worker_id=0),
                model=MODEL,
                device_layout=KvManagerLayoutConfig(
                    num_blocks=4, allocator=DeviceAllocator.emulated()
                ),
                host_layout=host if hosts else None,
                disk_layout=KvManagerLayoutConfig(num_blocks=6, allocator=disk),
                offload=OffloadConfig(mode=mode, checksums=checksums),
            )
        )
        self.device = self.manager.device()
        self.held = []

    @rule(names=NAMES, keep=st.booleans())
    def store(self, names, keep):
        try:
            blocks = self.device.allocate_blocks(len(names))
        except NotEnoughBlocksAvailable:
            return
        for block, name in zip(blocks, names, strict=True):
            for index, layer in enumerate(block.block_view()):
                layer.numpy()[:] = 10 * name + index
        blocks.stage(names)
        registered = self.device.register_blocks(blocks)
        if keep:
            self.held.append(registered)
        else:
            registered.release()
        self.settle()

    @rule(names=NAMES, layer_wise=st.booleans())
    def onboard(self, names, layer_wise):
        with self.manager.onboard(names, layer_wise=layer_wise).wait(PATIENCE) as found:
            for block, name in zip(found, names, strict=False):
                for index, layer in enumerate(block.block_view()):
                    assert (layer.numpy() == 10 * name + index).all(), f"wrong bytes for {name}"
            self.reached["hits"] += len(found)
        self.settle()

    @rule()
    def forget_what_is_in_memory(self):
        for pool in (self.device, self.manager.host()):
            if pool is not None:
                pool.reset_blocks(list(range(6)))

    @rule(data=st.data())
    def let_go(self, data):
        if self.held:
            self.held.pop(data.draw(st.integers(0, len(self.held) - 1))).release()

    @rule(fault=st.sampled_from(FAULTS))
    def the_disk_changes(self, fault):
        self.disk.fault = fault

    @invariant()
    def the_pools_are_sound(self):
        for pool in (self.device, self.manager.host(), self.manager.disk()):
            if pool is not None:
                pool._check()

    def settle(self):
        assert self.manager.settle(PATIENCE), "copies do not end"

    def teardown(self):
        self.disk.fault = "none"
        for blocks in self.held:
            blocks.release()
        self.settle()
        for ended in self.manager.statistics().offloaded.values():
            for outcome, count in ended.items():
                self.reached[outcome] += count
        self.manager.close()
        self.folder.cleanup()


@pytest.mark.clause(
    "KV-TIR-01", "KV-TIR-05", "KV-TIR-06", "KV-TIR-08", "KV-INT-01", "KV-INT-03", "KV-INT-04",
    "KV-PER-05", "KV-CAP-10",
)  # fmt: skip
def test_no_fault_of_the_disk_serves_a_wrong_byte_or_stops_the_manager():
    reached = dict.fromkeys([*Outcome, "hits"], 0)
    machine = type("Machine", (Managed,), {"reached": reached})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, database=None
        ),
    )
    for needed in ("hits", Outcome.COMPLETED, Outcome.FAILED, Outcome.FILTERED):
        assert reached[needed], f"the search never came to {needed}: {reached}"
