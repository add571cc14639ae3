"""Every test runs with the invariants checked, and Hypothesis without a clock."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("KVBM_CHECK", "1")  # read when kvbm is imported

# The first call of a compiled function takes a second, the next a microsecond: no deadline.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("night", deadline=None, max_examples=1000, stateful_step_count=100)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "default")
)
