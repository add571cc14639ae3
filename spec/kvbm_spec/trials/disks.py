"""Disks: steps of the scenes that open a subject on a folder, and on what is left of it.

What this is
    Folders that are gone when the scene ends, bytes that follow from a key, and a manager
    whose calls are written down in a script.

Interface, as rules of use
    * `with scratch() as folder:` for each scene.
    * `opened` gives a `Disk`; its `read` breaks `wrong` unless it gives the key's own bytes
      or a miss. Whatever is raised breaks the script's clause.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from kvbm_spec.blame import Verdict
from kvbm_spec.disk import Image
from kvbm_spec.explore import Failure
from kvbm_spec.persistence import DiskCapabilities, DiskManager, Identity, Persistent
from kvbm_spec.recorder import image_on
from kvbm_spec.subject import Env, Key
from kvbm_spec.trial import Broken, Program, Script

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
SLOTS: Final = 2

_Item = TypeVar("_Item")


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder, in memory where there is such a place, and remove it."""
    place = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="kvbm-spec-", dir=place) as folder:
        yield Path(folder)


def content(key: Key, size: int) -> bytes:
    """Give the bytes that the suite stores under a key. No two of their sectors are equal."""
    return hashlib.shake_128(b"block %d" % key).digest(size)


def persistent(script: Script) -> Persistent:
    """Give the subject as what it is asked as."""
    assert isinstance(script.subject, Persistent), "asked only of subjects that can restart"
    return script.subject


def capabilities(script: Script) -> DiskCapabilities:
    """Give what the subject declares."""
    return persistent(script).disk()


def identity(script: Script, **other: str | int) -> Identity:
    """Give an identity of the subject's defaults but for `other`."""
    able = capabilities(script)
    named: dict[str, str | int] = {"layout": able.layouts[0], "scheme": able.schemes[0]}
    return Identity(**named | other)  # type: ignore[arg-type]  # mypy knows no keyword types


class Disk:
    """A manager on a folder, and what is done to it, written down."""

    def __init__(self, script: Script, manager: DiskManager) -> None:
        self._script = script
        self.manager = manager

    def store(self, keys: Iterable[Key]) -> None:
        """Store blocks of these keys, together."""
        blocks = {key: content(key, self.manager.block_bytes) for key in keys}
        self._script.call(f"store({_names(blocks)})", self.manager.store, blocks)

    def remove(self, keys: Iterable[Key]) -> None:
        """Forget keys."""
        named = list(keys)
        self._script.call(f"remove({_names(named)})", self.manager.remove, named)

    def keys(self) -> set[Key]:
        """Ask what a match would find."""
        return set(self._script.call("keys()", self.manager.keys))

    def read(self, key: Key, wrong: str) -> bool:
        """Load one block; tell whether it came."""
        loaded: list[bytes | None] = []
        size = self.manager.block_bytes

        def load() -> str:
            loaded.append(self.manager.read(key))
            return _told(loaded[0], key, size)

        told = self._script.call(f"read(K{key})", load)
        right = loaded[0] in (None, content(key, size))
        self._script.expect(wrong, right, f"read(K{key}) gave {told}")
        return loaded[0] is not None

    def read_all(self, keys: Iterable[Key], wrong: str) -> set[Key]:
        """Load blocks one by one; give the keys of those that came."""
        return {key for key in sorted(keys) if self.read(key, wrong)}

    def failed(self) -> int:
        """Ask how many blocks were skipped."""
        return int(self._script.call("failed()", self.manager.failed))

    def close(self) -> None:
        """Close it."""
        self._script.call("close()", self.manager.close)


def open_disk(
    script: Script, folder: Path, slots: int = SLOTS, named: Identity | None = None
) -> Disk:
    """Open the subject on a folder; whoever calls closes it."""
    named = named or identity(script)
    text = f"open_disk({slots} slots)"
    if named != identity(script):
        text = f"open_disk({slots} slots, {named})"
    manager = script.call(text, persistent(script).open_disk, folder, slots, named, Env())
    return Disk(script, manager)


def stored(script: Script) -> Image:
    """Give the files of a cache in which the first keys were stored, as many as fit."""
    with scratch() as folder:
        with opened(script, folder) as disk:
            disk.store(range(SLOTS))
        return image_on(folder)


def evenly(items: Sequence[_Item], count: int) -> list[_Item]:
    """Choose at most `count` items, as far apart as possible, the last one among them."""
    count = min(count, len(items))
    return [items[(index + 1) * len(items) // count - 1] for index in range(count)]


def failure(script: Script, broken: Exception, trial: str, program: Program) -> Failure:
    """Give what ended a scene as a failure; a refusal breaks the script's clause."""
    if isinstance(broken, Broken):
        return script.failure(broken.verdict, trial, program)
    verdict = Verdict(script.clause, f"a call was refused ({broken})")
    return script.failure(verdict, trial, program)


@contextmanager
def opened(
    script: Script, folder: Path, slots: int = SLOTS, named: Identity | None = None
) -> Iterator[Disk]:
    """Open the subject on a folder and close it, whatever happens between."""
    disk = open_disk(script, folder, slots, named)
    try:
        yield disk
    except BaseException:
        with suppress(Exception):  # the first failure is the one to tell
            disk.manager.close()
        raise
    disk.close()


def _names(keys: Iterable[Key]) -> str:
    return ", ".join(f"K{key}" for key in keys)


def _told(data: bytes | None, key: Key, size: int) -> str:
    if data is None:
        return "a miss"
    if data == content(key, size):
        return "its bytes"
    if not any(data):
        return f"{len(data)} zeros"
    others = [other for other in range(16) if data == content(other, len(data))]
    if others:
        return f"the bytes of K{others[0]}"
    return f"{len(data)} bytes that are not its own"
