"""Unchecked: the clauses that a run does not check yet, each with what is missing.

What this is
    The other half of `checks`: a clause is in `CHECKS` or here, and never in both. What is
    here is reported as SKIP, with this reason.

Interface, as rules of use
    * `UNCHECKED[clause_id]` completes a sentence: "not checked yet: ...".
    * Who adds a check takes its line out here; a test tells what was forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VECTORS: Final = "only vectors show it, and one history is no search"
FAULTS: Final = "needs a subject whose copies, disk or peers fail as the suite plans it"
RESTART: Final = "needs a subject that is killed and opened again on the same storage"
KEYS: Final = "needs a subject that tells the key of given tokens and identity fields"
PEER: Final = "needs a second subject as peer"
GROUPS: Final = "needs a subject with several groups of layers"

UNCHECKED: Final[Mapping[str, str]] = {
    "KV-LIF-09": VECTORS,
    "KV-CAP-07": VECTORS,
    "KV-IDN-09": "needs a subject that can forget a version of the model",
    "KV-REG-07": "is about a caller that remembers a number of hits instead of holding the blocks",
    "KV-TIR-09": "needs a subject that is opened on a machine without that path",
    "KV-INT-05": "needs a subject that tells layout, dtype and shape of what it moves",
    "KV-LIV-04": FAULTS,
    "KV-ISO-05": "needs a subject that shows the bytes of a block before they are written",
    "KV-ISO-07": "needs a subject with quotas",
    "KV-RMT-01": PEER,
    "KV-RMT-02": PEER,
    "KV-RMT-03": PEER,
    "KV-RMT-04": PEER,
    "KV-RMT-05": PEER,
    "KV-RMT-06": PEER,
    "KV-RMT-07": PEER,
    "KV-GRP-01": GROUPS,
    "KV-GRP-02": GROUPS,
}
"""By clause, in the order of the clauses."""
