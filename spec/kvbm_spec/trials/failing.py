"""Failing: copies that fail, bytes that rot, and a manager that is closed under its copies.

Clauses: KV-CAP-08, KV-TIR-05, KV-TIR-06, KV-TIR-08, KV-TIR-10, KV-INT-03, KV-INT-04, KV-LIV-02,
KV-SHD-01, KV-SHD-02, KV-SHD-04, KV-SHD-05
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from kvbm_spec.subject import Key, SubjectError
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.book import PATIENCE, SECONDS, Book, lowered
from kvbm_spec.trials.racing import ALWAYS

PARTS: Final = "KV-CAP-08"
TOLD: Final = "KV-TIR-05"
SAME: Final = "KV-TIR-08"
MORE: Final = "KV-TIR-10"
FOUND: Final = "KV-INT-03"
MISSED: Final = "KV-INT-04"
AGAIN: Final = "KV-LIV-02"
STOPPED: Final = "KV-SHD-02"
WOKEN: Final = "KV-SHD-04"
NAMED: Final = "KV-SHD-05"


def bytes_come_back(script: Script) -> None:
    """Offload, evict and onboard, from each tier in turn."""
    book = lowered(script, (3, 3), [0, 1, 2])
    book.ledger.blame |= {"bytes": SAME}
    asked = book.onboard([0, 1, 2])
    book.settle()
    came = set(asked.states.values()) == {"completed"}
    script.expect(SAME, came, f"blocks do not come back: {asked.states}")
    script.reached("round trip")
    book.end()


def lower_tiers_only_add(script: Script) -> None:
    """Play one history with copies and without; compare what can be matched."""
    alone, both = Book(script, (2, 4)), Book(script, (2, 4))
    for key in range(6):
        alone.store(key)
        both.store(key)
        both.offload([key])
        both.settle()
        lost = _matchable(alone) - _matchable(both)
        names = ", ".join(f"K{each}" for each in sorted(lost))
        script.expect(MORE, not lost, f"{names} can be matched only where nothing is offloaded")
    script.reached("compared with one tier")
    for book in (alone, both):
        book.end()


def several_blocks_fail(script: Script, *, short: bool) -> None:
    """Let copies of several blocks fail, both ways; then nothing is missing, and all succeeds."""
    book = Book(script, (3, 3))
    for key in range(3):
        book.store(key)
    book.offload([0, 1, 2])
    book.fail_all(short=short)
    book.press(book.slow)
    asked = book.offload([0, 1, 2])
    book.settle()
    well = set(asked.states.values()) == {"completed"}
    script.expect(TOLD, well, f"after a failure the same offload gives {asked.states}")
    book.press(book.fast)
    book.onboard([0, 1, 2])
    book.fail_all(short=short)
    script.reached("several blocks failed")
    book.end()


def all_who_wait_are_told(script: Script) -> None:
    """Let a copy fail for which two wait, an offload and then a load."""
    book = lowered(script, (2, 2), [0])
    book.store(1)
    for request, key in ((book.offload, 1), (book.onboard, 0)):
        request([key])
        request([key])
        book.fail_all()
        book.settle()
    script.reached("two waited for a copy that failed")
    book.end()


def a_failing_load_is_not_repeated(script: Script) -> None:
    """Let every load of a block fail: soon nobody tries any more."""
    book = lowered(script, (2, 2), [0])
    for _ in range(PATIENCE):
        book.onboard([0])
        if not book.ledger.copies:
            break
        book.fail_all()
    else:
        script.expect(AGAIN, False, f"a load that fails was asked for {PATIENCE} times")
    script.reached("a load failed again and again")
    book.store(0)
    book.end()


def bytes_rot(script: Script) -> None:
    """Flip a byte in a slower tier: the load is a miss, and so is the block from then on."""
    book = lowered(script, (2, 2), [0])
    try:
        book.manager.corrupt(book.slow, 0)
    except SubjectError as refusal:
        script.say(f"corrupt(K0) in {book.slow} -> {refusal.kind}")
        return
    script.say(f"a byte of K0 in {book.slow} is flipped")
    book.ledger.spoiled.add((book.slow, 0))
    book.ledger.blame |= {"events": MISSED, "slots": MISSED}
    book.onboard([0])
    book.settle()
    hit = 0 in book.ledger.present[book.slow]
    script.expect(MISSED, not hit, f"K0 was found to be bad, and is still a hit in {book.slow}")
    book.store(0)
    book.offload([0])
    book.end()


def closed_before_copies_begin(script: Script) -> None:
    """Close while requests wait."""
    book = lowered(script, (6, 6), [0])
    book.onboard([0])
    for key in range(1, 5):  # some wait for their copy, and some perhaps for their turn
        book.store(key)
        book.offload([key])
    book.close()
    script.reached("closed while copies waited")
    pool = book.manager.pool(book.fast)
    script.refused("KV-SHD-01", "Closed", "allocate(1)", pool.allocate, 1)


def closed_under_copies(script: Script) -> None:
    """Close while copies move bytes; those that go on are named, and end later."""
    book = lowered(script, (2, 4), [0])
    book.store(1)
    book.offload([1])
    book.onboard([0])
    for index in range(len(book.ledger.copies)):
        book.begin(index)
    book.close()
    script.reached("closed under copies")
    for copy in list(book.manager.copies()):
        script.call(f"the copy of {copy} ends", book.manager.finish, 0)
    left = book.manager.copies()
    script.expect(STOPPED, not left, "copies begin after close()")
    script.call("close()", book.manager.close, SECONDS)


def _matchable(book: Book) -> set[Key]:
    return {key for keys in book.ledger.present.values() for key in keys}


def _scene(name: str, play: Callable[[Script], None], *clauses: str) -> Scene:
    return Scene(name, (*clauses, *ALWAYS), "tiers", play)


TRIALS: Final[tuple[Trial, ...]] = (
    _scene("blocks come back as they went", bytes_come_back, SAME),
    _scene("slower tiers only add", lower_tiers_only_add, MORE),
    _scene("copies of several blocks fail", partial(several_blocks_fail, short=False), TOLD, PARTS),
    _scene("copies are short", partial(several_blocks_fail, short=True), TOLD, PARTS),
    _scene("two wait for a copy that fails", all_who_wait_are_told, TOLD),
    _scene("a load fails again and again", a_failing_load_is_not_repeated, AGAIN, "KV-TIR-06"),
    _scene("bytes rot in a slower tier", bytes_rot, FOUND, MISSED),
    _scene("closed before copies begin", closed_before_copies_begin, WOKEN, STOPPED, "KV-SHD-01"),
    _scene("closed under copies", closed_under_copies, STOPPED, NAMED, WOKEN),
)

CHECKS: Final[Mapping[str, Check]] = {
    TOLD: Check(
        ("a copy failed", "a copy was short", "two waited for a copy that failed"), "tiers"
    ),
    SAME: Check(("round trip", "a block came back"), "tiers"),
    MORE: Check(("compared with one tier",), "tiers"),
    AGAIN: Check(("a load failed again and again",), "tiers"),
    STOPPED: Check(("closed while copies waited", "closed under copies"), "tiers"),
    NAMED: Check(("closed under copies",), "tiers"),
}
