"""A layout in memory: from now on, offsets are addresses.

What this is
    A layout, one memory for each of its storages, and the distance from the first byte of
    each memory to its first aligned one.

Interface, as rules of use
    * Make it with `layout.bind(memories)`. It keeps the memories alive.
    * `memory_region` is for those who move bytes, views are for those who read them.
    * Give views the liveness of the block that they are of: `alive=handle_is_alive`.

Clauses: KV-INT-01, KV-OWN-05
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from kvbm.errors import InvalidConfig, NotContiguous
from kvbm.layout.memory import Memory, MemoryRegion
from kvbm.layout.views import BlockView, LayerView, Place, always

if TYPE_CHECKING:  # a layout makes these, so it imports this module
    from kvbm.layout.base import Layout


class BoundLayout:
    """Blocks in memory. Immutable.

    Parameters
    ----------
    layout
    memories
        One for each storage, each of at least `layout.required_sizes()` bytes, or less by
        what its address is better aligned than feared.

    Raises
    ------
    InvalidConfig
        There are too many or too few memories, or one is too small.
    """

    def __init__(self, layout: Layout, memories: Sequence[Memory]) -> None:
        if len(memories) != layout.num_storages:
            rule = f"a {layout.kind.name} layout of this shape needs {layout.num_storages}"
            raise InvalidConfig("number of memories", len(memories), rule)
        self.layout = layout
        self.config = layout.config
        self.memories = tuple(memories)
        self.base_offsets = tuple(-memory.addr % self.config.alignment for memory in memories)
        sizes = zip(self.memories, self.base_offsets, layout.data_bytes, strict=True)
        for storage, (memory, base, data) in enumerate(sizes):
            if memory.size < base + data:
                rule = (
                    f"Storage size {memory.size} is less than required size {base + data} "
                    f"(including base offset for alignment)"
                )
                raise InvalidConfig(f"memories[{storage}].size", memory.size, rule)

    def memory_region(self, block: int, layer: int, outer: int) -> MemoryRegion:
        """Find the bytes of one index. O(1).

        Raises
        ------
        InvalidBlockIndex, InvalidLayerIndex, InvalidOuterIndex
        NotContiguous
            The order of the layout scatters a region over its block.
        """
        storage, offset = self.layout.offset(block, layer, outer)
        if not self.layout.whole_regions:
            order = self.config.order.name
            raise NotContiguous(f"in the order {order} a region is no single piece; use a view")
        addr = self.memories[storage].addr + self.base_offsets[storage] + offset
        return MemoryRegion(addr, self.layout.region_bytes(layer), storage)

    def layer_view(
        self,
        block: int,
        layer: int,
        outer: int = 0,
        *,
        readonly: bool = False,
        alive: Callable[[], bool] = always,
    ) -> LayerView:
        """View one region, without a copy. Raises as `memory_region`, but in every order."""
        self.layout.check_index(block, layer, outer)
        return LayerView(self._place(block, readonly, alive), layer, outer)

    def block_view(
        self, block: int, *, readonly: bool = False, alive: Callable[[], bool] = always
    ) -> BlockView:
        """View one block as a sequence of its layers. Raises InvalidBlockIndex."""
        self.layout.check_index(block)
        return BlockView(self._place(block, readonly, alive))

    def _place(self, block: int, readonly: bool, alive: Callable[[], bool]) -> Place:
        return Place(self, int(block), readonly, alive)

    def __repr__(self) -> str:
        return f"BoundLayout({self.layout!r})"
