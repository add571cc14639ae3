"""Owners: a handle is good in the pool that gave it, and nowhere else.

Clauses: KV-OWN-02
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import open_pool

OWN: Final = "KV-OWN-02"


def another_pool_refuses_a_handle(script: Script) -> None:
    """Register a block with a pool that has a block of its own in the same place."""
    mine, other = open_pool(script, slots=1), open_pool(script, slots=1)
    handle = script.call("a: allocate(1)", mine.allocate, 1)[0]
    theirs = script.call("b: allocate(1)", other.allocate, 1)[0]
    staged = script.call("a: stage(h, K0)", mine.stage, handle, 0)
    there = script.call("b: stage(g, K1)", other.stage, theirs, 1)
    script.refused(OWN, "NotOwner", "b: register(h)", other.register, staged)
    script.reached("offered to another pool")
    script.call("a: register(h)", mine.register, staged)
    script.call("b: register(g)", other.register, there)
    found = script.call("b: match([K0])", other.match, [0])
    script.expect(OWN, not found, "a block of one pool is found in the other")


TRIALS: Final[tuple[Trial, ...]] = (
    Scene("another pool refuses a handle", (OWN,), "owners", another_pool_refuses_a_handle),
)

CHECKS: Final[Mapping[str, Check]] = {OWN: Check(("offered to another pool",), "owners")}
