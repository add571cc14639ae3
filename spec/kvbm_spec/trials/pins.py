"""Pins: they keep a block as a handle would, are counted, and are taken for all keys or none.

Clauses: KV-EVC-01, KV-LIF-07, KV-LIF-09
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvbm_spec.abilities import Pinning
from kvbm_spec.subject import Key, Manager
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import open_pool, publish, release_all

KEPT: Final = "KV-EVC-01"
COUNTED: Final = "KV-LIF-07"
UNDONE: Final = "KV-LIF-09"
SLOTS: Final = 2


def a_pinned_block_is_no_victim(script: Script) -> None:
    """Pin a block that rests, match it meanwhile, and unpin it."""
    manager = _pool_with(script, 0)
    script.call("pin([K0])", _of(manager).pin, [0])
    _expect_room(script, manager, KEPT, 1)
    release_all(script, manager, script.call("match([K0])", manager.match, [0]))
    _expect_room(script, manager, KEPT, 1)
    script.call("unpin([K0])", _of(manager).unpin, [0])
    _expect_room(script, manager, UNDONE, 2)
    script.reached("pinned")


def pins_are_counted(script: Script) -> None:
    """Pin a block twice; the third unpin is one too many."""
    manager = _pool_with(script, 0)
    for _ in range(2):
        script.call("pin([K0])", _of(manager).pin, [0])
    script.call("unpin([K0])", _of(manager).unpin, [0])
    _expect_room(script, manager, COUNTED, 1)
    script.call("unpin([K0])", _of(manager).unpin, [0])
    script.refused(COUNTED, "WrongState", "unpin([K0])", _of(manager).unpin, [0])
    script.call("pin([K0])", _of(manager).pin, [0])
    _expect_room(script, manager, COUNTED, 1)
    script.call("unpin([K0])", _of(manager).unpin, [0])
    _expect_room(script, manager, UNDONE, 2)
    script.reached("one unpin too many")


def pins_are_taken_for_all_or_none(script: Script) -> None:
    """Pin two blocks of which one is not there, in both orders."""
    for keys in ([0, 9], [9, 0]):
        script.lines.clear()
        manager = _pool_with(script, 0)
        script.refused(UNDONE, "NotFound", f"pin({keys})", _of(manager).pin, keys)
        _expect_room(script, manager, UNDONE, 2)
    script.reached("pinned in part")


def pins_are_undone_for_all_or_none(script: Script) -> None:
    """Unpin two blocks of which one has no pin, in both orders."""
    for keys in ([0, 1], [1, 0]):
        script.lines.clear()
        manager = _pool_with(script, 0, 1)
        script.call("pin([K0])", _of(manager).pin, [0])
        script.refused(COUNTED, "WrongState", f"unpin({keys})", _of(manager).unpin, keys)
        _expect_room(script, manager, COUNTED, 1)
    script.reached("unpinned in part")


def _pool_with(script: Script, *keys: Key) -> Manager:
    """Open a pool, and leave these keys resting in it."""
    manager = open_pool(script, SLOTS)
    for key in keys:
        script.call(f"release(K{key})", manager.release, publish(script, manager, key))
    return manager


def _expect_room(script: Script, manager: Manager, clause: str, room: int) -> None:
    """So many slots can be had, and no more. Only a look: K0 stays if it must."""
    more = script.call(f"allocate({room + 1})", manager.allocate, room + 1)
    what = f"{room} of {SLOTS} slots can be had, and it gave {room + 1}"
    script.expect(clause, more is None, what)
    taken = script.call(f"allocate({room})", manager.allocate, room)
    script.expect(clause, taken is not None, f"{room} slots can be had, and it gave none")
    release_all(script, manager, taken)


def _of(manager: Manager) -> Pinning:
    assert isinstance(manager, Pinning), "asked only of subjects with pins"
    return manager


_ALL: Final = (KEPT, COUNTED, UNDONE)

TRIALS: Final[tuple[Trial, ...]] = (
    Scene("a pinned block is no victim", _ALL, "pins", a_pinned_block_is_no_victim),
    Scene("pins are counted", (COUNTED, KEPT, UNDONE), "pins", pins_are_counted),
    Scene("pins for all or none", (UNDONE, COUNTED), "pins", pins_are_taken_for_all_or_none),
    Scene("unpins for all or none", (COUNTED, UNDONE), "pins", pins_are_undone_for_all_or_none),
)

CHECKS: Final[Mapping[str, Check]] = {}
