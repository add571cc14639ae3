"""Comparing: a key that two contents share is a miss for one of them, and never a hit.

What this is
    The subject weakens its hash until all blocks have one key. Then only the comparison of
    tokens is left.

Clauses: KV-IDN-06
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kvbm_spec.identity import Colliding
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import pool_config

COMPARED: Final = "KV-IDN-06"

OWN: Final = (1, 2, 3, 4)
OTHERS: Final = ((4, 3, 2, 1), (1, 2, 3, 5), (0, 2, 3, 4), (1, 2, 3, 4 + 2**16), (0, 0, 0, 0))


def a_collision_is_a_counted_miss(script: Script) -> None:
    """Publish one block, and look for others of the same key."""
    subject: Any = script.subject
    assert isinstance(subject, Colliding), "asked only of subjects whose hash can be weakened"
    pool = script.call("open, one key for all", subject.open_colliding, pool_config(script, 4))
    script.call(f"publish({OWN})", pool.publish, OWN)
    hits = script.call(f"hits({OWN})", pool.hits, OWN)
    script.expect(COMPARED, hits == 1, f"the block of {OWN} is registered, and there are {hits}")
    for tokens in OTHERS:
        before = script.call("collisions()", pool.collisions)
        hits = script.call(f"hits({tokens})", pool.hits, tokens)
        script.expect(COMPARED, hits == 0, f"{tokens} was never written, and hits as {OWN} does")
        after = script.call("collisions()", pool.collisions)
        script.expect(COMPARED, after > before, f"{tokens} missed for its tokens, uncounted")
    script.reached("a collision")
    script.call(f"publish({OTHERS[0]})", pool.publish, OTHERS[0])
    hits = [script.call(f"hits({each})", pool.hits, each) for each in (OWN, OTHERS[0])]
    what = f"{OWN} and {OTHERS[0]} have one key, so one of them can hit at most: {hits}"
    script.expect(COMPARED, sum(hits) <= 1, what)
    for tokens in OTHERS[1:]:
        hits = script.call(f"hits({tokens})", pool.hits, tokens)
        script.expect(COMPARED, hits == 0, f"{tokens} was never written, and hits")


TRIALS: Final[tuple[Trial, ...]] = (
    Scene("one key for all", (COMPARED,), "weak hash", a_collision_is_a_counted_miss),
)

CHECKS: Final[Mapping[str, Check]] = {COMPARED: Check(("a collision",), "weak hash")}
