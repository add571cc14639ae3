"""Waiting: who asks for more than there is, and is willing to wait.

Clauses: KV-LIV-01, KV-LIV-05, KV-SHD-04, KV-LIF-09
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kvbm_spec.abilities import Waiting
from kvbm_spec.subject import Handle, Manager, SubjectError
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import open_pool, publish

ENDS: Final = "KV-LIV-01"
IN_ORDER: Final = "KV-LIV-05"
TOLD: Final = "KV-SHD-04"
UNDONE: Final = "KV-LIF-09"

NAMES: Final = "abcdef"


def who_waits_is_served_in_order(script: Script) -> None:
    """Let several wait for one, two and one block, and give the blocks back one by one."""
    manager = open_pool(script, slots=2)
    held = _take_all(script, manager, 2)
    tickets = _wait(script, manager, [1, 2, 1])
    served: list[str] = []
    while tickets:
        script.expect(ENDS, bool(held), f"all blocks are free, and {served} were served of abc")
        script.call("release(h)", manager.release, held.pop())
        for name, handles in _served(script, manager, tickets):
            served.append(name)
            held += handles
    script.expect(IN_ORDER, served == ["a", "b", "c"], f"they were served as {served}, not abc")
    script.reached("waited in a line")


def a_resting_block_is_enough_for_who_waits(script: Script) -> None:
    """Let one wait while all blocks are registered and held; a release makes one evictable."""
    manager = open_pool(script, slots=1)
    block = publish(script, manager, 0)
    tickets = _wait(script, manager, [1])
    script.call("release(K0)", manager.release, block)
    script.expect(ENDS, len(list(_served(script, manager, tickets))) == 1, "nobody woke who waits")
    script.reached("woken by a release")


def who_gives_up_is_out_of_the_line(script: Script) -> None:
    """Let the first of two give up, when half of its blocks were there: nothing is lost."""
    manager = open_pool(script, slots=2)
    (held,) = _take_all(script, manager, 1)
    tickets = _wait(script, manager, [2, 1])
    early = script.call("ready(a)", _of(manager).ready, tickets["a"])
    script.expect(ENDS, early is None, "a waits for two blocks, one is held, and it has them")
    script.call("cancel(a)", _of(manager).cancel, tickets["a"])
    script.refused(TOLD, "Cancelled", "ready(a)", _of(manager).ready, tickets.pop("a"))
    script.call("release(h)", manager.release, held)
    found = list(_served(script, manager, tickets))
    script.expect(ENDS, len(found) == 1, "a gave up, two blocks are free, and b waits")
    for _, handles in found:
        script.call("release(h)", manager.release, handles[0])
    everything = script.call("allocate(2)", manager.allocate, 2)
    script.expect(UNDONE, everything is not None, "a wait that was given up has kept a block")
    script.reached("gave up")


def who_gives_up_lets_the_next_one_through(script: Script) -> None:
    """Let one give up who stood before one for whom there is room: nothing else wakes the next."""
    manager = open_pool(script, slots=2)
    _take_all(script, manager, 1)
    tickets = _wait(script, manager, [2, 1])
    early = list(_served(script, manager, tickets))
    script.expect(IN_ORDER, not early, "a came first and waits for two blocks, and b was served")
    script.call("cancel(a)", _of(manager).cancel, tickets.pop("a"))
    found = list(_served(script, manager, tickets))
    script.expect(ENDS, len(found) == 1, "a gave up, one block is free, and b waits for one")
    script.reached("let through")


def a_close_tells_who_waits(script: Script) -> None:
    """Close while two wait."""
    manager = open_pool(script, slots=1)
    _take_all(script, manager, 1)
    tickets = _wait(script, manager, [1, 1])
    early = list(_served(script, manager, tickets))
    script.expect(ENDS, not early, "the only block is held, and somebody got it who waits")
    script.call("close()", manager.close)
    for name, ticket in tickets.items():
        script.refused(TOLD, ("Cancelled", "Closed"), f"ready({name})", _of(manager).ready, ticket)
    script.reached("closed while somebody waits")


def nobody_waits_for_what_cannot_be(script: Script) -> None:
    """Ask for more than the pool has at all."""
    manager = open_pool(script, slots=1)
    try:
        (ticket,) = _wait(script, manager, [2]).values()
        script.refused(ENDS, "Exhausted", "ready(a)", _of(manager).ready, ticket)
    except SubjectError as refusal:  # at once is as good
        script.expect(ENDS, refusal.kind == "Exhausted", f"refused with {refusal.kind}")
    script.reached("asked for too much")


# ── parts ─────────────────────────────────────────────────────────────────────────────────


def _take_all(script: Script, manager: Manager, slots: int) -> list[Handle]:
    return list(script.call(f"allocate({slots})", manager.allocate, slots))


def _wait(script: Script, manager: Manager, wanted: list[int]) -> dict[str, Any]:
    waiting = zip(NAMES, wanted, strict=False)
    return {
        name: script.call(f"{name} = wait({count})", _of(manager).wait, count)
        for name, count in waiting
    }


def _served(
    script: Script, manager: Manager, tickets: dict[str, Any]
) -> Iterator[tuple[str, list[Handle]]]:
    """Take those out of `tickets` who have their blocks."""
    for name, ticket in list(tickets.items()):
        handles = script.call(f"ready({name})", _of(manager).ready, ticket)
        if handles is not None:
            del tickets[name]
            yield name, handles


def _of(manager: Manager) -> Waiting:
    assert isinstance(manager, Waiting), "asked only of subjects that let wait"
    return manager


TRIALS: Final[tuple[Trial, ...]] = (
    Scene(
        "who waits is served in order",
        (ENDS, IN_ORDER),
        "waiting",
        who_waits_is_served_in_order,
    ),
    Scene(
        "a resting block is enough for who waits",
        (ENDS,),
        "waiting",
        a_resting_block_is_enough_for_who_waits,
    ),
    Scene(
        "who gives up lets the next one through",
        (ENDS, IN_ORDER),
        "waiting",
        who_gives_up_lets_the_next_one_through,
    ),
    Scene(
        "who gives up is out of the line",
        (ENDS, TOLD, UNDONE),
        "waiting",
        who_gives_up_is_out_of_the_line,
    ),
    Scene("a close tells who waits", (TOLD,), "waiting", a_close_tells_who_waits),
    Scene("nobody waits for what cannot be", (ENDS,), "waiting", nobody_waits_for_what_cannot_be),
)

CHECKS: Final[Mapping[str, Check]] = {
    IN_ORDER: Check(("waited in a line", "gave up"), "waiting"),
    TOLD: Check(("closed while somebody waits", "gave up"), "waiting"),
}
