"""Profiles: how long a run searches, and in which pools.

What this is
    `smoke` is a few seconds and one policy, `ci` all that the subject declares, `nightly`
    deep and random. The clauses are the same in each: a profile of a run says how hard a
    clause was tried, and not which.

Interface, as rules of use
    * `PROFILES[name]` has the scope of the exhaustive search and the settings of the random
      one; `configs` gives the pools.
    * `ci` is derandomised: the same subject gives the same report.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from hypothesis import settings

from kvbm_spec.moves import Scope
from kvbm_spec.subject import PoolConfig, Subject

GATE: Final = ("KV-LIF-01", "KV-LIF-06", "KV-CAP-03", "KV-CAP-10", "KV-REG-01", "KV-INT-01")
"""Asked first; if one fails, the rest is BLOCKED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How hard to search."""

    name: str
    every_pool: bool
    exhaustive: Scope
    random: Scope
    limits: settings


def _limits(examples: int, steps: int, *, random: bool = False) -> settings:
    return settings(
        max_examples=examples, stateful_step_count=steps, derandomize=not random, database=None
    )


PROFILES: Final = {
    "smoke": Profile(
        name="smoke",
        every_pool=False,
        exhaustive=Scope(slots=3),
        random=Scope(slots=4, keys=6, clients=3),
        limits=_limits(60, 50),
    ),
    "ci": Profile(
        name="ci",
        every_pool=True,
        exhaustive=Scope(slots=3, paths=12),
        random=Scope(slots=5, keys=8, clients=3),
        limits=_limits(150, 50),
    ),
    "nightly": Profile(
        name="nightly",
        every_pool=True,
        exhaustive=Scope(slots=3, keys=3, paths=12),
        random=Scope(slots=8, keys=8, clients=4),
        limits=_limits(2000, 100, random=True),
    ),
}


def configs(subject: Subject, profile: Profile, slots: int) -> Iterator[PoolConfig]:
    """Give the pools to try: those of the default policy, or all that the subject declares."""
    able = subject.capabilities()
    policies = able.policies if profile.every_pool else able.policies[:1]
    for policy, duplicates in product(policies, able.duplicates):
        yield PoolConfig(slots=slots, policy=policy, duplicates=duplicates)


def bounded(scope: Scope, config: PoolConfig) -> Scope:
    """Limit a search whose states never end: `multi-lru` counts every use."""
    if config.policy != "multi-lru" or scope.depth is not None:
        return scope
    return replace(scope, depth=8)
