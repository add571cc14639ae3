"""Order: which copies must wait for which.

What this is
    Two copies that touch the same block, and not both only to read it, run in the order in
    which they were submitted (read after write, write after read, write after write). All
    others may run side by side.

Interface, as rules of use
    * A Footprint says what one copy reads and writes. `conflict(a, b)` is all there is.
    * Blocks are compared one by one where both copies see the memory in one layout. The same
      memory in two layouts counts as one block: correct, and slower.

Clauses: KV-TIR-04
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

from kvbm.layout import BoundLayout

Span: TypeAlias = tuple[int, int, int]
"""An address space (0, or the identity of a file), first byte, and the byte after the last."""


def spans(bound: BoundLayout) -> tuple[Span, ...]:
    """Say which bytes a bound layout is in."""
    return tuple(
        (0 if memory.addr else id(memory), memory.addr, memory.addr + memory.size)
        for memory in bound.memories
    )


def overlap(first: Iterable[Span], second: Sequence[Span]) -> bool:
    """Whether a byte is in both. O(spans²)."""
    return any(
        one[0] == other[0] and one[1] < other[2] and other[1] < one[2]
        for one in first
        for other in second
    )


@final
@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Some blocks of a bound layout."""

    bound: BoundLayout
    ids: frozenset[int]
    spans: tuple[Span, ...]  # kept, since a closed memory does not tell any more

    def meets(self, other: Blocks) -> bool:
        """Whether a byte may be in both. O(smaller number of ids)."""
        if self.bound is not other.bound:
            if not overlap(self.spans, other.spans):
                return False
            if self.spans != other.spans or self.bound.layout != other.bound.layout:
                return bool(self.ids and other.ids)
        return not self.ids.isdisjoint(other.ids)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Footprint:
    """What one copy touches."""

    reads: Blocks
    writes: Blocks

    @classmethod
    def of(
        cls,
        source: BoundLayout,
        source_ids: Iterable[int],
        target: BoundLayout,
        target_ids: Iterable[int],
    ) -> Footprint:
        """Make the footprint of a copy."""
        return cls(
            Blocks(source, frozenset(source_ids), spans(source)),
            Blocks(target, frozenset(target_ids), spans(target)),
        )


def conflict(first: Footprint, second: Footprint) -> bool:
    """Whether the two must not run side by side."""
    return (
        first.writes.meets(second.writes)
        or first.writes.meets(second.reads)
        or first.reads.meets(second.writes)
    )
