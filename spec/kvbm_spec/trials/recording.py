"""Recording: a program that a subject plays on a disk, and what it owes after each crash.

What this is
    A program is a few steps, plain JSON: `["open"]`, `["store", 0, 1]`, `["remove", 0]`,
    `["close"]`. While it is played the disk is recorded, and it is noted between which
    operations of the disk each step lies, and which keys could be found after it.

Interface, as rules of use
    * `record(script, program, folder)` plays a program, which opens first and closes last.
    * `remains(able)` gives what crashes can leave, each once, and what holds of it.

Clauses: KV-PER-01, KV-PER-02
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvbm_spec.disk import CrashState, Journal, crash_states
from kvbm_spec.persistence import DiskCapabilities
from kvbm_spec.recorder import Recorder
from kvbm_spec.subject import Key
from kvbm_spec.trial import Program, Script
from kvbm_spec.trials.disks import SLOTS, Disk, open_disk


@dataclass(frozen=True, slots=True)
class Mark:
    """One step: it lies between the operations `before` and `after`."""

    step: tuple[Any, ...]
    before: int
    after: int
    present: frozenset[Key]
    """What could be found after it."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What a crash has left, and what must hold of it."""

    state: CrashState
    started: frozenset[Key]
    """Their store had begun; nothing else may be there."""
    complete: frozenset[Key]
    """Their store had returned."""
    owed: frozenset[Key]
    """They must be there, by what the subject promises."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A program that was played."""

    journal: Journal
    marks: tuple[Mark, ...]
    seen: bool
    """Whether all that was written was seen."""

    def remains(self, able: DiskCapabilities) -> list[Remains]:
        """Give what crashes can leave; two are one where image and duties agree."""
        distinct: dict[Any, Remains] = {}
        for state in crash_states(self.journal):
            here = self.remains_of(state, able)
            look = tuple(state.image.items()), here.started, here.complete, here.owed
            distinct.setdefault(look, here)
        return list(distinct.values())

    def remains_of(self, state: CrashState, able: DiskCapabilities) -> Remains:
        """Say what must hold of one."""
        return Remains(
            state,
            _stored(mark for mark in self.marks if mark.before <= state.point),
            _stored(mark for mark in self.marks if mark.after <= state.point),
            self._owed(state, able),
        )

    def _owed(self, state: CrashState, able: DiskCapabilities) -> frozenset[Key]:
        always = "store" in able.promises or (state.whole and "kill" in able.promises)
        closing = "close" in able.promises
        done = [index for index, mark in enumerate(self.marks) if mark.after <= state.point]
        counts = [at for at in done if always or (closing and self.marks[at].step[0] == "close")]
        if not counts:
            return frozenset()
        # What was there, and is after every step since, even one that is not over: that one
        # may have evicted it.
        since = [mark.present for mark in self.marks[counts[-1] :] if mark.before <= state.point]
        return frozenset.intersection(*since, _stored(self.marks))


def record(script: Script, program: Program, folder: Path) -> Recording:
    """Play a program in a folder. Whatever is raised breaks the script's clause."""
    disk: Disk | None = None
    present: frozenset[Key] = frozenset()
    marks = []
    with Recorder(folder) as recorder:
        try:
            for word, *keys in program:
                before = recorder.now
                disk = _step(script, disk, word, keys, folder)
                after = recorder.now
                if word != "close":
                    present = frozenset(disk.keys())
                marks.append(Mark((word, *keys), before, after, present))
        except BaseException:
            if disk is not None:
                with suppress(Exception):  # the first failure is the one to tell
                    disk.manager.close()
            raise
    return Recording(recorder.journal(), tuple(marks), recorder.complete)


def _step(script: Script, disk: Disk | None, word: str, keys: Sequence[Key], folder: Path) -> Disk:
    if word == "open":
        return open_disk(script, folder, SLOTS)
    assert disk is not None, "a program opens first"
    if word == "store":
        disk.store(keys)
    elif word == "remove":
        disk.remove(keys)
    else:
        disk.close()
    return disk


def _stored(marks: Iterable[Mark]) -> frozenset[Key]:
    return frozenset(key for mark in marks if mark.step[0] == "store" for key in mark.step[1:])
