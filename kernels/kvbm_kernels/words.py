"""64-bit words in a kernel: reading them from any address, writing them, scrambling them.

What this is
    Patterns and digests see a region as words, little end first. Words at multiples of 8 are
    one access. Others, and the last one of a region that ends inside a word, are taken
    byte by byte.

Interface, as rules of use
    * `WORDS` are the ways to see a region: pairs of words at multiples of 16, words at multiples
      of 8, and words anywhere (1). way() chooses.
    * load_bytes() gives zero bits for bytes that it does not read.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from kvbm_kernels.access import load1, store1
from kvbm_kernels.device import device_function
from kvbm_kernels.pattern import FIRST, SECOND
from kvbm_kernels.regions import Regions

WORDS: Final = (16, 8, 1)
"""Alignments that make a difference to words."""


def way(regions: Regions) -> int:
    """Choose how the words of regions are reached."""
    return next(each for each in WORDS if regions.alignment() >= each)


@device_function("uint64", "uint64")
def scramble(value: Any) -> Any:
    """`pattern.mix`, in a kernel."""
    value = np.uint64(value ^ np.uint64(value >> np.uint64(30))) * np.uint64(FIRST)
    value = np.uint64(value ^ np.uint64(value >> np.uint64(27))) * np.uint64(SECOND)
    return np.uint64(value ^ np.uint64(value >> np.uint64(31)))


@device_function("uint64", "uint64", "uint32")
def load_bytes(address: Any, count: Any) -> Any:
    """Read `count` bytes, at most 8, as one word."""
    word = np.uint64(0)
    for n in range(np.uint32(count)):
        byte = np.uint64(load1(np.uint64(address + np.uint64(n))))
        word = np.uint64(word | np.uint64(byte << np.uint64(8 * n)))
    return word


@device_function("void", "uint64", "uint64", "uint32")
def store_bytes(address: Any, word: Any, count: Any) -> Any:
    """Write the lowest `count` bytes of a word."""
    for n in range(np.uint32(count)):
        byte = np.uint8(np.uint64(word >> np.uint64(8 * n)) & np.uint64(0xFF))
        store1(np.uint64(address + np.uint64(n)), byte)
