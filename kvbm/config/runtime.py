"""Configuration of the process: who this worker is, and what runs beside it.

Interface, as rules of use
    * `KvManagerRuntimeConfig(worker_id=0)`, or `KvManagerRuntimeConfig.builder()`.
    * NIXL is for other workers. Enabled means "where it is installed".
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, final

from kvbm.config.builder import Buildable, Builder
from kvbm.config.cancellation import CancellationToken
from kvbm.config.checks import check_integer, check_type
from kvbm.errors import InvalidConfig

LARGEST_WORKER_ID = 2**64 - 1


class NamedAgent(Protocol):
    """What all agents of NIXL have: a name."""

    @property
    def name(self) -> str:
        """Name that other workers know."""


@final
@dataclass(frozen=True, slots=True)
class NixlAgent:
    """An agent of NIXL by name, to be made when it is needed."""

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InvalidConfig("name", self.name, "must be a text that is not empty")


@final
@dataclass(frozen=True, slots=True)
class NixlOptions:
    """Whether memory is made known to NIXL, and by which agent.

    Examples
    --------
    >>> NixlOptions.EnabledWithAgent(NixlAgent("worker-0")).agent
    NixlAgent(name='worker-0')
    >>> NixlOptions.Disabled.enabled
    False
    """

    enabled: bool
    agent: NamedAgent | None = None

    Enabled: ClassVar[NixlOptions]
    Disabled: ClassVar[NixlOptions]

    def __post_init__(self) -> None:
        if not isinstance(self.enabled, bool):
            raise InvalidConfig("enabled", self.enabled, "must be True or False")
        if self.agent is None:
            return
        if not isinstance(getattr(self.agent, "name", None), str):
            raise InvalidConfig("agent", self.agent, "must have a name, as NixlAgent has")
        if not self.enabled:
            raise InvalidConfig("agent", self.agent, "must be None where NIXL is disabled")

    @staticmethod
    def EnabledWithAgent(agent: NamedAgent) -> NixlOptions:  # noqa: N802  # the documented name
        """Use this agent."""
        if agent is None:
            raise InvalidConfig("agent", agent, "must have a name, as NixlAgent has")
        return NixlOptions(enabled=True, agent=agent)

    def __repr__(self) -> str:
        if self.agent is not None:
            return f"NixlOptions.EnabledWithAgent({self.agent!r})"
        return f"NixlOptions.{'Enabled' if self.enabled else 'Disabled'}"


NixlOptions.Enabled = NixlOptions(enabled=True)
NixlOptions.Disabled = NixlOptions(enabled=False)


@final
@dataclass(frozen=True, kw_only=True)
class KvManagerRuntimeConfig(Buildable):
    """Who this worker is, and what runs beside it.

    Parameters
    ----------
    worker_id
        0 … 2⁶⁴ - 1, and different for each worker of one service.
    cancellation_token
        Stops all background work; a new one by default. It is no part of equality.
    nixl
        Whether and how memory is made known to NIXL.
    async_runtime
        Event loop for what runs beside the caller; None leaves it to the manager.
    metrics_registry
        Where metrics are added; None gives a new, empty one.

    Raises
    ------
    InvalidConfig
        A value is impossible; the message names it.

    Examples
    --------
    >>> runtime = KvManagerRuntimeConfig.builder().worker_id(7).disable_nixl().build()
    >>> runtime == KvManagerRuntimeConfig(worker_id=7, nixl=NixlOptions.Disabled)
    True
    """

    worker_id: int
    cancellation_token: CancellationToken = field(default_factory=CancellationToken, compare=False)
    nixl: NixlOptions = NixlOptions.Enabled
    async_runtime: asyncio.AbstractEventLoop | None = None
    metrics_registry: Any = None

    def __post_init__(self) -> None:
        check_integer(self, "worker_id", 0, LARGEST_WORKER_ID)
        check_type(self, "cancellation_token", CancellationToken)
        check_type(self, "nixl", NixlOptions)
        check_type(self, "async_runtime", asyncio.AbstractEventLoop, optional=True)

    @classmethod
    def builder(cls) -> RuntimeBuilder:
        """Begin a chain: one call a setting, then `build()`."""
        return RuntimeBuilder(cls)


@final
class RuntimeBuilder(Builder[KvManagerRuntimeConfig]):
    """The builder with three words more."""

    def enable_nixl(self) -> Self:
        """Set `nixl` to `NixlOptions.Enabled`."""
        return self.nixl(NixlOptions.Enabled)

    def disable_nixl(self) -> Self:
        """Set `nixl` to `NixlOptions.Disabled`."""
        return self.nixl(NixlOptions.Disabled)

    def use_nixl_agent(self, agent: NamedAgent) -> Self:
        """Set `nixl` to `NixlOptions.EnabledWithAgent(agent)`."""
        return self.nixl(NixlOptions.EnabledWithAgent(agent))
