"""Counters: what a manager counts must be what happened.

Clauses: KV-OBS-01
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from kvbm_spec.abilities import Counting
from kvbm_spec.explore import Pair
from kvbm_spec.operations import Op, Step
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import pool_config
from kvbm_spec.trials.walk import walk

TRUE: Final = "KV-OBS-01"


MISS: Final = Op("match", keys=(99,))


def counters_are_true(script: Script) -> None:
    """Count a long history ourselves, and compare after every call."""
    config = pool_config(script, slots=4)
    pair = Pair(script.subject, config, "counters")
    manager = pair.player.manager
    assert isinstance(manager, Counting), "asked only of subjects with counters"
    counted: Counter[str] = Counter()
    for op in walk(pair, config, length=300):
        script.say(str(op))
        counted.update(_counts(pair.steps[-1]))
        script.say(str(MISS))  # which a walk does not have: it changes nothing
        pair.step(MISS)
        counted.update(_counts(pair.steps[-1]))
        told = manager.counters()
        expected = {**{name: counted[name] for name in _EVENTS}, **_gauges(pair)}
        for name, value in expected.items():
            what = f"{name} is {told.get(name)}, and {value} were counted"
            script.expect(TRUE, told.get(name) == value, what)
        script.reached(*(f"counted {name}" for name in _EVENTS if counted[name]))
    pair.player.close()


_EVENTS: Final = ("allocated", "registered", "deduplicated", "evicted", "queried", "hits")


def _counts(step: Step) -> dict[str, int]:
    """Count what one call did, by its outcome alone."""
    op, outcome = step.op, step.expected
    stored = sum(kind == "Stored" for kind, _ in outcome.events)
    return {
        "allocated": len(outcome.value or ()) if op.name == "allocate" else 0,
        "registered": stored,
        "deduplicated": int(op.name == "register" and not stored),
        "evicted": sum(kind == "Removed" for kind, _ in outcome.events),
        "queried": len(op.keys) if op.name == "match" else 0,
        "hits": len(outcome.value or ()) if op.name == "match" else 0,
    }


def _gauges(pair: Pair) -> dict[str, int]:
    views = [pair.twin.view(slot) for slot in range(pair.config.slots)]
    return {
        name: sum(view.state == name for view in views) for name in ("free", "inactive", "active")
    }


TRIALS: Final[tuple[Trial, ...]] = (
    Scene("counters are true", (TRUE,), "counters", counters_are_true),
)

CHECKS: Final[Mapping[str, Check]] = {
    TRUE: Check(tuple(f"counted {name}" for name in _EVENTS), "counters"),
}
