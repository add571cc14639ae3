"""Test patterns: bytes that say which block, layer and half they belong to.

What this is
    A copy is right when every byte of its target is the one that belongs there. So a
    region is filled with bytes that follow from its key, its layer, its outer index (K
    or V) and the offset in it, and nobody has to remember what was written where. This
    is the host's side, in NumPy; a kernel computes the same bytes, word by word.

    The bytes at offset 8i … 8i + 7 are one 64-bit word, little end first:

        region = mix(mix(mix(key) ^ layer) ^ outer)
        word i = mix(region + (i + 1) * STEP)                    modulo 2**64

    `mix` is the output function of SplitMix64, a bijection in which each input bit
    flips about half of the output bits. So words differ with the odds of a coin thrown
    64 times, between neighbours as well as between regions.

Interface, as rules of use
    * fill_pattern() writes a region, verify_pattern() names the first byte that is wrong.
    * A buffer is one region. Give contiguous memory of any type; its bytes count.
    * A region below 8 bytes has less than one word and may look like another by chance.

Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Region: TypeAlias = NDArray[Any] | bytearray | memoryview
"""Contiguous memory of any type."""

STEP: Final = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio, odd: what lies between the inputs of two words."""

FIRST: Final = 0xBF58476D1CE4E5B9
SECOND: Final = 0x94D049BB133111EB
"""The factors of `mix`."""

_MASK: Final = 2**64 - 1


def fill_pattern(buffer: Region, key: int, layer: int, outer: int) -> None:
    """Write the bytes of one region.

    Parameters
    ----------
    buffer : bytes
        Writable and contiguous.
    key, layer, outer
        Whose bytes they are; each in 0 … 2**64 - 1.

    Raises
    ------
    ValueError
        A number is out of range, or the buffer is read-only or has gaps. Nothing was written.

    Complexity
    ----------
    O(bytes), and as many bytes of memory again.
    """
    target = np.frombuffer(buffer, np.uint8)
    target[:] = pattern(target.size, key, layer, outer)


def verify_pattern(buffer: Region, key: int, layer: int, outer: int) -> int | None:
    """Give the index of the first byte that `fill_pattern` would have written otherwise.

    None if there is none. O(bytes).
    """
    found = np.frombuffer(buffer, np.uint8)
    wrong = np.flatnonzero(found != pattern(found.size, key, layer, outer))
    return int(wrong[0]) if wrong.size else None


def pattern(size: int, key: int, layer: int, outer: int) -> NDArray[np.uint8]:
    """Make the first `size` bytes of a region. O(size).

    Examples
    --------
    >>> pattern(8, key=1, layer=0, outer=0).tobytes().hex()
    'b4e5313490692a1a'
    """
    region = 0
    for name, value in (("key", key), ("layer", layer), ("outer", outer)):
        if not 0 <= value <= _MASK:
            raise ValueError(f"{name} = {value!r}: must be in 0 … 2**64 - 1")
        region = mix(region ^ value)
    with np.errstate(over="ignore"):  # modulo 2**64 is what we want
        words = np.arange(1, -(-size // 8) + 1, dtype=np.uint64) * np.uint64(STEP)
        words = mix_words(words + np.uint64(region))
    return words.astype("<u8").view(np.uint8)[:size]


def mix(value: int) -> int:
    """Scramble 64 bits, reversibly: SplitMix64's output function. The plain twin."""
    value = ((value ^ (value >> 30)) * FIRST) & _MASK
    value = ((value ^ (value >> 27)) * SECOND) & _MASK
    return value ^ (value >> 31)


def mix_words(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Do `mix` to each word. The fast twin."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(FIRST)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(SECOND)
    return words ^ (words >> np.uint64(31))
