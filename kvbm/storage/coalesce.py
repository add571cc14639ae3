"""Coalesce: which blocks go into one disk request.

What this is
    A disk likes few large requests. Blocks whose bytes are neighbours in the file go into
    one vectored request, however scattered they are in memory. This is arithmetic on
    offsets and sizes; nothing is read or written here.

Interface, as rules of use
    * coalesce() gives groups of indices into your arrays. Each index is in exactly one
      group, groups are in file order, and so are the indices in a group.
    * Blocks that overlap are never neighbours; need_apart() refuses them for writes.

Clauses: KV-TIR-04
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from kvbm.errors import InvalidStorageConfig

Numbers: TypeAlias = NDArray[np.int64]


def coalesce(
    offsets: Numbers, sizes: Numbers, buffers: Numbers, most_bytes: int, most_buffers: int
) -> list[Numbers]:
    """Group blocks into requests.

    Parameters
    ----------
    offsets, sizes : int64[blocks]
        Where each block is in the file, and its bytes.
    buffers : int64[blocks]
        Of how many pieces of memory each block is made.
    most_bytes, most_buffers
        Limits of a request. A block that alone is above them is a request of its own.

    Returns
    -------
    list of int64[any length]
        Indices of the blocks of each request.

    Complexity
    ----------
    O(blocks log blocks).

    Examples
    --------
    >>> offsets = np.array([8, 0, 4, 20])
    >>> ones = np.ones(4, np.int64)
    >>> [group.tolist() for group in coalesce(offsets, 4 * ones, ones, 8, 1024)]
    [[1, 2], [0], [3]]
    """
    order = np.argsort(offsets, kind="stable")
    groups: list[list[int]] = []
    group: list[int] = []
    end = held = pieces = 0
    columns = (order, offsets[order], sizes[order], buffers[order])
    for index, offset, size, count in zip(*(each.tolist() for each in columns), strict=True):
        fits = held + size <= most_bytes and pieces + count <= most_buffers
        if group and not (offset == end and fits):
            groups.append(group)
            group, held, pieces = [], 0, 0
        group.append(index)
        end, held, pieces = offset + size, held + size, pieces + count
    if group:
        groups.append(group)
    return [np.array(each, np.int64) for each in groups]


def need_apart(offsets: Numbers, sizes: Numbers) -> None:
    """Raise `InvalidStorageConfig` if two blocks share a byte of the file. O(n log n)."""
    order = np.argsort(offsets, kind="stable")
    starts, ends = offsets[order], (offsets + sizes)[order]
    shared = np.flatnonzero(starts[1:] < ends[:-1])
    if shared.size:
        first, second = order[shared[0]], order[shared[0] + 1]
        rule = f"the block at {offsets[first]} reaches into it; write each byte once in a batch"
        raise InvalidStorageConfig(f"offsets[{second}]", int(offsets[second]), rule)
