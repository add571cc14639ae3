"""Crash: what a subject finds again after a crash at any moment.

What this is
    Short programs are recorded (`recording`), and the subject is opened on what each crash
    could have left (`disk.crash_states`), twice, and asked for what it has. Opening writes,
    too: a crash of that is one more crash.

Interface, as rules of use
    * What can be found again are blocks whose store had begun, each with its own bytes or as
      a miss; and what the subject promised.
    * A wrong byte of a block whose store had not returned breaks KV-PER-01, any other
      KV-PER-02. What shows only after a second opening or a second crash, KV-PER-03.
    * The program of a failure: the steps, and for one crash or two, how many operations the
      disk had made, and which changes arrived of those that were not synced.

Clauses: KV-PER-01, KV-PER-02, KV-PER-03
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kvbm_spec.disk import CrashState, Data, Journal, Names, crash_states, image_of
from kvbm_spec.explore import Failure, Findings
from kvbm_spec.recorder import Recorder, put_image
from kvbm_spec.subject import Key, Subject, SubjectError
from kvbm_spec.trial import Broken, Check, Program, Script, Trial
from kvbm_spec.trials.disks import Disk, capabilities, evenly, failure, opened, scratch
from kvbm_spec.trials.recording import Recording, Remains, record

VISIBLE: Final = "KV-PER-01"
TRUE: Final = "KV-PER-02"
AGAIN: Final = "KV-PER-03"

LIMITS: Final[Mapping[str, tuple[int, int]]] = {
    "smoke": (5, 1),
    "ci": (300, 2),
    "nightly": (5_000, 1_000),
}
"""By effort, how many crashes of a program are tried, and how many of each recovery."""

_BATCH: Final = ("store", 0, 1)
PROGRAMS: Final[Mapping[str, Program]] = {
    "stored one by one": (("open",), ("store", 0), ("store", 1), ("close",)),
    "a slot used again": (("open",), _BATCH, ("remove", 0), ("store", 2), ("close",)),
    "evicted, and opened again": (
        *(("open",), _BATCH, ("store", 2), ("close",)),
        *(("open",), ("store", 3), ("remove", 3), ("close",)),
    ),
}


@dataclass(frozen=True, slots=True)
class Crash:
    """A trial of one program."""

    name: str
    steps: Program
    clauses: tuple[str, ...] = (TRUE, VISIBLE, AGAIN)
    ability: str = "restart"

    def run(self, subject: Subject, effort: str) -> Findings:
        """See Trial."""
        findings, started = Findings(), time.perf_counter()
        script = Script(subject, TRUE)
        limit, recoveries = LIMITS[effort]
        recording = self._record(script, self.steps, findings)
        if recording is not None:
            for remains in evenly(recording.remains(capabilities(script)), limit):
                again = self._recover(script, recording, remains, findings)
                for crash in evenly(_changed(again), recoveries):
                    self._recover(script, recording, remains, findings, crash, again)
        findings.seconds = time.perf_counter() - started
        return findings

    def replay(self, subject: Subject, program: Program) -> Failure | None:
        """See Trial."""
        findings, script = Findings(), Script(subject, TRUE)
        steps, *crashes = program
        recording = self._record(script, steps, findings)
        if recording is not None and crashes:
            remains = recording.remains_of(
                _state(recording.journal, *crashes[0]), capabilities(script)
            )
            again = self._recover(script, recording, remains, findings)
            for crash in crashes[1:] if again.ops else ():
                second = _state(again, *crash)
                self._recover(script, recording, remains, findings, second, again)
        return next(iter(findings.failures.values()), None)

    def _record(self, script: Script, steps: Program, findings: Findings) -> Recording | None:
        """Play the program; None if there is nothing to go on with."""
        try:
            with scratch() as folder:
                recording = record(script, steps, folder)
        except (Broken, SubjectError) as broken:
            findings.add(failure(script, broken, self.name, (steps,)))
            return None
        return recording if recording.seen else None

    def _recover(
        self,
        recorded: Script,
        recording: Recording,
        remains: Remains,
        findings: Findings,
        crash: CrashState | None = None,
        before: Journal | None = None,
    ) -> Journal:
        """Open the subject on what is left, or on what is left when that crashed, too.

        Gives what opening did to the disk; nothing if something is broken already.
        """
        script = Script(recorded.subject, TRUE if crash is None else AGAIN)
        script.lines += recorded.lines
        _tell(script, recording.journal, remains.state, "crash")
        program: Program = (self.steps, (remains.state.point, remains.state.kept))
        state = remains.state
        if crash is not None and before is not None:
            _tell(script, before, crash, "crash of the recovery")
            program, state = (*program, (crash.point, crash.kept)), crash
        findings.states += 1
        journal = Journal({}, ())
        with scratch() as folder:
            put_image(state.image, folder)
            try:
                with Recorder(folder) as recorder, opened(script, folder) as disk:
                    first = disk.keys()
                    did = recorder.journal()
                strange = first - remains.started
                script.expect(script.clause, not strange, f"{_set(strange)} was never stored")
                with opened(script, folder) as disk:
                    _look(script, disk, remains, first)
                journal = did
            except (Broken, SubjectError) as broken:
                findings.add(failure(script, broken, self.name, program))
        script.reached("crashed", *(["crashed twice"] if crash is not None else []))
        findings.situations.update(script.situations)
        findings.transitions += len(script.lines) - len(recorded.lines)
        return journal


def _look(script: Script, disk: Disk, remains: Remains, first: set[Key]) -> None:
    """See that a second opening finds the same, that bytes are right, and promises kept."""
    seen = disk.keys()
    same = f"the first opening found {_set(first)}, the second {_set(seen)}"
    script.expect(AGAIN, seen == first, same)
    script.reached("recovered twice")
    came = set()
    for key in sorted(seen):
        wrong = VISIBLE if script.clause == TRUE and key not in remains.complete else script.clause
        if disk.read(key, wrong):
            came.add(key)
            script.reached("recovered a block")
    lost = remains.owed - came
    script.expect(script.clause, not lost, f"{_set(lost)} was complete and promised, and is lost")


def _changed(journal: Journal) -> list[CrashState]:
    """Give what crashes of an opening leave that is not what it found."""
    distinct = {tuple(state.image.items()): state for state in crash_states(journal)}
    distinct.pop(tuple(journal.base.items()), None)
    return list(distinct.values())


def _state(journal: Journal, point: int, kept: Sequence[Sequence[int]]) -> CrashState:
    chosen = tuple((index, start, stop) for index, start, stop in kept)
    whole = [state.kept for state in crash_states(journal) if state.point == point and state.whole]
    return CrashState(point, chosen, image_of(journal, point, chosen), chosen in whole)


def _tell(script: Script, journal: Journal, state: CrashState, what: str) -> None:
    script.say(f"{what} after {state.point} operations of the disk")
    if state.whole:
        script.say("  all that they changed has arrived")
        return
    script.say(f"  what was synced has arrived, and of the rest{':' if state.kept else ' nothing'}")
    for index, start, stop in state.kept:
        op = journal.ops[index]
        if isinstance(op, Data):
            size = len(op.data)
            part = f"bytes {start} to {stop} of {size}" if stop - start < size else f"{size} bytes"
            script.say(f"  {index}: {part} at {op.offset} of file {op.file}")
        elif isinstance(op, Names):
            script.say(f"  {index}: {', '.join(path for path, _ in op.names)} leads elsewhere")
        else:
            script.say(f"  {index}: {op}")


def _set(keys: set[Key] | frozenset[Key]) -> str:
    return ", ".join(f"K{key}" for key in sorted(keys)) or "nothing"


TRIALS: Final[tuple[Trial, ...]] = tuple(
    Crash(f"crash: {name}", steps) for name, steps in PROGRAMS.items()
)

CHECKS: Final[Mapping[str, Check]] = {
    VISIBLE: Check(("crashed", "recovered a block"), "restart"),
    TRUE: Check(("crashed", "recovered a block"), "restart"),
    AGAIN: Check(("recovered twice", "recovered a block"), "restart"),
}
