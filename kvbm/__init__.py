"""KVBM: the memory in which an LLM engine keeps attention keys and values, cut into blocks.

What this is
    The documented names, each under `kvbm` and in the room where it lives. A name is looked
    up when it is first asked for, so that `import kvbm`, and with it the command line, costs
    nothing.

Interface, as rules of use
    * `from kvbm import BlockManager`, or from its room. It is the same object.
    * Inside the house import from rooms, never from here.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from kvbm.blocks import (
        BasicMetadata,
        BlockList,
        CompleteBlock,
        ImmutableBlock,
        MutableBlock,
        SequenceHash,
        WeakBlock,
    )
    from kvbm.config import (
        BlockParallelismStrategy,
        CancellationToken,
        KvBlockManagerConfig,
        KvManagerLayoutConfig,
        KvManagerModelConfig,
        KvManagerRuntimeConfig,
        NixlAgent,
        NixlOptions,
        OffloadConfig,
        create_config_from_env,
        from_toml,
        load_config,
    )
    from kvbm.errors import (
        AllocationFailed,
        BlockError,
        BlockNotComplete,
        BlockPoolError,
        CudaUnavailable,
        ErrorKind,
        InvalidConfig,
        KvbmError,
        LayoutError,
        NotAccessible,
        NotEnoughBlocksAvailable,
        ProgressEngineShutdown,
        StaleHandleError,
        StorageError,
        TransferError,
    )
    from kvbm.errors import KvbmError as BlockManagerError
    from kvbm.events import EventLog
    from kvbm.facade import Block, BlockManager, Layer
    from kvbm.identity import TokenBlock, TokenBlockSequence
    from kvbm.layout import BlockOrder, DType, LayoutStrategy, LayoutType
    from kvbm.manager import KvBlockManager
    from kvbm.pool import BlockPool, EvictionMode, EvictionPolicy, PredicatePolicy
    from kvbm.storage import (
        BorrowedStorage,
        DeviceAllocator,
        DiskAllocator,
        DiskStorage,
        NullAllocator,
        NullDeviceAllocator,
        NullDeviceStorage,
        NullStorage,
        PinnedAllocator,
        PinnedStorage,
        Storage,
        StorageAllocator,
        StorageType,
        SystemAllocator,
        SystemStorage,
        calculate_storage_requirements,
        get_optimal_storage,
        validate_storage,
    )

__all__ = [
    "AllocationFailed",
    "BasicMetadata",
    "Block",
    "BlockError",
    "BlockList",
    "BlockManager",
    "BlockManagerError",
    "BlockNotComplete",
    "BlockOrder",
    "BlockParallelismStrategy",
    "BlockPool",
    "BlockPoolError",
    "BorrowedStorage",
    "CancellationToken",
    "CompleteBlock",
    "CudaUnavailable",
    "DType",
    "DeviceAllocator",
    "DiskAllocator",
    "DiskStorage",
    "ErrorKind",
    "EventLog",
    "EvictionMode",
    "EvictionPolicy",
    "ImmutableBlock",
    "InvalidConfig",
    "KvBlockManager",
    "KvBlockManagerConfig",
    "KvManagerLayoutConfig",
    "KvManagerModelConfig",
    "KvManagerRuntimeConfig",
    "KvbmError",
    "Layer",
    "LayoutError",
    "LayoutStrategy",
    "LayoutType",
    "MutableBlock",
    "NixlAgent",
    "NixlOptions",
    "NotAccessible",
    "NotEnoughBlocksAvailable",
    "NullAllocator",
    "NullDeviceAllocator",
    "NullDeviceStorage",
    "NullStorage",
    "OffloadConfig",
    "PinnedAllocator",
    "PinnedStorage",
    "PredicatePolicy",
    "ProgressEngineShutdown",
    "SequenceHash",
    "StaleHandleError",
    "Storage",
    "StorageAllocator",
    "StorageError",
    "StorageType",
    "SystemAllocator",
    "SystemStorage",
    "TokenBlock",
    "TokenBlockSequence",
    "TransferError",
    "WeakBlock",
    "calculate_storage_requirements",
    "create_config_from_env",
    "from_toml",
    "get_optimal_storage",
    "load_config",
    "validate_storage",
]

_NAMES: Final = {
    "kvbm.blocks": (
        "BasicMetadata",
        "BlockList",
        "CompleteBlock",
        "ImmutableBlock",
        "MutableBlock",
        "SequenceHash",
        "WeakBlock",
    ),
    "kvbm.config": (
        "BlockParallelismStrategy",
        "CancellationToken",
        "KvBlockManagerConfig",
        "KvManagerLayoutConfig",
        "KvManagerModelConfig",
        "KvManagerRuntimeConfig",
        "NixlAgent",
        "NixlOptions",
        "OffloadConfig",
        "create_config_from_env",
        "from_toml",
        "load_config",
    ),
    "kvbm.errors": (
        "AllocationFailed",
        "BlockError",
        "BlockNotComplete",
        "BlockPoolError",
        "CudaUnavailable",
        "ErrorKind",
        "InvalidConfig",
        "KvbmError",
        "LayoutError",
        "NotAccessible",
        "NotEnoughBlocksAvailable",
        "ProgressEngineShutdown",
        "StaleHandleError",
        "StorageError",
        "TransferError",
    ),
    "kvbm.events": ("EventLog",),
    "kvbm.facade": ("Block", "BlockManager", "Layer"),
    "kvbm.identity": ("TokenBlock", "TokenBlockSequence"),
    "kvbm.layout": ("BlockOrder", "DType", "LayoutStrategy", "LayoutType"),
    "kvbm.manager": ("KvBlockManager",),
    "kvbm.pool": ("BlockPool", "EvictionMode", "EvictionPolicy", "PredicatePolicy"),
    "kvbm.storage": (
        "BorrowedStorage",
        "DeviceAllocator",
        "DiskAllocator",
        "DiskStorage",
        "NullAllocator",
        "NullDeviceAllocator",
        "NullDeviceStorage",
        "NullStorage",
        "PinnedAllocator",
        "PinnedStorage",
        "Storage",
        "StorageAllocator",
        "StorageType",
        "SystemAllocator",
        "SystemStorage",
        "calculate_storage_requirements",
        "get_optimal_storage",
        "validate_storage",
    ),
}
"""The exported names by the room where each lives."""

_ROOM_OF: Final = {name: room for room, names in _NAMES.items() for name in names}
_OTHER_NAMES: Final = {"BlockManagerError": "KvbmError"}
"""Documented names for what is called otherwise in the house."""

if not TYPE_CHECKING:  # for a type checker only what is imported above is there

    def __getattr__(name: str) -> Any:
        """Look an exported name up, at the first use of it."""
        own = _OTHER_NAMES.get(name, name)
        if own not in _ROOM_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        found = globals()[name] = getattr(import_module(_ROOM_OF[own]), own)
        return found

    def __dir__() -> list[str]:
        """List what is here already and what can be looked up."""
        return sorted({*globals(), *__all__})
