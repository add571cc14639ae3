"""Eviction policies: the protocol, those that come with kvbm, and their names."""

from kvbm.pool.policies.base import EvictionPolicy, SlotView
from kvbm.pool.policies.lineage import LineagePolicy
from kvbm.pool.policies.names import POLICIES, make_policy
from kvbm.pool.policies.predicate import Candidate, PredicatePolicy
from kvbm.pool.policies.queued import FifoPolicy, LruPolicy, MultiLruPolicy, PriorityPolicy

__all__ = [
    "POLICIES",
    "Candidate",
    "EvictionPolicy",
    "FifoPolicy",
    "LineagePolicy",
    "LruPolicy",
    "MultiLruPolicy",
    "PredicatePolicy",
    "PriorityPolicy",
    "SlotView",
    "make_policy",
]
