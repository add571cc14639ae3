"""Blame: where model and subject differ, which clause is broken.

What this is
    A difference is a fact; which sentence of the specification it breaks is a judgement.
    It is made here, from the most telling sign to the least: what the events say, then
    refusals, then answers, then the bytes, then the snapshot.

Interface, as rules of use
    * `blame_step` judges one call, `blame_snapshot` the state after it. Each gives None
      where nothing differs.
    * The clause that fires first need not be the one that was broken; the history and
      the two states beside it tell the rest.

Clauses: KV-LIF-01, KV-LIF-02, KV-LIF-04, KV-LIF-06, KV-LIF-08, KV-OWN-03, KV-OWN-05, KV-CAP-02,
KV-CAP-04, KV-CAP-05, KV-CAP-06, KV-INT-01, KV-REG-01, KV-REG-02, KV-REG-03, KV-REG-04, KV-EVC-01,
KV-EVC-02, KV-EVC-05, KV-EVC-06, KV-EVT-01, KV-EVT-02, KV-EVT-04
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from kvbm_spec.operations import Op, Outcome, key_text
from kvbm_spec.subject import Key, PoolSnapshot, SlotView
from kvbm_spec.twin import Twin


class Verdict(NamedTuple):
    """A clause that does not hold, and what was seen, in one sentence."""

    clause: str
    what: str


def blame_step(before: Twin, op: Op, expected: Outcome, got: Outcome) -> Verdict | None:
    """Judge one call. `before` is the model as it was before it."""
    if got == expected:
        return None
    return (
        _crash(op, got)
        or _victims(before, op, expected, got)
        or _refusal(before, op, expected, got)
        or _answer(before, op, expected, got)
        or _events(op, expected, got)
        or Verdict("KV-LIF-01", f"{op} answered {got}, and the model {expected}")
    )


def _crash(op: Op, got: Outcome) -> Verdict | None:
    if got.error is None or not got.error.startswith("crash"):
        return None
    return Verdict("KV-LIF-01", f"{op} raised what is no refusal ({got.error})")


def _victims(before: Twin, op: Op, expected: Outcome, got: Outcome) -> Verdict | None:
    wanted = [key for kind, key in expected.events if kind == "Removed" and key is not None]
    gone = [key for kind, key in got.events if kind == "Removed" and key is not None]
    if op.name != "allocate" or gone == wanted:
        return None
    known, resting = before.known(), before.inactive()
    for key in gone:
        if key in known and key not in resting:
            return Verdict("KV-EVC-01", f"{key_text(key)} was held, and was evicted")
        if key not in known or gone.count(key) > 1:
            return Verdict("KV-EVT-02", f"{key_text(key)} was removed, and was not there")
    return _how_many(op.n <= len(before.model.empty), wanted, gone)


def _how_many(room: bool, wanted: list[Key], gone: list[Key]) -> Verdict:
    text = f"it evicted {_keys(gone)}"
    if len(gone) > len(wanted) and room:
        return Verdict("KV-EVC-05", f"there were free slots enough, and {text}")
    if len(gone) > len(wanted):
        return Verdict("KV-EVC-06", f"{len(wanted)} had to go, and {text}")
    if len(gone) < len(wanted):
        missing = key_text(next(key for key in wanted if key not in gone))
        return Verdict("KV-EVT-04", f"{missing} had to be evicted, and no event says so")
    return Verdict("KV-EVC-02", f"{text}; the model evicts {_keys(wanted)}")


def _refusal(before: Twin, op: Op, expected: Outcome, got: Outcome) -> Verdict | None:
    if got.error == expected.error:
        return None
    done = "was done" if got.error is None else f"was refused with {got.error}"
    if expected.error == "StaleHandle" and op.name == "release":
        return Verdict("KV-LIF-06", f"{op.handle} was released already, and the call {done}")
    if expected.error == "StaleHandle":
        return Verdict("KV-LIF-02", f"{op.handle} was used up, and {op} {done}")
    if op.name == "write":
        return Verdict("KV-OWN-05", f"{op.handle} is registered, and writing to it {done}")
    if expected.error is not None:
        state = before.kind(op.handle) if op.handle in before.live else "gone"
        return Verdict("KV-LIF-01", f"{op.handle} is {state}, and {op} {done}")
    clause = "KV-CAP-06" if op.name == "allocate" else "KV-LIF-01"
    return Verdict(clause, f"{op} is allowed, and {done}")


def _answer(before: Twin, op: Op, expected: Outcome, got: Outcome) -> Verdict | None:
    if got.value != expected.value:
        if op.name == "allocate":
            return _allocation(before, op, expected, got)
        if op.name in ("match", "scan"):
            return _hits(before, op, expected, got)
        return Verdict("KV-REG-02", f"{op} answered {got}, and the model {expected}")
    if got.read != expected.read:
        return Verdict("KV-INT-01", f"{op} gave blocks whose bytes are not those of their keys")
    return None


def _allocation(before: Twin, op: Op, expected: Outcome, got: Outcome) -> Verdict:
    room = before.model.available
    if got.value is None:
        return Verdict("KV-CAP-06", f"{room} of {op.n} slots were available, and it gave none")
    if expected.value is None:
        return Verdict("KV-CAP-06", f"only {room} of {op.n} slots were available, and it gave them")
    return Verdict("KV-CAP-08", f"{op.n} slots were asked for, and {len(got.value)} were given")


def _hits(before: Twin, op: Op, expected: Outcome, got: Outcome) -> Verdict:
    known = before.known()
    counts = len(got.value), len(expected.value)
    if counts[0] > counts[1]:
        absent = next((key for key in op.keys if key not in known), None)
        if absent in before.removed:
            return Verdict("KV-REG-03", f"{key_text(absent)} was removed, and it still matches")
        if absent in before.discarded:
            return Verdict("KV-LIF-08", f"{key_text(absent)} was discarded, and it matches")
    hits = f"{counts[0]} hits where the model has {counts[1]}"
    if op.name == "match":
        return Verdict("KV-REG-01", f"{op} gave {hits}, which is not the longest prefix")
    return Verdict("KV-REG-01", f"{op} gave {hits}")


def _events(op: Op, expected: Outcome, got: Outcome) -> Verdict | None:
    if got.events == expected.events:
        return None
    extra = Counter(got.events) - Counter(expected.events)
    if extra:
        kind, key = next(iter(extra))
        return Verdict("KV-EVT-02", f"{op} sent {kind}({key_text(key)}), which did not happen")
    missing = Counter(expected.events) - Counter(got.events)
    if missing:
        kind, key = next(iter(missing))
        return Verdict("KV-EVT-01", f"{op} did not send {kind}({key_text(key)})")
    return Verdict("KV-EVT-01", f"{op} sent its events in another order")


# ── the snapshot ──────────────────────────────────────────────────────────────────────────


def blame_snapshot(twin: Twin, seen: PoolSnapshot) -> Verdict | None:
    """Judge the subject's view of itself, after a call."""
    return _lists(seen) or _partition(twin, seen) or _registry(twin, seen) or _order(twin, seen)


