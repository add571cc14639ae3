"""Trying: all trials of an ability, on a tiny pool that is right or broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from kvbm_spec import abilities
from kvbm_spec.subject import PoolConfig
from kvbm_spec.trials import TRIALS
from list_pool import ListPool, ListSubject

Declared: TypeAlias = Mapping[str, object]
"""What a subject declares, of the fields of `Capabilities`."""


def failures(pool: type[ListPool], ability: str, declared: Declared) -> dict[str, str]:
    """Run all trials of an ability; give what is broken, by clause."""
    subject = ListSubject(pool, **declared)
    assert abilities.has(subject, ability, PoolConfig(slots=2))
    found: dict[str, str] = {}
    for trial in TRIALS:
        if trial.ability == ability:
            for failure in trial.run(subject, "smoke").failures.values():
                assert failure.clause in trial.clauses
                assert failure.steps, "a failure without lines tells nobody anything"
                found[failure.clause] = failure.verdict.what
    return found


def named(cases: Sequence[tuple[Any, ...]]) -> list[str]:
    """Name cases by their pool, and by the clause or the ability."""
    return [f"{case[0].__name__} {case[-1] or case[1]} {n}" for n, case in enumerate(cases)]
