"""Copying: the inner loops that move pieces of host memory.

What this is
    One compiled loop over (target, source, size) rows, without the interpreter's lock. Small
    batches are copied with `memmove`, which leaves them in the cache for whoever reads next.
    Large ones *stream*: whole cache lines are written past the cache, four pages in turn.
    That is what a large `memcpy` does inside, and it does so here also when the batch is
    made of small regions. Writing through the cache instead would read every line first.

Interface, as rules of use
    * `copy_pieces(targets, sources, sizes)`: int64 arrays of addresses and bytes. Rows must
      not overlap; the plan has seen to that.
    * `copy_runs(…)` copies boxes of short runs, as when tokens and heads change places. The
      target is met in the order of its addresses, which is what streaming wants.
    * `copy_pieces_plainly` is the readable twin: the same, one `memmove` a row. That of
      `copy_runs` is `memory.permute`, in NumPy.

Clauses: KV-INT-01
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from kvbm.transfer.plan import Integers

STREAM: Final = 4 << 20
"""Batches of this many bytes would push everything else out of the cache."""

LINE: Final = 64
PAGE: Final = 4096
AT_ONCE: Final = 4
"""Pages written in turn: keeps several rows of the memory chips busy."""

INTERPRETED: Final = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


def copy_pieces(targets: Integers, sources: Integers, sizes: Integers) -> None:
    """Copy `sizes[i]` bytes from `sources[i]` to `targets[i]`, for every i."""
    if INTERPRETED:
        copy_pieces_plainly(targets, sources, sizes)
    else:
        _copy(targets, sources, sizes, int(sizes.sum()) >= STREAM)


def copy_runs(
    targets: Integers,
    sources: Integers,
    shape: tuple[int, ...],
    target_strides: tuple[int, ...],
    source_strides: tuple[int, ...],
    run: int,
) -> None:
    """Copy boxes of runs of `run` bytes, of any strides.

    Parameters
    ----------
    targets, sources : int64[boxes]
        Addresses of the first run of each box.
    shape : int[3]
        How many runs a box has along each axis.
    target_strides, source_strides : bytes[3]
    run : bytes
    """
    order = sorted(range(3), key=lambda axis: -target_strides[axis])
    counts, ours, theirs = (
        np.array([each[axis] for axis in order], np.int64)
        for each in (shape, target_strides, source_strides)
    )
    stream = len(targets) * int(np.prod(shape)) * run >= STREAM
    _copy_runs(targets, sources, counts, ours, theirs, run, stream)


def copy_pieces_plainly(targets: Integers, sources: Integers, sizes: Integers) -> None:
    """Do the same, one `memmove` after the other."""
    for target, source, size in zip(
        targets.tolist(), sources.tolist(), sizes.tolist(), strict=True
    ):
        ctypes.memmove(target, source, size)


def _move_typed(_typing: Any, _target: Any, _source: Any, _size: Any) -> Any:
    """`memmove` on addresses."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        target, source = (builder.inttoptr(address, pointer) for address in arguments[:2])
        move: Any = cgutils.raw_memmove
        move(builder, target, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


def _stream_line_typed(_typing: Any, _target: Any, _source: Any) -> Any:
    """Copy 64 bytes to an address that is a multiple of 64, past the cache."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = ir.VectorType(ir.IntType(8), LINE).as_pointer()
        target, source = (builder.inttoptr(address, pointer) for address in arguments)
        store = builder.store(builder.load(source, align=1), target, align=LINE)
        once = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        store.set_metadata("nontemporal", once)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


def _fence_typed(_typing: Any) -> Any:
    """Let nobody see what comes later before what was streamed."""

    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


_move: Any = intrinsic(_move_typed)
_stream_line: Any = intrinsic(_stream_line_typed)
_fence: Any = intrinsic(_fence_typed)


@numba.njit(cache=True, nogil=True)
def _copy(targets: Any, sources: Any, sizes: Any, stream: bool) -> None:
    group = AT_ONCE * PAGE
    for i in range(targets.size):
        target, source, size = targets[i], sources[i], sizes[i]
        if not stream or size < 2 * LINE:
            _move(target, source, size)
            continue
        head = -target % LINE
        _move(target, source, head)
        place = head
        while place + group <= size:
            for line in range(place, place + PAGE, LINE):
                _stream_line(target + line, source + line)
                _stream_line(target + line + PAGE, source + line + PAGE)
                _stream_line(target + line + 2 * PAGE, source + line + 2 * PAGE)
                _stream_line(target + line + 3 * PAGE, source + line + 3 * PAGE)
            place += group
        while place + LINE <= size:
            _stream_line(target + place, source + place)
            place += LINE
        _move(target + place, source + place, size - place)
    if stream:
        _fence()


@numba.njit(cache=True, nogil=True)
def _copy_runs(
    targets: Any, sources: Any, counts: Any, ours: Any, theirs: Any, run: int, stream: bool
) -> None:
    for box in range(targets.size):
        for i in range(counts[0]):
            for j in range(counts[1]):
                target = targets[box] + i * ours[0] + j * ours[1]
                source = sources[box] + i * theirs[0] + j * theirs[1]
                for _ in range(counts[2]):
                    if stream and (target | run) % LINE == 0:
                        for line in range(0, run, LINE):
                            _stream_line(target + line, source + line)
                    else:
                        _move(target, source, run)
                    target += ours[2]
                    source += theirs[2]
    if stream:
        _fence()
