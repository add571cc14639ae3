"""Checks: how each clause is checked, and what a run must have seen to say so.

What this is
    One registry. A clause passes when the search that can break it has found nothing, and
    has been in every situation that the clause is about: a run that evicted nothing says
    nothing about eviction, and is VACUOUS.

Interface, as rules of use
    * `CHECKS[clause_id]` names the situations of `Twin.situations` and what is needed of
      the subject. A clause that is not here is not checked yet, and is reported so.
    * `missing(check, subject)` gives the reason for a SKIP, or None.

Clauses: KV-LIF-01
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kvbm_spec.subject import Env, Inspectable, PoolConfig, Storing, Subject


@dataclass(frozen=True, slots=True)
class Check:
    """The situations that a lockstep run must reach, and what the subject must show."""

    situations: tuple[str, ...]
    needs: str = ""
    """`snapshot`, `bytes`, `events`, or `allow` for the second answer to duplicates."""


CHECKS: Final = {
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
"""By clause, in the order of the clauses."""

NOT_CHECKED: Final = "not checked by this version of the suite"


def missing(check: Check, subject: Subject, config: PoolConfig) -> str | None:
    """Tell what the subject lacks for this check; None if nothing."""
    capabilities = subject.capabilities()
    if check.needs == "events":
        return None if capabilities.events else "the subject tells no events"
    if check.needs == "allow":
        return None if "allow" in capabilities.duplicates else "duplicates are not allowed"
    if not check.needs:
        return None
    manager = subject.open(config, Env())
    able = isinstance(manager, Inspectable if check.needs == "snapshot" else Storing)
    manager.close()
    return None if able else f"the subject shows no {check.needs}"
