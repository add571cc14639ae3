"""Prefixes: where a subject promises it, no block outlives its parent.

What this is
    Two chains from one root are published, used in several orders, and evicted one by one.
    After each eviction whatever is registered must still be reached from its root.

Clauses: KV-EVC-04
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Final

from kvbm_spec.subject import Env, Key, Manager
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import pool_config, publish

CLOSED: Final = "KV-EVC-04"

TREE: Final[Mapping[Key, Key | None]] = {0: None, 1: 0, 2: 1, 3: 0}
"""Each key with its parent."""


def no_child_outlives_its_parent(script: Script) -> None:
    """Release a tree in every order, for each order of eviction that promises it."""
    for policy in script.subject.capabilities().prefix_closed:
        config = replace(pool_config(script, slots=len(TREE)), policy=policy)
        for order in permutations(TREE):
            for used in (None, *TREE):
                script.lines.clear()
                script.say(f"open({len(TREE)} slots, {policy})")
                _evict_all(script, script.subject.open(config, Env()), order, used)
    script.reached("evicted a tree")


def _evict_all(script: Script, manager: Manager, order: Sequence[Key], used: Key | None) -> None:
    handles = {key: publish(script, manager, key, parent) for key, parent in TREE.items()}
    for key in order:
        script.call(f"release(K{key})", manager.release, handles[key])
    if used is not None:  # alone, without what is above it
        for handle in script.call(f"scan([K{used}])", manager.scan, [used]).values():
            script.call(f"release(K{used})", manager.release, handle)
    for _ in TREE:
        script.call("allocate(1)", manager.allocate, 1)
        known = {key for key in TREE if _is_there(manager, key)}
        orphans = [key for key in known if TREE[key] is not None and TREE[key] not in known]
        what = f"{', '.join(f'K{key}' for key in orphans)} outlived its parent"
        script.expect(CLOSED, not orphans, what)
    manager.close()


def _is_there(manager: Manager, key: Key) -> bool:
    """Look without changing the order: nothing is inactive that was not, once all is evicted.

    A look is a use, and may move a block in the order of eviction; that is as good a history
    as any other.
    """
    found = manager.scan([key])
    for handle in found.values():
        manager.release(handle)
    return bool(found)


TRIALS: Final[tuple[Trial, ...]] = (
    Scene("no child outlives its parent", (CLOSED,), "prefix closed", no_child_outlives_its_parent),
)

CHECKS: Final[Mapping[str, Check]] = {CLOSED: Check(("evicted a tree",), "prefix closed")}
