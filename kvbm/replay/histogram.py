"""A histogram whose buckets double in width: for quantities that span many sizes.

What this is
    Bucket 0 counts zeros, bucket k the values from 2ᵏ⁻¹ to 2ᵏ - 1: a value's bucket is its
    number of binary digits.

Interface, as rules of use
    * Values are whole numbers, not negative, below 2⁵³.
    * Two histograms can be added; nothing else changes one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from kvbm.replay.stream import Integers


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values fell into each bucket; the last bucket is not empty.

    Examples
    --------
    >>> histogram = Histogram.of(np.array([0, 1, 2, 3, 3, 4]))
    >>> [(Histogram.span(k), count) for k, count in enumerate(histogram.counts)]
    [((0, 0), 1), ((1, 1), 1), ((2, 3), 3), ((4, 7), 1)]
    """

    counts: tuple[int, ...] = ()

    @classmethod
    def of(cls, values: Integers) -> Histogram:
        """Count values. O(values)."""
        if len(values) == 0:
            return cls()
        assert values.min() >= 0, f"a histogram counts no negative value: {values.min()}"
        # frexp writes v as m · 2ᵉ with ½ ≤ m < 1, so that e is the number of binary digits.
        _, digits = np.frexp(values.astype(np.float64))
        return cls(tuple(np.bincount(digits).tolist()))

    @staticmethod
    def span(bucket: int) -> tuple[int, int]:
        """Smallest and largest value of a bucket."""
        return (0, 0) if bucket == 0 else (1 << (bucket - 1), (1 << bucket) - 1)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def __add__(self, other: Histogram) -> Histogram:
        pairs = zip_longest(self.counts, other.counts, fillvalue=0)
        return Histogram(tuple(one + another for one, another in pairs))
