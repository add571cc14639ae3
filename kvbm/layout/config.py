"""The numbers that a layout is made of, checked once.

What this is
    How many blocks, and the shape of one: layers, outer (key and value), tokens and
    elements per token.

Interface, as rules of use
    * All numbers are checked here and nowhere else; the error names field and value.
    * `region` is what one (block, layer, outer) index names: `page_size · inner_dim`
      elements.
    * `num_heads` and `order` come together: who knows the order knows the heads.

Clauses: KV-INT-05
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from kvbm.errors import InvalidConfig
from kvbm.identity.tokens import exact_integer
from kvbm.layout.axes import BlockOrder
from kvbm.layout.dtypes import DType

LARGEST = 2**63 - 1
"""Bytes, and everything smaller, fit 64 bits with a sign."""


@dataclass(frozen=True)
class LayoutConfig:
    """Shape of a block, and how many there are.

    Parameters
    ----------
    num_blocks : blocks
    num_layers : layers
    outer_dim
        2 where key and value are apart, 1 where they are one, as in MLA.
    page_size : tokens
    inner_dim : elements of one token in one layer and outer, all heads together.
    dtype
        Type of one element.
    alignment : bytes
        A power of two. Every block starts at a multiple of it; 1 is none.
    num_heads
        Heads in `inner_dim`; None where the bytes of a region are opaque.
    order
        How a block is nested. A known order needs `num_heads`.

    Raises
    ------
    InvalidConfig
        A value is impossible.

    Examples
    --------
    >>> LayoutConfig(1000, 32, 2, 16, 4096).bytes_per_block
    8388608
    """

    num_blocks: int
    num_layers: int
    outer_dim: int
    page_size: int
    inner_dim: int
    dtype: DType = DType.FP16
    alignment: int = 1
    num_heads: int | None = None
    order: BlockOrder = BlockOrder.UNKNOWN

    def __post_init__(self) -> None:
        if not isinstance(self.dtype, DType):
            raise InvalidConfig("dtype", self.dtype, "must be a DType")
        if not isinstance(self.order, BlockOrder):
            raise InvalidConfig("order", self.order, "must be a BlockOrder")
        for field in ("num_blocks", "num_layers", "page_size", "inner_dim", "alignment"):
            self._integer(field, "must be an integer of at least 1")
        self._integer("outer_dim", "must be 1 or 2", highest=2)
        if self.alignment & (self.alignment - 1):
            raise InvalidConfig("alignment", self.alignment, "must be a power of two, in bytes")
        if self.num_heads is not None:
            self._integer("num_heads", "must be an integer of at least 1, or None")
            if self.inner_dim % self.num_heads:
                rule = f"must divide inner_dim = {self.inner_dim}"
                raise InvalidConfig("num_heads", self.num_heads, rule)
        elif self.order.known:
            raise InvalidConfig("num_heads", None, f"the order {self.order.name} needs it")

    def _integer(self, field: str, rule: str, highest: int = LARGEST) -> None:
        value = getattr(self, field)
        number = exact_integer(value)
        if number is None or not 1 <= number <= highest:
            raise InvalidConfig(field, value, rule)
        object.__setattr__(self, field, number)  # a NumPy integer becomes an int

    @property
    def region_bytes(self) -> int:
        """Bytes of one (block, layer, outer)."""
        return self.page_size * self.inner_dim * self.dtype.width

    @property
    def bytes_per_block(self) -> int:
        """Bytes of one block without padding."""
        return self.num_layers * self.outer_dim * self.region_bytes

    @property
    def head_dim(self) -> int | None:
        """Elements of one head of one token; None where heads are not known."""
        return None if self.num_heads is None else self.inner_dim // self.num_heads

    @property
    def token_shape(self) -> tuple[int, ...]:
        """Shape of one token in a region: (heads, head_dim) in a known order, else (inner,)."""
        if self.num_heads is not None and self.order.known:
            return (self.num_heads, self.inner_dim // self.num_heads)
        return (self.inner_dim,)

    def first_difference(self, other: LayoutConfig, *but: str) -> str | None:
        """Name the first field, apart from those in `but`, in which two configs differ."""
        names = (field.name for field in fields(self) if field.name not in but)
        return next((n for n in names if getattr(self, n) != getattr(other, n)), None)
