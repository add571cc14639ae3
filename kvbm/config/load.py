"""Load a configuration: from a file, from the environment, and from arguments.

What this is
    Layers of settings, the lowest first:

        defaults < TOML < environment (DYN_KVBM_*) < keyword arguments

Interface, as rules of use
    * `load_config()` reads all layers; the file is `toml`, or else `KVBM_CONFIG_PATH`.
    * `from_toml(…)` reads a file and nothing else.
    * `create_config_from_env()` is the documented example: three variables and their
      defaults, and the tiers that `DYN_KVBM_*` adds. It reads no file.
    * Variables that nobody knows are warned of, once a call.

Clauses: KV-CAP-01
"""

from __future__ import annotations

import os
import tomllib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kvbm.config.environment import Environment, read_environment
from kvbm.config.manager import KvBlockManagerConfig
from kvbm.config.settings import SIZES, Settings, config_from, merged
from kvbm.config.variables import DOCUMENTED, VARIABLES
from kvbm.errors import InvalidConfig
from kvbm.storage import StorageAllocator

CONFIG_PATH: Final = "KVBM_CONFIG_PATH"
"""Variable that names a TOML file."""

DOCUMENTED_DEFAULTS: Final[Settings] = {
    "runtime": {"worker_id": 0},
    "model": {"num_layers": 32, "outer_dim": 2, "page_size": 16, "inner_dim": 4096},
    "device": {"memory_gib": 24},
}
"""What the documented `create_config_from_env` takes where nothing is set."""


def load_config(
    toml: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    **settings: Any,
) -> KvBlockManagerConfig:
    """Load a configuration from all layers.

    Parameters
    ----------
    toml
        A file or a text, as for `from_toml`; None takes the file of `KVBM_CONFIG_PATH`,
        or no file.
    environ
        The environment; None takes that of the process.
    settings
        The highest layer: sections, as mappings, and single settings.

    Raises
    ------
    InvalidConfig
        A setting is impossible, unknown or missing; the message names it.

    Examples
    --------
    >>> config = load_config(
    ...     "model = {num_layers = 2, outer_dim = 2, page_size = 16, inner_dim = 64}",
    ...     environ={"DYN_KVBM_CPU_CACHE_OVERRIDE_NUM_BLOCKS": "8"},
    ...     runtime={"worker_id": 3},
    ...     host={"allocator": "system"},
    ... )
    >>> config.runtime.worker_id, config.host_layout.num_blocks
    (3, 8)
    """
    variables = os.environ if environ is None else environ
    if toml is None and variables.get(CONFIG_PATH):
        toml = Path(variables[CONFIG_PATH])
    file = {} if toml is None else read_toml(toml)
    return _load(file, read_environment(variables), settings, variables)


def from_toml(source: str | os.PathLike[str]) -> KvBlockManagerConfig:
    """Make a configuration from a TOML file, or from TOML text.

    Parameters
    ----------
    source
        A path, or a text: a `str` that holds a line break or a `=`. A path with such
        characters is given as a `Path`.

    Raises
    ------
    InvalidConfig
        The file cannot be read or is no TOML, or a setting is impossible, unknown or missing.
    """
    return config_from(read_toml(source))


def create_config_from_env(
    environ: Mapping[str, str] | None = None, *, allocator: StorageAllocator | str = "cuda"
) -> KvBlockManagerConfig:
    """Make the documented configuration: WORKER_ID, NUM_LAYERS, GPU_MEMORY_GB.

    Parameters
    ----------
    environ
        The environment; None takes that of the process.
    allocator
        Where the device tier gets its memory: "cuda", "emulated", or an allocator.

    Raises
    ------
    InvalidConfig
        A variable has a value that it cannot have; the message names both.
    CudaUnavailable
        There is no CUDA here; pass "emulated".

    Examples
    --------
    >>> config = create_config_from_env({"GPU_MEMORY_GB": "24"}, allocator="emulated")
    >>> config.device_layout.num_blocks
    2457
    """
    variables = os.environ if environ is None else environ
    environment = read_environment(variables, DOCUMENTED + VARIABLES)
    keywords = {"device": {"allocator": allocator}}
    return _load(DOCUMENTED_DEFAULTS, environment, keywords, variables)


def read_toml(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the settings of a TOML file or text, unchecked. See `from_toml`."""
    if isinstance(source, str) and ("\n" in source or "=" in source):
        name, content = "TOML", source
    else:
        name = os.fspath(source)
        try:
            content = Path(source).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidConfig("TOML file", name, f"cannot be read: {error}") from error
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfig("TOML", name, str(error)) from error


def _load(
    low: Settings, environment: Environment, high: Settings, environ: Mapping[str, str]
) -> KvBlockManagerConfig:
    """Merge the layers; errors about a value from the environment name its variable."""
    if environment.unknown:
        message = f"unknown variables have no effect: {', '.join(environment.unknown)}"
        warnings.warn(message, stacklevel=3)
    middle = dict(environment.settings)
    disk = middle.get("disk", {})
    if not disk.keys() & set(SIZES) and "disk" not in {*low, *high}:
        middle.pop("disk", None)  # a directory alone makes no disk tier
    try:
        return config_from(merged(low, middle, high))
    except InvalidConfig as error:
        variable = environment.origins.get(error.field)
        section, _, name = error.field.partition(".")
        if variable is None or name in high.get(section, {}):
            raise
        raise InvalidConfig(variable, environ[variable], error.rule) from error
