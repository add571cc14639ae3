"""Test bytes: what a block must hold, computed from its hash.

What this is
    Word k of the block with hash h is mix(h ^ mix(k)), where mix is a bijection of 64-bit
    numbers. So any block can be checked without a record of what was written, and no two
    words of a block, nor the same word of two blocks, are equal: a layer, a key and a value,
    or a token that is in the wrong place is a wrong byte.

Source of the mixing function: SplitMix64 (Steele, Lea, Flood, 2014).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kvbm.blocks.slots import Ids, Keys
from kvbm.compiled import compiled

Words = NDArray[np.uint64]
"""uint64[blocks, words]: the memory of a tier, one row a block."""


@compiled
def mix(number: np.uint64) -> np.uint64:
    """Mix 64 bits; a bijection."""
    number = (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.uint64(number ^ (number >> np.uint64(31)))


@compiled
def fill_blocks(words: Words, ids: Ids, hashes: Keys) -> None:
    """Write the bytes of `hashes` into the blocks `ids`. O(bytes)."""
    for index in range(ids.size):
        row = words[ids[index]]
        for k in range(row.size):
            row[k] = mix(hashes[index] ^ mix(np.uint64(k)))


@compiled
def wrong_blocks(words: Words, ids: Ids, hashes: Keys) -> int:
    """Count the blocks `ids` that do not hold the bytes of `hashes`. O(bytes)."""
    wrong = 0
    for index in range(ids.size):
        row = words[ids[index]]
        for k in range(row.size):
            if row[k] != mix(hashes[index] ^ mix(np.uint64(k))):
                wrong += 1
                break
    return wrong
