"""Memory executor: copies between places that the host can reach.

What this is
    System, pinned and emulated device memory. A Direct plan is one call of the compiled
    loop; a Transform is an assignment between two strided NumPy views of the same shape.

Interface, as rules of use
    * start() is over when it returns: there is nothing to wait for.

Clauses: KV-INT-01, KV-TIR-08
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from kvbm.layout import BoundLayout
from kvbm.transfer.copying import copy_pieces
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
        else:
            permute(piece.source, piece.target, plan)
        return []


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
