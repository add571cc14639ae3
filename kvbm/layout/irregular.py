"""The layouts without even spacing: Ragged, and whatever a user makes up.

What this is
    Ragged         layers of different sizes, one storage each, as in models that mix kinds
                   of attention
    CustomLayout   a user's own address arithmetic, tried out once for every region

Interface, as rules of use
    * Neither has labelled axes. Their regions are moved as they are.
    * A strategy is asked for all blocks · layers · outers when the layout is made, and
      not again. It is refused if a region lies outside or two regions overlap.

Clauses: KV-INT-01, KV-INT-05
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol, final

import numpy as np
from numpy.typing import ArrayLike

from kvbm.errors import InvalidConfig
from kvbm.identity.tokens import exact_integer
from kvbm.layout.base import Integers, LayerRow, Layout
from kvbm.layout.config import LayoutConfig
from kvbm.layout.kinds import LayoutType


@final
class Ragged(Layout):
    """Layers of different sizes: [block][layer_bytes[layer]] in a storage for each layer.

    Parameters
    ----------
    config
        `outer_dim` is 1, the order unknown, the alignment 1. `inner_dim` is that of the
        widest layer.
    layer_bytes : bytes[num_layers]
        Of one block in each layer: a whole number of elements for each token.

    Examples
    --------
    >>> layout = Ragged(LayoutConfig(4, 2, 1, 4, 8), [64, 24])
    >>> layout.offset(3, 1, 0), layout.bytes_per_block, layout.region_shape(1)
    ((1, 72), 88, (4, 3))
    """

    def __init__(self, config: LayoutConfig, layer_bytes: Sequence[int]) -> None:
        sizes = [_bytes_of_layer(config, layer, size) for layer, size in enumerate(layer_bytes)]
        if len(sizes) != config.num_layers:
            rule = f"must have num_layers = {config.num_layers} entries"
            raise InvalidConfig("layer_bytes", tuple(sizes), rule)
        if max(sizes) != config.region_bytes:
            rule = f"must give the widest layer {max(sizes)} bytes"
            raise InvalidConfig("inner_dim", config.inner_dim, rule)
        if config.outer_dim != 1:
            raise InvalidConfig("outer_dim", config.outer_dim, "must be 1 in a ragged layout")
        if config.alignment != 1:
            raise InvalidConfig("alignment", config.alignment, "must be 1 in a ragged layout")
        _refuse_known_order(config)
        rows = [LayerRow(layer, 0, size, 0, size) for layer, size in enumerate(sizes)]
        data = [size * config.num_blocks for size in sizes]
        details = {"layer_bytes": sizes}
        super().__init__(LayoutType.Ragged, config, rows, data, details=details)

    def region_shape(self, layer: int = 0) -> tuple[int, ...]:
        """Shape of a region of this layer: (tokens, its own inner)."""
        page = self.config.page_size
        return page, self.region_bytes(layer) // (page * self.config.dtype.width)


class LayoutStrategy(Protocol):
    """A user's own address arithmetic, for `LayoutType.Custom(strategy)`."""

    @property
    def name(self) -> str:
        """What descriptors call it."""

    def storage_bytes(self, config: LayoutConfig) -> Sequence[int]:
        """Bytes of each storage that is needed."""

    def offset(self, config: LayoutConfig, block: int, layer: int, outer: int) -> tuple[int, int]:
        """Place a region of `config.region_bytes`: (index of the storage, byte offset)."""


@final
class CustomLayout(Layout):
    """Regions wherever a strategy puts them."""

    def __init__(self, config: LayoutConfig, strategy: LayoutStrategy) -> None:
        _refuse_known_order(config)
        for needed in ("name", "storage_bytes", "offset"):
            if not hasattr(strategy, needed):
                raise InvalidConfig("strategy", strategy, f"has no {needed}; see LayoutStrategy")
        data = [_bytes_of_storage(size) for size in strategy.storage_bytes(config)]
        self._places = _try_out(config, strategy, data)
        digest = hashlib.sha256(self._places.astype("<i8").tobytes()).hexdigest()
        details = {"strategy": strategy.name, "storage_bytes": data, "places": digest}
        rows = [LayerRow(0, 0, 0, 0, config.region_bytes)] * config.num_layers
        super().__init__(LayoutType.Custom, config, rows, data, details=details)

    def offset(self, block: int, layer: int, outer: int) -> tuple[int, int]:
        """Find a region: (index of its storage, byte offset in it). O(1)."""
        self.check_index(block, layer, outer)
        storage, offset = self._places[:, block, layer, outer].tolist()
        return storage, offset

    def offsets(
        self, blocks: ArrayLike, layers: ArrayLike, outers: ArrayLike
    ) -> tuple[Integers, Integers]:
        """Find many regions at once: `offset` for arrays, broadcast, indices not checked."""
        index = tuple(np.asarray(one, np.int64) for one in (blocks, layers, outers))
        return self._places[0][index], self._places[1][index]


def _bytes_of_layer(config: LayoutConfig, layer: int, size: object) -> int:
    token = config.page_size * config.dtype.width
    number = exact_integer(size)
    if number is None or number < 1 or number % token:
        rule = f"must be a positive multiple of {token}: tokens times bytes of an element"
        raise InvalidConfig(f"layer_bytes[{layer}]", size, rule)
    return number


def _bytes_of_storage(size: object) -> int:
    number = exact_integer(size)
    if number is None or number < 1:
        raise InvalidConfig("storage_bytes", size, "must be an integer of at least 1")
    return number


def _refuse_known_order(config: LayoutConfig) -> None:
    if config.order.known:
        rule = "must be UNKNOWN in a layout that is not evenly spaced"
        raise InvalidConfig("order", config.order, rule)


def _try_out(config: LayoutConfig, strategy: LayoutStrategy, data: list[int]) -> Integers:
    """Ask for every region; int64[2, block, layer, outer]: its storage, its offset."""
    shape = (config.num_blocks, config.num_layers, config.outer_dim)
    places = np.empty((2, *shape), np.int64)
    for index in np.ndindex(shape):
        storage, offset = strategy.offset(config, *index)
        if not 0 <= storage < len(data):
            raise InvalidConfig(f"storage of {index}", storage, f"there are {len(data)}")
        if not 0 <= offset <= data[storage] - config.region_bytes:
            rule = f"{config.region_bytes} bytes must fit the {data[storage]} of the storage"
            raise InvalidConfig(f"offset of {index}", offset, rule)
        if offset % config.dtype.width:
            rule = f"must be a multiple of an element's {config.dtype.width} bytes"
            raise InvalidConfig(f"offset of {index}", offset, rule)
        places[:, *index] = storage, offset
    storages, offsets = places.reshape(2, -1)
    order = np.lexsort((offsets, storages))
    near = (np.diff(storages[order]) == 0) & (np.diff(offsets[order]) < config.region_bytes)
    if near.any():
        first, second = (order[i] for i in (near.argmax(), near.argmax() + 1))
        indices = [tuple(map(int, np.unravel_index(i, shape))) for i in (first, second)]
        raise InvalidConfig("strategy", strategy.name, f"regions {indices} overlap")
    return places
