"""Registry: all trials, and what each clause needs of them.

Interface, as rules of use
    * A module of this folder has `TRIALS` and `CHECKS`, and is named here, once.
    * No clause has two checks: a second entry would hide the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvbm_spec.trial import Check, Trial
from kvbm_spec.trials import (
    agreement,
    batches,
    callbacks,
    clearing,
    closing,
    collisions,
    comparing,
    copies,
    counters,
    crash,
    crowds,
    entropy,
    failing,
    filling,
    isolation,
    lists,
    logs,
    naming,
    owners,
    pins,
    prefixes,
    priorities,
    racing,
    references,
    resizing,
    restart,
    reuse,
    spoiled,
    threads,
    tuples,
    waiting,
)

_MODULES: Final = (
    batches,
    crowds,
    lists,
    pins,
    clearing,
    references,
    owners,
    prefixes,
    priorities,
    logs,
    counters,
    callbacks,
    threads,
    waiting,
    resizing,
    closing,
    naming,
    tuples,
    collisions,
    entropy,
    comparing,
    agreement,
    filling,
    reuse,
    isolation,
    crash,
    restart,
    spoiled,
    copies,
    racing,
    failing,
)

TRIALS: Final[tuple[Trial, ...]] = tuple(trial for module in _MODULES for trial in module.TRIALS)
"""In the order in which they are tried."""

TRIAL_CHECKS: Final[Mapping[str, Check]] = {
    clause: check for module in _MODULES for clause, check in module.CHECKS.items()
}
"""By clause."""
