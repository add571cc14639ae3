"""Shortest: a short history to everything that can happen in a small pool.

What this is
    A search over the model, breadth first, so that each history is as short as can be. Two
    calls show the same when the call, what its handle holds, the outcome, and the states of
    all slots before and after are the same. Of the histories a few are kept that together
    show everything; calls that change nothing are asked on the way.

Interface, as rules of use
    * `vectors()` gives them; `python -m kvbm_spec.shortest` writes them into the package,
      where a test finds them equal byte for byte.
    * The order of everything is fixed: same model, same files.

Clauses: KV-LIF-01, KV-LIF-02, KV-CAP-06, KV-REG-01, KV-REG-02
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeAlias

from kvbm_spec.lifecycle import Transition, load
from kvbm_spec.operations import Op, Outcome
from kvbm_spec.state import canonical
from kvbm_spec.subject import Capabilities, PoolConfig
from kvbm_spec.twin import Twin
from kvbm_spec.vectors import POLICIES, Vector, policies_that_agree, write

HERE: Final = Path(__file__).parent / "data" / "vectors" / "shortest"

KEYS: Final = 2

POOLS: Final = ((2, "reject"), (2, "allow"))
"""Slots, and what registering a present key does."""

History: TypeAlias = tuple[Op, ...]


@dataclass(slots=True)
class Found:
    """What a search has seen: the shortest history to each kind of step."""

    changing: dict[Hashable, History] = field(default_factory=dict)
    asking: dict[History, list[Op]] = field(default_factory=dict)
    """Calls that change nothing, by the history to the state in which they are new."""


def vectors() -> Iterator[Vector]:
    """Give all histories, each with what the model says."""
    for slots, duplicates in POOLS:
        numbers: Counter[str] = Counter()
        for path, ops in histories(search(slots, duplicates)):
            numbers[path[-1].name] += 1
            name = f"{duplicates}-{path[-1].name}-{numbers[path[-1].name]:02}"
            title = _title(path, slots, duplicates)
            yield _vector(
                f"shortest/{name}", title, ops, PoolConfig(slots=slots, duplicates=duplicates)
            )


def search(slots: int, duplicates: str) -> Found:
    """Visit all states that `slots` and `KEYS` can be in with at most slots + 1 handles."""
    start = _pool(slots, duplicates)
    edge: deque[tuple[Twin, History]] = deque([(start, ())])
    states, kinds, found = {_state(start)}, set(), Found()
    while edge:
        twin, path = edge.popleft()
        for op in _calls(twin):
            after = twin.copy()
            outcome = after.apply(op)
            kind = _kind(op, twin, outcome, after)
            changes = outcome.error is None and _state(after) != _state(twin)
            if kind not in kinds and changes:
                found.changing[kind] = (*path, op)
            elif kind not in kinds:
                found.asking.setdefault(path, []).append(op)
            kinds.add(kind)
            if changes and len(after.live) <= slots + 1 and _state(after) not in states:
                states.add(_state(after))
                edge.append((after, (*path, op)))
    return found


def histories(found: Found) -> list[tuple[History, History]]:
    """Choose what shows all that was found, no beginning twice; with and without questions."""
    wanted = [*found.changing.values(), *found.asking]
    chosen: list[History] = []
    for path in sorted(wanted, key=len, reverse=True):
        if not any(other[: len(path)] == path for other in chosen):
            chosen.append(path)
    chosen.sort(key=lambda path: (len(path), [str(op) for op in path]))
    questions = dict(found.asking)
    return [(path, _with_questions(path, questions)) for path in chosen]


def rows(ops: History, config: PoolConfig) -> list[Transition]:
    """Give the rows of `lifecycle.json` that a history exercises."""
    twin, shown = _pool(config.slots, config.duplicates), []
    for op in ops:
        before = twin.model.slots
        twin.apply(op)
        moves = {
            (old.state, new.state)
            for old, new in zip(before, twin.model.slots, strict=True)
            if old.state != new.state or new.holders > old.holders
        }
        shown += [
            row
            for row in load().transitions
            if row.operation in operations_of(op.name) and (row.state, row.next) in moves
        ]
    return shown


# ── inside ────────────────────────────────────────────────────────────────────────────────


def _calls(twin: Twin) -> Iterator[Op]:
    for n in range(len(twin.model.slots) + 2):
        yield Op("allocate", n=n)
    unlike = {}
    for symbol, slot in reversed(twin.live.items()):
        unlike[twin.view(slot)] = symbol
    for symbol in [*sorted(unlike.values(), key=lambda each: int(each[1:])), *[*twin.dead][-1:]]:
        for key in range(KEYS):
            yield Op("stage", handle=symbol, keys=(key,))
        for name in ("register", "release", "reset"):
            yield Op(name, handle=symbol)
    for keys in ((0,), (1,), (0, 1)):
        yield Op("match", keys=keys)
    yield Op("scan", keys=(0, 1))


def _kind(op: Op, before: Twin, outcome: Outcome, after: Twin) -> Hashable:
    """Give all that makes two steps different for a reader."""
    holds = before.kind(op.handle) if op.handle in before.live else op.handle and "nothing"
    size = len(outcome.value) if isinstance(outcome.value, list | dict) else outcome.value is None
    told = tuple(kind for kind, _ in outcome.events)
    return op.name, holds, outcome.error, size, told, _slots(before), _slots(after)


def _slots(twin: Twin) -> tuple[str, ...]:
    return tuple(sorted(twin.view(slot).state for slot in range(len(twin.model.slots))))


def _state(twin: Twin) -> Hashable:
    """Give what decides about later calls, without the numbers of slots and handles."""
    return canonical(twin.model), bool(twin.dead)


def _with_questions(path: History, questions: dict[History, list[Op]]) -> History:
    """Ask what changes nothing in the states on the way, each question once."""
    ops: list[Op] = []
    for length in range(len(path) + 1):
        ops += questions.pop(path[:length], [])
        ops += path[length : length + 1]
    return tuple(ops)


def _vector(name: str, title: str, ops: History, config: PoolConfig) -> Vector:
    twin = _pool(config.slots, config.duplicates)
    outcomes = [replace(twin.apply(op), read=None) for op in ops]
    shown = {clause for row in rows(ops, config) for clause in row.clauses}
    seen = {outcome.error for outcome in outcomes} | {op.name for op in ops}
    shown |= {clause for sight, clause in _SHOWS.items() if sight in seen}
    vector = Vector(
        id=name,
        title=title,
        clauses=tuple(sorted(shown)),
        slots=config.slots,
        duplicates=config.duplicates,
        policies=POLICIES,
        steps=tuple(zip(ops, outcomes, strict=True)),
    )
    return replace(vector, policies=policies_that_agree(vector))


_SHOWS: Final = {
    "match": "KV-REG-01",
    "allocate": "KV-CAP-06",
    "WrongState": "KV-LIF-01",
    "StaleHandle": "KV-LIF-02",
}
"""Clauses that a call or a refusal is about, beside those of the rows of the table."""


def _title(path: History, slots: int, duplicates: str) -> str:
    """Tell the last call of a history, and the states of all slots before and after it."""
    twin = _pool(slots, duplicates)
    for op in path[:-1]:
        twin.apply(op)
    before = ", ".join(_slots(twin))
    outcome = twin.apply(path[-1])
    told = "".join(f", tells {kind}" for kind, _ in outcome.events)
    return f"{path[-1].name}: {before} -> {', '.join(_slots(twin))}{told}"


def operations_of(call: str) -> set[str]:
    """Give the operations of `lifecycle.json` that a call of a subject performs."""
    return {operation.name for operation in load().operations if call in operation.calls}


def _pool(slots: int, duplicates: str) -> Twin:
    return Twin(PoolConfig(slots=slots, duplicates=duplicates), Capabilities())


def main() -> None:
    """Write all vectors, and remove those that are no more."""
    for file in HERE.glob("*.json"):
        file.unlink()
    for vector in vectors():
        (HERE / f"{vector.id.removeprefix('shortest/')}.json").write_text(write(vector), "utf-8")


if __name__ == "__main__":
    main()
