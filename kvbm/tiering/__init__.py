"""Tiering: what moves between fast and slow memory, when, and what becomes of it."""

from kvbm.tiering.engines import Engines, InThisThread
from kvbm.tiering.filters import FrequencyFilter, OffloadFilter, PriorityFilter, TinyLfuFilter
from kvbm.tiering.index import IndexStatistics
from kvbm.tiering.mover import EngineMover
from kvbm.tiering.onboard import Onboarder, Onboarding
from kvbm.tiering.outcome import Ended, Offload, Outcome
from kvbm.tiering.persistent import PersistentDisk
from kvbm.tiering.route import Limits, Route
from kvbm.tiering.tier import Copy, Mover, Tier
from kvbm.tiering.ways import count_offloaded
from kvbm.tiering.write_back import WriteBack
from kvbm.tiering.write_through import TwoSinks, WriteThrough

__all__ = [
    "Copy",
    "Ended",
    "EngineMover",
    "Engines",
    "FrequencyFilter",
    "InThisThread",
    "IndexStatistics",
    "Limits",
    "Mover",
    "Offload",
    "OffloadFilter",
    "Onboarder",
    "Onboarding",
    "Outcome",
    "PersistentDisk",
    "PriorityFilter",
    "Route",
    "Tier",
    "TinyLfuFilter",
    "TwoSinks",
    "WriteBack",
    "WriteThrough",
    "count_offloaded",
]
