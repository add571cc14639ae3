"""Pools: who has which slot, which hash is where, and who goes first when it gets tight."""

from kvbm.pool.changes import Change, ChangedBlock, ChangeKind, ChangeSink
from kvbm.pool.policies import POLICIES, EvictionPolicy, PredicatePolicy, make_policy
from kvbm.pool.pool import BlockPool
from kvbm.pool.snapshot import BlockPoolStatus, PoolStatistics, ResetBlocksResponse, Snapshot
from kvbm.pool.upkeep import EvictionMode

__all__ = [
    "POLICIES",
    "BlockPool",
    "BlockPoolStatus",
    "Change",
    "ChangeKind",
    "ChangeSink",
    "ChangedBlock",
    "EvictionMode",
    "EvictionPolicy",
    "PoolStatistics",
    "PredicatePolicy",
    "ResetBlocksResponse",
    "Snapshot",
    "make_policy",
]
