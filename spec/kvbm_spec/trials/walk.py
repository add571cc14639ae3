"""Walk: one long history of calls that change something, for trials that look on.

Interface, as rules of use
    * `for op in walk(pair, ...)` makes each call on model and subject, and then hands it
      over, so that the trial can look at both.
    * The same seed, the same history. A call on which model and subject differ ends it: the
      lockstep reports that.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from kvbm_spec.explore import Pair
from kvbm_spec.moves import Scope, changing
from kvbm_spec.operations import Op
from kvbm_spec.subject import PoolConfig


def walk(pair: Pair, config: PoolConfig, *, length: int, seed: int = 0) -> Iterator[Op]:
    """Make up to `length` calls at random; give each once it is made."""
    choose = Random(seed)  # noqa: S311 - no cryptography
    scope = Scope(slots=config.slots, keys=2 * config.slots, clients=3)
    for _ in range(length):
        moves = list(changing(pair.twin, scope))
        op = choose.choice(moves)
        if pair.step(op) is not None:
            return
        yield op
