"""Lists: a list of handles is taken as a whole, or it is refused and each of them is as it was.

Clauses: KV-CAP-08, KV-LIF-06, KV-LIF-09
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from kvbm_spec.abilities import Listing
from kvbm_spec.subject import Handle, Manager
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import open_pool, release_all

WHOLE: Final = "KV-CAP-08"
ONCE: Final = "KV-LIF-06"
SLOTS: Final = 3

Spoil: TypeAlias = Callable[[Script, Manager, list[Handle], int], tuple[list[Handle], list[Handle]]]
"""Spoils one place of a list of staged blocks; gives the list, and the handles still good."""


def a_list_is_published_whole(script: Script) -> None:
    """Publish three blocks, two of which have one key."""
    manager = open_pool(script, SLOTS)
    staged = _staged(script, manager, [0, 1, 1])
    blocks = script.call("register_all([h0, h1, h2])", _of(manager).register_all, staged)
    script.expect(WHOLE, len(blocks) == SLOTS, f"{SLOTS} blocks were given, and {len(blocks)} came")
    for key in (0, 1):
        hits = script.call(f"match([K{key}])", manager.match, [key])
        script.expect(WHOLE, len(hits) == 1, f"K{key} was published in a list, and is not there")
        blocks += hits
    _all_goes_back(script, manager, blocks)
    script.reached("a list published")


def a_list_with_a_dead_handle_changes_nothing(script: Script) -> None:
    """Publish a list of which one handle was used up, in each place."""
    for place in range(SLOTS):
        _refused(script, ONCE, "StaleHandle", _die, place)
    script.reached("a list with a dead handle")


def a_list_with_a_handle_twice_changes_nothing(script: Script) -> None:
    """Publish a list that names a handle twice."""
    for place in range(SLOTS - 1):
        _refused(script, ONCE, "StaleHandle", _twice, place)
    script.reached("a list with a handle twice")


def a_list_with_an_unstaged_block_changes_nothing(script: Script) -> None:
    """Publish a list in which one block has no content, in each place."""
    for place in range(SLOTS):
        _refused(script, WHOLE, "WrongState", _unstage, place)
    script.reached("a list with an unstaged block")


def _refused(script: Script, clause: str, kind: str, spoil: Spoil, place: int) -> None:
    """Publish a list that was spoilt; what is still good must be so afterwards."""
    script.lines.clear()
    manager = open_pool(script, SLOTS)
    given, good = spoil(script, manager, _staged(script, manager, list(range(SLOTS))), place)
    script.refused(clause, kind, "register_all(them)", _of(manager).register_all, given)
    for key in range(SLOTS):
        hits = script.call(f"match([K{key}])", manager.match, [key])
        script.expect(WHOLE, not hits, f"the list was refused, and K{key} is registered")
    _all_goes_back(script, manager, good)


def _die(
    script: Script, manager: Manager, staged: list[Handle], place: int
) -> tuple[list[Handle], list[Handle]]:
    script.call(f"release(h{place})", manager.release, staged[place])
    return staged, [*staged[:place], *staged[place + 1 :]]


def _twice(
    script: Script, manager: Manager, staged: list[Handle], place: int
) -> tuple[list[Handle], list[Handle]]:
    del manager
    script.say(f"h{place} stands in the place of h{SLOTS - 1}, too")
    return [*staged[:-1], staged[place]], staged


def _unstage(
    script: Script, manager: Manager, staged: list[Handle], place: int
) -> tuple[list[Handle], list[Handle]]:
    staged[place] = script.call(f"reset(h{place})", manager.reset, staged[place])
    return staged, staged


def _staged(script: Script, manager: Manager, keys: list[int]) -> list[Handle]:
    owned = script.call(f"allocate({len(keys)})", manager.allocate, len(keys))
    return [
        script.call(f"stage(h{place}, K{key})", manager.stage, owned[place], key)
        for place, key in enumerate(keys)
    ]


def _all_goes_back(script: Script, manager: Manager, handles: list[Handle]) -> None:
    release_all(script, manager, handles)
    room = script.call(f"allocate({SLOTS})", manager.allocate, SLOTS)
    script.expect("KV-LIF-09", room is not None, "all was given back, and a slot is missing")
    manager.close()


def _of(manager: Manager) -> Listing:
    assert isinstance(manager, Listing), "asked only of subjects that take lists"
    return manager


_ALL: Final = (WHOLE, ONCE, "KV-LIF-09")

TRIALS: Final[tuple[Trial, ...]] = (
    Scene("a list is published whole", _ALL, "lists", a_list_is_published_whole),
    Scene("a dead handle in a list", _ALL, "lists", a_list_with_a_dead_handle_changes_nothing),
    Scene("a handle twice in a list", _ALL, "lists", a_list_with_a_handle_twice_changes_nothing),
    Scene(
        "an unstaged block in a list", _ALL, "lists", a_list_with_an_unstaged_block_changes_nothing
    ),
)

CHECKS: Final[Mapping[str, Check]] = {}
