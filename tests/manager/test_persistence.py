"""A disk tier that outlives its process: restarts, kill -9, and files that others spoil.

Run as a program, this file is the process that is killed.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest

from kvbm.config import (
    DiskPersistence,
    KvBlockManagerConfig,
    KvManagerLayoutConfig,
    KvManagerModelConfig,
    KvManagerRuntimeConfig,
    OffloadConfig,
    from_toml,
)
from kvbm.errors import AllocationFailed, DiskIoFailed, InvalidConfig
from kvbm.layout import BlockOrder, DType, LayoutType
from kvbm.manager import KvBlockManager
from kvbm.pool import ChangeKind
from kvbm.storage import DeviceAllocator, DiskAllocator, DiskStorage
from kvbm.tiering import Outcome, persistent
from kvbm.tiering.index import BlockIndex, IndexCalls
from kvbm.transfer import Transfer

SHAPE = {"num_layers": 2, "outer_dim": 2, "page_size": 4, "inner_dim": 64, "dtype": DType.FP32}
"""4,096 bytes a block."""


def manager(path, *, disk=8, device=4, layout=LayoutType.FullyContiguous, shape=(), **options):
    scheme = options.pop("scheme", "dynamo")
    alignment = options.pop("alignment", 1)
    offload = OffloadConfig(**options.pop("offload", {}))
    return KvBlockManager(
        KvBlockManagerConfig(
            runtime=KvManagerRuntimeConfig(worker_id=0),
            model=KvManagerModelConfig(**SHAPE | dict(shape)),
            device_layout=KvManagerLayoutConfig(
                num_blocks=device, allocator=DeviceAllocator.emulated()
            ),
            disk_layout=KvManagerLayoutConfig(
                num_blocks=disk,
                layout_type=layout,
                alignment=alignment,
                persistence=DiskPersistence(path=path, **options),
            ),
            scheme=scheme,
            offload=offload,
        )
    )


def content(name):
    """Give the bytes of a block, which nothing but its name decides."""
    seed = name if isinstance(name, int) else int.from_bytes(name[:8], "big")
    return np.random.default_rng(seed).integers(0, 255, (2, 2, 4, 64)).astype(np.float32)


def store(made, names, parent=None, position=0, priority=0):
    """Put blocks into the device tier, from where they go to the disk."""
    blocks = made.device().allocate_blocks(len(names))
    for block, name in zip(blocks, names, strict=True):
        for layer, outer in itertools.product(range(2), range(2)):
            view = block.layer_view(layer, outer).numpy()
            view[:] = content(name)[layer, outer].reshape(view.shape)
    blocks.set_priority(priority)
    blocks.stage(names, parent=parent, position=position)
    made.device().register_blocks(blocks).release()


def settled(made, names, **options):
    store(made, names, **options)
    assert made.settle(20)


def on_disk(made, names):
    return [name for name, there in zip(names, made.disk().contains(names), strict=True) if there]


def loaded(made, names, *, layer_wise=False):
    """Bring blocks back one by one; assert that each has its own bytes; give which came."""
    came = []
    for name in names:
        made.device().reset_blocks([name])
        with made.onboard([name], layer_wise=layer_wise).wait(20) as found:
            for block in found:
                for layer, outer in itertools.product(range(2), range(2)):
                    seen = block.layer_view(layer, outer).numpy()
                    written = content(name)[layer, outer].reshape(seen.shape)
                    assert (seen == written).all(), f"wrong bytes for {name}"
                came.append(name)
    return came


def spoil(file, offset):
    with file.open("r+b") as opened:
        opened.seek(offset)
        byte = opened.read(1)
        opened.seek(offset)
        opened.write(bytes([byte[0] ^ 1]))


def slot_of(made, name):
    return made.disk().locate([name])[0]


# ── restarts ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-PER-02", "KV-PER-03", "KV-EVT-02")
def test_blocks_are_there_again_with_all_that_they_are(tmp_path):
    with manager(tmp_path) as made:
        settled(made, [1, 2, 3], parent=77, position=5, priority=9)
    for _ in range(2):
        with manager(tmp_path) as made:
            (told,) = [item.change for item in made.events.reader(0).read()]
            assert (told.kind, told.tier) == (ChangeKind.STORED, "disk")
            assert dict(zip(told.sequence_hashes, told.parent_sequence_hashes, strict=True)) == {
                1: 77,
                2: 1,
                3: 2,
            }
            assert sorted(told.positions) == [5, 6, 7]
            assert set(told.priorities) == {9}
            assert made.disk().status().inactive_blocks == 3
            assert made.statistics().index.recovered == 3
            with made.onboard([1, 2, 3, 4]).wait(20) as found:
                assert found.sequence_hashes() == [1, 2, 3]
            assert loaded(made, [1, 2, 3, 4]) == [1, 2, 3]
            made.disk()._check()


@pytest.mark.clause("KV-PER-02")
def test_blocks_go_in_the_order_in_which_they_came(tmp_path):
    with manager(tmp_path) as made:
        for name in (5, 3, 4):
            settled(made, [name])
    with manager(tmp_path) as made:
        assert made.disk().eviction_order() == [5, 3, 4]
        for name in range(10, 16):
            settled(made, [name])
        assert on_disk(made, [5, 3, 4]) == [3, 4]
    with manager(tmp_path) as made:
        assert made.disk().eviction_order() == [3, 4, 10, 11, 12, 13, 14, 15]
        assert loaded(made, [5, 3, 4, 15]) == [3, 4, 15]


@pytest.mark.parametrize(
    ("layout", "alignment", "files"),
    [
        (LayoutType.FullyContiguous, 4096, 1),
        (LayoutType.LayerSeparate, 1, 2),
        (LayoutType.LayerSeparate(outer_contiguous=True), 512, 2),
    ],
)
def test_any_layout_survives_with_a_file_for_each_storage(tmp_path, layout, alignment, files):
    with manager(tmp_path, layout=layout, alignment=alignment) as made:
        settled(made, [1, 2, 3])
    assert len(list(tmp_path.glob("kvbm-disk-cache.blocks*"))) == files
    with manager(tmp_path, layout=layout, alignment=alignment) as made:
        assert loaded(made, [1, 2, 3]) == [1, 2, 3]


@pytest.mark.parametrize(
    ("scheme", "names"),
    [("lineage", [2**127, 2**64 + 5]), ("sha256", [b"\x01" + b"\x00" * 31, bytes(range(32))])],
)
def test_long_hashes_survive_whole(tmp_path, scheme, names):
    with manager(tmp_path, scheme=scheme) as made:
        settled(made, names)
    with manager(tmp_path, scheme=scheme) as made:
        assert loaded(made, names) == names


def test_write_back_survives_too(tmp_path):
    with manager(tmp_path, device=2, offload={"mode": "write_back"}) as made:
        store(made, [1, 2])
        store(made, [3, 4])
    with manager(tmp_path, device=2, offload={"mode": "write_back"}) as made:
        assert loaded(made, [1, 2, 3]) == [1, 2]


def test_what_was_removed_stays_away(tmp_path):
    with manager(tmp_path) as made:
        settled(made, [1, 2, 3])
        made.disk().reset_blocks([2])
    with manager(tmp_path) as made:
        assert on_disk(made, [1, 2, 3]) == [1, 3]
        made.disk().reset()
    with manager(tmp_path) as made:
        assert on_disk(made, [1, 2, 3]) == []


def test_a_block_that_nobody_checked_is_not_kept(tmp_path):
    """Written into the tier by hand: there is no checksum to tell it from garbage."""
    with manager(tmp_path) as made:
        blocks = made.disk().allocate_blocks(1)
        blocks.stage([1])
        made.disk().register_blocks(blocks).release()
    with manager(tmp_path) as made:
        assert on_disk(made, [1]) == []


@pytest.mark.clause("KV-SHD-01", "KV-SHD-03")
def test_closing_leaves_two_files_and_no_descriptor(tmp_path):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    manager(tmp_path).close()
    before = descriptors()
    made = manager(tmp_path)
    settled(made, [1])
    made.close()
    made.close()
    assert descriptors() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "kvbm-disk-cache.blocks",
        "kvbm-disk-cache.index",
    ]


# ── processes that die ────────────────────────────────────────────────────────────────────


def work(path, first):
    """Store blocks for ever; say each name when it has landed."""
    made = manager(path, device=3, disk=6)
    for name in itertools.count(first):
        store(made, [name])
        if name % 3 == 0:
            made.settle()
            landed = range(max(first, name - 2), name + 1)
            sys.stdout.write(" ".join(map(str, landed)) + "\n")
            sys.stdout.flush()


@pytest.mark.clause("KV-PER-02", "KV-PER-03", "KV-INT-03")
def test_a_process_killed_at_any_moment_leaves_true_blocks_only(tmp_path):
    chance = np.random.default_rng(5)
    first, survivors = 1, 0
    for _ in range(5):
        program = [sys.executable, __file__, str(tmp_path), str(first)]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            said = [int(name) for name in process.stdout.readline().split()]
            time.sleep(chance.random() * 0.15)
            process.send_signal(signal.SIGKILL)
            said += [int(name) for line in process.stdout for name in line.split()]
        last = said[-1]
        with manager(tmp_path, device=3, disk=6) as made:
            names = range(1, last + 10)
            there = on_disk(made, names)
            # Of the six slots three at most were on their way to others.
            assert {last, last - 1, last - 2} & set(there), "what was complete is lost"
            assert loaded(made, there) == there, "each has the bytes of its checksum"
            assert made.disk().available_blocks() == 6
            survivors += len(there)
        first = last + 10
    assert survivors >= 8


@pytest.mark.clause("KV-PER-07")
def test_two_processes_do_not_share_a_cache(tmp_path):
    with manager(tmp_path) as made:
        settled(made, [1])
        program = [sys.executable, __file__, str(tmp_path), "100"]
        other = subprocess.run(program, capture_output=True, text=True, check=False)  # noqa: S603
        assert other.returncode != 0
        assert "is in use by another storage" in other.stderr
        with pytest.raises(AllocationFailed, match="in use"):
            manager(tmp_path)
        with pytest.raises(AllocationFailed, match="in use"):
            manager(tmp_path, disk=2)
        assert (tmp_path / "kvbm-disk-cache.blocks").stat().st_size == 8 * 4096, "nor cut it"
        assert loaded(made, [1]) == [1]
    with manager(tmp_path) as made:
        assert loaded(made, [1]) == [1]


@pytest.mark.clause("KV-SHD-03")
def test_a_cache_that_cannot_be_opened_whole_is_let_go(tmp_path):
    (tmp_path / "kvbm-disk-cache.blocks.1").mkdir()
    with pytest.raises(AllocationFailed) as error:
        manager(tmp_path, layout=LayoutType.LayerSeparate)
    manager(tmp_path).close()  # the first file is free, though the error still knows it
    assert error.value


# ── identity ──────────────────────────────────────────────────────────────────────────────

OTHERS = {
    "model_revision": {"model_revision": "other"},
    "scheme": {"scheme": "dynamo-v1"},
    "layout": {"layout": LayoutType.LayerSeparate},
    "alignment": {"alignment": 4096},
    "dtype": {"shape": {"dtype": DType.FP16}},
    "num_layers": {"shape": {"num_layers": 1, "outer_dim": 2, "inner_dim": 128}},
    "outer_dim": {"shape": {"outer_dim": 1, "inner_dim": 128}},
    "page_size": {"shape": {"page_size": 8, "inner_dim": 32}},
    "inner_dim": {"shape": {"inner_dim": 32}},
    "num_heads": {"shape": {"num_heads": 4}},
    "order": {"shape": {"num_heads": 4, "order": BlockOrder.HND}},
}


@pytest.mark.clause("KV-PER-04")
@pytest.mark.parametrize("field", OTHERS)
def test_blocks_of_anything_else_are_not_used(tmp_path, field, caplog):
    base = {"shape": {"num_heads": 4, "order": BlockOrder.NHD}} if field == "order" else {}
    with manager(tmp_path, **base) as made:
        settled(made, [1, 2])
    with caplog.at_level(logging.WARNING), manager(tmp_path, **OTHERS[field]) as made:
        assert on_disk(made, [1, 2]) == []
        assert made.statistics().index.recovered == 0
    assert f"is not used: its {field} is" in caplog.text
    with manager(tmp_path, **base) as made:
        assert on_disk(made, [1, 2]) == [], "and they are gone for good"


def test_every_field_of_the_identity_is_compared():
    layout = manager_layout()
    identity = persistent.identity_of(layout, "dynamo", "")
    # The format's version and what follows from the fields above it are tested with the index.
    assert set(identity) - set(OTHERS) == {"checksum", "layout_version", "details", "places"}
    assert "num_blocks" not in identity


def manager_layout():
    tier = KvManagerLayoutConfig(num_blocks=2, allocator=DeviceAllocator.emulated())
    return tier.layout(KvManagerModelConfig(**SHAPE))


@pytest.mark.clause("KV-PER-04")
def test_a_layout_that_moves_its_blocks_when_it_grows_is_another_layout(tmp_path):
    layout = LayoutType.LayerSeparate(outer_contiguous=True)
    with manager(tmp_path, layout=layout) as made:
        settled(made, [1, 2])
    with manager(tmp_path, layout=layout, disk=9) as made:
        assert on_disk(made, [1, 2]) == []
        settled(made, [3])
    with manager(tmp_path, layout=layout, disk=9) as made:
        assert loaded(made, [1, 2, 3]) == [3]


# ── capacity ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-PER-07", "KV-CAP-01")
def test_a_smaller_tier_keeps_what_fits_and_a_larger_one_everything(tmp_path):
    names = [1, 2, 3, 4]
    with manager(tmp_path) as made:
        for name in names:
            settled(made, [name])
        slots = {name: slot_of(made, name) for name in names}
    with manager(tmp_path, disk=2) as made:
        fit = [name for name in names if slots[name] < 2]
        assert 0 < len(fit) < 4
        assert loaded(made, names) == fit
        assert made.disk().total_blocks() == 2
        size = (tmp_path / "kvbm-disk-cache.blocks").stat().st_size
        assert size == 2 * 4096
        settled(made, [5])
    with manager(tmp_path, disk=32) as made:
        there = on_disk(made, [*names, 5])
        assert 5 in there
        assert set(there) <= {*fit, 5}
        assert loaded(made, [*names, 5]) == there


# ── files that others spoil ───────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-INT-03", "KV-INT-04", "KV-PER-06")
@pytest.mark.parametrize("layer_wise", [False, True])
def test_a_flipped_bit_is_a_miss_an_event_and_no_more(tmp_path, layer_wise):
    with manager(tmp_path) as made:
        settled(made, [1])
        settled(made, [2])
        offset = slot_of(made, 1) * 4096 + 4000  # in the last layer
    spoil(tmp_path / "kvbm-disk-cache.blocks", offset)
    with manager(tmp_path) as made:
        assert on_disk(made, [1, 2]) == [1, 2], "nobody has looked yet"
        assert loaded(made, [1, 2], layer_wise=layer_wise) == [2]
        assert on_disk(made, [1, 2]) == [2]
        removed = [
            (item.change.tier, *item.change.sequence_hashes)
            for item in made.events.reader(0).read()
            if item.change.kind is ChangeKind.REMOVED
        ]
        assert ("disk", 1) in removed
        settled(made, [1])
        assert loaded(made, [1, 2], layer_wise=layer_wise) == [1, 2]
    with manager(tmp_path) as made:
        assert loaded(made, [1, 2]) == [1, 2]


@pytest.mark.clause("KV-TIR-10", "KV-INT-03")
def test_layers_of_a_block_from_before_come_checked_and_once(tmp_path):
    with manager(tmp_path) as made:
        settled(made, [1, 2])
    with manager(tmp_path) as made:
        onboarding = made.onboard([1, 2], layer_wise=True)
        for layer in range(2):
            onboarding.wait_for_layer(layer, 20)
        with onboarding.wait(20) as found:
            assert len(found) == 2
        assert made._onboarder._mover._whole == {}, "nothing of it stays"
        assert made.statistics().transfers.completed == 1


@pytest.mark.clause("KV-INT-03", "KV-PER-06")
def test_blocks_that_changed_places_are_misses(tmp_path):
    with manager(tmp_path) as made:
        settled(made, [1, 2])
        one, other = slot_of(made, 1), slot_of(made, 2)
    file = tmp_path / "kvbm-disk-cache.blocks"
    with file.open("r+b") as opened:
        whole = bytearray(opened.read())
        blocks = [bytes(whole[slot * 4096 : (slot + 1) * 4096]) for slot in (one, other)]
        whole[other * 4096 : (other + 1) * 4096], whole[one * 4096 : (one + 1) * 4096] = blocks
        opened.seek(0)
        opened.write(whole)
    with manager(tmp_path) as made:
        assert loaded(made, [1, 2]) == []


def foreign(file):
    file.write_bytes(b"\x5a" * (1 << 20))


def truncated(file):
    os.truncate(file, file.stat().st_size // 3)


@pytest.mark.clause("KV-PER-06")
@pytest.mark.parametrize("name", ["blocks", "index"])
@pytest.mark.parametrize("harm", [Path.unlink, foreign, truncated])
def test_files_that_are_deleted_cut_or_foreign_are_misses(tmp_path, name, harm):
    with manager(tmp_path) as made:
        settled(made, [1, 2, 3])
    harm(tmp_path / f"kvbm-disk-cache.{name}")
    with manager(tmp_path) as made:
        loaded(made, [1, 2, 3])
        made.device().reset()
        settled(made, [1, 2, 3])
        assert loaded(made, [1, 2, 3]) == [1, 2, 3]
    with manager(tmp_path) as made:
        assert loaded(made, [1, 2, 3]) == [1, 2, 3]


def test_a_deleted_file_is_no_hit_even_before_it_is_read(tmp_path):
    with manager(tmp_path) as made:
        settled(made, [1])
    (tmp_path / "kvbm-disk-cache.blocks").unlink()
    with manager(tmp_path) as made:
        assert on_disk(made, [1]) == []


# ── disks that fail ───────────────────────────────────────────────────────────────────────


@pytest.mark.clause("KV-PER-01", "KV-TIR-05")
def test_a_block_cannot_be_found_before_it_is_safe(tmp_path, monkeypatch):
    reached, go_on = threading.Event(), threading.Event()
    real = DiskStorage.fdatasync

    def slow(storage):
        reached.set()
        assert go_on.wait(20)
        real(storage)

    monkeypatch.setattr(DiskStorage, "fdatasync", slow)
    with manager(tmp_path) as made:
        store(made, [1])
        assert reached.wait(20)
        assert on_disk(made, [1]) == []
        assert made.statistics().index.blocks == 0
        go_on.set()
        assert made.settle(20)
        assert on_disk(made, [1]) == [1]
        assert made.statistics().index.blocks == 1
    monkeypatch.setattr(DiskStorage, "fdatasync", lambda _: pytest.fail("nobody asked for it"))
    with manager(tmp_path, sync=False) as made:
        settled(made, [2])
        assert on_disk(made, [1, 2]) == [1, 2]


@pytest.mark.clause("KV-PER-05")
def test_a_disk_that_does_not_sync_fails_the_offload_and_nothing_else(tmp_path, monkeypatch):
    def refuse(_):
        raise DiskIoFailed(5, "fdatasync", 0, 0, 0)

    with manager(tmp_path) as made:
        with monkeypatch.context() as broken:
            broken.setattr(DiskStorage, "fdatasync", refuse)
            settled(made, [1])
        assert made.statistics().offloaded["device to disk"][Outcome.FAILED] == 1
        assert on_disk(made, [1]) == []
        settled(made, [2])
    with manager(tmp_path) as made:
        assert loaded(made, [1, 2]) == [2]


@pytest.mark.clause("KV-SHD-04")
def test_a_copy_that_was_cancelled_tells_so():
    copy = Transfer(0, "a copy")
    safe = persistent._Safe(copy, ())
    copy.cancel()
    assert isinstance(safe.future.exception(0), CancelledError)


@pytest.mark.clause("KV-PER-05")
@pytest.mark.parametrize("refused", ["write", "fsync", "rename"])
def test_an_index_that_cannot_be_written_costs_the_next_process_and_not_this_one(
    tmp_path, monkeypatch, refused
):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    def full(*arguments, **options):
        return BlockIndex(*arguments, calls=IndexCalls(**{refused: refuse}), **options)

    with monkeypatch.context() as broken:
        broken.setattr(persistent, "BlockIndex", full)
        with manager(tmp_path) as made:
            settled(made, [1, 2])
            assert loaded(made, [1, 2]) == [1, 2]
            assert made.statistics().index.failures >= 1
            assert made.statistics().index.lost == 2
    with manager(tmp_path) as made:
        assert on_disk(made, [1, 2]) == []
        settled(made, [1])


# ── configuration ─────────────────────────────────────────────────────────────────────────


def test_a_file_of_settings_can_ask_for_it(tmp_path):
    text = f"""
        [runtime]
        worker_id = 0
        [model]
        num_layers = 2
        outer_dim = 2
        page_size = 4
        inner_dim = 64
        dtype = "FP32"
        [disk]
        num_blocks = 4
        path = "{tmp_path}"
        """
    options = "persistent = true\nmodel_revision = 'm@1'\nsync = false\nfile_name = 'cache'"
    disk = from_toml(text + options).disk_layout
    assert disk.allocator is None
    assert disk.persistence == DiskPersistence(
        path=str(tmp_path), model_revision="m@1", sync=False, file_name="cache"
    )
    assert isinstance(from_toml(text).disk_layout.allocator, DiskAllocator)
    assert from_toml(text + "persistent = false").disk_layout.persistence is None
    with pytest.raises(InvalidConfig, match="model_revision"):
        from_toml(text + "model_revision = 'm@1'")


@pytest.mark.clause("KV-ISO-06")
@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc/passwd", "../up", 7])
def test_a_file_name_is_no_path(tmp_path, name):
    with pytest.raises(InvalidConfig, match="file_name"):
        DiskPersistence(path=tmp_path, file_name=name)


def test_what_cannot_be_is_refused(tmp_path):
    kept = DiskPersistence(path=tmp_path)
    with pytest.raises(InvalidConfig, match="path"):
        DiskPersistence(path=tmp_path / "missing")
    with pytest.raises(InvalidConfig, match="model_revision"):
        DiskPersistence(path=tmp_path, model_revision="x" * 2000)
    with pytest.raises(InvalidConfig, match="persistence"):
        KvManagerLayoutConfig(num_blocks=1, allocator=DiskAllocator(tmp_path), persistence=kept)
    tier = KvManagerLayoutConfig(num_blocks=1, persistence=kept)
    whole = {
        "runtime": KvManagerRuntimeConfig(worker_id=0),
        "model": KvManagerModelConfig(**SHAPE),
    }
    with pytest.raises(InvalidConfig, match=r"host_layout\.persistence"):
        KvBlockManagerConfig(**whole, host_layout=tier)
    with pytest.raises(InvalidConfig, match="verify_tokens"):
        KvBlockManagerConfig(**whole, disk_layout=tier, verify_tokens=True)


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]))
