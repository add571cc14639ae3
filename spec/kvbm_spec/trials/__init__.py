"""Trials: scenes for what only some subjects can do, one module a theme.

What this is
    `TRIALS` in the order in which they are tried, and `TRIAL_CHECKS`, what must have been
    seen for a clause to pass.
"""

from kvbm_spec.trials.registry import TRIAL_CHECKS, TRIALS

__all__ = ["TRIALS", "TRIAL_CHECKS"]
