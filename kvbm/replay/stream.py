"""What a rule set looks up, flattened into arrays for the algorithms that see the future.

What this is
    A replay as one long row of block references. Bounds and reuse distances need nothing
    else: no pool, no tokens, no policy.

Interface, as rules of use
    * Blocks are renumbered densely, 0, 1, 2, … in order of first use, so that an array can be
      indexed with them.
    * `limits` is what may be *counted* for a request. All its references are *made* in any case.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """Block references of all requests, one after the other.

    Parameters
    ----------
    blocks : int64[references]
        Dense numbers of the blocks.
    starts : int64[requests + 1]
        Request r makes the references `starts[r] … starts[r + 1] - 1`.
    limits : int64[requests]
        Most leading hits that count for a request.
    distinct : blocks
        How many different blocks there are.
    """

    blocks: Integers
    starts: Integers
    limits: Integers
    distinct: int

    @classmethod
    def of(cls, lookups: Iterable[tuple[Sequence[int], int]]) -> Stream:
        """Flatten the ids and the limit of each request. O(references).

        Examples
        --------
        >>> stream = Stream.of([([70, 71], 2), ([70, 99], 2)])
        >>> stream.blocks.tolist(), stream.starts.tolist(), stream.distinct
        ([0, 1, 0, 2], [0, 2, 4], 3)
        """
        number_of: dict[int, int] = {}
        blocks: list[int] = []
        starts = [0]
        limits: list[int] = []
        for ids, limit in lookups:
            blocks.extend([number_of.setdefault(name, len(number_of)) for name in ids])
            starts.append(len(blocks))
            limits.append(limit)
        return cls(
            np.array(blocks, np.int64),
            np.array(starts, np.int64),
            np.array(limits, np.int64),
            len(number_of),
        )

    def next_uses(self) -> Integers:
        """For each reference, where the same block is used next; `len(blocks)` for never.

        Complexity
        ----------
        O(references · log references), one sort.

        Examples
        --------
        >>> Stream.of([([5, 6], 2), ([5], 1)]).next_uses().tolist()
        [2, 3, 3]
        """
        following = np.full(len(self.blocks), len(self.blocks), np.int64)
        order = np.argsort(self.blocks, kind="stable")
        again = self.blocks[order[:-1]] == self.blocks[order[1:]]
        following[order[:-1][again]] = order[1:][again]
        return following

    def leading_hits(self, hit: NDArray[np.bool_]) -> Integers:
        """Count each request's leading run, given which references found their block.

        Returns
        -------
        int64[requests]
            Hits up to the first miss and at most the request's limit, blocks.

        Complexity
        ----------
        O(references + requests · log references).
        """
        misses = np.append(np.flatnonzero(~hit), len(hit))
        first_miss = misses[np.searchsorted(misses, self.starts[:-1])]
        runs: Integers = np.minimum(first_miss, self.starts[1:]) - self.starts[:-1]
        counted: Integers = np.minimum(runs, self.limits)
        return counted
