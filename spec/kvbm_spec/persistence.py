"""Persistence: what a subject shows whose blocks outlive the process.

What this is
    The seam for trials that crash a subject: a folder is opened, blocks are stored, and the
    folder, or what a crash left of it, is opened again.

        class Mine:
            def disk(self): return DiskCapabilities(promises=("store",))
            def open_disk(self, folder, slots, identity, env): return MyDisk(...)

Interface, as rules of use
    * All files are below `folder`. The suite follows `os` and `open`, in all threads; what is
      written in other ways (memory maps, other languages) it cannot follow, and says so.
    * What a disk or a file does is no error of the caller: `store` skips and counts, `read`
      gives None, `open_disk` begins empty. Anything raised is a failure of the subject.
    * Nobody kills a manager. The suite copies the folder as a crash would leave it, and
      opens the copy; the first manager is closed later, and the two never meet.

Clauses: KV-PER-01, KV-PER-02, KV-PER-03, KV-PER-04, KV-PER-05, KV-PER-06, KV-PER-07, KV-INT-03
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from kvbm_spec.subject import Env, Key

PROMISES: Final = ("store", "close", "kill")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCapabilities:
    """What a subject declares of its disk.

    Parameters
    ----------
    promises
        When a stored block is there again for sure, unless it was evicted or removed:
        `store`, after a crash of the machine, once store() has returned; `close`, after one
        once close() has; `kill`, after a crash of the process alone, once store() has.
        Without promises a cache may lose what it likes.
    layouts, schemes
        Names of layouts and hash schemes, two of each where there are two. The first is the
        default.
    checksums
        Whether bytes that changed on the disk are found out (KV-INT-03).
    """

    promises: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ("default",)
    schemes: tuple[str, ...] = ("default",)
    checksums: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What must be equal for stored bytes to mean the same. KV-PER-04"""

    model: str = "a-model@1"
    dtype: str = "float16"
    """Or `bfloat16`, which is as long."""
    block_size: int = 4
    """Tokens of a block; 4 or 8."""
    layout: str = "default"
    scheme: str = "default"


class DiskManager(Protocol):
    """A cache of `slots` blocks in one folder, from `open_disk` to `close`."""

    @property
    def block_bytes(self) -> int:
        """Bytes of a block; 512 or more, so that it takes more than one sector's write."""
        ...

    def store(self, blocks: Mapping[Key, bytes]) -> None:
        """Put blocks on the disk; return when each is complete, or was skipped and counted.

        There are no more than slots. Older blocks may be evicted.
        """
        ...

    def keys(self) -> set[Key]:
        """Give the keys that a match would find."""
        ...

    def read(self, key: Key) -> bytes | None:
        """Load a block as a request would, with all checks; None is a miss."""
        ...

    def remove(self, keys: Sequence[Key]) -> None:
        """Forget blocks. Unknown keys are ignored."""
        ...

    def failed(self) -> int:
        """Count what was skipped since open because the disk failed. KV-PER-05"""
        ...

    def close(self) -> None:
        """Finish what was begun, and let go of all files. Idempotent."""
        ...


@runtime_checkable
class Persistent(Protocol):
    """A subject that can be opened again on what it left. Its ability is `restart`."""

    def disk(self) -> DiskCapabilities:
        """Declare what there is. The same every time."""
        ...

    def open_disk(self, folder: Path, slots: int, identity: Identity, env: Env) -> DiskManager:
        """Open the cache in `folder`, which exists; anything may lie in it."""
        ...
