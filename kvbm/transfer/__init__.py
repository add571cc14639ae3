"""Transfers: moving the bytes of blocks, as planned and by the means that the machine has.

Clauses: KV-INT-01, KV-INT-05, KV-TIR-08, KV-TIR-09
"""

from kvbm.transfer.checks import AxisRange
from kvbm.transfer.copies import Copies
from kvbm.transfer.plan import Direct, Plan, PlanPolicy, Side, Transform, plan
from kvbm.transfer.strategy import Capabilities, Hop, Place, Route, Strategy, resolve

__all__ = [
    "AxisRange",
    "Capabilities",
    "Copies",
    "Direct",
    "Hop",
    "Place",
    "Plan",
    "PlanPolicy",
    "Route",
    "Side",
    "Strategy",
    "Transform",
    "plan",
    "resolve",
]
