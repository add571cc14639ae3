"""The heart of a pool: its checks can fail, and whole lives go round."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kvbm.blocks import State
from kvbm.pool import POLICIES, BlockPool
from kvbm.pool.core import PoolCore
from kvbm.pool.policies import make_policy


def core_of(*states: str) -> PoolCore:
    """A core with one slot in each of `states`, of those that a call leaves behind."""
    core = PoolCore(len(states), make_policy("lru"), allow_duplicates=True)
    for slot, state in enumerate(states):
        if state == "empty":
            continue
        taken = core.allocate(1)
        assert taken is not None
        if state == "reset":
            continue
        parent = None if slot == 0 else slot
        core.slots.stage(taken.ids, np.array([slot + 1], np.uint64), parent, slot)
        core.register(taken.ids)
        if state == "inactive":
            core.release(taken.ids)
    return core


def tamper(field: str, slot: int, value: int) -> Callable[[PoolCore], None]:
    def change(core: PoolCore) -> None:
        core.slots.records[field][slot] = value

    return change


TAMPERINGS: dict[str, tuple[Callable[[PoolCore], Any], str]] = {
    "a holder too few": (tamper("refs", 0, 0), "KV-OWN-03"),
    "a holder of an inactive slot": (tamper("refs", 2, 1), "KV-OWN-03"),
    "an inactive slot that holds": (tamper("holds", 2, 0), "KV-OWN-03"),
    "a hold on an idle slot": (tamper("holds", 1, 2), "KV-OWN-03"),
    "more pins than holders": (tamper("pins", 1, 9), "KV-OWN-03"),
    "a priority that outlived": (tamper("priority", 3, 1), "KV-LIF-04"),
    "a key that outlived": (tamper("key", 3, 1), "KV-LIF-04"),
    "an empty slot that nobody knows": (lambda core: core._empty.pop(1), "KV-CAP-02"),
    "an inactive slot that nobody knows": (lambda core: core.policy.evict(1), "KV-CAP-02"),
    "an active slot that may be evicted": (
        lambda core: core.policy.insert(np.array([0])),
        "KV-CAP-02",
    ),
    "a key that is not registered": (
        lambda core: core.registry.erase(core.slots.records, np.array([0])),
        "KV-REG-05",
    ),
    "two slots of one key": (tamper("key", 1, 1), "KV-REG"),
    "tokens of an empty slot": (
        lambda core: core.slots.contents.__setitem__(3, None),  # type: ignore[arg-type]
        "KV-LIF-08",
    ),
}


@pytest.mark.clause("KV-CAP-02", "KV-OWN-03", "KV-REG-05", "KV-LIF-04")
@pytest.mark.parametrize("name", TAMPERINGS)
def test_the_check_sees_what_cannot_be(name: str) -> None:
    change, words = TAMPERINGS[name]
    core = core_of("active", "active", "inactive", "empty")
    core._check()
    change(core)
    with pytest.raises(AssertionError, match=words):
        core._check()


@pytest.mark.clause("KV-CAP-10", "KV-EVC-06", "KV-LIF-04")
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_full_pool_goes_round_twice_under_every_policy(policy: str) -> None:
    pool = BlockPool(8, policy=policy)
    for cycle in range(3):
        blocks = pool.allocate_blocks(8)
        assert not pool.snapshot().stored
        records = pool.slots.records
        for field in ("key", "parent_key", "has_parent", "position", "priority", "pins"):
            assert not records[field].any(), f"{field} outlived its block"
        blocks.stage(range(100 * cycle, 100 * cycle + 8))
        blocks.set_priority(cycle)
        pool.register_blocks(blocks).release()
        assert pool.status().inactive_blocks == 8
        assert len(pool.match_sequence_hashes(range(100 * cycle, 100 * cycle + 8))) == 8


@pytest.mark.clause("KV-LIF-05", "KV-OWN-01")
def test_a_lookup_that_races_the_last_drop_finds_the_block_or_nothing() -> None:
    pool = BlockPool(1)
    for name in range(200):
        blocks = pool.allocate_blocks(1)
        blocks.stage([name])
        held = [pool.register_blocks(blocks)]
        thread = threading.Thread(target=held.clear)
        thread.start()
        hits = pool.match_sequence_hashes([name])
        assert hits.sequence_hashes() == [name]
        assert hits[0].state is State.ACTIVE
        thread.join()
        assert hits[0].use_count == 1
        del hits
