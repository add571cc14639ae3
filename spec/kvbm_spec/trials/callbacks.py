"""Callbacks: whoever is called back may call the manager, and so may others meanwhile.

Clauses: KV-CON-03
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from kvbm_spec.abilities import Notifying
from kvbm_spec.subject import Key, SubjectError
from kvbm_spec.trial import Check, Scene, Script, Trial
from kvbm_spec.trials.steps import open_pool, publish

FREE: Final = "KV-CON-03"

PATIENCE: Final = 5.0
"""Seconds after which a call that has not returned is taken for one that never will."""


def a_callback_may_call_back(script: Script) -> None:
    """Match, from inside the callback of a registration, and from a thread beside it."""
    manager = open_pool(script, slots=2)
    assert isinstance(manager, Notifying), "asked only of subjects with callbacks"
    heard: list[tuple[str, Key | None]] = []
    stuck: list[str] = []

    def called_back(kind: str, key: Key | None) -> None:
        heard.append((kind, key))
        if not _ends(lambda: _look(manager), PATIENCE):
            stuck.append("another thread waits for the lock that the callback was called with")
        with suppress(SubjectError):  # allowed or rejected: both are answers
            _look(manager)

    script.call("subscribe(callback)", manager.subscribe, called_back)
    # Longer than the callback waits for the thread beside it: that is told in its own words.
    returned = _ends(lambda: publish(script, manager, 0), 4 * PATIENCE)
    script.expect(FREE, returned, "a callback that calls the manager never returns")
    script.expect(FREE, not stuck, "; ".join(stuck))
    script.expect(FREE, ("Stored", 0) in heard, f"the callback heard {heard}, and not of K0")
    script.reached("called back")


def _look(manager: Any) -> None:
    for handle in manager.match([0]):
        manager.release(handle)


def _ends(act: Callable[[], object], patience: float) -> bool:
    """Run `act` in a thread of its own; tell whether it ended. What it raises is raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - carried to the caller
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(patience)
    if raised:
        raise raised[0]
    return not thread.is_alive()


TRIALS: Final[tuple[Trial, ...]] = (
    Scene("a callback may call back", (FREE,), "callbacks", a_callback_may_call_back),
)

CHECKS: Final[Mapping[str, Check]] = {FREE: Check(("called back",), "callbacks")}
