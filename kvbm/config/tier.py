"""Configuration of one tier: how many blocks, where their memory comes from, and who goes first.

Interface, as rules of use
    * Exactly one of `storage`, `allocator`, `logical` and `persistence`.
    * The shape of a block comes from the model: `layout(model)` puts both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, final

from kvbm.blocks import SequenceHash
from kvbm.config.builder import Buildable
from kvbm.config.checks import check_choice, check_integer, check_methods, check_type
from kvbm.config.model import KvManagerModelConfig
from kvbm.config.persistence import DiskPersistence
from kvbm.errors import InvalidConfig
from kvbm.layout import ChosenLayout, Layout, LayoutType, make_layout
from kvbm.pool import POLICIES, EvictionPolicy
from kvbm.storage import Storage, StorageAllocator

_POLICY = ("bind", "insert", "take", "evict", "order", "used")
"""What an object must have to be a policy of one's own."""


class BlockParallelismStrategy(Enum):
    """How blocks lie over several workers."""

    LeaderWorkerSharded = "LeaderWorkerSharded"
    """Each worker of a leader has a shard of every block."""

    def __repr__(self) -> str:
        return f"BlockParallelismStrategy.{self.name}"


class OffloadFilter(Protocol):
    """Says which blocks are not worth a copy. Those of `kvbm.tiering` are such."""

    def refuses(self, sequence_hash: SequenceHash, priority: int) -> str | None:
        """Say why this block should not be copied, or None."""


@final
@dataclass(frozen=True, kw_only=True)
class KvManagerLayoutConfig(Buildable):
    """One tier of the cache.

    Parameters
    ----------
    num_blocks : blocks
    layout_type
        Kind of layout, with options where it takes some: `LayoutType.Custom(strategy)`.
    storage
        Memory that is there already: one for each storage of the layout.
    allocator
        Where to get memory from.
    logical
        No memory here: the blocks lie with the workers of a leader. A manager of one
        process refuses it.
    persistence
        For the disk: files that outlive the process, and where they are.
    alignment : bytes
        A power of two. Every block starts at a multiple of it; 1 is none.
    policy
        Order of eviction: a name of `kvbm.pool.POLICIES`, or a policy of your own.
    duplicates : "reject" or "allow"
        What registering a hash does that is registered already.
    offload_filter
        Asked before a block is copied from this tier to a slower one.

    Raises
    ------
    InvalidConfig
        A value is impossible, or the memory comes from nowhere or from two places.

    Examples
    --------
    >>> from kvbm.storage import DeviceAllocator
    >>> device = KvManagerLayoutConfig(num_blocks=1000, allocator=DeviceAllocator.emulated())
    >>> device.layout_type, device.policy
    (LayoutType.FullyContiguous, 'priority')
    """

    num_blocks: int
    layout_type: LayoutType | ChosenLayout = LayoutType.FullyContiguous
    storage: Sequence[Storage] | None = None
    allocator: StorageAllocator | None = None
    logical: BlockParallelismStrategy | None = None
    persistence: DiskPersistence | None = None
    alignment: int = 1
    policy: str | EvictionPolicy = "priority"
    duplicates: str = "reject"
    offload_filter: OffloadFilter | None = None

    def __post_init__(self) -> None:
        check_integer(self, "num_blocks", 1)
        if not isinstance(self.layout_type, LayoutType | ChosenLayout):
            raise InvalidConfig("layout_type", self.layout_type, "must be a LayoutType")
        self._check_source()
        check_integer(self, "alignment", 1)
        if self.alignment & (self.alignment - 1):
            raise InvalidConfig("alignment", self.alignment, "must be a power of two, in bytes")
        if isinstance(self.policy, str):
            check_choice(self, "policy", POLICIES)
        elif self.policy is None:
            raise InvalidConfig("policy", None, "must be a name or an EvictionPolicy")
        else:
            check_methods(self, "policy", *_POLICY)
        check_choice(self, "duplicates", ("reject", "allow"))
        check_methods(self, "offload_filter", "refuses")

    def layout(self, model: KvManagerModelConfig) -> Layout:
        """Make this tier's layout for `model`, or raise `InvalidConfig`: they do not fit."""
        return make_layout(self.layout_type, model.layout_config(self.num_blocks, self.alignment))

    def _check_source(self) -> None:
        names = ("storage", "allocator", "logical", "persistence")
        sources = {name: getattr(self, name) for name in names}
        given = {name: source for name, source in sources.items() if source is not None}
        if not given:
            rule = "Must provide either `storage` or `allocator` or `logical`."
            raise InvalidConfig("storage, allocator, logical", None, rule)
        if len(given) > 1:
            rule = "Only one selection of either `storage` and `allocator` or `logical`."
            raise InvalidConfig(", ".join(given), tuple(given.values()), rule)
        check_methods(self, "allocator", "allocate")
        check_type(self, "logical", BlockParallelismStrategy, optional=True)
        check_type(self, "persistence", DiskPersistence, optional=True)
        if self.storage is not None:
            object.__setattr__(self, "storage", _storages(self.storage))


def _storages(given: object) -> tuple[Storage, ...]:
    if not isinstance(given, Sequence) or not given:
        raise InvalidConfig("storage", given, "must be a list of at least one storage")
    for index, one in enumerate(given):
        if not hasattr(one, "storage_type"):
            raise InvalidConfig(f"storage[{index}]", one, "must be a storage of kvbm.storage")
    return tuple(given)
