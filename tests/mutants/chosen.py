"""Chosen: our own manager, as if it knew one order of eviction and one hash scheme alone.

What this is
    The profile `smoke` tries the first policy, and the suite one scheme. A fault of another
    is looked for in that one.

Interface, as rules of use
    * The environment says which: so a second process, made by the suite, knows it, too.
    * Without `MUTANT_POLICY` and `MUTANT_SCHEME` it is the manager as it is.
"""

from __future__ import annotations

import os
from dataclasses import replace

from kvbm_spec.subject import Capabilities

from kvbm.cli.subject import KvbmSubject


class Chosen(KvbmSubject):
    """See the module."""

    scheme = os.environ.get("MUTANT_SCHEME") or KvbmSubject.scheme

    def capabilities(self) -> Capabilities:
        """See Subject."""
        able = super().capabilities()
        policy = os.environ.get("MUTANT_POLICY")
        if not policy:
            return able
        closed = tuple(each for each in able.prefix_closed if each == policy)
        return replace(able, policies=(policy,), prefix_closed=closed)
