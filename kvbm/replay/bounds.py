"""What no policy can know: hits with an endless cache, and with one that sees the future.

What this is
    Two yardsticks for a hit rate. `infinite` never evicts; what it misses was never there
    before. `belady` evicts the block whose next use is farthest away, and refuses a newcomer
    that is needed later than all that is stored (Belady's MIN).

Interface, as rules of use
    * Both count as the rule sets do: a request's hits are its *leading run*, the blocks from the
      first on that are cached, up to the first that is not. Look-up comes before change.
    * MIN has the fewest misses block by block. It is **not** proven to be the optimum for
      prefix hits: a block whose predecessor is gone is worth nothing, and MIN does not know.
    * An infinite cache *is* an upper bound for every policy.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from kvbm.compiled import compiled
from kvbm.errors import InvalidConfig
from kvbm.replay.stream import Integers, Stream


def infinite(stream: Stream) -> Integers:
    """Leading hits of each request when nothing is ever evicted.

    Returns
    -------
    int64[requests]
        Countable hits, blocks.

    Complexity
    ----------
    O(references).
    """
    seen_before = np.ones(len(stream.blocks), np.bool_)
    seen_before[np.unique(stream.blocks, return_index=True)[1]] = False
    return stream.leading_hits(seen_before)


def belady(stream: Stream, capacity: int) -> Integers:
    """Leading hits of each request in a cache of `capacity` blocks that sees the future.

    Returns
    -------
    int64[requests]
        Countable hits, blocks.

    Raises
    ------
    InvalidConfig
        `capacity` is less than 1.

    Complexity
    ----------
    O(references · log references).

    Examples
    --------
    Two blocks fit. Block 3 is not needed again and is refused:

    >>> stream = Stream.of([([1, 2], 2), ([3], 1), ([1, 2], 2)])
    >>> belady(stream, capacity=2).tolist()
    [0, 0, 2]
    """
    if capacity < 1:
        raise InvalidConfig("capacity", capacity, "must be at least 1 block")
    return stream.leading_hits(_minimum(stream.blocks, stream.next_uses(), capacity))


@compiled
def _minimum(blocks: Integers, next_uses: Integers, capacity: int) -> NDArray[np.bool_]:
    """Say for each reference whether MIN has its block in the cache.

    The heap holds minus the next use of each stored block. An entry of a block that was used
    in the meantime lies in the past, hence below all that matter, and need not be removed.

    A request names no block twice, so that none of its blocks can be evicted between look-up
    and use: every newcomer is needed later than all blocks that this request has yet to use.
    """
    never = len(blocks)
    stored = np.zeros(never + 1, np.bool_)
    hit = np.zeros(never, np.bool_)
    farthest = [0]
    room = capacity
    for position in range(never):
        block, following = blocks[position], next_uses[position]
        hit[position] = stored[block]
        if stored[block]:
            if following == never:
                stored[block] = False
                room += 1
            else:
                heapq.heappush(farthest, -following)
        elif following == never:
            continue
        elif room > 0:
            room -= 1
            stored[block] = True
            heapq.heappush(farthest, -following)
        elif -farthest[0] > following:
            stored[blocks[-farthest[0]]] = False
            stored[block] = True
            heapq.heapreplace(farthest, -following)
    return hit
