"""Trial: a scene that a subject is put into, and what must be seen there.

What this is
    Lockstep with the model judges what every pool does. What only some do (tiers, hashing,
    a disk that outlives its process, events with numbers) is judged by trials: each asks
    for an *ability*, plays one scene or searches through many, and names the clause that
    does not hold.

Interface, as rules of use
    * `Scene(name, clauses, ability, play)` is a trial of one fixed scene: `play(script)`.
      A `Search` plays many, each by a program, plain JSON, and makes the failing one short.
    * A `Script` writes down what is done, so that a failure can be read: `call` makes a
      call, `refused` one that must be refused, `expect` says what must hold, `reached`
      that a situation was met. A clause whose situations were not met is VACUOUS.
    * Whatever a subject raises that is no refusal breaks the first clause of the trial.
    * `replay` plays one program again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from kvbm_spec.blame import Verdict
from kvbm_spec.explore import Failure, Findings
from kvbm_spec.operations import Line
from kvbm_spec.subject import Subject, SubjectError

Program: TypeAlias = tuple[Any, ...]
"""What a search does in one scene, as plain JSON."""


@dataclass(frozen=True, slots=True)
class Check:
    """What a run must have seen to say that a clause holds."""

    situations: tuple[str, ...]
    """By name: of the lockstep those of `Twin.situations`, of a trial those it `reached`."""
    ability: str = ""
    """What the subject must have, by the words of `abilities`."""


EFFORTS: Final = ("smoke", "ci", "nightly")
"""How hard a trial that searches may try; names of profiles."""


class Broken(AssertionError):
    """A clause does not hold. Raised by a script, and caught by its trial."""

    def __init__(self, clause: str, what: str) -> None:
        super().__init__(f"{clause}: {what}")
        self.verdict = Verdict(clause, what)


class Script:
    """What is done in one scene, written down as it happens.

    Parameters
    ----------
    clause
        Broken by whatever is raised and is no refusal.
    """

    def __init__(self, subject: Subject, clause: str) -> None:
        self.subject = subject
        self.clause = clause
        self.lines: list[Line] = []
        self.situations: Counter[str] = Counter()
        self._kept: list[Any] = []  # a subject may take a handle that is dropped as released

    def call(self, text: str, act: Callable[..., Any], *arguments: Any) -> Any:
        """Make a call, and write it down with its answer; a refusal is written and raised."""
        try:
            answer = act(*arguments)
        except SubjectError as refusal:
            self.lines.append(Line(f"{text} -> {refusal.kind}"))
            raise
        except Exception as crash:
            self.lines.append(Line(f"{text} -> raised {crash!r}", wrong=True))
            raise Broken(self.clause, f"{text} raised what is no refusal ({crash!r})") from crash
        self._kept.append(answer)
        self.lines.append(Line(text if answer is None else f"{text} -> {_shown(answer)}"))
        return answer

    def refused(
        self,
        clause: str,
        kinds: str | Sequence[str],
        text: str,
        act: Callable[..., Any],
        *rest: Any,
    ) -> None:
        """Make a call that must be refused with one of `kinds`."""
        wanted = (kinds,) if isinstance(kinds, str) else tuple(kinds)
        try:
            self.call(text, act, *rest)
        except SubjectError as refusal:
            met = refusal.kind in wanted
            self.expect(clause, met, f"{text} was refused with {refusal.kind}, not {wanted[0]}")
        else:
            self.expect(clause, False, f"{text} was done; it must be refused with {wanted[0]}")

    def expect(self, clause: str, holds: bool, what: str) -> None:
        """Break `clause` unless `holds`; `what` is what was seen instead."""
        if not holds:
            self.say(what, wrong=True)
            raise Broken(clause, what)

    def reached(self, *situations: str) -> None:
        """Note that these situations were met."""
        self.situations.update(situations)

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Write a line of its own."""
        self.lines.append(Line(text, wrong=wrong))

    def failure(self, verdict: Verdict, trial: str, program: Program = ()) -> Failure:
        """Give what was written down as a failure."""
        return Failure(
            verdict=verdict,
            steps=tuple(self.lines),
            found_by=f"trial {trial}",
            trial=trial,
            program=program,
        )