def _lists(seen: PoolSnapshot) -> Verdict | None:
    for name, listed in (("free", seen.free), ("inactive", seen.inactive)):
        if len(set(listed)) < len(listed):
            return Verdict("KV-CAP-04", f"a slot is listed twice as {name}: {listed}")
        marked = {i for i, slot in enumerate(seen.slots) if slot.state == name}
        if set(listed) != marked:
            return Verdict("KV-CAP-02", f"{name} are {sorted(marked)}, and {listed} are listed")
    for slot in seen.slots:
        if slot.state == "free" and slot.key is not None:
            return Verdict("KV-LIF-04", f"a free slot still remembers {key_text(slot.key)}")
    return None


def _partition(twin: Twin, seen: PoolSnapshot) -> Verdict | None:
    model = twin.model
    mine = sorted(slot.state for slot in seen.slots)
    theirs = sorted(view.state for view in twin.views())
    if mine != theirs:
        counts = f"{dict(Counter(mine))}; the model has {dict(Counter(theirs))}"
        return Verdict("KV-CAP-03", f"slots are {counts}")
    if seen.available != model.available:
        return Verdict("KV-CAP-05", f"{seen.available} reported, {model.available} available")
    return None


def _registry(twin: Twin, seen: PoolSnapshot) -> Verdict | None:
    for key, slot in seen.registry.items():
        if not 0 <= slot < len(seen.slots) or seen.slots[slot].key != key:
            return Verdict("KV-REG-04", f"{key_text(key)} leads to slot {slot}, which holds other")
    if set(seen.registry) != twin.known():
        known = _keys(sorted(twin.known()))
        return Verdict(
            "KV-REG-05", f"registry has {_keys(sorted(seen.registry))}, the model {known}"
        )
    mine = Counter(_known(slot, slot) for slot in seen.slots)
    theirs = Counter(_known(view, seen.slots[0]) for view in twin.views())
    if mine != theirs:
        extra = SlotView(*next(iter(mine - theirs)))
        return Verdict("KV-OWN-03", f"a slot is {extra}, and no slot of the model is")
    return None


def _order(twin: Twin, seen: PoolSnapshot) -> Verdict | None:
    mine, theirs = [seen.slots[slot].key for slot in seen.inactive], twin.inactive()
    if mine == theirs:
        return None
    return Verdict("KV-EVC-02", f"next victims are {_keys(mine)}; the model has {_keys(theirs)}")


def _known(slot: SlotView, like: SlotView) -> tuple[str, Key | None, int | None]:
    """Keep of a slot what can be compared: a subject need not count holders."""
    key = slot.key if slot.state not in ("free", "mutable") else None
    return slot.state, key, None if like.holders is None else slot.holders


def _keys(keys: Iterable[Key | None]) -> str:
    return "[" + ", ".join(key_text(key) for key in keys) + "]"
