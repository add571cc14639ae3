"""Ledger: what must, may and must not be seen in tiers, from the calls and the steps alone.

What this is
    The oracle of the trials of tiers. It does not know when a subject starts a copy, how it
    batches, or whom it evicts; it sees that by `copies()` and by matches. It knows what may
    follow from what: a block comes into a tier by a store or by a copy that ended well, and
    goes when room is needed, or when a load of it failed. A block's bytes are made of its
    key, so that whatever is matched can be checked.

Interface, as rules of use
    * `look(step)` after each step: it matches all keys in all tiers, reads them, lets go of
      them, and compares with what was seen before. It raises `Broken`, by the script.
    * `room(tier)` is how many slots an allocation must give, and how many it may.
    * `blame` says which clause is broken where the same sight can have several causes.

Clauses: KV-TIR-01, KV-TIR-02, KV-TIR-03, KV-TIR-05, KV-TIR-06, KV-TIR-10, KV-INT-01, KV-INT-02,
KV-INT-03, KV-REG-09, KV-CAP-01, KV-EVC-01, KV-EVT-01
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kvbm_spec.subject import Handle, Key
from kvbm_spec.tiers import Copy, TieredManager
from kvbm_spec.trial import Script


def content(key: Key) -> bytes:
    """Give the eight bytes of a block: no two keys share a half of them, and none is zero."""
    return ((key + 1) * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big")


@dataclass(slots=True, kw_only=True)
class Step:
    """What was done: all that may have changed what is seen."""

    stored: tuple[str, Key] | None = None
    ended: Copy | None = None
    failed: Copy | None = None
    short: bool = False
    pressed: set[str] = field(default_factory=set)
    """Tiers in which slots were asked for."""


class Ledger:
    """What was seen last, and who holds what."""

    def __init__(self, script: Script, manager: TieredManager, slots: Mapping[str, int]) -> None:
        self.script, self.manager, self.slots = script, manager, slots
        self.keys: set[Key] = set()
        """All that were ever stored."""
        self.present: dict[str, set[Key]] = {tier: set() for tier in slots}
        self.held: dict[tuple[str, Key], list[Handle]] = {}
        self.owned: Counter[str] = Counter()
        self.spoiled: set[tuple[str, Key]] = set()
        """Blocks whose stored bytes were flipped."""
        self._doubted: set[tuple[str, Key]] = set()
        """Blocks that could not be loaded while they were held: they may go later."""
        self.copies: list[Copy] = []
        self.blame: dict[str, str] = {}
        self._folded: dict[str, set[Key]] = {tier: set() for tier in slots}
        self._tells = script.subject.capabilities().events

    def ask(self, text: str, act: Callable[..., Any], *arguments: Any) -> Any:
        """Make a call that is written down only if it goes wrong."""
        answer = self.script.call(text, act, *arguments)
        self.script.lines.pop()
        return answer

    def holders(self, tier: str) -> set[Key]:
        """Give the keys of a tier that a client or a copy surely holds."""
        held = {key for place, key in self.held if place == tier}
        return held | {key for copy in self.copies if copy.source == tier for key in copy.keys}

    def transit(self, tier: str) -> int:
        """Count the slots of a tier that copies are on their way to."""
        return sum(len(copy.keys) for copy in self.copies if copy.target == tier)

    def room(self, tier: str, waiting: set[Key]) -> tuple[int, int]:
        """Give how many slots must be given, and how many may; who waits may hold `waiting`."""
        sure = self.holders(tier) & self.present[tier]
        taken = len(sure) + self.transit(tier) + self.owned[tier]
        maybe = len((waiting & self.present[tier]) - sure)
        return self.slots[tier] - taken - maybe, self.slots[tier] - taken

    def look(self, step: Step) -> None:
        """See what a step has changed, and whether it was allowed to."""
        before, self.copies = self.copies, list(self.ask("copies()", self.manager.copies))
        started = Counter(map(_same, self.copies)) - Counter(map(_same, before))
        step.pressed |= {copy.target for copy in started}
        found = {tier: self._read(tier) for tier in self.slots}
        for tier in self.slots:
            for key in sorted(found[tier].keys() - self.present[tier]):
                self._came(step, tier, key)
            for key, right in found[tier].items():
                self._bytes(tier, key, right=right)
        for tier in self.slots:
            for key in sorted(self.present[tier] - found[tier].keys()):
                self._went(step, tier, key, found)
            self._capacity(tier, len(found[tier]))
            self._events(tier, set(found[tier]))
        self.present = {tier: set(keys) for tier, keys in found.items()}
        if step.failed is not None:
            self._failed(step.failed)
        if self.copies:
            self.script.reached("looked beside a copy")

    # ── inside ────────────────────────────────────────────────────────────────────────────

    def _read(self, tier: str) -> dict[Key, bool]:
        """Match all keys in a tier, and read them; tell whose bytes are right."""
        pool = self.manager.pool(tier)
        hits = self.ask(f"scan() in {tier}", pool.scan, sorted(self.keys))
        right = {
            key: self.ask(f"read(K{key}) in {tier}", pool.read, hits[key]) == content(key)
            for key in hits
        }
        for key, handle in hits.items():
            self.ask(f"release(K{key}) in {tier}", pool.release, handle)
        return right

    def _came(self, step: Step, tier: str, key: Key) -> None:
        """Judge a key that is seen where it was not."""
        came = step.ended is not None and step.ended.target == tier and key in step.ended.keys
        self._doubted.discard((tier, key))
        if came:
            self.script.reached("a copy ended")
        failed = step.failed
        if failed is not None and failed.target == tier and key in failed.keys:
            clause = "KV-TIR-05" if step.short else "KV-REG-09"
            self.script.expect(clause, False, f"the copy of K{key} failed, and {tier} has it")
        what = f"K{key} is found in {tier}, and no copy of it there has ended"
        self.script.expect("KV-TIR-01", came or step.stored == (tier, key), what)

    def _bytes(self, tier: str, key: Key, *, right: bool) -> None:
        """Judge what a reader of a key was given."""
        if (tier, key) in self.spoiled:
            return
        clause = self.blame.get("bytes", "KV-INT-01")
        if any(place != tier and name == key for place, name in self.spoiled):
            clause = "KV-INT-03"
        if any(copy.target == tier and key in copy.keys for copy in self.copies):
            clause = "KV-INT-02"
        self.script.expect(clause, right, f"K{key} in {tier} has other bytes than were stored")

    def _went(
        self, step: Step, tier: str, key: Key, found: Mapping[str, Mapping[Key, bool]]
    ) -> None:
        """Judge a key that is no longer seen where it was."""
        self.spoiled.discard((tier, key))
        what = f"K{key} is gone from {tier}"
        held = (tier, key) in self.held
        self.script.expect("KV-EVC-01", not held, f"{what}, and was held")
        copied = key in self.holders(tier)
        pressed = tier in step.pressed or (tier, key) in self._doubted
        if copied and pressed:
            clause = self.blame.get("source", "KV-TIR-02")
            self.script.expect(clause, False, f"{what}, and a copy still reads it")
        if copied:
            self.script.expect("KV-TIR-03", False, f"{what}, and is not yet where it is moved to")
        for copy in (step.failed, step.ended):
            if copy is not None and copy.source == tier and key in copy.keys:
                loaded = self._loads(copy)
                moved = copy is step.ended and key in found[copy.target]
                clause = "KV-TIR-05" if copy is step.failed else "KV-TIR-03"
                bad = f"{what} after a copy of it to {copy.target}"
                self.script.expect(clause, loaded or moved or pressed, bad)
                return
        self.script.expect("KV-TIR-10", pressed, f"{what}, and nobody needed room there")

    def _loads(self, copy: Copy) -> bool:
        """Whether a copy goes towards the fastest tier."""
        order = list(self.slots)
        return order.index(copy.target) < order.index(copy.source)

    def _capacity(self, tier: str, found: int) -> None:
        used = found + self.owned[tier] + self.transit(tier)
        what = f"{used} slots of {tier} are in use, and it has {self.slots[tier]}"
        self.script.expect("KV-CAP-01", used <= self.slots[tier], what)
        if used == self.slots[tier] and self.transit(tier):
            self.script.reached("a tier was full during a copy")

    def _events(self, tier: str, found: set[Key]) -> None:
        if not self._tells:
            return
        folded = self._folded[tier]
        for event in self.ask(f"drain_events() of {tier}", self.manager.pool(tier).drain_events):
            if event.kind == "Stored":
                folded.add(event.key)
            elif event.kind == "Removed":
                folded.discard(event.key)
            else:
                folded.clear()
        for key in sorted(folded ^ found):
            told, seen = ("has", "not found") if key in folded else ("has not", "found")
            what = f"by its events {tier} {told} K{key}, and it is {seen} there"
            self.script.expect(self.blame.get("events", "KV-EVT-01"), False, what)

    def _failed(self, failed: Copy) -> None:
        """See that a block that could not be loaded is no hit any more, unless it is held."""
        if not self._loads(failed):
            return
        self.script.reached("a load failed")
        for key in failed.keys:
            hit = key in self.present[failed.source]
            if hit and key in self.holders(failed.source):
                self._doubted.add((failed.source, key))
                continue
            what = f"K{key} could not be loaded, and is still a hit in {failed.source}"
            self.script.expect("KV-TIR-06", not hit, what)


def _same(copy: Copy) -> Copy:
    return replace(copy, begun=False)
