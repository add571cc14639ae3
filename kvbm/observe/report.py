"""Everything that a page about replays shows, in one value.

What this is
    The seam between those who compute and the page, which only draws.

Interface, as rules of use
    * `results` are the replays that were asked for, the most important first; `curve` holds
      them and what else there is to draw, at other capacities.
    * `samples` describe `results[0]`.
"""

from __future__ import annotations

from dataclasses import dataclass

from kvbm.observe.numbers import capacity
from kvbm.replay.histogram import Histogram
from kvbm.replay.observer import Samples
from kvbm.replay.result import ReplayResult
from kvbm.replay.summary import Summary


@dataclass(frozen=True, slots=True)
class Report:
    """The contents of a page.

    Parameters
    ----------
    summary
        Of the trace.
    results
        At least one.
    curve
        All replays: `results`, and others for the curves.
    infinite
        What a cache that never evicts would have found.
    belady
        What Belady's MIN would have found, at each capacity.
    samples
        How `results[0]` went.
    reuse_distances : blocks
        Of all references that use a block again.
    first_uses : references
        How many references use a block for the first time.
    tiered
        The same trace through real tiers, if that was asked for.
    """

    summary: Summary
    results: tuple[ReplayResult, ...]
    curve: tuple[ReplayResult, ...]
    infinite: ReplayResult
    belady: tuple[ReplayResult, ...]
    samples: Samples
    reuse_distances: Histogram
    first_uses: int
    tiered: ReplayResult | None = None

    def notes(self) -> list[str]:
        """Say what a reader must know about `results`; equal notes of one cache size are one.

        Complexity
        ----------
        O(results).
        """
        policies: dict[tuple[int | None, str], list[str]] = {}
        for one in self.results:
            if one.note:
                policies.setdefault((one.blocks, one.note), []).append(one.policy)
        return [
            f"{', '.join(names)} with {capacity(blocks)} blocks: {note}"
            for (blocks, note), names in policies.items()
        ]
