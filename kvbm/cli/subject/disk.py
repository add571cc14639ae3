"""Disk: this package's persistent disk tier, as the suite opens, crashes and opens it again.

What this is
    The adapter between `kvbm_spec.persistence` and a `KvBlockManager` of two tiers: an
    emulated device, through which every block comes and goes, and a disk that outlives it.

Clauses: KV-PER-01, KV-PER-02, KV-PER-04, KV-PER-05
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from kvbm_spec.persistence import DiskCapabilities, Identity
from kvbm_spec.subject import Env, Key

import kvbm.tiering.index
from kvbm.blocks.handles import Block
from kvbm.cli.subject.pool import refusals
from kvbm.config import (
    DiskPersistence,
    KvBlockManagerConfig,
    KvManagerLayoutConfig,
    KvManagerModelConfig,
    KvManagerRuntimeConfig,
)
from kvbm.layout import DType, LayoutType
from kvbm.manager import KvBlockManager
from kvbm.pool import BlockPool
from kvbm.storage import DeviceAllocator
from kvbm.tiering import Outcome

SECONDS: Final = 20.0
_DTYPES: Final = {"float16": DType.FP16, "bfloat16": DType.BF16}


class KvbmDisk:
    """One manager on one folder. See `kvbm_spec.persistence.DiskManager` for the methods."""

    def __init__(self, folder: Path, slots: int, identity: Identity) -> None:
        self._model = KvManagerModelConfig(
            num_layers=2,
            outer_dim=2,
            page_size=identity.block_size,
            inner_dim=128,
            dtype=_DTYPES[identity.dtype],
        )
        kept = DiskPersistence(path=folder, model_revision=identity.model)
        self._manager = KvBlockManager(
            KvBlockManagerConfig(
                runtime=KvManagerRuntimeConfig(worker_id=0),
                model=self._model,
                device_layout=KvManagerLayoutConfig(
                    num_blocks=slots, allocator=DeviceAllocator.emulated()
                ),
                disk_layout=KvManagerLayoutConfig(
                    num_blocks=slots, layout_type=LayoutType[identity.layout], persistence=kept
                ),
                scheme=identity.scheme,
            )
        )

    @property
    def block_bytes(self) -> int:
        """Bytes of a block in all layers: a page."""
        model = self._model
        return model.num_layers * model.outer_dim * model.page_size * model.inner_dim * 2

    def store(self, blocks: Mapping[Key, bytes]) -> None:
        """Register blocks in the device, and wait until they are on the disk."""
        with refusals():
            taken = self._device.allocate_blocks(len(blocks))
            for block, data in zip(taken, blocks.values(), strict=True):
                for view, part in zip(self._views(block), self._parts(data), strict=True):
                    view[:] = part
            staged = [block.stage(key) for block, key in zip(taken, blocks, strict=True)]
            self._device.register_blocks(staged).release()
            self._empty_device()

    def keys(self) -> set[Key]:
        """List the registered blocks of the disk."""
        return {int(key) for key in self._disk._core.registry.entries()}

    def read(self, key: Key) -> bytes | None:
        """Bring a block into the device, and give its bytes."""
        with refusals():
            with self._manager.onboard([key]).wait(SECONDS) as found:
                views = [view for block in found for view in self._views(block)]
                data = b"".join(view.tobytes() for view in views) if views else None
            self._empty_device()
            return data

    def remove(self, keys: Sequence[Key]) -> None:
        """Forget blocks of the disk."""
        with refusals():
            self._disk.reset_blocks(keys)

    def failed(self) -> int:
        """Count offloads that failed, and calls of the index."""
        now = self._manager.statistics()
        offloads = sum(counts[Outcome.FAILED] for counts in now.offloaded.values())
        return offloads + (now.index.failures if now.index is not None else 0)

    def close(self) -> None:
        """Close the manager."""
        self._manager.close()

    def _empty_device(self) -> None:
        """Forget the device's blocks, so that what is read next comes from the disk.

        Whoever takes all blocks has emptied the device, and has waited for those who still
        hold one: an offload, which is asked for by a load, too, and the thread of a copy.
        """
        assert self._manager.settle(SECONDS), "an offload does not end"
        device = self._device
        asyncio.run(device.wait_for_blocks(device.total_blocks(), timeout=SECONDS)).release()

    @property
    def _device(self) -> BlockPool:
        pool = self._manager.device()
        assert pool is not None, "it was configured"
        return pool

    @property
    def _disk(self) -> BlockPool:
        pool = self._manager.disk()
        assert pool is not None, "it was configured"
        return pool

    def _views(self, block: Block) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        """Give the bytes of each layer and outer."""
        model = self._model
        return [
            block.layer_view(layer, outer).bytes().reshape(-1)
            for layer in range(model.num_layers)
            for outer in range(model.outer_dim)
        ]

    def _parts(self, data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        whole = np.frombuffer(data, np.uint8)
        return whole.reshape(self._model.num_layers * self._model.outer_dim, -1)


class Persisting:
    """What makes a subject one that can restart."""

    def disk(self) -> DiskCapabilities:
        """Declare that bytes are synced one by one, and the index when it is closed."""
        return DiskCapabilities(
            promises=("kill", "close"),
            layouts=("FullyContiguous", "LayerSeparate"),
            schemes=("dynamo", "dynamo-v1"),
        )

    def open_disk(self, folder: Path, slots: int, identity: Identity, env: Env) -> KvbmDisk:
        """Open a manager with a disk tier in `folder`."""
        del env
        with refusals(), _quiet():
            return KvbmDisk(folder, slots, identity)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back that a file is not used: here files are spoilt by the hundred."""
    log = logging.getLogger(kvbm.tiering.index.__name__)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
