"""Dispatch: which way bytes go, and whether a kernel or a copy engine moves them.

What this is
    Plain copies can be made by the copy engines (a batch of copies) or by a kernel. The rule,
    in order:

        1. fewer than `few` copies               batch: only the launch costs
        2. inside the GPU                        kernel, on all multiprocessors
        3. over the bus, `chunk` bytes or more   batch: it takes no multiprocessor
        4. over the bus, smaller                 kernel, with `bus_blocks` CUDA blocks

    A change of layout always takes a kernel, over the bus too: it reads or writes pinned
    memory where it lies.

    The numbers are starting points from published measurements on H100 with PCIe 5. Measure
    on your machine (`make gpu` prints both ways side by side) and give a `Rule` of your own.

Interface, as rules of use
    * The size that counts is that of the smallest copy after joining neighbours.
    * `blocks` says how many CUDA blocks an operation should be given for a way.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from kvbm_kernels.regions import Regions


class Way(enum.Enum):
    """From where to where."""

    HOST_TO_DEVICE = "H2D"
    DEVICE_TO_HOST = "D2H"
    INSIDE_DEVICE = "D2D"


class Method(enum.Enum):
    """Who moves the bytes."""

    BATCH = "batch"
    KERNEL = "kernel"


@dataclass(frozen=True)
class Rule:
    """The thresholds, in one place."""

    few: int = 16
    """Copies below which a batch is always right."""
    chunk: int = 28 * 1024
    """Bytes from which a copy engine fills the bus."""
    bus_blocks: int = 12
    """CUDA blocks that fill the bus: about 70 KB on their way, 8 KB for each block."""
    blocks_per_multiprocessor: int = 8
    """CUDA blocks on each multiprocessor, inside the GPU."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} = {value}: must be at least 1")

    def method(self, way: Way, copies: int, smallest: int) -> Method:
        """Choose for a plain copy.

        Examples
        --------
        >>> Rule().method(Way.HOST_TO_DEVICE, copies=160, smallest=32768).value
        'batch'
        >>> Rule().method(Way.HOST_TO_DEVICE, copies=160, smallest=4096).value
        'kernel'
        """
        if copies < self.few:
            return Method.BATCH
        if way is Way.INSIDE_DEVICE or smallest < self.chunk:
            return Method.KERNEL
        return Method.BATCH

    def blocks(self, way: Way, multiprocessors: int) -> int:
        """Say how many CUDA blocks work on this way."""
        if way is Way.INSIDE_DEVICE:
            return self.blocks_per_multiprocessor * multiprocessors
        return self.bus_blocks


def joined(dst: Regions, src: Regions, size: int) -> tuple[Regions, Regions, int]:
    """Join regions that follow each other without a gap on both sides, inside their bases.

    Never across bases: these may be allocations that touch by accident.

    Examples
    --------
    >>> gapless = Regions.at([4096], parts=4, stride=512)
    >>> joined(gapless, Regions.at([8192], parts=4, stride=512), 512)[2]
    2048
    """
    if dst.parts == src.parts and dst.stride == src.stride == size:
        return Regions(dst.bases), Regions(src.bases), size * dst.parts
    return dst, src, size
