"""The names by which a policy can be asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Final

from kvbm.errors import InvalidConfig
from kvbm.pool.policies.base import EvictionPolicy
from kvbm.pool.policies.lineage import LineagePolicy
from kvbm.pool.policies.queued import FifoPolicy, LruPolicy, MultiLruPolicy, PriorityPolicy

POLICIES: Final = MappingProxyType[str, Callable[[], EvictionPolicy]](
    {
        "priority": PriorityPolicy,
        "lru": LruPolicy,
        "fifo": FifoPolicy,
        "multi-lru": MultiLruPolicy,
        "lineage": LineagePolicy,
        "lineage-fifo": partial(LineagePolicy, "fifo"),
    }
)
"""Policy by name; `priority` is the default everywhere."""


def make_policy(policy: str | EvictionPolicy) -> EvictionPolicy:
    """Make the policy of that name, or give back an object that is one already.

    Raises
    ------
    InvalidConfig
        The name is unknown.
    """
    if not isinstance(policy, str):
        return policy
    if policy not in POLICIES:
        raise InvalidConfig("policy", policy, f"known are {', '.join(POLICIES)}")
    return POLICIES[policy]()
