"""Memory executor: copies between places that the host can reach.

What this is
    System, pinned and emulated device memory. Each plan is one call of a compiled loop.
    `permute` is the readable twin of the one for a Transform: an assignment between two
    strided NumPy views of the same shape.

Interface, as rules of use
    * start() is over when it returns: there is nothing to wait for.

Clauses: KV-INT-01, KV-TIR-08
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from kvbm.layout import BoundLayout
from kvbm.transfer.copying import INTERPRETED, copy_pieces, copy_runs
from kvbm.transfer.piece import Piece, addresses
from kvbm.transfer.plan import Direct, Side, Transform
from kvbm.transfer.request import Request


@final
class MemoryExecutor:
    """Copies in the calling thread."""

    def start(self, piece: Piece) -> list[Request]:
        """Copy, and give nothing to wait for."""
        plan = piece.plan()
        if isinstance(plan, Direct):
            copies = plan.copies
            copy_pieces(
                addresses(piece.target, copies.target_storage, copies.target_offset),
                addresses(piece.source, copies.source_storage, copies.source_offset),
                copies.size,
            )
        elif INTERPRETED:
            permute(piece.source, piece.target, plan)
        else:
            permute_fast(piece.source, piece.target, plan)
        return []


def permute_fast(source: BoundLayout, target: BoundLayout, plan: Transform) -> None:
    """Do what `permute` does, in compiled code: the head dimension is one run on both sides."""
    *shape, head_dim = plan.shape
    copy_runs(
        addresses(target, plan.target.storage, plan.target.offset).ravel(),
        addresses(source, plan.source.storage, plan.source.offset).ravel(),
        tuple(shape),
        plan.target.strides[:3],
        plan.source.strides[:3],
        head_dim * plan.width,
    )


def permute(source: BoundLayout, target: BoundLayout, plan: Transform) -> None:
    """Bring the elements of a Transform into their new order, layer by layer."""
    pairs, layers = plan.source.offset.shape
    for pair in range(pairs):
        for layer in range(layers):
            ours = _view(target, plan.target, plan, pair, layer)
            ours[...] = _view(source, plan.source, plan, pair, layer)


def _view(bound: BoundLayout, side: Side, plan: Transform, pair: int, layer: int) -> NDArray[Any]:
    """Look at one layer of one block: [outer, token, head, dim], with its true strides."""
    storage = int(side.storage[layer])
    start = bound.base_offsets[storage] + int(side.offset[pair, layer])
    return np.ndarray(
        plan.shape,
        f"u{plan.width}",
        bound.memories[storage].array(),
        start,
        side.strides,
    )
