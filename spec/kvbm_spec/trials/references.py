"""References: what a weak reference gives back, and when.

Clauses: KV-OWN-06
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvbm_spec.abilities import Remembering
from kvbm_spec.subject import Manager
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import open_pool, publish

OWNED: Final = "KV-OWN-06"


def a_weak_reference_keeps_nothing(script: Script) -> None:
    """Remember a block, fill the pool with others, and ask for it again."""
    manager = open_pool(script, slots=2)
    weak = _remember(script, manager, key=0)
    script.reached("remembered")
    handles = script.call("allocate(2)", manager.allocate, 2)
    script.expect(OWNED, handles is not None, "a weak reference kept its slot from an allocation")
    again = script.call("upgrade(w0)", _of(manager).upgrade, weak)
    script.expect(OWNED, again is None, "K0 was evicted, and its weak reference gives a block")
    for key, handle in enumerate(handles, start=1):  # one of them has the slot of K0
        staged = script.call(f"stage(h, K{key})", manager.stage, handle, key)
        script.call("register(h)", manager.register, staged)
    again = script.call("upgrade(w0)", _of(manager).upgrade, weak)
    script.expect(OWNED, again is None, "others are where K0 was, and its weak reference gives one")
    script.reached("upgraded in vain")


def a_weak_reference_gives_its_own_key(script: Script) -> None:
    """Remember a block, and hold it again: by now it is no victim."""
    manager = open_pool(script, slots=2)
    weak = _remember(script, manager, key=0)
    again = script.call("upgrade(w0)", _of(manager).upgrade, weak)
    script.expect(OWNED, again is not None, "K0 is registered, and its weak reference gives None")
    script.reached("upgraded")
    taken = script.call("allocate(2)", manager.allocate, 2)
    script.expect(OWNED, taken is None, "K0 is held by an upgraded reference, and was evicted")
    script.call("release(upgraded)", manager.release, again)
    taken = script.call("allocate(2)", manager.allocate, 2)
    script.expect(OWNED, taken is not None, "a reference that was upgraded and released leaks")


def _remember(script: Script, manager: Manager, key: int) -> object:
    block = publish(script, manager, key)
    return script.call(f"w{key} = downgrade(h)", _of(manager).downgrade, block)


def _of(manager: Manager) -> Remembering:
    assert isinstance(manager, Remembering), "asked only of subjects with weak references"
    return manager


TRIALS: Final[tuple[Trial, ...]] = (
    Scene(
        "a weak reference keeps nothing",
        (OWNED,),
        "weak references",
        a_weak_reference_keeps_nothing,
    ),
    Scene(
        "a weak reference gives its key",
        (OWNED,),
        "weak references",
        a_weak_reference_gives_its_own_key,
    ),
)

CHECKS: Final[Mapping[str, Check]] = {
    OWNED: Check(("remembered", "upgraded", "upgraded in vain"), "weak references"),
}
