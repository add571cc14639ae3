"""Ways: what was offloaded between two tiers, by hand or because it was evicted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from kvbm.tiering.outcome import Outcome
from kvbm.tiering.route import Route
from kvbm.tiering.write_back import WriteBack


def count_offloaded(ways: Sequence[Route | WriteBack]) -> Mapping[str, Mapping[Outcome, int]]:
    """Add up the outcomes of all ways that lead from one tier to the same other."""
    counted: dict[str, Counter[Outcome]] = {}
    for way in ways:
        name = f"{way.source.name} to {way.target.name}"
        counted.setdefault(name, Counter()).update(way.ended)
    return counted
