"""Transfers: moving the bytes of blocks, as planned and by the means that the machine has.

Clauses: KV-INT-01, KV-INT-05, KV-TIR-08, KV-TIR-09
"""

from kvbm.transfer.checks import AxisRange
from kvbm.transfer.checksums import block_checksum
from kvbm.transfer.copies import Copies
from kvbm.transfer.engine import TransferEngine, TransferStatistics
from kvbm.transfer.faults import Faults
from kvbm.transfer.handle import Transfer
from kvbm.transfer.manual import ManualExecutor
from kvbm.transfer.plan import Direct, Plan, PlanPolicy, Side, Transform, plan
from kvbm.transfer.strategy import Capabilities, Hop, Place, Route, Strategy, resolve

__all__ = [
    "AxisRange",
    "Capabilities",
    "Copies",
    "Direct",
    "Faults",
    "Hop",
    "ManualExecutor",
    "Place",
    "Plan",
    "PlanPolicy",
    "Route",
    "Side",
    "Strategy",
    "Transfer",
    "TransferEngine",
    "TransferStatistics",
    "Transform",
    "block_checksum",
    "plan",
    "resolve",
]
