"""CancellationToken: one word, "stop", for all who may be waiting to hear it.

What this is
    A flag that is set once, and whatever shall happen then. There is no lock: what must
    happen once is taken out of a dictionary, and only one can take it. So `cancel()` may
    be called anywhere, from a finaliser too, and no callback runs under a lock.

Interface, as rules of use
    * `cancel()` may be called often, by anyone; the first call counts.
    * `on_cancel(callback)` calls back once: now, if the token is cancelled already.
    * Keep callbacks short; they run in the thread that cancels, the newest first.
    * Keep a child while you need it. Its parent does not keep it alive.

Clauses: KV-LIV-01
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import final

Callback = Callable[[], object]


@final
class CancellationToken:
    """Tells many that they shall stop.

    Examples
    --------
    >>> token = CancellationToken()
    >>> request = token.child_token()
    >>> forget = request.on_cancel(lambda: print("stopped"))
    >>> token.cancel()
    stopped
    >>> request.is_cancelled
    True
    """

    def __init__(self) -> None:
        self._cancelled = False
        self._callbacks: dict[object, Callback] = {}

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel()` was called, here or on a token above."""
        return self._cancelled

    def cancel(self) -> None:
        """Stop everybody. Every callback is called, even if others raise.

        Raises
        ------
        ExceptionGroup
            Callbacks raised; these are their errors.
        """
        self._cancelled = True
        errors: list[Exception] = []
        with suppress(KeyError):  # popitem() when nothing is left
            while True:
                _, callback = self._callbacks.popitem()
                _try(callback, errors)
        if errors:
            raise ExceptionGroup("callbacks of a cancelled token raised", errors)

    def child_token(self) -> CancellationToken:
        """Make a token that is cancelled with this one, and alone without harm to this one."""
        child = CancellationToken()
        dead_or_alive = weakref.ref(child, lambda _: forget())

        def cancel_child() -> None:
            living = dead_or_alive()
            if living is not None:
                living.cancel()

        forget = self.on_cancel(cancel_child)
        return child

    def on_cancel(self, callback: Callback) -> Callable[[], None]:
        """Have `callback` called once, when the token is cancelled.

        Returns
        -------
        function
            Call it to take the callback back. Harmless afterwards.
        """
        key = object()
        self._callbacks[key] = callback
        # cancel() may have come between: whoever takes the callback out calls it.
        if self._cancelled and self._callbacks.pop(key, None) is not None:
            callback()

        def forget() -> None:
            self._callbacks.pop(key, None)

        return forget

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the token is cancelled; False if that took more than `timeout` seconds."""
        # A bare lock, released by another thread, is the one signal that a finaliser in
        # this very thread can give without waiting for itself.
        gate = threading.Lock()
        gate.acquire()
        forget = self.on_cancel(gate.release)
        try:
            gate.acquire(timeout=-1 if timeout is None else max(timeout, 0))
        finally:
            forget()
        return self._cancelled

    async def cancelled(self) -> None:
        """Wait until the token is cancelled. `await token` is the same."""
        loop = asyncio.get_running_loop()
        event = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(event.set)

        forget = self.on_cancel(wake)
        try:
            await event.wait()
        finally:
            forget()

    def __await__(self) -> Generator[object, None, None]:
        return self.cancelled().__await__()

    def _check(self) -> None:
        """Assert the invariant between calls: who is cancelled has nobody left to call."""
        assert not (self._cancelled and self._callbacks), f"not called: {self._callbacks}"

    def __repr__(self) -> str:
        state = "cancelled" if self._cancelled else f"{len(self._callbacks)} callbacks"
        return f"CancellationToken({state})"


def _try(callback: Callback, errors: list[Exception]) -> None:
    """Call, and keep what it raises."""
    try:
        callback()
    except Exception as error:  # noqa: BLE001  the other callbacks come first
        errors.append(error)