class Trial(Protocol):
    """Anything that `run` may try on a subject beside the lockstep."""

    @property
    def name(self) -> str:
        """What it is about, in a few words; unique."""
        ...

    @property
    def clauses(self) -> tuple[str, ...]:
        """All that it can find broken."""
        ...

    @property
    def ability(self) -> str:
        """What the subject must have, one of `abilities.ABILITIES`."""
        ...

    def run(self, subject: Subject, effort: str) -> Findings:
        """Try it. `effort` is one of `EFFORTS`."""
        ...

    def replay(self, subject: Subject, program: Program) -> Failure | None:
        """Play one scene again."""
        ...


@dataclass(frozen=True, slots=True)
class Scene:
    """One fixed scene. `play` raises `Broken`, by its script, or returns."""

    name: str
    clauses: tuple[str, ...]
    ability: str
    play: Callable[[Script], None]

    def run(self, subject: Subject, effort: str) -> Findings:
        """See Trial. One scene is one effort."""
        del effort
        findings = Findings()
        started = time.perf_counter()
        script = Script(subject, self.clauses[0])
        failure = self.played(script)
        if failure is not None:
            findings.add(failure)
        findings.situations.update(script.situations)
        findings.states, findings.transitions = 1, len(script.lines)
        findings.seconds = time.perf_counter() - started
        return findings

    def replay(self, subject: Subject, program: Program) -> Failure | None:
        """See Trial."""
        del program
        return self.played(Script(subject, self.clauses[0]))

    def played(self, script: Script) -> Failure | None:
        """Play it with a script of one's own."""
        try:
            self.play(script)
        except Broken as broken:
            return script.failure(broken.verdict, self.name)
        except SubjectError as refusal:
            verdict = Verdict(self.clauses[0], f"a call was refused ({refusal})")
            return script.failure(verdict, self.name)
        except Exception as crash:  # noqa: BLE001 - whatever a subject raises is its outcome
            verdict = Verdict(self.clauses[0], f"a call raised what is no refusal ({crash!r})")
            return script.failure(verdict, self.name)
        return None


@dataclass(frozen=True, slots=True)
class Search:
    """Many scenes, each made by a program; the first that breaks something is made short.

    Parameters
    ----------
    programs
        Gives the programs to try, by effort.
    play
        Plays one. It must take any program, also one of which moves were left out.
    """

    name: str
    clauses: tuple[str, ...]
    ability: str
    programs: Callable[[str], Iterable[Program]]
    play: Callable[[Script, Program], None]

    def run(self, subject: Subject, effort: str) -> Findings:
        """See Trial."""
        findings = Findings()
        started = time.perf_counter()
        for program in self.programs(effort):
            failure, script = self._try(subject, program)
            findings.situations.update(script.situations.keys())
            findings.states += 1
            findings.transitions += len(script.lines)
            if failure is not None:
                findings.add(self._shortest(subject, failure))
                break
        findings.seconds = time.perf_counter() - started
        return findings

    def replay(self, subject: Subject, program: Program) -> Failure | None:
        """See Trial."""
        return self._try(subject, program)[0]

    def _try(self, subject: Subject, program: Program) -> tuple[Failure | None, Script]:
        scene = Scene(self.name, self.clauses, self.ability, partial(self._play, program))
        script = Script(subject, self.clauses[0])
        failure = scene.played(script)
        return (None if failure is None else replace(failure, program=program)), script

    def _play(self, program: Program, script: Script) -> None:
        self.play(script, program)

    def _shortest(self, subject: Subject, failure: Failure) -> Failure:
        """Leave out moves, one by one, as long as the same clause is broken."""
        index = len(failure.program) - 1
        while index >= 0:
            fewer = failure.program[:index] + failure.program[index + 1 :]
            again = self.replay(subject, fewer)
            if again is not None and again.clause == failure.clause:
                failure = again
            index = min(index, len(failure.program)) - 1
        return failure


def _shown(answer: Any) -> str:
    """Write an answer for people: handles are opaque, so only their number is told."""
    if isinstance(answer, list) and answer and not isinstance(answer[0], int | str | tuple | bytes):
        return f"{len(answer)} handle{'' if len(answer) == 1 else 's'}"
    if isinstance(answer, int | str | float | bool | bytes | list | tuple | set | frozenset):
        return str(answer)
    if isinstance(answer, dict):
        return f"{{{', '.join(f'{key}: …' for key in answer)}}}"
    return "a handle"
