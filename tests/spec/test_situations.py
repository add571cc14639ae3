"""A call is told by the situations that it was in, and by no others."""

from __future__ import annotations

import pytest
from kvbm_spec.operations import Op
from kvbm_spec.subject import Capabilities, PoolConfig
from kvbm_spec.twin import Twin


def situations_of(text: str, *, slots: int = 2, duplicates: str = "reject") -> set[str]:
    """Play a history, such as "allocate 1, stage h0 0"; name the situations of its last call."""
    twin = Twin(PoolConfig(slots=slots, duplicates=duplicates), Capabilities())
    for words in map(str.split, text.split(", ")):
        twin = twin.copy()
        twin.apply(_op(*words))
    assert max(twin.situations.values(), default=1) == 1
    return {*twin.situations}


def _op(name: str, *words: str) -> Op:
    if name == "allocate":
        return Op(name, n=int(words[0]))
    handle = words[0] if words and words[0].startswith("h") else None
    keys = words if handle is None else words[1:]
    return Op(name, handle=handle, keys=tuple(map(int, keys)))


ONCE_DISCARDED = "allocate 1, stage h0 0, reset h1, stage h2 0, register h3"
ACTIVE = "allocate 1, stage h0 0, register h1"
RESTING = f"{ACTIVE}, release h2"
TWO_REST = f"{RESTING}, allocate 1, stage h3 1, register h4, release h5"
BESIDE = f"{RESTING}, allocate 1, stage h3 1, register h4"
EVICTED = f"{TWO_REST}, allocate 1"
AGAIN = f"{ACTIVE}, allocate 1, stage h3 0, register h4"


@pytest.mark.parametrize(
    ("history", "seen"),
    [
        ("allocate 0", set()),
        ("allocate 1", {"allocated"}),
        ("allocate 3", {"exhausted", "partly available"}),
        ("allocate 2, allocate 1", {"exhausted"}),
        (f"{RESTING}, allocate 1", {"allocated", "free first"}),
        (f"{RESTING}, allocate 2", {"allocated", "free first", "evicted"}),
        (f"{ACTIVE}, allocate 1", {"allocated"}),
        (EVICTED, {"allocated", "evicted", "chose a victim"}),
        (f"{TWO_REST}, allocate 2", {"allocated", "evicted"}),
        (f"{BESIDE}, allocate 1", {"allocated", "evicted", "evicted beside active"}),
        ("allocate 1, stage h0 0", set()),
        (ACTIVE, {"registered"}),
        (AGAIN, {"deduplicated", "shared"}),
        (f"{EVICTED}, stage h6 0, register h7", {"registered", "registered again"}),
        (f"{EVICTED}, stage h6 1, register h7", {"deduplicated"}),
        (f"{ACTIVE}, match 0", {"hit", "shared"}),
        (f"{RESTING}, match 0", {"hit", "woken"}),
        (f"{RESTING}, scan 0 1", {"woken"}),
        (f"{RESTING}, match 1", {"miss"}),
        (f"{RESTING}, match 1 0", {"miss", "gap"}),
        (f"{EVICTED}, match 0", {"miss", "looked for a removed key"}),
        (f"{EVICTED}, match 1", {"hit", "woken"}),
        (f"{EVICTED}, scan 0", set()),
        ("allocate 1, stage h0 0, release h1, match 0", {"miss", "looked for a discarded key"}),
        ("allocate 1, stage h0 0, reset h1, match 0", {"miss", "looked for a discarded key"}),
        ("allocate 1, stage h0 0, match 0", {"miss"}),
        (f"{ONCE_DISCARDED}, match 0", {"hit", "shared"}),
        (
            f"{ONCE_DISCARDED}, release h4, allocate 2, match 0",
            {"miss", "looked for a removed key"},
        ),
        ("allocate 1, reset h0", {"reset"}),
        (f"{ACTIVE}, reset h2", {"wrong state"}),
        (f"{ACTIVE}, write h2", {"wrong state", "write refused"}),
        ("allocate 1, write h0", set()),
        (f"{ACTIVE}, register h1", {"stale"}),
        (f"{RESTING}, release h2", {"stale", "double release"}),
        (f"{EVICTED}, release h2", {"stale", "double release", "stale, slot in use"}),
        (f"{EVICTED}, release h6, register h2", {"stale"}),
        (f"{EVICTED}, stage h6 3, register h7, release h8, register h2", {"stale"}),
    ],
)
def test_a_call_is_told_by_its_situations(history: str, seen: set[str]) -> None:
    assert situations_of(history) == seen


def test_a_duplicate_is_told_where_it_is_allowed() -> None:
    assert situations_of(AGAIN, duplicates="allow") == {"deduplicated", "duplicate", "shared"}
