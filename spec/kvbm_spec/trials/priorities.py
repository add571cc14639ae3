"""Priorities: the lowest goes first, equals in the order of their release, heirs have none.

Clauses: KV-EVC-02, KV-LIF-04
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations, product
from typing import Final

from kvbm_spec.abilities import Prioritizing
from kvbm_spec.subject import Env, Handle, Key, Manager
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import pool_config, publish

ORDER: Final = "KV-EVC-02"
CLEAN: Final = "KV-LIF-04"

SLOTS: Final = 3


def the_lowest_priority_goes_first(script: Script) -> None:
    """Release three blocks of every three priorities, in every order."""
    if "priority" not in script.subject.capabilities().policies:
        return
    for levels, order, apart in product(
        product(range(3), repeat=SLOTS), permutations(range(SLOTS)), (True, False)
    ):
        script.lines.clear()
        manager = _open(script)
        handles = [publish(script, manager, key) for key in range(SLOTS)]
        for handle, level in zip(handles, levels, strict=True):
            _prioritize(script, manager, handle, level)
        for key in order:
            script.call(f"release(K{key})", manager.release, handles[key])
            if apart:  # a manager may gather releases up to its next call
                script.call("match([K9])", manager.match, [9])
        expected = sorted(order, key=lambda key: levels[key])  # stable: the first stays first
        _expect_victims(script, manager, ORDER, expected)
        manager.close()
    script.reached("chose by priority")


def an_heir_has_no_priority(script: Script) -> None:
    """Use a slot whose last block was important, and had been registered or not."""
    if "priority" not in script.subject.capabilities().policies:
        return
    for registered, order in product((True, False), permutations(range(SLOTS))):
        script.lines.clear()
        manager = _open(script)
        (important,) = script.call("allocate(1)", manager.allocate, 1)
        if registered:
            important = script.call("register(K9)", manager.register, manager.stage(important, 9))
        _prioritize(script, manager, important, 9)
        script.call("release(h)", manager.release, important)
        owned = script.call(f"allocate({SLOTS})", manager.allocate, SLOTS)
        handles = [
            script.call("register(h)", manager.register, manager.stage(handle, key))
            for key, handle in enumerate(owned)
        ]
        for key in order:
            script.call(f"release(K{key})", manager.release, handles[key])
        _expect_victims(script, manager, CLEAN, order)
        manager.close()
    script.reached("an heir of an important block")


def _open(script: Script) -> Manager:
    config = replace(pool_config(script, SLOTS), policy="priority")
    manager: Manager = script.call(
        f"open({SLOTS} slots, priority)", script.subject.open, config, Env()
    )
    return manager


def _expect_victims(script: Script, manager: Manager, clause: str, expected: Sequence[Key]) -> None:
    """Take slot after slot, and see who is gone."""
    for number, victim in enumerate(expected, start=1):
        taken = script.call("allocate(1)", manager.allocate, 1)
        script.expect("KV-CAP-06", taken is not None, "a block rests, and no slot was given")
        known = script.call(f"scan({list(expected)})", manager.scan, list(expected))
        gone = [key for key in expected if key not in known]
        what = f"K{victim} was to go, and gone are {gone}"
        script.expect(clause, gone == list(expected[:number]), what)
        for key in expected[number:]:  # in the order in which they are to go: it stays the same
            manager.release(known[key])


def _prioritize(script: Script, manager: Manager, handle: Handle, level: int) -> None:
    assert isinstance(manager, Prioritizing), "asked only of subjects with priorities"
    script.call(f"prioritize(h, {level})", manager.prioritize, handle, level)


TRIALS: Final[tuple[Trial, ...]] = (
    Scene(
        "the lowest priority goes first",
        (ORDER, "KV-CAP-06"),
        "priorities",
        the_lowest_priority_goes_first,
    ),
    Scene("an heir has no priority", (CLEAN, "KV-CAP-06"), "priorities", an_heir_has_no_priority),
)

CHECKS: Final[Mapping[str, Check]] = {}
