"""Linear: is there one order of the calls of a history that the model can explain?

What this is
    A checker that works on the record alone. Each call took effect at one moment between
    its begin and its end; some order of those moments must give exactly the answers that
    were recorded. Calls of one client leave no choice, and are checked in one pass; where
    calls overlap, the orders are searched, and no state is looked at twice.

Interface, as rules of use
    * `check(history)` gives None, or the `Impossible` event: the first end of a call up to
      which no order explains what was recorded.
    * A call that nobody knows the end of may have happened at any time after its begin, or
      never.
    * The search grows with the number of calls that overlap. After `limit` states it gives
      up with `Undecided`, which is neither yes nor no.
    * `python -m kvbm_spec check --history FILE` judges a file. Exit codes:
      0 possible; 1 impossible; 2 no history, or undecided.

Clauses: KV-CON-01, KV-CON-02, KV-LIF-02, KV-REG-01, KV-EVC-02, KV-EVT-04
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from kvbm_spec.history import Call, History, Malformed, read
from kvbm_spec.witness import Witness


class Undecided(Exception):
    """The search was given up: too many calls overlap."""


@dataclass(frozen=True, slots=True)
class Impossible:
    """The end of `call`, at `seq`, cannot have been. `instead` is what it could have been."""

    seq: int
    call: Call
    instead: tuple[str, ...]

    def __str__(self) -> str:
        said = self.call.error or repr(self.call.result)
        told = "" if self.call.events is None else f" with events {self.call.events}"
        expected = " or ".join(self.instead) or "no answer, in any order"
        return f"event {self.seq}, {self.call}: answered {said}{told}; the model: {expected}"


def check(history: History, *, limit: int = 100_000) -> Impossible | None:
    """Find the first event that no order of the calls explains.

    Parameters
    ----------
    limit : states
        How many the search may look at.

    Raises
    ------
    Undecided
        It has looked at so many.

    Complexity
    ----------
    O(calls) where no two overlap; in the worst case exponential in the calls that do.
    """
    ends = sorted(call.ended for call in history.calls if call.ended is not None)
    reached, instead = _search(history, limit)
    if reached is None:
        return None
    # A call that was open then may have ended as recorded in no order, and still the record
    # up to here is possible: look at beginnings of it until one is not.
    for seq in [end for end in ends if end >= reached]:
        stuck, instead = _search(_until(history, seq), limit)
        if stuck is not None:
            (call,) = [each for each in history.calls if each.ended == seq]
            return Impossible(seq, call, tuple(sorted(instead.get(seq, ()))))
    raise AssertionError("a whole history is one of its beginnings")


def _search(history: History, limit: int) -> tuple[int | None, dict[int, set[str]]]:
    """Try orders, depth first. Gives the end that none gets beyond, and what was expected."""
    calls = history.calls
    stack: list[tuple[Witness, int, frozenset[int]]] = [(Witness(history), 0, frozenset())]
    seen: set[Hashable] = set()
    instead: dict[int, set[str]] = {}
    farthest, looked = -1, 0
    while stack:
        pool, start, done = stack.pop()
        while True:
            while start in done:  # all calls before `start` have happened
                done -= {start}
                start += 1
            wall = _wall(calls, start, done)
            if wall is None:
                return None, {}
            farthest = max(farthest, wall)
            options = list(_options(calls, start, done, wall))
            looked += 1
            if looked > limit:
                raise Undecided(f"gave up after {limit} states")
            if len(options) > 1:
                here = start, done, pool.state()
                if here in seen:
                    break
                seen.add(here)
                stack += [
                    (then, start, done | {index})
                    for index in reversed(options)
                    if _happens(then := pool.copy(), calls[index], instead)
                ]
                break
            if not _happens(pool, calls[options[0]], instead):
                break
            done |= {options[0]}
    return farthest, instead


def _happens(pool: Witness, call: Call, instead: dict[int, set[str]]) -> bool:
    otherwise = pool.apply(call)
    if otherwise is not None and call.ended is not None:
        instead.setdefault(call.ended, set()).add(otherwise)
    return otherwise is None


def _wall(calls: list[Call], start: int, done: frozenset[int]) -> int | None:
    """Give the first end of a call that has not happened: whatever begins later must wait."""
    first: int | None = None
    for index in range(start, len(calls)):
        call = calls[index]
        if first is not None and call.invoked > first:
            break
        if call.ended is not None and index not in done:
            first = call.ended if first is None else min(first, call.ended)
    return first


def _options(calls: list[Call], start: int, done: frozenset[int], wall: int) -> Iterator[int]:
    for index in range(start, len(calls)):
        if calls[index].invoked > wall:
            break
        if index not in done:
            yield index


def _until(history: History, seq: int) -> History:
    """Give the beginning of a history: what ended later is open."""
    calls = [
        call if call.ended is None or call.ended <= seq else replace(call, ended=None)
        for call in history.calls
        if call.invoked < seq
    ]
    return replace(history, calls=calls)


def main(file: str) -> int:
    """Judge a file; give the exit code."""
    try:
        history = read(Path(file).read_text("utf-8").splitlines())
        found = check(history)
    except (Malformed, Undecided, OSError) as error:
        sys.stderr.write(f"error: {file}: {error}\n")
        return 2
    clients = len({call.client for call in history.calls})
    told = found or f"possible: {len(history.calls)} calls of {clients} clients"
    sys.stdout.write(f"{told}\n")
    return 0 if found is None else 1
