"""Configuration of the whole: process, model and tiers, checked together.

Interface, as rules of use
    * `KvBlockManagerConfig(runtime=…, model=…, device_layout=…)`, or its `builder()`.
    * A tier that is not configured is not there; without any, there is no pool.
    * What was built fits together: each layout fits the model, each storage its layout.

Clauses: KV-CAP-01
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

from kvbm.config.builder import Buildable
from kvbm.config.checks import check_choice, check_methods, check_type, within
from kvbm.config.model import KvManagerModelConfig
from kvbm.config.offload import OffloadConfig
from kvbm.config.runtime import KvManagerRuntimeConfig
from kvbm.config.tier import KvManagerLayoutConfig
from kvbm.errors import InvalidConfig
from kvbm.identity.schemes import SCHEMES
from kvbm.pool import ChangeSink


@final
@dataclass(frozen=True, kw_only=True)
class KvBlockManagerConfig(Buildable):
    """All that a `KvBlockManager` is made from.

    Parameters
    ----------
    runtime, model
        The process, and the shape of a block.
    device_layout, host_layout, disk_layout
        The tiers, fastest first; None where there is no such tier.
    event_manager
        Where changes of the pools go, such as `kvbm.events.EventLog`.
    offload
        How blocks get from one tier to the next.
    scheme
        Hash scheme that names the blocks, in all tiers.
    verify_tokens
        Keep and compare the tokens of blocks whose hashes are equal.

    Raises
    ------
    InvalidConfig
        A value is impossible, or two do not fit together; the message names field and value.

    Examples
    --------
    >>> config = KvBlockManagerConfig(
    ...     runtime=KvManagerRuntimeConfig(worker_id=0),
    ...     model=KvManagerModelConfig(num_layers=32, outer_dim=2, page_size=16, inner_dim=4096),
    ... )
    >>> config.tiers()
    {}
    """

    runtime: KvManagerRuntimeConfig
    model: KvManagerModelConfig
    device_layout: KvManagerLayoutConfig | None = None
    host_layout: KvManagerLayoutConfig | None = None
    disk_layout: KvManagerLayoutConfig | None = None
    event_manager: ChangeSink | None = None
    offload: OffloadConfig = field(default_factory=OffloadConfig)
    scheme: str = "dynamo"
    verify_tokens: bool = False

    def __post_init__(self) -> None:
        check_type(self, "runtime", KvManagerRuntimeConfig)
        check_type(self, "model", KvManagerModelConfig)
        for name in ("device_layout", "host_layout", "disk_layout"):
            check_type(self, name, KvManagerLayoutConfig, optional=True)
        check_methods(self, "event_manager", "append", "deliver")
        check_type(self, "offload", OffloadConfig)
        check_choice(self, "scheme", SCHEMES)
        check_type(self, "verify_tokens", bool)
        for name, tier in self.tiers().items():
            if tier.persistence is not None and name != "disk":
                rule = "only a disk outlives its process"
                raise InvalidConfig(f"{name}_layout.persistence", tier.persistence, rule)
            with within(f"{name}_layout"):
                layout = tier.layout(self.model)
                if tier.storage is not None:
                    layout.bind(tier.storage)
        if self.disk_layout is not None and self.disk_layout.offload_filter is not None:
            given = self.disk_layout.offload_filter
            rule = "Disk offload filter is not supported."  # the disk is the last tier
            raise InvalidConfig("disk_layout.offload_filter", given, rule)
        if self.verify_tokens and self.disk_layout is not None and self.disk_layout.persistence:
            rule = "a persistent disk keeps no tokens to compare"
            raise InvalidConfig("verify_tokens", self.verify_tokens, rule)
        self._check_nothing_is_shared()

    def tiers(self) -> dict[str, KvManagerLayoutConfig]:
        """Give the configured tiers by name, fastest first."""
        all_three = {
            "device": self.device_layout,
            "host": self.host_layout,
            "disk": self.disk_layout,
        }
        return {name: tier for name, tier in all_three.items() if tier is not None}

    def _check_nothing_is_shared(self) -> None:
        """Refuse one memory for two purposes, and one policy for two pools."""
        taken: dict[int, str] = {}
        for name, tier in self.tiers().items():
            owned: dict[str, object] = {
                f"storage[{i}]": one for i, one in enumerate(tier.storage or ())
            }
            if not isinstance(tier.policy, str):
                owned["policy"] = tier.policy
            for setting, thing in owned.items():
                place = f"{name}_layout.{setting}"
                first = taken.setdefault(id(thing), place)
                if first != place:
                    raise InvalidConfig(place, thing, f"is {first} already; give it another one")
