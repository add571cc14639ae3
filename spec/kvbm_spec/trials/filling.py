"""Filling: blocks that collect tokens, and what becomes of those that are not full.

What this is
    A block is filled token by token, refused before it is full, taken back, and filled in a
    slot where another has been. The key of given tokens is learned in a pool of its own.

Clauses: KV-LIF-03, KV-LIF-08, KV-INT-06
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kvbm_spec.identity import Hashing, Identity
from kvbm_spec.subject import Handle, Key
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import open_pool

FULL: Final = "KV-LIF-03"
TRACE: Final = "KV-LIF-08"
TAIL: Final = "KV-INT-06"

TOKENS: Final = (1, 2, 3, 4)
OTHERS: Final = (5, 6, 7, 8)


def only_a_full_block_is_staged(script: Script) -> None:
    """Stop at every length: the block is refused, and then goes on as if not asked."""
    key = _key(script, FULL, TOKENS)
    if isinstance(script.subject, Hashing):
        named = script.subject.block_keys(TOKENS, 4, Identity())
        what = f"the pool names {TOKENS} {key!r}, and block_keys gives {named}"
        script.expect(FULL, named == [key], what)
    for length in range(4):
        pool: Any = open_pool(script, slots=1, own_keys=True)
        handle = script.call("allocate(1)", pool.allocate, 1)[0]
        _append(script, pool, handle, TOKENS[:length])
        script.refused(FULL, "WrongState", "commit(h)", pool.commit, handle)
        if length:
            script.refused(FULL, "WrongState", "stage(h, key)", pool.stage, handle, key)
        too_many = (9,) * (5 - length)
        text = f"append(h, {too_many})"
        script.refused(FULL, "WrongState", text, pool.append, handle, too_many)
        _expect_miss(script, FULL, pool, key, f"{length} of 4 tokens are there, and it is a hit")
        _append(script, pool, handle, TOKENS[length:])
        _expect_miss(script, FULL, pool, key, "it is not registered, and is a hit")
        staged, got = script.call("commit(h)", pool.commit, handle)
        what = f"after refusals the block of {TOKENS} is named {got!r}, and else {key!r}"
        script.expect(FULL, got == key, what)
        script.call("register(h)", pool.register, staged)
        hits = script.call("match([key])", pool.match, [key])
        script.expect(FULL, len(hits) == 1, "the block is full and registered, and is a miss")
    script.reached("a partial block")


def tokens_that_are_taken_back_leave_no_trace(script: Script) -> None:
    """Reset a block at every length, staged too, and fill it with other tokens."""
    old, new = _key(script, TRACE, TOKENS), _key(script, TRACE, OTHERS)
    for length in range(1, 5):
        pool: Any = open_pool(script, slots=2, own_keys=True)
        handle = script.call("allocate(1)", pool.allocate, 1)[0]
        _append(script, pool, handle, TOKENS[:length])
        if length == 4:
            handle = script.call("commit(h)", pool.commit, handle)[0]
        handle = script.call("reset(h)", pool.reset, handle)
        _expect_miss(script, TRACE, pool, old, "it was rejected, and is a hit")
        script.refused(TRACE, "WrongState", "commit(h)", pool.commit, handle)
        _append(script, pool, handle, OTHERS)
        staged, got = script.call("commit(h)", pool.commit, handle)
        what = f"{TOKENS[:length]} were taken back, and {OTHERS} is named {got!r}, else {new!r}"
        script.expect(TRACE, got == new, what)
        script.call("register(h)", pool.register, staged)
        _expect_miss(script, TRACE, pool, old, "it was rejected, and is a hit after a refill")
        hits = script.call("match([key])", pool.match, [new])
        script.expect(TRACE, len(hits) == 1, f"{OTHERS} is registered, and is a miss")
    script.reached("tokens taken back")


def what_a_slot_held_is_no_tail(script: Script) -> None:
    """Fill a slot a second time, and stop early: the old tokens behind must not count."""
    pool: Any = open_pool(script, slots=1, own_keys=True)
    handle = script.call("allocate(1)", pool.allocate, 1)[0]
    _append(script, pool, handle, TOKENS)
    staged, old = script.call("commit(h)", pool.commit, handle)
    registered = script.call("register(h)", pool.register, staged)
    script.call("release(h)", pool.release, registered)
    for length in range(1, 4):
        mixture = (*OTHERS[:length], *TOKENS[length:])
        mixed = _key(script, TAIL, mixture)
        handle = script.call("allocate(1)", pool.allocate, 1)[0]
        _append(script, pool, handle, OTHERS[:length])
        script.refused(TAIL, "WrongState", "commit(h)", pool.commit, handle)
        what = f"{mixture} was never written, and is a hit"
        _expect_miss(script, TAIL, pool, mixed, what)
        _expect_miss(script, TAIL, pool, old, "its slot is being written, and it is a hit")
        script.call("release(h)", pool.release, handle)
        _expect_miss(script, TAIL, pool, mixed, what)
    script.reached("a slot filled again")


def _key(script: Script, clause: str, tokens: Sequence[int]) -> Key:
    """Learn the key of a block in a fresh pool."""
    pool: Any = open_pool(script, slots=1, own_keys=True)
    handle = script.call("allocate(1)", pool.allocate, 1)[0]
    _append(script, pool, handle, tokens)
    answer = script.call("commit(h)", pool.commit, handle)
    script.expect(clause, len(answer) == 2, f"commit gives a handle and a key, and not {answer!r}")
    key: Key = answer[1]
    return key


def _append(script: Script, pool: Any, handle: Handle, tokens: Sequence[int]) -> None:
    script.call(f"append(h, {tuple(tokens)})", pool.append, handle, tokens)


def _expect_miss(script: Script, clause: str, pool: Any, key: Key, what: str) -> None:
    found = script.call("match([key])", pool.match, [key])
    script.expect(clause, not found, what)
    script.expect(clause, not script.call("scan([key])", pool.scan, [key]), what)


TRIALS: Final[tuple[Trial, ...]] = (
    Scene("partial blocks", (FULL,), "tokens", only_a_full_block_is_staged),
    Scene("tokens taken back", (TRACE,), "tokens", tokens_that_are_taken_back_leave_no_trace),
    Scene("a slot filled again", (TAIL,), "tokens", what_a_slot_held_is_no_tail),
)

CHECKS: Final[Mapping[str, Check]] = {
    FULL: Check(("a partial block",), "tokens"),
    TAIL: Check(("a slot filled again",), "tokens"),
}
