"""Configuration of the model: the shape of one block.

Interface, as rules of use
    * The numbers are those of `kvbm.layout.LayoutConfig`, and are checked there;
      `layout_config(num_blocks)` gives it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import final

from kvbm.config.builder import Buildable
from kvbm.layout import BlockOrder, DType, LayoutConfig


@final
@dataclass(frozen=True, kw_only=True)
class KvManagerModelConfig(Buildable):
    """Shape of one block of this model's cache, on this worker.

    Parameters
    ----------
    num_layers : layers
    outer_dim
        2 where key and value are apart, 1 where they are one, as in MLA.
    page_size : tokens
        Tokens in a block.
    inner_dim : elements
        Of one token in one layer and outer: heads times their dimension.
    dtype
        Type of one element.
    num_heads
        Heads in `inner_dim`; None where nobody needs to tell them apart.
    order
        How a block is nested. A known order needs `num_heads`.

    Raises
    ------
    InvalidConfig
        A value is impossible; the message names it.

    Examples
    --------
    >>> model = KvManagerModelConfig(num_layers=32, outer_dim=2, page_size=16, inner_dim=4096)
    >>> model.dtype_width_bytes, model.bytes_per_block
    (2, 8388608)
    """

    num_layers: int
    outer_dim: int
    page_size: int
    inner_dim: int
    dtype: DType = DType.FP16
    num_heads: int | None = None
    order: BlockOrder = BlockOrder.UNKNOWN

    def __post_init__(self) -> None:
        checked = self.layout_config(num_blocks=1)
        for field in fields(self):
            object.__setattr__(self, field.name, getattr(checked, field.name))

    @property
    def dtype_width_bytes(self) -> int:
        """Bytes of one element."""
        return self.dtype.width

    @property
    def bytes_per_block(self) -> int:
        """Bytes of one block without padding: layers · outer · page · inner · width."""
        return self.layout_config(num_blocks=1).bytes_per_block

    def layout_config(self, num_blocks: int, alignment: int = 1) -> LayoutConfig:
        """Give the numbers of a layout of so many blocks, aligned to so many bytes."""
        numbers = {field.name: getattr(self, field.name) for field in fields(self)}
        return LayoutConfig(num_blocks=num_blocks, alignment=alignment, **numbers)
