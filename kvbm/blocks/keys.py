"""Keys: what the loops over slots know of a sequence hash.

What this is
    Slots and registry work on 64-bit keys. A 64-bit hash is its own key. A longer one
    (`lineage`, 128 bits; `sha256`, 256 bits) is cut to 64 bits for them, and the pool
    keeps the whole hash beside the slot and compares it at every hit: two hashes that
    share a key are a miss, never a mix-up.

Interface, as rules of use
    * `to_keys(hashes)` makes the array once, at the edge; inside, only arrays travel.
    * A NumPy uint64 array is taken as it is.

Clauses: KV-IDN-06, KV-IDN-08
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from kvbm.blocks.slots import Keys
from kvbm.errors import InvalidHash

SequenceHash: TypeAlias = int | bytes
"""Full name of a block's prefix: an integer of 64 or 128 bits, or 32 bytes."""

Hashes: TypeAlias = Sequence[SequenceHash] | Keys
"""Sequence hashes of one call: uint64[blocks], or a sequence of integers or bytes."""

_UINT64 = np.dtype(np.uint64)
_UINT64 = np.dtype(np.uint64)
_NO_LISTS = (bytes, bytearray, str, type(None))
_MASK = (1 << 64) - 1


def to_keys(hashes: Hashes, bits: int = 64) -> Keys:
    """Make 64-bit keys of sequence hashes.

    Parameters
    ----------
    hashes
        uint64[blocks], or a sequence of integers (or `bytes` where `bits` > 64).
    bits
        Length of a hash: 64, 128 or 256.

    Returns
    -------
    uint64[blocks]
        Contiguous; the input itself if it is such an array already.

    Raises
    ------
    InvalidHash
        A hash is of another type, negative, or longer than `bits`.

    Complexity
    ----------
    O(blocks), O(1) for an array.
    """
    if (
        isinstance(hashes, np.ndarray)
        and hashes.dtype == _UINT64
        and hashes.ndim == 1
        and bits == 64
    ):
        return hashes if hashes.flags.c_contiguous else np.ascontiguousarray(hashes)
    if isinstance(hashes, _NO_LISTS):
        raise InvalidHash(0, hashes, bits)  # one name, and not a sequence of them
    if bits > 64:
        return np.array([fold(name, bits, i) for i, name in enumerate(hashes)], np.uint64)
    try:
        return np.frombuffer(array("Q", hashes), np.uint64)
    except (TypeError, OverflowError):
        return np.array([fold(name, bits, i) for i, name in enumerate(hashes)], np.uint64)


def fold(name: SequenceHash, bits: int, index: int = 0) -> int:
    """Cut one hash to its key: the xor of its 64-bit words, so that every bit counts."""
    value = int.from_bytes(name, "big") if isinstance(name, bytes) and bits > 64 else name
    if isinstance(value, np.integer):
        value = int(value)
    if not isinstance(value, int) or value < 0 or value >> bits:
        raise InvalidHash(index, name, bits)
    key = 0
    while value:
        key ^= value & _MASK
        value >>= 64
    return key
