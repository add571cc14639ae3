"""Layouts: where the bytes of each block lie, and how to look at them.

What this is
    The room of address arithmetic: (block, layer, outer) → storage and offset. It knows
    nothing of devices, allocators and pools.

    Read `config`, `axes`, `base` and `regular`; then `bound` and `views`. `irregular`,
    `descriptor` and `dlpack` can wait until they are needed.

Interface, as rules of use
    * A layout is arithmetic. `bind` joins it with memory; then there are views.
    * Import from here; the modules are for reading.

Clauses: KV-INT-01, KV-INT-05
"""

from kvbm.layout.axes import Axis, BlockOrder, Label
from kvbm.layout.base import Layout
from kvbm.layout.bound import BoundLayout
from kvbm.layout.config import LayoutConfig
from kvbm.layout.descriptor import LayoutDescriptor
from kvbm.layout.dtypes import DType
from kvbm.layout.factory import layout_from, make_layout
from kvbm.layout.irregular import CustomLayout, LayoutStrategy, Ragged
from kvbm.layout.kinds import ChosenLayout, LayoutType
from kvbm.layout.memory import Memory, MemoryRegion
from kvbm.layout.regular import FullyContiguous, LayerSeparate, Paged, outer_comes_first
from kvbm.layout.views import BlockView, LayerView

__all__ = [
    "Axis",
    "BlockOrder",
    "BlockView",
    "BoundLayout",
    "ChosenLayout",
    "CustomLayout",
    "DType",
    "FullyContiguous",
    "Label",
    "LayerSeparate",
    "LayerView",
    "Layout",
    "LayoutConfig",
    "LayoutDescriptor",
    "LayoutStrategy",
    "LayoutType",
    "Memory",
    "MemoryRegion",
    "Paged",
    "Ragged",
    "layout_from",
    "make_layout",
    "outer_comes_first",
]
