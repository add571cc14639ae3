"""`kvbm bench pool`: block cycles per second of pools.

What this is
    8,192 blocks; 256 requests of 64 blocks each, nothing shared, so the pool always evicts.
    *Cold*: look-up (a miss), allocate with eviction, register, release. *Warm*: look-up of
    64 hits that takes references, and release. Keys are made beforehand, in the form that
    the subject takes (arrays here, 32 bytes each for vLLM).

    The limit is a compiled loop that does nothing but touch one slot record and one bucket of
    a table per block, at random: what memory allows.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import Any

import numpy as np

from kvbm.blocks.slots import SLOT, Keys
from kvbm.cli.bench.timing import Report, Subject, take_turns
from kvbm.cli.bench.vllm import VllmPool
from kvbm.compiled import compiled
from kvbm.events import EventLog
from kvbm.pool import BlockPool

BLOCKS, REQUESTS, LENGTH, WARM = 8_192, 256, 64, 100
COLD_AMOUNT = REQUESTS * LENGTH / 1e6
WARM_AMOUNT = WARM * LENGTH / 1e6


def measure(rounds: int) -> Report:
    """Run the benchmark."""
    source = random.Random(1)  # noqa: S311  a workload, not a secret
    keys = [
        [[source.getrandbits(64) for _ in range(LENGTH)] for _ in range(REQUESTS)]
        for _ in range(rounds + 1)
    ]
    arrays = [[np.array(row, np.uint64) for row in turn] for turn in keys]
    subjects = [
        _subject("kvbm (priority)", _Manager(BlockPool(BLOCKS)), arrays),
        _subject("kvbm, keys as lists", _Manager(BlockPool(BLOCKS)), keys),
        _subject("kvbm, events on", _Manager(BlockPool(BLOCKS, events=EventLog())), arrays),
        *(
            _subject(f"kvbm, {policy}", _Manager(BlockPool(BLOCKS, policy=policy)), arrays)
            for policy in ("lru", "multi-lru", "lineage")
        ),
        _subject("plain dictionaries", _Dictionaries(), keys),
    ]
    notes = [
        "plain dictionaries: a dict and an OrderedDict, no reference counts, no checks, no lock.",
        "limit: one slot record and one bucket per block, compiled, nothing else.",
    ]
    vllm = VllmPool.find(BLOCKS)
    if vllm is None:
        notes.append("vLLM is not installed here, so there is no ratio to its BlockPool.")
    else:
        requests = [
            [vllm.request([source.randbytes(32) for _ in row]) for row in turn] for turn in keys
        ]
        subjects.append(_subject("vLLM BlockPool", vllm, requests))
        notes.append(f"vLLM {vllm.version}, BlockPool as its cache manager drives it, events off.")
    subjects.append(_limit(np.concatenate(arrays[0])))
    return Report(
        title="Block pools",
        workload=f"{BLOCKS:,} blocks, {REQUESTS} requests of {LENGTH} blocks, nothing shared",
        unit="M blocks/s",
        columns=("cold", "warm"),
        rows=take_turns(subjects, rounds),
        reference="vLLM BlockPool" if vllm is not None else None,
        notes=tuple(notes),
    )


def _subject(name: str, pool: Any, turns: list[list[Any]]) -> Subject:
    """Serve the requests of one turn after the other: no cold request was ever seen before."""
    upcoming = iter(turns)
    recent: list[Any] = []

    def cold() -> None:
        requests = next(upcoming)
        recent[:] = requests[-WARM:]
        for request in requests:
            pool.miss(request)

    def warm() -> None:
        for request in recent:
            pool.hit(request)

    return Subject(name, {"cold": cold, "warm": warm}, {"cold": COLD_AMOUNT, "warm": WARM_AMOUNT})


class _Manager:
    """Our pool, through its public face."""

    def __init__(self, pool: BlockPool) -> None:
        self._pool = pool

    def miss(self, keys: Any) -> None:
        pool = self._pool
        found = pool.match_sequence_hashes(keys)
        assert len(found) == 0, "a cold request must miss"
        blocks = pool.allocate_blocks(LENGTH)
        blocks.stage(keys)
        pool.register_blocks(blocks).release()

    def hit(self, keys: Any) -> None:
        found = self._pool.match_sequence_hashes(keys)
        assert len(found) == LENGTH, "a warm request must hit"
        found.release()


class _Dictionaries:
    """The simplest pool that one would write: two dictionaries and a list."""

    def __init__(self) -> None:
        self._free = list(range(BLOCKS))
        self._slot_of: dict[int, int] = {}
        self._idle: OrderedDict[int, int] = OrderedDict()

    def miss(self, keys: list[int]) -> None:
        assert keys[0] not in self._slot_of, "a cold request must miss"
        slots = []
        for _ in keys:
            if self._free:
                slots.append(self._free.pop())
            else:
                key, slot = self._idle.popitem(last=False)
                del self._slot_of[key]
                slots.append(slot)
        for key, slot in zip(keys, slots, strict=True):
            self._slot_of[key] = slot
        for key, slot in zip(reversed(keys), reversed(slots), strict=True):
            self._idle[key] = slot

    def hit(self, keys: list[int]) -> None:
        slots = []
        for key in keys:
            slot = self._slot_of.get(key)
            if slot is None:
                break
            self._idle.pop(key, None)
            slots.append(slot)
        assert len(slots) == LENGTH, "a warm request must hit"
        for key, slot in zip(reversed(keys), reversed(slots), strict=True):
            self._idle[key] = slot


def _limit(keys: Keys) -> Subject:
    records = np.zeros(BLOCKS, SLOT)
    buckets = np.zeros(4 * BLOCKS, np.uint64)
    recent = keys[-WARM * LENGTH :]
    return Subject(
        "limit",
        {
            "cold": lambda: _touch(records, buckets, keys),
            "warm": lambda: _touch(records, buckets, recent),
        },
        {"cold": COLD_AMOUNT, "warm": WARM_AMOUNT},
    )


@compiled
def _touch(records: Any, buckets: Keys, keys: Keys) -> None:
    for key in keys:
        records[key % np.uint64(records.size)].refs += 1
        buckets[key % np.uint64(buckets.size)] = key
