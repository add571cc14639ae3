"""Configurations: what a manager is made from, checked whole before anything is made.

What this is
    Frozen dataclasses with keyword arguments, each with a `builder()`, and the ways to them
    from TOML and from the environment.

    Read `builder`, `model`, `tier` and `manager`; then `settings` and `load`.

Interface, as rules of use
    * A configuration that exists is valid: the constructor checks everything.
    * Nothing is allocated here; allocators are only kept.
    * Import from here; the modules are for reading.
"""

from kvbm.config.builder import Buildable, Builder
from kvbm.config.cancellation import CancellationToken
from kvbm.config.environment import Environment, read_environment
from kvbm.config.load import create_config_from_env, from_toml, load_config
from kvbm.config.manager import KvBlockManagerConfig
from kvbm.config.model import KvManagerModelConfig
from kvbm.config.offload import OFFLOAD_MODES, OffloadConfig
from kvbm.config.persistence import DiskPersistence
from kvbm.config.runtime import (
    KvManagerRuntimeConfig,
    NamedAgent,
    NixlAgent,
    NixlOptions,
    RuntimeBuilder,
)
from kvbm.config.sizing import block_stride, blocks_from_gb, blocks_from_gib
from kvbm.config.tier import BlockParallelismStrategy, KvManagerLayoutConfig, OffloadFilter
from kvbm.config.variables import DOCUMENTED, VARIABLES, Variable

__all__ = [
    "DOCUMENTED",
    "OFFLOAD_MODES",
    "VARIABLES",
    "BlockParallelismStrategy",
    "Buildable",
    "Builder",
    "CancellationToken",
    "DiskPersistence",
    "Environment",
    "KvBlockManagerConfig",
    "KvManagerLayoutConfig",
    "KvManagerModelConfig",
    "KvManagerRuntimeConfig",
    "NamedAgent",
    "NixlAgent",
    "NixlOptions",
    "OffloadConfig",
    "OffloadFilter",
    "RuntimeBuilder",
    "Variable",
    "block_stride",
    "blocks_from_gb",
    "blocks_from_gib",
    "create_config_from_env",
    "from_toml",
    "load_config",
    "read_environment",
]
