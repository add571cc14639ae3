"""Threads: calls that overlap must answer as if they came one after the other.

What this is
    Short histories of three clients, recorded and then judged by `linear`; and the two
    races that everybody knows: for the last slot, and to be the first block of a key.

Interface, as rules of use
    * Which calls meet is the machine's choice, so a failure need not come again. What was
      recorded is in the failure, and proves it.

Clauses: KV-CON-01, KV-CON-02
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

from kvbm_spec import history, linear
from kvbm_spec.explore import Failure, Findings
from kvbm_spec.record import Recorded, Recorder
from kvbm_spec.subject import Env, Subject, SubjectError
from kvbm_spec.trial import Check, Program, Scene, Script, Trial
from kvbm_spec.trials.steps import open_pool, pool_config

LINEAR: Final = "KV-CON-01"
ONE: Final = "KV-CON-02"

ROUNDS: Final = {"smoke": 20, "ci": 200, "nightly": 2_000}

CLIENTS: Final = 3


@dataclass(frozen=True, slots=True)
class Overlapping:
    """Many short histories. See Trial."""

    name: str = "calls that overlap"
    clauses: tuple[str, ...] = (LINEAR,)
    ability: str = "threads"

    def run(self, subject: Subject, effort: str) -> Findings:
        """Record and judge as many rounds as the effort says."""
        findings = Findings()
        for seed in range(0, ROUNDS[effort] * CLIENTS, CLIENTS):
            round_ = Scene(self.name, self.clauses, self.ability, _round(seed))
            found = round_.run(subject, effort)
            for failure in found.failures.values():
                findings.add(failure)
            findings.merge(found)
            if findings.failures:
                break
        return findings

    def replay(self, subject: Subject, program: Program) -> Failure | None:
        """Try all again: the race need not come out as it did."""
        del program
        return self.run(subject, "ci").failures.get(LINEAR)


def _round(seed: int) -> Callable[[Script], None]:
    def play(script: Script) -> None:
        lines: list[str] = []
        config = pool_config(script, slots=3)
        subject = script.subject
        pen = Recorder(lines.append, config, subject.capabilities())
        manager = subject.open(config, Env())
        clients = [pen.client(f"c{number}", manager) for number in range(CLIENTS)]
        _, errors = _together(
            [partial(_client, client, seed + number) for number, client in enumerate(clients)]
        )
        for line in lines[1:]:
            script.say(line.strip())
        script.expect(LINEAR, not errors, f"a call raised what is no refusal: {errors}")
        with suppress(linear.Undecided):
            wrong = linear.check(history.read(lines))
            script.expect(LINEAR, wrong is None, f"no order of the calls explains {wrong}")
            script.reached("overlapped")
        manager.close()

    return play


def _client(client: Recorded, seed: int) -> None:
    """Make a few calls, and let go of what is left."""
    choose = Random(seed)  # noqa: S311 - no cryptography
    held: list[str] = []
    for _ in range(4):
        with suppress(SubjectError):
            if held and choose.random() < 0.4:
                client.release(held.pop())
            elif choose.random() < 0.6:
                for handle in client.allocate(1) or ():
                    staged = client.stage(handle, choose.randrange(2))
                    held.append(client.register(staged))
            else:
                held += client.match([choose.randrange(2)])
    for handle in held:
        client.release(handle)


def one_takes_the_last_slot(script: Script) -> None:
    """Let several clients ask for the only slot, many times."""
    manager = open_pool(script, slots=1)
    for _ in range(ROUNDS["smoke"]):
        taken, _ = _together([partial(manager.allocate, 1)] * CLIENTS)
        won = [handles for handles in taken if handles]
        script.expect(ONE, len(won) == 1, f"{len(won)} of {CLIENTS} clients got the only slot")
        manager.release(won[0][0])
    script.reached("raced for a slot")


def one_block_is_the_first(script: Script) -> None:
    """Let several clients register one key, many times; all must end with one block."""
    for _ in range(ROUNDS["smoke"]):
        manager = open_pool(script, slots=CLIENTS)
        handles = manager.allocate(CLIENTS) or []
        staged = [manager.stage(handle, 0) for handle in handles]
        held, _ = _together([partial(manager.register, handle) for handle in staged])
        stored = [event for event in manager.drain_events() if event.kind == "Stored"]
        told = not script.subject.capabilities().events or len(stored) == 1
        script.expect(ONE, told, f"{len(stored)} blocks were the first of K0")
        script.expect(ONE, len(held) == CLIENTS, f"{len(held)} of {CLIENTS} clients got a block")
        for handle in held:
            manager.release(handle)
        all_back = manager.allocate(CLIENTS)
        script.expect(ONE, bool(all_back), f"{CLIENTS} registrations of one key lost a slot")
        manager.close()
    script.reached("raced to be first")


def _together(acts: Sequence[Callable[[], Any]]) -> tuple[list[Any], list[BaseException]]:
    """Run all at once; give what they returned, and what they raised."""
    barrier = threading.Barrier(len(acts))
    returned: list[Any] = []
    raised: list[BaseException] = []

    def run(act: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            returned.append(act())
        except BaseException as error:  # noqa: BLE001 - the trial tells it
            raised.append(error)

    threads = [threading.Thread(target=run, args=(act,), daemon=True) for act in acts]
    with _eager_switches():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return returned, raised


@contextmanager
def _eager_switches() -> Iterator[None]:
    """Let the interpreter change threads after every few instructions."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


TRIALS: Final[tuple[Trial, ...]] = (
    Overlapping(),
    Scene("one takes the last slot", (ONE,), "threads", one_takes_the_last_slot),
    Scene("one block is the first of its key", (ONE,), "threads", one_block_is_the_first),
)

CHECKS: Final[Mapping[str, Check]] = {
    LINEAR: Check(("overlapped",), "threads"),
    ONE: Check(("raced for a slot", "raced to be first"), "threads"),
}
