"""Closing: what a manager took from the system, it gives back.

What this is
    Descriptors, threads and files are counted before a manager is opened and after it is
    closed. Of a program behind a pipe only its pipe is seen.

Clauses: KV-SHD-03
"""

from __future__ import annotations

import gc
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from kvbm_spec.subject import Env
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import pool_config, publish

GIVEN_BACK: Final = "KV-SHD-03"

_DESCRIPTORS: Final = Path("/proc/self/fd")


class Taken(NamedTuple):
    """What a process has of the system. Descriptors are 0 where they cannot be counted."""

    descriptors: int
    threads: int
    files: int

    @classmethod
    def now(cls, folder: Path) -> Taken:
        """Count, once what nobody refers to has gone."""
        gc.collect()
        return cls(
            sum(1 for _ in _DESCRIPTORS.iterdir()) if _DESCRIPTORS.is_dir() else 0,
            threading.active_count(),
            sum(1 for _ in folder.rglob("*")),
        )


def a_closed_manager_keeps_nothing(script: Script) -> None:
    """Open, use and close, twice: what the first time leaves for good is not a leak."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _use(script, folder)
        before = Taken.now(folder)
        _use(script, folder)
        after = Taken.now(folder)
    what = f"open and close leave {after}, and there was {before}"
    script.expect(
        GIVEN_BACK, all(now <= then for now, then in zip(after, before, strict=True)), what
    )
    script.reached("opened and closed")


def _use(script: Script, folder: Path) -> None:
    config = pool_config(script, slots=2)
    manager = script.call("open(2 slots)", script.subject.open, config, Env(scratch=folder))
    publish(script, manager, 0)
    script.call("close()", manager.close)


TRIALS: Final[tuple[Trial, ...]] = (
    Scene("a closed manager keeps nothing", (GIVEN_BACK,), "", a_closed_manager_keeps_nothing),
)

CHECKS: Final[Mapping[str, Check]] = {GIVEN_BACK: Check(("opened and closed",))}
