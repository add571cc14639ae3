"""Resizing: a pool that grows or shrinks loses nothing that is held.

Clauses: KV-CAP-09
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from kvbm_spec.abilities import Resizing
from kvbm_spec.subject import Manager, SubjectError
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import open_pool, publish, release_all

KEPT: Final = "KV-CAP-09"


def a_pool_that_grows_keeps_what_it_has(script: Script) -> None:
    """Grow a pool with a held, a resting and a staged block in it."""
    manager = open_pool(script, slots=3)
    publish(script, manager, 0)
    script.call("release(K1)", manager.release, publish(script, manager, 1))
    (owned,) = script.call("allocate(1)", manager.allocate, 1)
    staged = script.call("stage(h, K2)", manager.stage, owned, 2)
    size = script.call("resize(5)", _of(manager).resize, 5)
    script.expect(KEPT, size == 5, f"it was asked for 5 slots, and says that it has {size}")
    script.call("register(K2)", manager.register, staged)
    for key in (0, 1):
        found = script.call(f"match([K{key}])", manager.match, [key])
        script.expect(KEPT, bool(found), f"K{key} was registered, and is gone after growing")
    room = script.call("allocate(2)", manager.allocate, 2)
    script.expect(KEPT, room is not None, "3 of 5 slots are held, and two cannot be had")
    more = script.call("allocate(1)", manager.allocate, 1)
    script.expect(KEPT, more is None, "5 of 5 slots are held, and there is one more")
    for key, handle in enumerate(room, start=3):  # what was added is as good as what was there
        staged = script.call(f"stage(h, K{key})", manager.stage, handle, key, key - 1)
        script.call("release(h)", manager.release, manager.register(staged))
    for key in (3, 4):
        found = script.call(f"match([K{key}])", manager.match, [key])
        script.expect(KEPT, bool(found), f"K{key} rests in a slot that was added, and is no hit")
        release_all(script, manager, found)
    room = script.call("allocate(2)", manager.allocate, 2)
    script.expect(KEPT, room is not None, "2 blocks rest in slots that were added, and stay there")
    script.reached("grown")


def a_pool_that_shrinks_says_what_it_keeps(script: Script) -> None:
    """Shrink below what is held, where shrinking is offered at all."""
    manager = open_pool(script, slots=3)
    held = publish(script, manager, 0)
    script.call("release(K1)", manager.release, publish(script, manager, 1))
    owned = script.call("allocate(1)", manager.allocate, 1)
    with suppress(SubjectError):  # not offered: then nothing may have changed
        size = script.call("resize(1)", _of(manager).resize, 1)
        script.expect(KEPT, size >= 2, f"2 slots are held, and {size} are left")
        script.reached("shrunk")
    found = script.call("match([K0])", manager.match, [0])
    script.expect(KEPT, bool(found), "a block that is held was dropped")
    for handle in (held, *owned, *found):
        script.call("release(h)", manager.release, handle)


def _of(manager: Manager) -> Resizing:
    assert isinstance(manager, Resizing), "asked only of subjects that can be resized"
    return manager


TRIALS: Final[tuple[Trial, ...]] = (
    Scene(
        "a pool that grows keeps what it has",
        (KEPT,),
        "resizing",
        a_pool_that_grows_keeps_what_it_has,
    ),
    Scene(
        "a pool that shrinks says what it keeps",
        (KEPT,),
        "resizing",
        a_pool_that_shrinks_says_what_it_keeps,
    ),
)

CHECKS: Final[Mapping[str, Check]] = {KEPT: Check(("grown",), "resizing")}
