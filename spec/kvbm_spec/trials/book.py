"""Book: a subject with tiers, driven move by move, and what became of each request.

What this is
    The hand on the subject. Each method makes one move, writes it down, and has the
    `ledger` look at all tiers; then it asks what became of every request so far.

Interface, as rules of use
    * A move that cannot be made (a copy that is not there, a key that is nowhere) is
      nothing, so that moves can be left out of a program.
    * `end()` lets the whole program come to its end: pressure on all tiers while copies are
      under way, then every copy finished, everything let go of, every slot counted, closed.

Clauses: KV-TIR-02, KV-TIR-05, KV-CAP-01, KV-CAP-03, KV-CAP-08, KV-CAP-10, KV-CON-04, KV-LIV-01,
KV-LIV-02, KV-SHD-01, KV-SHD-05
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Final

from kvbm_spec.subject import Env, Handle, Key
from kvbm_spec.tiers import OUTCOMES, PENDING, Copy, Ticket, Tiered
from kvbm_spec.trial import Script
from kvbm_spec.trials.ledger import Ledger, Step, content

SECONDS: Final = 0.02
"""For closing under copies that do not end."""

PATIENCE: Final = 8
"""How often what fails may be tried again."""


@dataclass(slots=True, eq=False)
class Asked:
    """One request, and what is known of it."""

    ticket: Ticket
    keys: tuple[Key, ...]
    source: str
    """Empty for an onboard."""
    target: str
    number: int
    states: dict[Key, str] = field(default_factory=dict)
    seen: set[Key] = field(default_factory=set)
    """Keys that were in the target at some time since."""
    failed: set[Key] = field(default_factory=set)
    """Keys of which a copy failed while they were waited for."""
    given_up: bool = False
    collected: bool = False

    @property
    def pending(self) -> bool:
        """Whether a key has no outcome."""
        return PENDING in self.states.values()


class Book:
    """All that is done with one subject. `slots` are those of its fastest tiers."""

    def __init__(self, script: Script, slots: Sequence[int]) -> None:
        subject = script.subject
        assert isinstance(subject, Tiered), "asked only of subjects with tiers"
        self.script = script
        self.tiers = subject.tiers()[: len(slots)]
        self.fast, self.slow = self.tiers[:2]
        sizes = dict(zip(self.tiers, slots, strict=False))
        text = ", ".join(f"{tier}: {size} slots" for tier, size in sizes.items())
        self.manager = script.call(f"open({text})", subject.open_tiers, sizes, Env())
        self.ledger = Ledger(script, self.manager, sizes)
        self.asked: list[Asked] = []
        self._junk = 1_000
        self._begun = 0
        self._faults = ""
        """The kind of the last copy that failed: of one block or of several."""

    # ── moves ─────────────────────────────────────────────────────────────────────────────

    def store(self, key: Key, tier: str | None = None) -> bool:
        """Compute a block, and let go of it; tell whether there was room."""
        tier = tier or self.fast
        handle = self._publish(key, tier)
        if handle is not None:
            self.ledger.ask("release(h)", self.manager.pool(tier).release, handle)
        self._look(Step(stored=(tier, key), pressed={tier}))
        return handle is not None

    def offload(
        self, keys: Sequence[Key], source: str | None = None, target: str | None = None
    ) -> Asked:
        """Ask for copies in a slower tier."""
        source, target = source or self.fast, target or self.slow
        given = list(keys)
        number = len(self.asked)
        text = f"t{number} = offload({_text(keys)}, {source}, {target})"
        ticket = self.script.call(text, self.manager.offload, given, source, target)
        return self._note(ticket, keys, given, source, target)

    def onboard(self, keys: Sequence[Key]) -> Asked:
        """Ask for blocks in the fastest tier."""
        given = list(keys)
        text = f"t{len(self.asked)} = onboard({_text(keys)})"
        ticket = self.script.call(text, self.manager.onboard, given)
        return self._note(ticket, keys, given, "", self.fast)

    def cancel(self, asked: Asked) -> None:
        """Give a request up."""
        asked.given_up = True
        self.script.call(f"cancel(t{asked.number})", self.manager.cancel, asked.ticket)
        self._look(Step())

    def begin(self, index: int = 0) -> bool:
        """Let a copy begin."""
        copies = self.ledger.copies
        if index >= len(copies) or copies[index].begun:
            return False
        self.script.call(f"the copy of {copies[index]} begins", self.manager.begin, index)
        self._look(Step())
        self._begun += 1
        if self._begun > 1 and len(self.ledger.copies) > 1:
            self.script.reached("two copies were under way")
        return True

    def finish(self, index: int = 0) -> bool:
        """Let a copy end well."""
        copy = self._copy(index)
        if copy is None:
            return False
        self.script.call(f"the copy of {copy} ends", self.manager.finish, index)
        self._look(Step(ended=copy))
        return True

    def fail(self, index: int = 0, *, short: bool = False) -> bool:
        """Let a copy fail."""
        copy = self._copy(index)
        if copy is None:
            return False
        how = "is short" if short else "fails"
        waiting = [
            (asked, key)
            for asked in self.asked
            for key in copy.keys
            if asked.target == copy.target and asked.source in ("", copy.source)
            if asked.states.get(key) == PENDING
        ]
        several = len(copy.keys) > 1 or any(len(asked.keys) > 1 for asked, _ in waiting)
        self._faults = "KV-CAP-08" if several else "KV-TIR-05"
        self.script.call(
            f"the copy of {copy} {how}", partial(self.manager.fail, index, short=short)
        )
        self.script.reached("a copy was short" if short else "a copy failed")
        self._look(Step(failed=copy, short=short))
        for asked, key in waiting:
            asked.failed.add(key)
        return True

    def fail_all(self, *, short: bool = False) -> None:
        """Let copies fail until there are none; nothing may be tried again for ever."""
        bound = PATIENCE * sum(len(copy.keys) for copy in self.ledger.copies)
        while self.fail(short=short):
            bound -= 1
            self.script.expect("KV-LIV-02", bound > 0, "what fails is tried again for ever")

    def hold(self, key: Key, tier: str) -> bool:
        """Match a block, and keep it."""
        handles = self.script.call(f"match(K{key}) in {tier}", self.manager.pool(tier).match, [key])
        if handles:
            self.ledger.held.setdefault((tier, key), []).extend(handles)
        self._look(Step())
        return bool(handles)

    def let_go(self, key: Key, tier: str) -> None:
        """Release all that is held of a block."""
        for handle in self.ledger.held.pop((tier, key), []):
            self.script.call(f"release(K{key}) in {tier}", self.manager.pool(tier).release, handle)
        self._look(Step())

    def press(self, tier: str) -> int:
        """Take all slots that can be had, overwrite them, and give them back; give how many."""
        self.collect()
        waiting = self._waiting() if tier == self.fast else set()
        low, high = self.ledger.room(tier, waiting)
        pool = self.manager.pool(tier)
        busy = any(tier in (copy.source, copy.target) for copy in self.ledger.copies)
        if busy:
            self.script.reached("pressure during a copy")
        more = self.script.call(f"allocate({high + 1}) in {tier}", pool.allocate, high + 1)
        clause = "KV-TIR-02" if busy else "KV-CAP-03"
        what = f"{high} slots of {tier} are free or evictable, and {high + 1} were given"
        self.script.expect(clause, more is None, what)
        if low:
            handles = self.script.call(f"allocate({low}) in {tier}", pool.allocate, low)
            what = f"{low} slots of {tier} are free or evictable, and they were not given"
            self.script.expect(self._leak(), handles is not None, what)
            for handle in handles:
                self._junk += 1
                self.ledger.ask("write(h)", pool.write, handle, content(self._junk))
            for handle in handles:
                self.ledger.ask("release(h)", pool.release, handle)
        self._look(Step(pressed={tier}))
        return low

    def collect(self) -> None:
        """Take the results of all onboards that have ended."""
        for asked in self.asked:
            if asked.source or asked.collected or asked.pending or asked.given_up:
                continue
            asked.collected = True
            text = f"result(t{asked.number})"
            handles = self.script.call(text, self.manager.result, asked.ticket)
            self._check_result(asked, handles)
            for key, handle in zip(asked.keys, handles, strict=False):
                self.ledger.held.setdefault((self.fast, key), []).append(handle)
            self._look(Step())

    def settle(self) -> None:
        """Finish copies until there are none, within a bound; then nothing is pending.

        Who waits for room gets what the suite itself holds.
        """
        bound = 16 + 4 * sum(len(asked.keys) for asked in self.asked)
        self._finish_all(bound)
        while self.ledger.held and any(asked.pending for asked in self.asked):
            self.let_all_go()
            self._finish_all(bound)
        for asked in self.asked:
            waiting = [key for key in asked.keys if asked.states[key] == PENDING]
            clause = self.ledger.blame.get("waits", "KV-LIV-01")
            if asked.failed.intersection(waiting):
                clause = "KV-TIR-05"
            what = f"no copy is left, and t{asked.number} still waits for {_text(waiting)}"
            self.script.expect(clause, not waiting, what)
        if self._faults:
            self.script.reached("all ended after a fault")

    def let_all_go(self) -> None:
        """Take all results, and release everything that is held."""
        self.collect()
        for tier, key in list(self.ledger.held):
            self.let_go(key, tier)

    def end(self) -> None:
        """Come to the end of everything; see the module."""
        for tier in self.tiers:
            self.press(tier)
        self.settle()
        self.let_all_go()
        for tier in self.tiers:
            self.press(tier)
        self.close()

    def close(self) -> list[str]:
        """Close, twice; give what was abandoned, which is all that is still under way."""
        begun = {key for copy in self.ledger.copies if copy.begun for key in copy.keys}
        waiting = [(asked, key) for asked in self.asked for key in asked.keys]
        waiting = [(asked, key) for asked, key in waiting if asked.states[key] == PENDING]
        abandoned: list[str] = self.script.call("close()", self.manager.close, SECONDS)
        left = self.ledger.ask("copies()", self.manager.copies)
        what = f"close() abandoned {abandoned or 'nothing'}, and left the copy of "
        for copy in left:
            clause = "KV-SHD-05" if copy.begun else "KV-SHD-02"
            self.script.expect(clause, len(abandoned) >= len(left), f"{what}{copy}")
        self._poll()
        for asked, key in waiting:
            allowed = OUTCOMES if key in begun else ("cancelled",)
            what = f"close() while t{asked.number} waited for K{key}: {asked.states[key]}"
            self.script.expect("KV-SHD-04", asked.states[key] in allowed, what)
        self.script.call("close()", self.manager.close, SECONDS)
        return abandoned

    # ── inside ────────────────────────────────────────────────────────────────────────────

    def _finish_all(self, bound: int) -> None:
        while self.ledger.copies:
            self.script.expect("KV-LIV-01", bound > 0, "there is always one more copy to finish")
            bound -= 1
            self.finish()

    def _publish(self, key: Key, tier: str) -> Handle | None:
        """Allocate, write, stage and register; None if there is no room."""
        pool = self.manager.pool(tier)
        self.script.say(f"store K{key} in {tier}")
        handles = self.ledger.ask(f"allocate(1) in {tier}", pool.allocate, 1)
        if handles is None:
            return None
        self.ledger.ask("write(h)", pool.write, handles[0], content(key))
        staged = self.ledger.ask(f"stage(h, K{key})", pool.stage, handles[0], key)
        self.ledger.keys.add(key)
        return self.ledger.ask("register(h)", pool.register, staged)

    def _note(
        self, ticket: Ticket, keys: Sequence[Key], given: list[Key], source: str, target: str
    ) -> Asked:
        asked = Asked(ticket, tuple(keys), source, target, len(self.asked))
        asked.seen |= self.ledger.present[target]
        asked.states = dict.fromkeys(keys, PENDING)
        self.asked.append(asked)
        self.script.expect("KV-CON-06", given == list(keys), "the list of keys was changed")
        self._look(Step())
        return asked

    def _look(self, step: Step) -> None:
        self.ledger.look(step)
        self._poll()

    def _poll(self) -> None:
        """Ask what became of every request."""
        for asked in self.asked:
            if asked.given_up and asked.collected:
                continue
            asked.seen |= self.ledger.present[asked.target]
            text = f"state(t{asked.number})"
            states = dict(self.ledger.ask(text, self.manager.state, asked.ticket))
            for key in asked.keys:
                self._judge(asked, key, states.get(key, "nothing"))

    def _judge(self, asked: Asked, key: Key, state: str) -> None:
        """Compare what became of a key with what it was, and with what can be."""
        before, what = asked.states[key], f"t{asked.number} says {state} of K{key}"
        known = state in (PENDING, *OUTCOMES)
        self.script.expect("KV-LIV-01", known, f"{what}, which is no outcome")
        ended = before != PENDING
        self.script.expect("KV-LIV-01", not ended or state == before, f"{what}, and was {before}")
        there = state != "completed" or key in asked.seen
        self.script.expect("KV-TIR-05", there, f"{what}, and it never was in {asked.target}")
        asked.states[key] = state

    def _check_result(self, asked: Asked, handles: Sequence[Handle]) -> None:
        present = self.ledger.present[self.fast]
        there = list(takewhile(present.__contains__, asked.keys))
        due = len(list(takewhile(lambda key: asked.states[key] == "completed", there)))
        what = f"{due} blocks of t{asked.number} are in {self.fast}, and its result has "
        clause = self.ledger.blame.get("result", "KV-CON-04")
        right = due <= len(handles) <= len(there)
        self.script.expect(clause, right, f"{what}{len(handles)}")
        pool = self.manager.pool(self.fast)
        for key, handle in zip(asked.keys, handles, strict=False):
            right = self.ledger.ask(f"read(K{key})", pool.read, handle) == content(key)
            clause = self.ledger.blame.get("bytes", "KV-INT-01")
            self.script.expect(clause, right, f"the result has other bytes than those of K{key}")
            self.script.reached("a block came back")

    def _copy(self, index: int) -> Copy | None:
        copies = self.ledger.copies
        return copies[index] if index < len(copies) else None

    def _waiting(self) -> set[Key]:
        """Give the keys that onboards may hold whose results are not taken yet."""
        waiting = [asked for asked in self.asked if not (asked.source or asked.collected)]
        return {key for asked in waiting if not asked.given_up for key in asked.keys}

    def _leak(self) -> str:
        """Give the clause that is broken where slots are missing."""
        known = self.ledger.blame.get("slots") or self._faults
        return known or ("KV-CAP-03" if self.ledger.copies else "KV-CAP-10")


def lowered(script: Script, slots: Sequence[int], keys: Sequence[Key]) -> Book:
    """Open tiers in which `keys` are in the second one, and nowhere else."""
    book = Book(script, slots)
    for key in keys:
        book.store(key)
        book.offload([key])
        book.settle()
    book.press(book.fast)
    there = set(keys) <= book.ledger.present[book.slow]
    script.expect("KV-TIR-08", there, f"not all blocks are in {book.slow} after their copies")
    return book


def _text(keys: Sequence[Key]) -> str:
    return "[" + ", ".join(f"K{key}" for key in keys) + "]"
