"""Rule sets: how our manager, and three other programs, treat a trace."""

from kvbm.replay.rules.registry import RULES

__all__ = ["RULES"]
