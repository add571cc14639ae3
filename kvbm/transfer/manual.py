"""Manual executor: the order of things in the hands of a test.

What this is
    An executor that runs nothing by itself. Copies that are ready, because all that they
    must wait for has ended, line up as steps; a test runs, fails or drops one after the
    other, in whatever order it likes. No thread and no clock takes part.

Interface, as rules of use
    * `TransferEngine(executor=ManualExecutor())`, then run(), fail(), drop(), run_all().
    * A copy that depends on another appears in `steps` when that one has ended.

Clauses: KV-TIR-04, KV-LIV-01

Examples
--------
>>> executor = ManualExecutor()
>>> future = executor.submit(lambda: 7)
>>> future.done(), executor.run(), future.result()
(False, 0, 7)
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, final


class Submitter(Protocol):
    """What an engine asks of its executor."""

    def submit(self, function: Callable[[], Any], /) -> Future[Any]:
        """Run a function some time; give its future."""


@final
class ManualExecutor:
    """Steps that wait for somebody to run them."""

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[[], Any], Future[Any]]] = []

    def submit(self, function: Callable[[], Any], /) -> Future[Any]:
        """Line a function up as a step."""
        future: Future[Any] = Future()
        self._steps.append((function, future))
        return future

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps that could be run now, in the order in which they became ready."""
        return tuple(str(function) for function, _ in self._steps)

    def __len__(self) -> int:
        return len(self._steps)

    def run(self, index: int = 0) -> int:
        """Run a step; give how many are left."""
        function, future = self._steps.pop(index)
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001  # as an executor does
                future.set_exception(error)
        return len(self)

    def run_all(self) -> None:
        """Run steps, the first one first, until there are none."""
        while self._steps:
            self.run()

    def drop(self, index: int = 0) -> None:
        """Throw a step away, as an executor does that is shut down."""
        _, future = self._steps.pop(index)
        future.cancel()
        future.set_running_or_notify_cancel()

    def fail(self, error: BaseException, index: int = 0) -> None:
        """End a step with an error, without running it, as when its thread dies."""
        _, future = self._steps.pop(index)
        future.set_running_or_notify_cancel()
        future.set_exception(error)
