"""Copies: every order of a few requests, steps and failures over two tiers; then long ones.

What this is
    Breadth first over short programs, so that a failure is one of the shortest, and then
    long programs at random. After each program everything comes to its end, under pressure:
    see `Book.end`.

Interface, as rules of use
    * A program is a list of numbers. Each chooses among the moves that can be made then,
      modulo how many there are, so that any list is a program.
    * Two programs are one where all that was seen agrees: what is where, who holds it, which
      copies are under way, and what became of every request in its order.

Clauses: KV-TIR-01, KV-TIR-02, KV-TIR-05, KV-TIR-06, KV-CAP-01, KV-CAP-03, KV-INT-02, KV-LIV-01
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Final

from kvbm_spec.explore import Failure, Findings
from kvbm_spec.subject import Subject
from kvbm_spec.trial import Check, Program, Scene, Script, Search, Trial
from kvbm_spec.trials.book import Book, lowered

CLAUSES: Final = (
    "KV-LIV-01",
    *("KV-TIR-01", "KV-TIR-02", "KV-TIR-03", "KV-TIR-05", "KV-TIR-06", "KV-TIR-07", "KV-TIR-10"),
    *("KV-CAP-01", "KV-CAP-03", "KV-CAP-08", "KV-CAP-10", "KV-REG-09", "KV-INT-01", "KV-INT-02"),
    *(
        "KV-TIR-08",
        "KV-EVC-01",
        "KV-EVT-01",
        "KV-CON-04",
        "KV-CON-06",
        "KV-SHD-02",
        "KV-SHD-04",
        "KV-SHD-05",
    ),
)
"""The first is broken by whatever is raised."""

PROGRAMS: Final[Mapping[str, int]] = {"smoke": 60, "ci": 1_200, "nightly": 20_000}
"""By effort, how many programs are tried, the shortest first."""

LONG: Final[Mapping[str, tuple[int, int]]] = {
    "smoke": (2, 30),
    "ci": (40, 40),
    "nightly": (1_000, 80),
}
"""By effort, how many long programs, and of how many moves."""

ENOUGH: Final = 200
"""Programs after which a search that has found failures ends."""

Move = Callable[[], object]


def moves(book: Book, keys: int) -> list[Move]:
    """Give the moves that can be made."""
    return [*_steps(book), *_requests(book, keys), *_holds(book)]


def _steps(book: Book) -> Iterator[Move]:
    for index, copy in enumerate(book.ledger.copies):
        yield partial(book.finish, index)
        yield partial(book.fail, index)
        if len(copy.keys) > 1 or copy.begun:
            yield partial(book.fail, index, short=True)
        if not copy.begun:
            yield partial(book.begin, index)


def _requests(book: Book, keys: int) -> Iterator[Move]:
    fast, present = book.fast, book.ledger.present
    known = sorted(book.ledger.keys)
    for key in [*known, len(known)][:keys]:  # the keys are alike: the next one stands for all
        if key not in present[fast]:
            yield partial(book.store, key)
    if len(present[fast]) > 1:
        yield partial(book.offload, sorted(present[fast]))
    for key in sorted(present[fast]):
        yield partial(book.offload, [key])
    for key in known:
        if any(key in present[tier] for tier in book.tiers):
            yield partial(book.onboard, [key])
    if len(known) > 1:
        yield partial(book.onboard, known)
    for source, target in zip(book.tiers[1:], book.tiers[2:], strict=False):
        if present[source]:
            yield partial(book.offload, sorted(present[source]), source, target)


def _holds(book: Book) -> Iterator[Move]:
    yield from (partial(book.press, tier) for tier in book.tiers)
    for tier in book.tiers:
        for key in sorted(book.ledger.present[tier]):
            held = (tier, key) in book.ledger.held
            yield partial(book.let_go if held else book.hold, key, tier)
    waiting = [asked for asked in book.asked if asked.pending and not asked.given_up]
    yield from (partial(book.cancel, asked) for asked in waiting[-1:])


def play(
    script: Script, program: Program, slots: tuple[int, ...], keys: int, below: int = 0
) -> Book:
    """Make the moves of a program; give the book before the end.

    The first `below` keys are in the second tier when it begins.
    """
    book = lowered(script, slots, range(below)) if below else Book(script, slots)
    for pick in program:
        able = moves(book, keys)
        able[pick % len(able)]()
    return book


def _seen(book: Book) -> Hashable:
    """Give all that was seen, so that two programs can be compared."""
    ledger = book.ledger
    return (
        tuple(frozenset(ledger.present[tier]) for tier in book.tiers),
        frozenset((place, len(handles)) for place, handles in ledger.held.items()),
        tuple(ledger.copies),
        tuple(
            (asked.keys, asked.source, tuple(asked.states.values()), asked.given_up)
            for asked in book.asked
        ),
    )


@dataclass(frozen=True, slots=True)
class Orders:
    """A trial of all short programs."""

    name: str
    slots: tuple[int, ...]
    keys: int
    below: int = 0
    clauses: tuple[str, ...] = CLAUSES
    ability: str = "tiers"

    def run(self, subject: Subject, effort: str) -> Findings:
        """See Trial."""
        findings, started = Findings(), time.perf_counter()
        edge: deque[Program] = deque([()])
        seen: set[Hashable] = set()
        while edge and findings.states < PROGRAMS[effort]:
            if findings.failures and findings.states > ENOUGH:
                break
            program = edge.popleft()
            script = Script(subject, CLAUSES[0])
            branches: list[int] = []
            failure = self._scene(program, seen, branches).played(script)
            findings.situations.update(script.situations.keys())
            findings.states += 1
            findings.transitions += len(script.lines)
            if failure is not None:
                findings.add(replace(failure, program=program))
            else:
                edge.extend((*program, pick) for branch in branches for pick in range(branch))
        findings.seconds = time.perf_counter() - started
        return findings

    def replay(self, subject: Subject, program: Program) -> Failure | None:
        """See Trial."""
        failure = self._scene(program, set(), []).played(Script(subject, CLAUSES[0]))
        return None if failure is None else replace(failure, program=program)

    def _scene(self, program: Program, seen: set[Hashable], branches: list[int]) -> Scene:
        """Play a program to its end, unless all that it leads to was seen; tell its branches."""

        def to_the_end(script: Script) -> None:
            book = play(script, program, self.slots, self.keys, self.below)
            here = _seen(book)
            if here not in seen:
                seen.add(here)
                branches.append(len(moves(book, self.keys)))
                book.end()

        return Scene(self.name, self.clauses, self.ability, to_the_end)


def _long(effort: str) -> Iterator[Program]:
    count, length = LONG[effort]
    choose = Random(effort)  # noqa: S311 - no cryptography
    for _ in range(count):
        yield tuple(choose.randrange(1_000) for _ in range(length))


def _play_long(script: Script, program: Program) -> None:
    play(script, program, (3, 4), 5, below=2).end()


def _play_all(script: Script, program: Program) -> None:
    """Use as many tiers as there are, up to four."""
    play(script, program, (2, 3, 4, 4), 4).end()


TRIALS: Final[tuple[Trial, ...]] = (
    Orders("copies in every order", (2, 2), 2),
    Orders("loads in every order", (2, 2), 2, below=2),
    Search("copies in long histories", CLAUSES, "tiers", _long, _play_long),
    Search("copies over all tiers", CLAUSES, "tiers", _long, _play_all),
)

CHECKS: Final[Mapping[str, Check]] = {
    "KV-CAP-01": Check(("a tier was full during a copy",), "tiers"),
    "KV-REG-09": Check(("a copy failed",), "tiers"),
    "KV-TIR-01": Check(("looked beside a copy", "a copy ended"), "tiers"),
    "KV-TIR-03": Check(("looked beside a copy", "a copy ended"), "tiers"),
    "KV-TIR-06": Check(("a load failed",), "tiers"),
    "KV-LIV-01": Check(("all ended after a fault",), "tiers"),
}
