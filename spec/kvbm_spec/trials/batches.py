"""Batches: several blocks in one call must do what one call for each would.

What this is
    Random programs of batches, with the model beside them, which takes the blocks one by
    one. A batch that is refused must have changed nothing, so the model does nothing.

Clauses: KV-CAP-08, KV-LIF-02, KV-LIF-06, KV-REG-01, KV-REG-02, KV-EVC-02, KV-EVT-04
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from kvbm_spec.abilities import Batching
from kvbm_spec.operations import Op, Symbol
from kvbm_spec.trial import Check, Program, Script, Search, Trial
from kvbm_spec.trials.steps import open_pool, pool_config
from kvbm_spec.twin import Twin

WHOLE: Final = "KV-CAP-08"
SLOTS: Final = 5
KEYS: Final = 6

PROGRAMS: Final = {"smoke": 30, "ci": 300, "nightly": 3_000}


@dataclass(slots=True)
class Pack:
    """A batch of the subject, and the handles of its blocks in the model."""

    batch: Any
    symbols: list[Symbol]
    staged: bool = False
    held: bool = False
    """Registered or matched: it can only be released."""


@dataclass(slots=True)
class Bench:
    """Subject and model, side by side."""

    script: Script
    manager: Any
    twin: Twin
    packs: list[Pack] = field(default_factory=list)
    dead: list[Pack] = field(default_factory=list)

    def write(self, count: int, first: int) -> None:
        """Allocate a batch and stage it."""
        keys = list(range(first, first + count))
        above = first - 1 if first else None
        room = self.twin.model.available
        batch = self.call(f"allocate_batch({count})", self.manager.allocate_batch, count)
        expected, events = self._model([Op("allocate", n=count)])
        what = f"{count} slots were asked for of {room}"
        self.expect("KV-CAP-06", (batch is None) == (expected is None), what)
        self._same_events(events)
        if batch is None:
            self.script.reached("a batch too large")
            return
        self.expect(WHOLE, len(batch) == count, f"{what}, and a batch of {len(batch)} came")
        symbols = list(expected)
        names = ", ".join(f"K{key}" for key in keys) + (
            "" if above is None else f"; after K{above}"
        )
        staged = self.call(
            f"stage_batch(b, [{names}])", self.manager.stage_batch, batch, keys, above
        )
        parents = [above, *keys[:-1]]
        for place, (key, parent) in enumerate(zip(keys, parents, strict=True)):
            symbols[place], _ = self._model([Op("stage", symbols[place], (key,), parent)])
        self.packs.append(Pack(staged, symbols, staged=True))

    def register(self, pick: int) -> None:
        """Publish a staged batch."""
        pack = self._some(pick, lambda pack: pack.staged)
        if pack is None:
            return
        known = self.twin.known()
        batch = self.call("register_batch(b)", self.manager.register_batch, pack.batch)
        answers = [self._model([Op("register", symbol)]) for symbol in pack.symbols]
        self._same_events([event for _, events in answers for event in events])
        self.expect("KV-REG-02", len(batch) == len(answers), f"it gave {len(batch)} blocks")
        if len(self.twin.known()) < len(known) + len(answers):
            self.script.reached("a batch with a key that was there")
        self._end(pack, Pack(batch, [symbol for symbol, _ in answers], held=True))

    def match(self, count: int, first: int) -> None:
        """Hold a prefix."""
        keys = tuple(range(first, first + count))
        names = ", ".join(f"K{key}" for key in keys)
        batch = self.call(f"match_batch([{names}])", self.manager.match_batch, keys)
        expected, _ = self._model([Op("match", keys=keys)])
        hits = f"{len(batch)} hits where the model has {len(expected)}"
        self.expect("KV-REG-01", len(batch) == len(expected), hits)
        if expected:
            self.script.reached("a batch matched")
            self.packs.append(Pack(batch, list(expected), held=True))

    def release(self, pick: int) -> None:
        """Let go of a batch."""
        pack = self._some(pick, lambda _: True)
        if pack is None:
            return
        self.call("release_batch(b)", self.manager.release_batch, pack.batch)
        self._model([Op("release", symbol) for symbol in reversed(pack.symbols)])
        self._end(pack)
        self.script.reached("a batch released")

    def again(self, pick: int) -> None:
        """Use a batch that was used up: it must change nothing."""
        if self.dead:
            batch = self.dead[pick % len(self.dead)].batch
            stale = "StaleHandle"
            acts = (self.manager.release_batch, self.manager.register_batch)
            for clause, act in zip(("KV-LIF-06", "KV-LIF-02"), acts, strict=True):
                self.script.refused(clause, stale, f"{act.__name__}(used up)", act, batch)
            self.script.reached("a batch used twice")

    def end(self) -> None:
        """Let go of everything; then all of it can be had."""
        while self.packs:
            self.release(-1)
        batch = self.call(f"allocate_batch({SLOTS})", self.manager.allocate_batch, SLOTS)
        _, events = self._model([Op("allocate", n=SLOTS)])
        self.expect("KV-CAP-10", batch is not None, "all was released, and a slot is missing")
        self._same_events(events)

    # ── inside ────────────────────────────────────────────────────────────────────────────

    def call(self, text: str, act: Callable[..., Any], *arguments: Any) -> Any:
        """Make a call on the subject."""
        return self.script.call(text, act, *arguments)

    def expect(self, clause: str, holds: bool, what: str) -> None:
        """Say what must hold."""
        self.script.expect(clause, holds, what)

    def _model(self, ops: list[Op]) -> tuple[Any, list[Any]]:
        """Let the model do the same; give its last answer and all its events."""
        outcomes = [self.twin.apply(op) for op in ops]
        return outcomes[-1].value, [event for each in outcomes for event in each.events]

    def _same_events(self, expected: list[Any]) -> None:
        if self.script.subject.capabilities().events:
            told = [(event.kind, event.key) for event in self.manager.drain_events()]
            clause = "KV-EVC-02" if sorted(told) == sorted(expected) else "KV-EVT-04"
            self.expect(clause, told == expected, f"it told {told}, and the model {expected}")

    def _some(self, pick: int, able: Callable[[Pack], bool]) -> Pack | None:
        packs = [pack for pack in self.packs if able(pack)]
        return packs[pick % len(packs)] if packs else None

    def _end(self, pack: Pack, successor: Pack | None = None) -> None:
        self.packs.remove(pack)
        self.dead.append(pack)
        self.packs += [successor] if successor else []


def play(script: Script, program: Program) -> None:
    """Play one program of batches."""
    config = pool_config(script, SLOTS)
    manager = open_pool(script, SLOTS)
    assert isinstance(manager, Batching), "asked only of subjects with batches"
    bench = Bench(script, manager, Twin(config, script.subject.capabilities()))
    for name, *arguments in program:
        getattr(bench, name)(*arguments)
    bench.end()
    manager.close()


def programs(effort: str) -> Iterator[Program]:
    """Make programs, short ones first."""
    for seed in range(PROGRAMS[effort]):
        choose = Random(seed)  # noqa: S311 - no cryptography
        yield tuple(_move(choose) for _ in range(3 + seed % 20))


def _move(choose: Random) -> tuple[Any, ...]:
    name = choose.choice(["write", "write", "register", "register", "match", "release", "again"])
    if name in ("write", "match"):
        return name, choose.randint(1, 3), choose.randrange(KEYS)
    return name, choose.randrange(8)


TRIALS: Final[tuple[Trial, ...]] = (
    Search(
        "batches do what single calls do",
        (
            *(WHOLE, "KV-CAP-06", "KV-CAP-10", "KV-LIF-02", "KV-LIF-06", "KV-REG-01", "KV-REG-02"),
            *("KV-EVC-02", "KV-EVT-04"),
        ),
        "batches",
        programs,
        play,
    ),
)

CHECKS: Final[Mapping[str, Check]] = {}
