"""Reuse distance: how many other blocks are used before a block is used again.

What this is
    The quantity that a cache's size competes with: an LRU list of N blocks finds a block again
    exactly when fewer than N others were used in between. It is a property of the trace alone.

Interface, as rules of use
    * The first use of a block has no distance: it is -1.
    * Distances count *different* blocks (a stack distance), not references.
"""

from __future__ import annotations

import numpy as np

from kvbm.compiled import compiled
from kvbm.replay.stream import Integers, Stream


def reuse_distances(stream: Stream) -> Integers:
    """For each reference, how many other blocks were used since the block's last use.

    Returns
    -------
    int64[references]
        Blocks; -1 where a block is used for the first time.

    Complexity
    ----------
    O(references · log references).

    Examples
    --------
    >>> reuse_distances(Stream.of([([1, 2], 2), ([3, 2], 2), ([1], 1)])).tolist()
    [-1, -1, -1, 1, 2]
    """
    return _distances(stream.blocks, stream.distinct)


@compiled
def _distances(blocks: Integers, distinct: int) -> Integers:
    """Keep one mark per block, at its latest use; the marks in between are the distance.

    `tree` is a Fenwick tree over the positions 1 … n: node i holds the number of marks in the
    `i & -i` positions that end at i.
    """
    size = len(blocks)
    tree = np.zeros(size + 1, np.int64)
    latest = np.zeros(distinct, np.int64)
    distances = np.full(size, -1, np.int64)
    marks = 0
    for position in range(1, size + 1):
        block = blocks[position - 1]
        before = latest[block]
        if before > 0:
            up_to = 0
            node = before
            while node > 0:
                up_to += tree[node]
                node -= node & -node
            distances[position - 1] = marks - up_to
            node = before
            while node <= size:
                tree[node] -= 1
                node += node & -node
        else:
            marks += 1
        node = position
        while node <= size:
            tree[node] += 1
            node += node & -node
        latest[block] = position
    return distances
