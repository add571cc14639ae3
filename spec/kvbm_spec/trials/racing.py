"""Racing: two requests at once that want the same block, slot, buffer or room.

Clauses: KV-OWN-04, KV-CAP-10, KV-TIR-02, KV-TIR-04, KV-TIR-07, KV-INT-02, KV-CON-02, KV-CON-04,
KV-CON-05, KV-CON-06, KV-LIV-03
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from kvbm_spec.subject import Key
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.book import Book, lowered
from kvbm_spec.trials.ledger import Step, content

OWN: Final = "KV-OWN-04"
ORDER: Final = "KV-TIR-04"
HELD: Final = "KV-TIR-02"
ONCE: Final = "KV-TIR-07"
WHOLE: Final = "KV-INT-02"
ONE: Final = "KV-CON-02"
USE: Final = "KV-CON-04"
PRODUCED: Final = "KV-CON-05"
BUFFER: Final = "KV-CON-06"
FINISH: Final = "KV-LIV-03"

ALWAYS: Final = ("KV-TIR-08", "KV-LIV-01")
"""What any of these scenes can find broken on its way."""


def two_loads_of_one_key(script: Script, last: int) -> None:
    """Ask twice for the same block; end the copies in one order or the other."""
    book = lowered(script, (3, 2), [0])
    book.ledger.blame |= {"slots": ONCE, "result": ONCE, "waits": ONCE}
    asked = [book.onboard([0]), book.onboard([0])]
    if len(book.ledger.copies) > 1:
        book.finish(last)
    book.settle()
    for each in asked:
        what = f"t{each.number} says {each.states[0]}, and both loads should succeed"
        script.expect(ONCE, each.states[0] == "completed", what)
    script.reached("loaded twice at once")
    book.collect()
    book.press(book.fast)
    book.end()


def loaded_and_computed(script: Script) -> None:
    """Compute a block while it is being loaded: readers of the one never see the other."""
    book = lowered(script, (3, 2), [0])
    book.ledger.blame |= {"slots": ONE, "bytes": WHOLE}
    book.onboard([0])
    book.begin()
    book.store(0)
    book.hold(0, book.fast)
    book.settle()
    script.reached("computed while it was loaded")
    book.collect()
    book.press(book.fast)
    book.end()


def copied_in_place(script: Script) -> None:
    """Ask for a block that is there already: its reader must not see it being written."""
    book = Book(script, (2, 2))
    book.ledger.blame |= {"bytes": WHOLE}
    book.store(0)
    book.offload([0])
    book.settle()
    book.hold(0, book.fast)
    book.onboard([0])
    book.begin()
    book.settle()
    script.reached("asked for what is there")
    book.end()


def copies_cross(script: Script, last: int) -> None:
    """Load into a full tier while another copy still reads there; end them in either order."""
    book = lowered(script, (2, 2), [1])
    book.ledger.blame |= {"bytes": ORDER, "source": ORDER}
    book.store(2)
    book.hold(2, book.fast)
    book.store(0)
    book.offload([0])
    book.begin()
    book.onboard([1])
    if len(book.ledger.copies) > 1:
        book.finish(last)
    script.reached("copies crossed")
    book.settle()
    book.end()


def given_up_under_way(script: Script) -> None:
    """Give a load up that moves bytes: its slots are not free before it has ended."""
    book = lowered(script, (2, 2), [0])
    asked = book.onboard([0])
    book.begin()
    book.cancel(asked)
    script.reached("given up under way")
    for tier in book.tiers:
        book.press(tier)
    book.settle()
    book.end()


def own_prefix_is_kept(script: Script) -> None:
    """Ask for a prefix whose first block is the only one that could make room for the second."""
    book = lowered(script, (2, 2), [1])
    book.store(2)
    book.hold(2, book.fast)
    book.store(0)
    book.onboard([0, 1])
    there = 0 in book.ledger.present[book.fast]
    script.expect(OWN, there, "K0 was evicted by the request that asked for it")
    script.reached("needed room beside its own prefix")
    book.settle()
    book.end()


def evicted_before_its_copy(script: Script) -> None:
    """Ask for copies of blocks that are gone, and of some that may go before theirs begins."""
    book = Book(script, (4, 8))
    book.ledger.blame |= {"bytes": USE}
    for key in range(6):
        book.store(key)
    for key in range(6):
        if key not in book.ledger.present[book.fast]:
            script.reached("evicted before its copy")
        book.offload([key])
    book.press(book.fast)
    for key in range(6, 10):
        book.store(key)
    book.settle()
    book.end()


def offloaded_before_it_is_complete(script: Script) -> None:
    """Ask for a copy of a block that is still being written, and of one still on its way."""
    book = Book(script, (2, 2))
    book.ledger.blame |= {"bytes": PRODUCED}
    pool, ledger = book.manager.pool(book.fast), book.ledger
    script.say(f"K0 is being written in {book.fast}")
    handle = ledger.ask("allocate(1)", pool.allocate, 1)[0]
    ledger.ask("write(h)", pool.write, handle, content(999))
    staged = ledger.ask("stage(h, K0)", pool.stage, handle, 0)
    ledger.keys.add(0)
    ledger.owned[book.fast] += 1
    book.offload([0])
    book.settle()
    script.expect(PRODUCED, 0 not in ledger.present[book.slow], "K0 was copied before it was whole")
    script.reached("offloaded before it was complete")
    script.say("K0 is written and registered")
    ledger.ask("write(h)", pool.write, staged, content(0))
    ledger.ask("release(h)", pool.release, ledger.ask("register(h)", pool.register, staged))
    ledger.owned[book.fast] -= 1
    ledger.look(Step(stored=(book.fast, 0)))
    book.offload([0])
    book.settle()
    book.end()


def staging_is_not_shared(script: Script) -> None:
    """Let two copies begin, and end in the other order."""
    book = Book(script, (2, 4))
    book.ledger.blame |= {"bytes": BUFFER}
    for key in (0, 1):
        book.store(key)
        book.offload([key])
    for index in range(len(book.ledger.copies)):
        book.begin(index)
    book.finish(len(book.ledger.copies) - 1)
    book.settle()
    book.end()


def requests_that_fit_alone_finish(script: Script) -> None:
    """Ask for two prefixes of which one fits at a time; those refused ask again."""
    book = lowered(script, (2, 4), [0, 1, 2, 3])
    book.ledger.blame |= {"waits": FINISH, "slots": FINISH}
    wanted: list[list[Key]] = [[0, 1], [2, 3]]
    for _ in range(2):
        asked = [book.onboard(keys) for keys in wanted]
        book.settle()
        book.let_all_go()
        wanted = [list(each.keys) for each in asked if set(each.states.values()) != {"completed"}]
    script.expect(FINISH, not wanted, f"{wanted} fits alone, and never came")
    script.reached("requests that fit alone")
    book.end()


def _scene(name: str, clause: str, play: Callable[[Script], None], *also: str) -> Scene:
    return Scene(name, (clause, *also, *ALWAYS), "tiers", play)


TRIALS: Final[tuple[Trial, ...]] = (
    *(
        _scene(f"two loads of one block, {end} first", ONCE, partial(two_loads_of_one_key, last=at))
        for at, end in enumerate(("the older", "the younger"))
    ),
    *(
        _scene(f"copies cross, {end} first", ORDER, partial(copies_cross, last=at))
        for at, end in enumerate(("the older", "the younger"))
    ),
    _scene("a block is computed while it is loaded", WHOLE, loaded_and_computed, ONE),
    _scene("a block that is there is asked for", WHOLE, copied_in_place),
    _scene("a load is given up", HELD, given_up_under_way, "KV-CAP-10"),
    _scene("a request keeps its own prefix", OWN, own_prefix_is_kept),
    _scene("a block is evicted before its copy", USE, evicted_before_its_copy),
    _scene("an unfinished block is offloaded", PRODUCED, offloaded_before_it_is_complete),
    _scene("two copies are under way", BUFFER, staging_is_not_shared),
    _scene("requests that fit alone finish", FINISH, requests_that_fit_alone_finish),
)

CHECKS: Final[Mapping[str, Check]] = {
    OWN: Check(("needed room beside its own prefix",), "tiers"),
    ORDER: Check(("copies crossed",), "tiers"),
    HELD: Check(("pressure during a copy", "given up under way"), "tiers"),
    ONCE: Check(("loaded twice at once",), "tiers"),
    WHOLE: Check(("computed while it was loaded", "asked for what is there"), "tiers"),
    USE: Check(("evicted before its copy",), "tiers"),
    PRODUCED: Check(("offloaded before it was complete",), "tiers"),
    BUFFER: Check(("two copies were under way",), "tiers"),
    FINISH: Check(("requests that fit alone",), "tiers"),
}
