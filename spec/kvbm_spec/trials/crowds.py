"""Crowds: many keys in one pool, some of which an index may take for each other.

What this is
    The searches use a few small keys, which hardly ever meet in a table of hashes. Here keys
    are spread over 64 bits, and some differ in their upper or their lower half alone. What
    must be there is known without a model: who is held cannot go, and who is the only one
    that nobody holds must go when all the room is asked for.

Clauses: KV-REG-01, KV-REG-03, KV-CAP-06
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import Final

from kvbm_spec.subject import Handle, Key, Manager
from kvbm_spec.trial import Check, Program, Script, Search, Trial
from kvbm_spec.trials.steps import open_pool, publish

FOUND: Final = "KV-REG-01"
SLOTS: Final = 16
KEYS: Final = 32

PROGRAMS: Final = {"smoke": 60, "ci": 300, "nightly": 3_000}
MOVES: Final = 80


class Crowd:
    """A pool, and the blocks in it, all of which are held."""

    def __init__(self, script: Script, keys: list[Key]) -> None:
        self.script = script
        self.keys = keys
        self.manager: Manager = open_pool(script, SLOTS)
        self.held: dict[Key, Handle] = {}

    def put(self, key: Key) -> None:
        """Publish a key; if it is there already, nothing may change."""
        if len(self.held) == SLOTS:
            return
        handle = publish(self.script, self.manager, key)
        if self.held.setdefault(key, handle) is not handle:
            self.script.call(f"release(K{key})", self.manager.release, handle)

    def drop(self, key: Key) -> None:
        """Let go of a key, and ask for so much room that it must be evicted."""
        if key not in self.held:
            return
        self.script.call(f"release(K{key})", self.manager.release, self.held.pop(key))
        room = SLOTS - len(self.held)
        taken = self.script.call(f"allocate({room})", self.manager.allocate, room)
        what = f"{room} slots are free or inactive, and they were not given"
        self.script.expect("KV-CAP-06", taken is not None, what)
        for handle in taken:
            self.manager.release(handle)

    def look(self) -> None:
        """All that is held is found, and nothing else."""
        found = self.script.call("scan(all keys)", self.manager.scan, self.keys)
        for key in self.keys:
            absent = f"K{key} is held, and it was not found"
            self.script.expect(FOUND, key in found or key not in self.held, absent)
            gone = f"K{key} is not registered, and it was found"
            self.script.expect("KV-REG-03", key not in found or key in self.held, gone)
        for handle in found.values():
            self.manager.release(handle)


def play(script: Script, program: Program) -> None:
    """Play one program: what is done with which key."""
    crowd = Crowd(script, sorted({key for _, key in program}))
    for number, (name, key) in enumerate(program, start=1):
        getattr(crowd, name)(key)
        if number % 16 == 0:
            crowd.look()
    crowd.look()
    crowd.manager.close()


def programs(effort: str) -> Iterator[Program]:
    """Make programs that fill a pool and then put one key in the place of another."""
    for seed in range(PROGRAMS[effort]):
        choose = Random(seed)  # noqa: S311 - no cryptography
        keys = _keys(choose)
        moves = [("put", key) for key in keys[:SLOTS]]
        moves += [
            (choose.choice(("put", "put", "drop")), choose.choice(keys))
            for _ in range(MOVES - SLOTS)
        ]
        yield tuple(moves)


def _keys(choose: Random) -> list[Key]:
    """Give distinct keys: half of them anywhere, the others in two families that look alike."""
    anywhere = [choose.getrandbits(63) for _ in range(KEYS // 2)]
    like = anywhere[0]
    halves = [choose.getrandbits(31) for _ in range(KEYS // 4)]
    keys = [*anywhere, *(like ^ half for half in halves), *(like ^ half << 32 for half in halves)]
    choose.shuffle(keys)
    return keys


TRIALS: Final[tuple[Trial, ...]] = (
    Search("many keys in one index", (FOUND, "KV-REG-03", "KV-CAP-06"), "", programs, play),
)

CHECKS: Final[Mapping[str, Check]] = {}
