"""Regions: which pieces of memory a kernel reads or writes, and how its threads share them.

What this is
    KV blocks lie in memory in few ways: one address for each (block, layer, outer), as in
    paged layers, or one for each block, with its layers at equal distances. A `Regions`
    says both: a table of bases, and under each base `parts` regions, `stride` bytes apart.

        region r = bases[r // parts] + (r % parts) * stride

    So a table is as short as the layout allows, and gathering from layers into whole
    blocks is a copy between two `Regions` of equal length.

    A kernel walks over *units*: each region is cut into equal pieces, so that few large
    regions still keep all of a GPU busy, and a small grid serves many units in turn.

Interface, as rules of use
    * Bases are addresses; NumPy converts them to 64 bits. Nothing is read here.
    * check_disjoint() before anything is written.
    * A table lives as long as the kernel that reads it runs: whoever launches sees to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kvbm_kernels.access import load8
from kvbm_kernels.device import SIMULATED, device_function

Table = NDArray[np.uint64]

THREADS: Final = 16 if SIMULATED else 128
"""Threads of a CUDA block, in every kernel of this package. Each is slow in the simulator."""

MOST: Final = 2**30
"""Steps of a region, and units of a launch: kernels count in 32 bits, with room to spare."""


@dataclass(frozen=True, eq=False)
class Regions:
    """Pieces of memory of equal size: `parts` under each base, `stride` bytes apart."""

    bases: Table
    parts: int = 1
    stride: int = 0

    @staticmethod
    def at(addresses: ArrayLike, parts: int = 1, stride: int = 0) -> Regions:
        """Make regions from any sequence of addresses.

        Raises
        ------
        ValueError
            An address is null or not in 0 … 2**64 - 1, or parts and stride make no sense.

        Complexity
        ----------
        O(bases).
        """
        bases = whole_numbers("addresses", addresses).ravel()
        if not bases.all():
            raise ValueError("a null address in a table: every region has one")
        if parts < 1 or stride < 0 or (parts > 1 and stride == 0):
            raise ValueError(f"{parts} parts {stride} bytes apart: must be at least one, apart")
        return Regions(bases, parts, stride)

    def __len__(self) -> int:
        return self.bases.size * self.parts

    def addresses(self) -> Table:
        """Give the address of each region. O(regions)."""
        offsets = np.arange(self.parts, dtype=np.uint64) * np.uint64(self.stride)
        return (self.bases[:, None] + offsets).ravel()  # (bases, parts)

    def extent(self, size: int) -> int:
        """Give the bytes from a base to the end of its last region."""
        return (self.parts - 1) * self.stride + size

    def apart(self, size: int) -> bool:
        """Say whether regions of this size end before the next one under the same base."""
        return self.parts == 1 or self.stride >= size

    def alignment(self) -> int:
        """Give the largest power of two, at most 16, that divides every region's address."""
        bits = int(np.bitwise_or.reduce(self.bases, initial=np.uint64(16)))
        if self.parts > 1:
            bits |= self.stride
        return bits & -bits


def whole_numbers(name: str, values: ArrayLike) -> Table:
    """Take integers of 64 bits, contiguous; refuse others by name.

    NumPy by itself makes floats of a list that has both small and huge integers.
    """
    given = np.asarray(values)
    if given.dtype.kind not in "iu":
        given = np.asarray(values, object)
        if not all(isinstance(each, int | np.integer) for each in given.flat):
            raise ValueError(f"{name}: must be integers")
    if given.size and not 0 <= int(given.min()) <= int(given.max()) < 2**64:
        raise ValueError(f"{name}: must be in 0 … 2**64 - 1")
    return np.asarray(given, np.uint64, order="C")


def check_size(size: int) -> None:
    """Refuse a number of bytes below 0."""
    if size < 0:
        raise ValueError(f"size = {size}: must not be negative")


def results_at(address: int, width: int, count: int, src: Regions, src_size: int) -> Regions:
    """Give the place of `count` results, `width` bytes each; it is aligned and apart from `src`."""
    results = Regions.at([address])
    if results.alignment() < width:
        raise ValueError(f"results at {address:#x}: must be a multiple of {width}")
    check_disjoint(results, width * count, src, src_size)
    return results


def check_apart(regions: Regions, size: int) -> None:
    """Refuse regions that run into the next one under the same base."""
    if not regions.apart(size):
        raise ValueError(f"regions of {size} bytes, {regions.stride} bytes apart: they overlap")


