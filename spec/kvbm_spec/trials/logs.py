"""Logs: events with numbers, for readers that come late, read twice, or miss some.

Clauses: KV-EVT-03, KV-EVT-05, KV-EVT-06, KV-EVT-07
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from kvbm_spec.abilities import Logging
from kvbm_spec.explore import Pair
from kvbm_spec.subject import Key, Manager
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import open_pool, pool_config, publish_chain, release_all
from kvbm_spec.trials.walk import walk

TWICE: Final = "KV-EVT-03"
NUMBERS: Final = "KV-EVT-05"
ORDER: Final = "KV-EVT-06"
FIELDS: Final = "KV-EVT-07"


class Entry(NamedTuple):
    """One event of a log."""

    number: int
    kind: str
    key: Key | None
    fields: Mapping[str, Any]


def a_log_can_be_folded_from_anywhere(script: Script) -> None:
    """Take a snapshot in the middle of a long history, and go on from there."""
    config = pool_config(script, slots=4)
    pair = Pair(script.subject, config, "log")
    log = _of(pair.player.manager)
    middle: tuple[int, set[Key]] = (-1, set())
    for count, op in enumerate(walk(pair, config, length=160)):
        script.say(str(op))
        entries = _entries(log, -1)
        numbers = [entry.number for entry in entries]
        gapless = sorted(numbers) == numbers and {*numbers} == {*range(len({*numbers}))}
        script.expect(NUMBERS, gapless, f"the numbers are {numbers}, and not 0, 1, 2, …")
        last, registered = log.registered()
        told = f"registered() names event {last}, and the last is {max(numbers, default=-1)}"
        script.expect(NUMBERS, last == max(numbers, default=-1), told)
        folded = fold(entries)
        script.expect(NUMBERS, folded == registered, f"{registered} is registered, not {folded}")
        late = fold(_entries(log, middle[0]), middle[1])
        what = f"from event {middle[0]} on the log leads to {late}, and from the start to {folded}"
        script.expect(NUMBERS, late == folded, what)
        _read_again(script, log, entries)
        if count == 80:
            middle = last, registered
            script.reached("joined late")
        kinds = {entry.kind for entry in entries}
        script.reached(*(f"logged {kind}" for kind in kinds))
    pair.player.close()


def _read_again(script: Script, log: Logging, entries: list[Entry]) -> None:
    """Deliver a log again, as after a lost acknowledgement."""
    again = _entries(log, -1)
    script.expect(TWICE, again == entries, "the same events, read again, are others")
    half = entries[: len(entries) // 2]
    same = fold([*half, *entries]) == fold(entries)
    script.expect(TWICE, same, "a reader that got the first half twice ends elsewhere")


def parents_come_before_children(script: Script) -> None:
    """Publish a chain, and look at what its events carry."""
    manager = open_pool(script, slots=4)
    log = _of(manager)
    handles = publish_chain(script, manager, [0, 1, 2])
    stored = [entry for entry in _entries(log, -1) if entry.kind == "Stored"]
    script.say(f"log -> {[(entry.kind, entry.key) for entry in stored]}")
    in_order = [entry.key for entry in stored] == [0, 1, 2]
    script.expect(ORDER, in_order, "the events of a chain are not in its order")
    size = pool_config(script, slots=4).block_size
    for position, entry in enumerate(stored):
        parent = position - 1 if position else None
        span = (position * size, (position + 1) * size)
        fields = dict(entry.fields)
        script.expect(FIELDS, bool(fields.get("tier")), f"K{entry.key} was stored in no tier")
        known = fields.get("parent") == parent
        script.expect(
            FIELDS, known, f"K{entry.key} has parent {fields.get('parent')}, not {parent}"
        )
        told = tuple(fields.get("span", ()))
        what = f"K{entry.key} has tokens {told}, and not {span}"
        script.expect(FIELDS, told == span, what)
    script.reached("logged a chain")
    release_all(script, manager, handles)


def fold(entries: Iterable[Entry], start: Iterable[Key] = ()) -> set[Key]:
    """Apply events in order."""
    known = set(start)
    for entry in entries:
        if entry.kind == "Cleared":
            known.clear()
        elif entry.kind == "Stored" and entry.key is not None:
            known.add(entry.key)
        elif entry.key is not None:
            known.discard(entry.key)
    return known


def _entries(log: Logging, after: int) -> list[Entry]:
    return [Entry(*each) for each in log.log(after)]


def _of(manager: Manager) -> Logging:
    assert isinstance(manager, Logging), "asked only of subjects with numbered events"
    return manager


TRIALS: Final[tuple[Trial, ...]] = (
    Scene(
        "a log can be folded from anywhere",
        (NUMBERS, TWICE),
        "numbered events",
        a_log_can_be_folded_from_anywhere,
    ),
    Scene(
        "parents come before children",
        (ORDER, FIELDS),
        "numbered events",
        parents_come_before_children,
    ),
)

CHECKS: Final[Mapping[str, Check]] = {
    TWICE: Check(("logged Stored", "logged Removed"), "numbered events"),
    NUMBERS: Check(("logged Stored", "logged Removed", "joined late"), "numbered events"),
    ORDER: Check(("logged a chain",), "numbered events"),
    FIELDS: Check(("logged a chain",), "numbered events"),
}
