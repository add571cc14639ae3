"""Clearing: what is emptied by hand is gone, is told, and leaves room; what is held stays.

Clauses: KV-EVC-01, KV-REG-03, KV-EVT-01, KV-CAP-03
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvbm_spec.abilities import Clearing
from kvbm_spec.subject import Key, Manager
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import open_pool, publish, release_all

GONE: Final = "KV-REG-03"
KEPT: Final = "KV-EVC-01"
TOLD: Final = "KV-EVT-01"
ROOM: Final = "KV-CAP-03"
SLOTS: Final = 3


def what_rests_can_be_emptied(script: Script) -> None:
    """Empty all that rests, beside a block that is held."""
    manager = _pool(script)
    count = script.call("evict_all()", _of(manager).evict_all)
    script.expect(GONE, count == 2, f"2 blocks rested, and it says that it emptied {count}")
    _expect(script, manager, kept={0}, gone={1, 2})
    script.reached("emptied all")


def keys_can_be_forgotten(script: Script) -> None:
    """Forget a block that is held, one that rests, twice, and one that is not there."""
    manager = _pool(script)
    forgotten = script.call("forget([K0, K1, K1, K9])", _of(manager).forget, [0, 1, 1, 9])
    script.expect(KEPT, 0 not in forgotten, "K0 is held, and it says that it has forgotten it")
    script.expect(GONE, list(forgotten) == [1], f"K1 alone rested, and it says {forgotten}")
    _expect(script, manager, kept={0, 2}, gone={1})
    script.reached("forgot a key")


def _pool(script: Script) -> Manager:
    """Open a pool in which K0 is held, and K1 and K2 rest."""
    manager = open_pool(script, SLOTS)
    publish(script, manager, 0)
    for key in (1, 2):
        script.call(f"release(K{key})", manager.release, publish(script, manager, key))
    script.call("drain_events()", manager.drain_events)
    return manager


def _expect(script: Script, manager: Manager, *, kept: set[Key], gone: set[Key]) -> None:
    told = [(event.kind, event.key) for event in script.call("events", manager.drain_events)]
    if script.subject.capabilities().events:
        expected = sorted(("Removed", key) for key in gone)
        script.expect(TOLD, sorted(told) == expected, f"it told {told}, and not {expected}")
    found = script.call("scan([K0, K1, K2])", manager.scan, [0, 1, 2])
    for key in sorted(kept):
        script.expect(KEPT, key in found, f"K{key} was held, or not asked for, and is gone")
    for key in sorted(gone):
        script.expect(GONE, key not in found, f"K{key} was emptied, and is found")
    release_all(script, manager, [*found.values()])
    room = script.call("allocate(2)", manager.allocate, 2)
    script.expect(ROOM, room is not None, "K0 alone is held, and 2 of 3 slots cannot be had")
    more = script.call("allocate(1)", manager.allocate, 1)
    script.expect(ROOM, more is None, "all slots are held, and there is one more")


def _of(manager: Manager) -> Clearing:
    assert isinstance(manager, Clearing), "asked only of subjects that can be emptied by hand"
    return manager


_ALL: Final = (GONE, KEPT, TOLD, ROOM)

TRIALS: Final[tuple[Trial, ...]] = (
    Scene("what rests can be emptied", _ALL, "clearing", what_rests_can_be_emptied),
    Scene("keys can be forgotten", _ALL, "clearing", keys_can_be_forgotten),
)

CHECKS: Final[Mapping[str, Check]] = {}