def check_same_count(dst: Regions, src: Regions) -> None:
    """Refuse lists of unequal length."""
    if len(dst) != len(src):
        raise ValueError(f"{len(src)} source regions for {len(dst)} target regions: must be equal")


def check_disjoint(
    dst: Regions, dst_size: int, src: Regions | None = None, src_size: int = 0
) -> None:
    """Refuse targets that overlap each other or a source. Sources may overlap each other.

    Parameters
    ----------
    dst, src
        Targets, and sources where there are any.
    dst_size, src_size
        Bytes from the start of a region to its end.

    Raises
    ------
    ValueError
        Two regions share a byte. It names the address. Where regions of targets reach beyond the
        next one under their base, as rows of a universal block do, all from the first to the last
        is taken.

    Complexity
    ----------
    O(bases · log(bases)); with regions for bases, if those of several bases are interleaved.
    """
    sources = Regions(np.empty(0, np.uint64)) if src is None else src
    clash = _clash(dst.bases, sources.bases, dst.extent(dst_size), sources.extent(src_size))
    if clash and dst.apart(dst_size):  # what lies under several bases may be interleaved
        clash = _clash(dst.addresses(), sources.addresses(), dst_size, src_size)
    if clash:
        raise ValueError(clash)


def _clash(targets: Table, sources: Table, target_size: int, source_size: int) -> str:
    """Say which pieces of memory overlap; nothing if none do."""
    starts = np.sort(targets)
    near = np.flatnonzero(np.diff(starts) < np.uint64(target_size))
    if near.size:
        return f"targets overlap at {int(starts[near[0] + 1]):#x}: each byte is written once"
    if not starts.size:
        return ""
    after = np.searchsorted(starts, sources)  # the first target at or after each source
    following = starts[np.minimum(after, starts.size - 1)]
    previous = starts[np.maximum(after, 1) - 1]
    clash = ((after < starts.size) & (following - sources < np.uint64(source_size))) | (
        (after > 0) & (sources - previous < np.uint64(target_size))
    )
    if not clash.any():
        return ""
    at = int(sources[np.flatnonzero(clash)[0]])
    return f"the source at {at:#x} overlaps a target: nothing reads what it writes"


def widest(size: int, *regions: Regions) -> int:
    """Give the widest access, 16, 8, 4, 2 or 1 bytes, that divides a size and all addresses."""
    bits = 16 | size
    for each in regions:
        bits |= each.alignment()
    return bits & -bits


def cut(regions: int, steps: int, blocks: int) -> tuple[int, int]:
    """Say into how many pieces each region is cut, and how many CUDA blocks serve them.

    Parameters
    ----------
    regions, steps
        How many there are, and how many accesses each takes.
    blocks
        How many CUDA blocks may run: few where the bus is the limit, as many as the GPU holds
        where its memory is.

    Returns
    -------
    pieces, grid
        Pieces have at least four accesses a thread, for those are under way together; the last
        ones of a region have what is left.
    """
    if blocks < 1:
        raise ValueError(f"blocks = {blocks}: must be at least 1")
    if steps > MOST:
        raise ValueError(f"a region of {steps} accesses: kernels count to {MOST}")
    pieces = max(1, min(blocks // regions, steps // (4 * THREADS)))
    if regions * pieces > MOST:
        raise ValueError(f"{regions} regions in one launch: kernels count to {MOST}")
    return pieces, min(regions * pieces, blocks)


@device_function("uint64", "uint64", "uint32", "uint64", "uint32")
def region_at(table: Any, parts: Any, stride: Any, region: Any) -> Any:
    """Give the address of a region, in a kernel."""
    base = load8(table + np.uint64(8) * np.uint64(np.uint32(region // parts)))
    return np.uint64(base + np.uint64(np.uint32(region % parts)) * stride)


@device_function("uint32x2", "uint32", "uint32", "uint32")
def piece_of(unit: Any, pieces: Any, steps: Any) -> Any:
    """Give the first step of a unit's piece and the step after its last, in a kernel.

    Pieces are whole rounds of the CUDA block, but for the last.
    """
    one, threads = np.uint32(1), np.uint32(THREADS)
    rounds = np.uint32(np.uint32(steps + np.uint32(threads - one)) // threads)
    share = np.uint32(np.uint32(rounds + np.uint32(pieces - one)) // pieces) * threads
    first = np.uint32(np.uint32(unit % pieces) * np.uint32(share))
    return min(first, steps), min(np.uint32(first + np.uint32(share)), steps)
