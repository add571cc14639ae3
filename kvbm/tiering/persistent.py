"""A disk tier that outlives its process: its files, its index, and the order between them.

What this is
    Three things happen to a block on its way into a file, and their order is all there is:

        slot emptied in the index ── bytes written ── bytes safe ── pool and index know it

    The pool tells its changes within its lock, and this is a sink of them: so a slot is
    emptied in the index before anybody can get it, and a block is in the index before anybody
    can find it. The mover that `restore` gives ends a copy into the tier only when the bytes
    are safe.

Interface, as rules of use
    * Make it, bind the layout to its `storages`, make the pool with this among the sinks
      of its changes, then restore() once, before anything moves; move with its mover.
    * What was there before is registered and inactive then. Its checksum is compared with
      every load, so what is no longer true is a miss, and is forgotten.
    * close() after the pool. The storages are the caller's to close.

Clauses: KV-PER-01, KV-PER-02, KV-PER-04, KV-PER-05, KV-PER-06, KV-PER-07, KV-INT-03, KV-INT-04
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import astuple
from pathlib import Path
from typing import Any, final

from kvbm.config import DiskPersistence
from kvbm.identity import scheme as scheme_named
from kvbm.layout import Layout
from kvbm.pool import Change, ChangeKind, ChangeSink
from kvbm.storage import DiskStorage
from kvbm.storage.pages import up_to_page
from kvbm.tiering.index import BlockIndex, IndexStatistics
from kvbm.tiering.mover import EngineMover
from kvbm.tiering.records import KeptBlock
from kvbm.tiering.tier import Copy, Mover, Tier


@final
class PersistentDisk(ChangeSink):
    """Files and index of a disk tier.

    Raises
    ------
    AllocationFailed
        There is no room, or another process has the files. Nothing is left open.
    """

    def __init__(self, config: DiskPersistence, layout: Layout, scheme: str) -> None:
        self._sync = config.sync
        self._tier: Tier | None = None
        self._mover: EngineMover | None = None
        self._changes = 0
        self.storages: list[DiskStorage] = []
        try:
            for number, size in enumerate(layout.required_sizes()):
                _cut(config.blocks(number), size)
                self.storages.append(config.allocator(number).allocate(size))
        except BaseException:
            for storage in self.storages:
                storage.close()
            raise
        # From here on the locks on the files are ours, and so is the index.
        self._index = BlockIndex(
            config.index,
            identity_of(layout, scheme, config.model_revision),
            bits=scheme_named(scheme).bits,
            slots=layout.config.num_blocks,
            empty=not all(storage.existed for storage in self.storages),
        )

    def restore(self, tier: Tier, mover: EngineMover) -> Mover:
        """Register what was there before; give the mover for all copies from now on.

        Complexity: O(blocks). Clauses: KV-PER-02, KV-INT-03
        """
        blocks = self._index.blocks()
        columns = zip(*(block[:-1] for block in blocks), strict=True) if blocks else [()] * 5
        tier.pool.restore(*columns)
        for block in blocks:
            mover.keep(tier, block.slot, block.checksum)
        self._tier, self._mover = tier, mover  # from now on the pool says what is new
        return SafeMover(mover, tier, self.storages if self._sync else ())

    @property
    def next_number(self) -> int:
        """See ChangeSink."""
        return self._changes

    def append(self, change: Change) -> None:
        """Write down what the pool has just changed. See ChangeSink."""
        self._changes += 1
        if self._tier is None or self._mover is None:
            return
        if change.kind is ChangeKind.REMOVED:
            self._index.remove(change.sequence_hashes)
            return
        columns = zip(
            self._tier.pool.locate(change.sequence_hashes),
            change.sequence_hashes,
            change.parent_sequence_hashes,
            change.positions,
            change.priorities,
            strict=True,
        )
        blocks = []
        for slot, name, parent, position, priority in columns:
            # A block that was not copied here has no checksum: it cannot be told from garbage.
            checksum = self._mover.known(self._tier, slot)
            if checksum is not None:
                blocks.append(KeptBlock(slot, name, parent, position, priority, checksum))
        self._index.store(blocks)

    def deliver(self) -> None:
        """See ChangeSink. There is nobody to tell."""

    def statistics(self) -> IndexStatistics:
        """Copy the few numbers that are worth watching."""
        return self._index.statistics()

    def close(self) -> None:
        """Let go of the index. Idempotent."""
        self._index.close()


@final
class SafeMover:
    """A mover that lets no block into, or out of, `tier` before it is known to be good.

    * Into it: the outcome waits until the bytes are safe from a crash of the machine.
    * Out of it, layer by layer: a checksum is that of a whole block. So the block comes as a
      whole, once, and every layer waits for it.

    Parameters
    ----------
    storages
        Those of the tier; empty where nobody needs to wait.
    """

    def __init__(self, mover: Mover, tier: Tier, storages: Sequence[DiskStorage]) -> None:
        self._mover = mover
        self._tier = tier
        self._storages = storages
        self._whole: dict[tuple[str, tuple[int, ...]], Copy] = {}  # by target, to its last layer
        self._lock = threading.Lock()

    def move(
        self,
        source: Tier,
        source_ids: Sequence[int],
        target: Tier,
        target_ids: Sequence[int],
        layers: range | None = None,
    ) -> Copy:
        """See Mover."""
        if layers is None or source is not self._tier:
            copy = self._mover.move(source, source_ids, target, target_ids, layers)
            return _Safe(copy, self._storages) if target is self._tier else copy
        # The targets are held until the copy has ended, so they name it.
        key = target.name, tuple(target_ids)
        with self._lock:
            whole = self._whole.pop(key, None)
            if whole is None or layers.start == 0:
                whole = self._mover.move(source, source_ids, target, target_ids)
            if layers.stop < source.place.config.num_layers:
                self._whole[key] = whole
            return whole


@final
class _Safe:
    """A copy to a disk whose outcome is good only if the disk says that the bytes are safe."""

    def __init__(self, copy: Copy, storages: Sequence[DiskStorage]) -> None:
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()
        # Later than the outcome here, too: that of the copy comes first, and brings ours.
        self.finished = copy.finished
        self._storages = storages
        copy.future.add_done_callback(self._arrived)

    def _arrived(self, future: Future[Any]) -> None:
        try:
            result = future.result()  # raises, too, where the copy was cancelled
            for storage in self._storages:
                storage.fdatasync()
        except BaseException as error:  # noqa: BLE001  whatever it is, it is the outcome
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


def identity_of(layout: Layout, scheme: str, model_revision: str) -> dict[str, object]:
    """Say all that must be equal for the bytes in a slot to mean the same. KV-PER-04

    The number of blocks may differ, as long as each block stays in its place.
    """
    descriptor = json.loads(layout.descriptor())
    config = descriptor["config"]
    del config["num_blocks"]
    rows = json.dumps([astuple(row) for row in layout.rows])
    return {
        "model_revision": model_revision,
        "scheme": scheme,
        "checksum": "xxh3-128",
        "layout": descriptor["kind"],
        "layout_version": descriptor["version"],
        **config,
        "details": descriptor["details"],
        "places": hashlib.sha256(rows.encode()).hexdigest(),
    }


def _cut(path: Path, size: int) -> None:
    """Cut a file of ours that is longer than this tier, whose last blocks then are no more."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # it is not there, or who opens it in earnest says why not
    try:
        now = os.fstat(descriptor)
        if stat.S_ISREG(now.st_mode) and now.st_size > up_to_page(size):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, up_to_page(size))
    except BlockingIOError:
        pass  # another process has it, which who opens it in earnest says
    finally:
        os.close(descriptor)
