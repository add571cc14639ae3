"""Settings: a configuration as plain values, in sections. What files and variables speak.

What this is
    The form that TOML, the environment and keyword arguments have in common, and the way
    from there to a `KvBlockManagerConfig`:

        {"runtime": {"worker_id": 0}, "model": {…}, "host": {"cache_size_gb": 10}, …}

    A section takes the names of its class. Beyond those:

        runtime   nixl = true, false, or the name of an agent
        model     dtype = "BF16", order = "NHD"
        tiers     layout_type = "Paged", layout_options = {…}
                  num_blocks, or else cache_size_gb (10⁹ bytes; 0 is no tier), or else
                  memory_gib (2³⁰ bytes, of which 80 % are used)
        device    allocator = "cuda", "emulated" or "null"; device_id
        host      allocator = "pinned", "system" or "null"
        disk      allocator = "disk" or "null"; path, direct
                  persistent = true: file_name, model_revision, sync, of `DiskPersistence`

Interface, as rules of use
    * Objects pass as they are: `allocator` may be a name or an allocator.
    * `merged(low, high)`: what stands in `high` counts. A size takes the place of a size
      under another name, a source of memory that of another source.
    * Unknown names are refused, with the nearest known one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, Final

from kvbm.config.builder import call_with, check_names
from kvbm.config.checks import within
from kvbm.config.manager import KvBlockManagerConfig
from kvbm.config.model import KvManagerModelConfig
from kvbm.config.offload import OffloadConfig
from kvbm.config.persistence import DiskPersistence
from kvbm.config.runtime import KvManagerRuntimeConfig, NixlAgent, NixlOptions
from kvbm.config.sizing import block_stride, blocks_from_gb, blocks_from_gib
from kvbm.config.tier import KvManagerLayoutConfig
from kvbm.errors import InvalidConfig, MissingSetting, UnknownSetting
from kvbm.layout import BlockOrder, DType, LayoutType
from kvbm.storage import (
    DeviceAllocator,
    DiskAllocator,
    NullAllocator,
    PinnedAllocator,
    SystemAllocator,
)

Settings = Mapping[str, Any]

TIERS: Final = ("device", "host", "disk")
SECTIONS: Final = ("runtime", "model", *TIERS, "offload")
TOP: Final = (*SECTIONS, "scheme", "verify_tokens", "event_manager")

SIZES: Final = ("num_blocks", "cache_size_gb", "memory_gib")
SOURCES: Final = ("allocator", "storage", "logical", "persistence")

ALLOCATORS: Final[Mapping[str, Mapping[str, Callable[..., Any]]]] = {
    "device": {"cuda": DeviceAllocator, "emulated": DeviceAllocator.emulated},
    "host": {"pinned": PinnedAllocator, "system": SystemAllocator},
    "disk": {"disk": DiskAllocator},
}
"""Allocators by tier and name, the default first. Beside them, every tier knows "null"."""

OPTIONS: Final[Mapping[str, tuple[type | UnionType, str]]] = {
    "device_id": (int, "must be an integer"),
    "path": (str | os.PathLike, "must be a text"),
    "persistent": (bool, "must be true or false"),
    "file_name": (str, "must be a text"),
    "model_revision": (str, "must be a text"),
    "sync": (bool, "must be true or false"),
    "direct": (bool, "must be true or false"),
}
"""Settings of a tier that go to its allocator, or to `DiskPersistence`: their types, and
the rule in words."""

_OF_A_TIER: Final = (*SIZES[1:], "layout_options", *OPTIONS)


def merged(*layers: Settings) -> dict[str, Any]:
    """Put layers on top of each other, the lowest first. Takes nothing from them."""
    result: dict[str, Any] = {}
    for layer in layers:
        for section, values in layer.items():
            below = result.get(section)
            if isinstance(values, Mapping) and isinstance(below, Mapping):
                replaced = [*SIZES] if values.keys() & set(SIZES) else []
                replaced += [*SOURCES, *OPTIONS] if values.keys() & set(SOURCES) else []
                kept = {name: below[name] for name in below if name not in replaced}
                result[section] = {**kept, **values}
            else:
                result[section] = values
    return result


def config_from(settings: Settings) -> KvBlockManagerConfig:
    """Make the configuration.

    Raises
    ------
    UnknownSetting, MissingSetting
        The message names the section, and what is known there.
    InvalidConfig
        A value is impossible. Its field is `section.name`.
    """
    for name in settings:
        if name not in TOP:
            raise UnknownSetting("the configuration", name, TOP)
    for section in ("runtime", "model"):
        if section not in settings:
            raise MissingSetting("the configuration", f"[{section}]")
    sections = {name: _section(name, settings[name]) for name in SECTIONS if name in settings}
    model = _model(sections["model"])
    arguments = {name: settings[name] for name in settings if name not in SECTIONS}
    arguments |= {f"{t}_layout": _tier(t, sections[t], model) for t in TIERS if t in sections}
    return KvBlockManagerConfig(
        runtime=_runtime(sections["runtime"]),
        model=model,
        offload=_call("offload", OffloadConfig, sections.get("offload", {})),
        **arguments,
    )


def _section(name: str, values: object) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise InvalidConfig(name, values, "must be a section of settings")
    return dict(values)


def _call(section: str, function: Callable[..., Any], values: Settings) -> Any:
    with within(section):
        return call_with(f"[{section}]", function, values)


def _runtime(values: dict[str, Any]) -> KvManagerRuntimeConfig:
    nixl = values.get("nixl")
    with within("runtime"):
        if isinstance(nixl, bool):
            values["nixl"] = NixlOptions.Enabled if nixl else NixlOptions.Disabled
        elif nixl == "":
            raise InvalidConfig("nixl", nixl, "must be true, false, or the name of an agent")
        elif isinstance(nixl, str):
            values["nixl"] = NixlOptions.EnabledWithAgent(NixlAgent(nixl))
    runtime: KvManagerRuntimeConfig = _call("runtime", KvManagerRuntimeConfig, values)
    return runtime


def _model(values: dict[str, Any]) -> KvManagerModelConfig:
    with within("model"):
        if isinstance(values.get("dtype"), str):
            values["dtype"] = _named("dtype", values["dtype"], DType.__members__)
        if isinstance(values.get("order"), str):
            values["order"] = BlockOrder.named(values["order"])
    model: KvManagerModelConfig = _call("model", KvManagerModelConfig, values)
    return model


def _tier(
    tier: str, values: dict[str, Any], model: KvManagerModelConfig
) -> KvManagerLayoutConfig | None:
    check_names(f"[{tier}]", KvManagerLayoutConfig, values, also=_OF_A_TIER)
    with within(tier):
        if isinstance(values.get("layout_type"), str):
            kinds = {kind.name: kind for kind in LayoutType if kind is not LayoutType.Custom}
            values["layout_type"] = _named("layout_type", values["layout_type"], kinds)
        if "layout_options" in values:
            options = _section("layout_options", values.pop("layout_options"))
            kind = values.get("layout_type", LayoutType.FullyContiguous)
            if not isinstance(kind, LayoutType):
                raise InvalidConfig("layout_type", kind, "must be a LayoutType")
            values["layout_type"] = kind(**options)
        if not _set_num_blocks(tier, values, model):
            return None
        _set_source(tier, values)
    layout: KvManagerLayoutConfig = _call(tier, KvManagerLayoutConfig, values)
    return layout


def _set_num_blocks(tier: str, values: dict[str, Any], model: KvManagerModelConfig) -> bool:
    """Turn a size into blocks; False for the size 0, which is no tier."""
    gigabytes, gibibytes = (values.pop(name, None) for name in SIZES[1:])
    if "num_blocks" in values:
        return True
    size, field, count = (
        (gigabytes, "cache_size_gb", blocks_from_gb)
        if gigabytes is not None
        else (gibibytes, "memory_gib", blocks_from_gib)
    )
    if size is None:
        raise MissingSetting(f"[{tier}]", " or ".join(SIZES[:2]))
    form = {name: values[name] for name in ("layout_type", "alignment") if name in values}
    bytes_per_block = block_stride(model, **form)
    try:
        values["num_blocks"] = count(size, bytes_per_block)
    except InvalidConfig as error:
        raise InvalidConfig(field, size, error.rule) from error
    if size and not values["num_blocks"]:
        raise InvalidConfig(field, size, f"is less than one block of {bytes_per_block} bytes")
    return bool(size)


def _set_source(tier: str, values: dict[str, Any]) -> None:
    """Turn the name of an allocator into the allocator, with its options."""
    options: dict[str, Any] = {name: values.pop(name) for name in OPTIONS if name in values}
    choice = values.get("allocator")
    if isinstance(choice, str) or all(values.get(name) is None for name in SOURCES):
        makers = {**ALLOCATORS[tier], "null": NullAllocator}
        make = _named("allocator", next(iter(makers)) if choice is None else choice, makers)
        for name, value in options.items():
            kind, rule = OPTIONS[name]
            if not isinstance(value, kind):
                raise InvalidConfig(name, value, rule)
        if make is DiskAllocator and options.pop("persistent", False):
            # The allocator alone would keep the bytes, and forget what they are.
            values.pop("allocator", None)
            values["persistence"] = call_with(f"[{tier}]", DiskPersistence, options)
        else:
            values["allocator"] = call_with(f"[{tier}]", make, options)
    elif options:
        name = next(iter(options))
        rule = "is for an allocator that is given by its name"
        raise InvalidConfig(name, options[name], rule)


def _named(field: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise InvalidConfig(field, name, f"must be one of {', '.join(known)}")
    return known[name]
