"""Restart: another identity, a disk that fails, and capacity, from one opening to the next.

What this is
    Blocks are stored and closed, and the folder is opened as something else, or with fewer
    slots; or the disk fails while they are stored.

Interface, as rules of use
    * A format of another version cannot be made from outside; spoiled files stand for it.

Clauses: KV-PER-04, KV-PER-05, KV-PER-07, KV-ISO-06
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from kvbm_spec.persistence import Identity
from kvbm_spec.recorder import Recorder, image_on, put_image
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.disks import SLOTS, capabilities, identity, opened, scratch, stored

IDENTITY: Final = "KV-PER-04"
FULL: Final = "KV-PER-05"
CAPACITY: Final = "KV-PER-07"
UNTRUSTED: Final = "KV-ISO-06"


def another_identity_is_not_used(script: Script) -> None:
    """Open what one model has left as another one, and again as the first."""
    image = stored(script)
    for other in _others(script):
        with scratch() as folder:
            put_image(image, folder)
            with opened(script, folder, named=other) as disk:
                found = disk.keys()
                script.expect(IDENTITY, not found, f"{sorted(found)} of another identity are hits")
                for key in range(SLOTS):
                    came = disk.read(key, IDENTITY)
                    script.expect(IDENTITY, not came, f"K{key} of another identity was loaded")
                disk.store([5])
                script.expect(IDENTITY, disk.read(5, IDENTITY), "K5 cannot be stored any more")
            with opened(script, folder) as disk:
                came = disk.read(5, IDENTITY)
                script.expect(IDENTITY, not came, "K5 of another identity was loaded")
                disk.read_all(range(SLOTS), IDENTITY)
        script.reached("opened as another")


def a_disk_that_fails_is_survived(script: Script) -> None:
    """Let writes, syncs or renames fail while blocks are stored, one or all; then heal."""
    for kind, code, times in (
        *(("write", errno.ENOSPC, math.inf), ("write", errno.EIO, 1)),
        *(("sync", errno.EIO, math.inf), ("sync", errno.EIO, 1)),
        *(("name", errno.EACCES, math.inf), ("read", errno.EIO, math.inf)),
    ):
        with scratch() as folder:
            _fail(script, folder, kind, code, times)


def _fail(script: Script, folder: Path, kind: str, code: int, times: float) -> None:
    with Recorder(folder) as recorder, opened(script, folder) as disk:
        disk.store([0])
        before = disk.failed()
        recorder.fail(kind, code, times)
        often = "each" if times > 1 else "the next"
        script.say(f"{often} {kind} fails with {errno.errorcode[code]}")
        if kind == "read":
            disk.read(0, FULL)
        else:
            disk.store([1])
        recorder.heal()
        script.say("no call fails any more")
        if recorder.failed:
            script.reached(f"a {kind} failed")
            # A read that fails is a miss, and not every subject counts those.
            told = disk.failed() > before or kind == "read"
            script.expect(FULL, told, "the disk failed, and failed() does not count it")
        disk.read_all({0, 1}, FULL)
        disk.store([2])
        script.expect(FULL, disk.read(2, FULL), "K2 cannot be stored after the disk had failed")
    with opened(script, folder) as disk:
        disk.read_all(range(3), FULL)
        disk.store([3])
        script.expect(FULL, disk.read(3, FULL), "K3 cannot be stored after the disk had failed")


def a_name_leads_nowhere(script: Script) -> None:
    """Open a cache of a model whose name is a path to elsewhere."""
    with scratch() as outer:
        folder = outer / "cache"
        folder.mkdir()
        with opened(script, folder, named=identity(script, model="../evil@1")) as disk:
            disk.store([0])
            disk.read(0, UNTRUSTED)
        beside = sorted(path.name for path in outer.iterdir())
        script.expect(UNTRUSTED, beside == ["cache"], f"the model's name led to {beside}")
    script.reached("opened with a path as name")


def capacity_holds_across_restarts(script: Script) -> None:
    """Fill a cache and open it again, with other blocks each time; then with fewer slots."""
    with scratch() as folder:
        limit: int | None = None
        for first in (0, 2, 4, 6):
            with opened(script, folder) as disk:
                _expect_few(script, disk.keys(), SLOTS)
                disk.store([first, first + 1])
                _expect_few(script, disk.keys(), SLOTS)
                size = SLOTS * disk.manager.block_bytes
            used = sum(map(len, image_on(folder).values()))
            # Some take their room at once and some as they go, but nobody needs it twice.
            limit = used + size if limit is None else limit
            script.expect(CAPACITY, used <= limit, f"{used} bytes are used, of at most {limit}")
        with opened(script, folder, slots=1) as disk:
            script.reached("opened smaller")
            _expect_few(script, disk.keys(), 1)
            disk.read_all(disk.keys(), CAPACITY)
            disk.store([8])
            _expect_few(script, disk.keys(), 1)


# ── steps ─────────────────────────────────────────────────────────────────────────────────


def _others(script: Script) -> Iterator[Identity]:
    yield identity(script, model="a-model@2")
    yield identity(script, dtype="bfloat16")
    yield identity(script, block_size=8)
    able = capabilities(script)
    for layout in able.layouts[1:2]:
        yield identity(script, layout=layout)
    for scheme in able.schemes[1:2]:
        yield identity(script, scheme=scheme)


def _expect_few(script: Script, keys: set[int], slots: int) -> None:
    script.expect(CAPACITY, len(keys) <= slots, f"{len(keys)} blocks are in {slots} slots")


TRIALS: Final[tuple[Trial, ...]] = tuple(
    Scene(play.__name__.replace("_", " "), (clause,), "restart", play)
    for clause, play in (
        (IDENTITY, another_identity_is_not_used),
        (FULL, a_disk_that_fails_is_survived),
        (CAPACITY, capacity_holds_across_restarts),
        (UNTRUSTED, a_name_leads_nowhere),
    )
)

CHECKS: Final[Mapping[str, Check]] = {
    IDENTITY: Check(("opened as another",), "restart"),
    FULL: Check(("a write failed",), "restart"),
    CAPACITY: Check(("opened smaller",), "restart"),
}
