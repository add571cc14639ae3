"""Checks: how each clause is checked, and what a run must have seen to say so.

What this is
    One table. A clause passes when the searches and trials that can break it have found
    nothing, and have been in every situation that the clause is about: a run that evicted
    nothing says nothing about eviction, and is VACUOUS.

Interface, as rules of use
    * `CHECKS[clause_id]` names the situations and the ability that the subject needs. A
      clause that is not here is not checked, and `unchecked` says why.
    * Clauses of the lockstep are listed here; a module of `trials` lists its own.

Clauses: KV-LIF-01
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kvbm_spec.trial import Check
from kvbm_spec.trials import TRIAL_CHECKS

LOCKSTEP: Final[Mapping[str, Check]] = {
    "KV-LIF-01": Check(("wrong state",)),
    "KV-LIF-02": Check(("stale", "stale, slot in use")),
    "KV-LIF-04": Check(("evicted",), "snapshot"),
    "KV-LIF-05": Check(("woken", "evicted beside active")),
    "KV-LIF-06": Check(("double release",)),
    "KV-LIF-07": Check(("double release", "shared"), "snapshot"),
    "KV-LIF-08": Check(("reset", "looked for a discarded key")),
    "KV-OWN-01": Check(("allocated", "bytes"), "bytes"),
    "KV-OWN-03": Check(("shared",), "snapshot"),
    "KV-OWN-05": Check(("write refused",), "bytes"),
    "KV-CAP-02": Check(("evicted", "shared"), "snapshot"),
    "KV-CAP-03": Check(("exhausted", "evicted")),
    "KV-CAP-04": Check(("evicted", "woken"), "snapshot"),
    "KV-CAP-05": Check(("exhausted",), "snapshot"),
    "KV-CAP-06": Check(("allocated", "exhausted", "evicted")),
    "KV-CAP-08": Check(("partly available",)),
    "KV-CAP-10": Check(("drained",)),
    "KV-REG-01": Check(("hit", "miss", "gap")),
    "KV-REG-02": Check(("deduplicated",)),
    "KV-REG-03": Check(("looked for a removed key",)),
    "KV-REG-04": Check(("evicted", "deduplicated"), "snapshot"),
    "KV-REG-05": Check(("evicted", "registered"), "snapshot"),
    "KV-REG-06": Check(("looked for a removed key", "registered again")),
    "KV-REG-10": Check(("duplicate",), "allow"),
    "KV-EVC-01": Check(("evicted beside active",)),
    "KV-EVC-02": Check(("chose a victim",)),
    "KV-EVC-03": Check(("evicted", "registered again"), "events"),
    "KV-EVC-05": Check(("free first",)),
    "KV-EVC-06": Check(("evicted", "chose a victim"), "events"),
    "KV-EVC-07": Check(("woken", "evicted beside active")),
    "KV-EVC-08": Check(("chose a victim",)),
    "KV-INT-01": Check(("bytes", "hit"), "bytes"),
    "KV-EVT-01": Check(("registered", "evicted"), "events"),
    "KV-EVT-02": Check(("deduplicated", "evicted"), "events"),
    "KV-EVT-04": Check(("evicted",), "events"),
    "KV-SHD-01": Check(("closed twice",)),
}
"""Clauses that are judged by the model beside every call."""

CHECKS: Final[Mapping[str, Check]] = {**LOCKSTEP, **TRIAL_CHECKS}
"""By clause."""
