"""Blocks: the state machine, the slots, and the handles that clients hold."""

from kvbm.blocks.block_list import BlockList
from kvbm.blocks.handles import (
    BasicMetadata,
    CompleteBlock,
    ImmutableBlock,
    MutableBlock,
    WeakBlock,
)
from kvbm.blocks.keys import SequenceHash
from kvbm.blocks.lifecycle import Operation, State

__all__ = [
    "BasicMetadata",
    "BlockList",
    "CompleteBlock",
    "ImmutableBlock",
    "MutableBlock",
    "Operation",
    "SequenceHash",
    "State",
    "WeakBlock",
]
