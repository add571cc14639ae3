"""Process: a subject that is a program in any language, which speaks JSON lines.

What this is
    The adapter between `Subject` and the protocol of `spec/protocol.md`: each call is a
    request, its answer is checked for its form, and a refusal becomes a `SubjectError`.

        with ProcessSubject("./my-adapter --fast") as subject:
            pool = subject.open(PoolConfig(slots=2), Env())

Interface, as rules of use
    * One program has one pool at a time. A program is used again for the next pool once its
      pool was closed or forgotten; for two pools at once there are two programs.
    * Events come with the answers; `drain_events` gives what has come, and asks nothing.
    * An answer of the wrong form is an `AdapterError`, a program that dies or is silent a
      `ProgramFailed`. Neither is a refusal.
    * Close the subject when it is done, or use it as a context.

Clauses: KV-LIF-02, KV-EVT-04, KV-SHD-01
"""

from __future__ import annotations

import shlex
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, Self

from kvbm_spec.answer import Answer
from kvbm_spec.pipe import AdapterError, Pipe, ProgramFailed
from kvbm_spec.spoken import SPOKEN, ProcessManager
from kvbm_spec.spoken_hash import calls_for, is_hashing
from kvbm_spec.subject import SPEC_VERSION, Capabilities, Env, PoolConfig

__all__ = ["AdapterError", "ProcessManager", "ProcessSubject", "ProgramFailed"]


class ProcessSubject:
    """An implementation behind a command.

    Parameters
    ----------
    command
        The program with its arguments, as words or as a line of them. No shell is involved.
    deadline : seconds
        How long each answer may take.
    """

    def __init__(self, command: str | Sequence[str], *, deadline: float = 10.0) -> None:
        self._command = shlex.split(command) if isinstance(command, str) else list(command)
        self._deadline = deadline
        self._started: list[Pipe] = []
        self._idle: list[Pipe] = []
        self.stop_all = weakref.finalize(self, _stop, self._started)
        pipe = self._start()
        hello = Answer(pipe, "hello", {"spec": SPEC_VERSION})
        self.name = hello.field("name", str)
        self.version = hello.field("version", str)
        self.spec_version = hello.field("spec", str)
        self._capabilities, self._manager, self.hashing = _declared(hello)
        self._idle.append(pipe)
        # A subject has the calls that its program declares: by them an ability is found.
        self.__class__ = type("ProcessSubject", (*calls_for(self.hashing), ProcessSubject), {})

    def capabilities(self) -> Capabilities:
        """Give what the program said at its start."""
        return self._capabilities

    def again(self) -> ProcessSubject:
        """Start the command once more."""
        return ProcessSubject(self._command, deadline=self._deadline)

    def ask(self, operation: str, **arguments: Any) -> Answer:
        """Ask what is no call of a pool."""
        pipe = self._free()
        self._idle.append(pipe)
        answer = Answer(pipe, operation, arguments)
        answer.raise_refusal()
        return answer

    def open(self, config: PoolConfig, env: Env) -> ProcessManager:
        """Make an empty pool, in a program that has none."""
        pipe = self._free()
        arguments = {
            "config": {
                "slots": config.slots,
                "block_size": config.block_size,
                "duplicates": config.duplicates,
                "policy": config.policy,
            },
            "seed": env.seed,
            "scratch": None if env.scratch is None else str(env.scratch),
        }
        manager = self._manager(pipe, self._idle)
        manager.call("open", **arguments)
        return manager

    def close(self) -> None:
        """Stop every program that was started."""
        self.stop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _free(self) -> Pipe:
        """Take a program without a pool, started if there is none."""
        idle = [pipe for pipe in self._idle if pipe.alive]
        pipe = idle[-1] if idle else self._start()
        self._idle[:] = idle[:-1]
        return pipe

    def _start(self) -> Pipe:
        self._started[:] = [pipe for pipe in self._started if pipe.alive]
        pipe = Pipe(self._command, self._deadline)
        self._started.append(pipe)
        return pipe


def _stop(pipes: Iterable[Pipe]) -> None:
    for pipe in pipes:
        pipe.stop()


def _declared(hello: Answer) -> tuple[Capabilities, type[ProcessManager], dict[str, Any]]:
    told = dict(hello.field("capabilities", dict))
    hashing = told.pop("hashing", None) or {}
    if hashing and not is_hashing(hashing):
        raise hello.broken("hashing has a root, and fields that an identity has")
    able = [calls for ability, calls in SPOKEN.items() if told.pop(ability, False)]
    manager = type("ProcessManager", (*able, ProcessManager), {})
    words: dict[str, Any] = {
        name: tuple(each) if isinstance(each, list) else each for name, each in told.items()
    }
    try:
        return Capabilities(**words), manager, hashing
    except TypeError as error:
        raise hello.broken(f"capabilities have another form ({error})") from None
