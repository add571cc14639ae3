"""The documented Python page: a block manager with defaults, and blocks that are sequences."""

from kvbm.facade.blocks import Block, Blocks, Layer
from kvbm.facade.manager import DEFAULT_BLOCKS, BlockManager, Pool

__all__ = ["DEFAULT_BLOCKS", "Block", "BlockManager", "Blocks", "Layer", "Pool"]
