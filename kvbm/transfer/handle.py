"""Transfer: the handle of one copy, with one outcome for all who wait.

What this is
    A future in the clothes of a copy. It ends once: with the checksums (or None), with an
    error, or cancelled; threads, coroutines and callbacks all get that same end.

    There are two moments. `future` is the outcome. `finished` comes when nobody touches
    source and target any more. It is later than the outcome only if a copy did not answer
    in time: then waiters must be told, but the memory is not free yet (KV-TIR-02).

Interface, as rules of use
    * `result()` or `wait()` in a thread, `await transfer` in a coroutine, `done` to poll.
    * cancel() works until the copy begins, for everybody who waits for it. A coroutine that
      is cancelled while it awaits stops waiting, and cancels nothing else.
    * Reuse a block when `finished` is done, not before.

Clauses: KV-TIR-02, KV-TIR-05, KV-LIV-01, KV-SHD-04
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from concurrent.futures import wait as wait_for
from contextlib import suppress
from typing import Any, TypeAlias, final

from kvbm.errors import TransferCancelled

Checksums: TypeAlias = list[bytes]
"""bytes[16] of each pair, in the order of the call."""


@final
class Transfer:
    """One copy on its way. Made by `TransferEngine.transfer`.

    Parameters
    ----------
    number
        How many transfers the engine was given before.
    what
        Name for messages.
    """

    def __init__(self, number: int, what: str) -> None:
        self.number = number
        self.what = what
        self.future: Future[Checksums | None] = Future()
        """The outcome. Cancelling it is cancelling the transfer."""
        self.finished: Future[None] = Future()
        """Done, never with an error, when source and target are free again."""
        self.finished.set_running_or_notify_cancel()  # nobody can wish that away

    @property
    def done(self) -> bool:
        """Whether there is an outcome."""
        return self.future.done()

    def cancel(self) -> bool:
        """Cancel, if the copy has not begun. Gives whether it is cancelled."""
        return self.future.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the outcome, whatever it is, at most `timeout` seconds; give whether done."""
        return bool(wait_for([self.future], timeout).done)

    def result(self, timeout: float | None = None) -> Checksums | None:
        """Wait for the outcome and give it.

        Returns
        -------
        list of bytes[16], or None
            The checksum of each pair, if checksums are on.

        Raises
        ------
        TransferFailed
            Some blocks were not copied; `failed` says which. A `CorruptBlock` if their
            checksum is wrong.
        TransferCancelled
            It was cancelled, or the engine was closed, before it began.
        TransfersAbandoned
            The engine was closed, and the copy was stuck.
        TimeoutError
            There is no outcome after `timeout` seconds. Nothing has changed by that.
        """
        try:
            return self.future.result(timeout)
        except CancelledError:
            if self.future.cancelled():
                raise TransferCancelled(self.what) from None
            raise

    def add_done_callback(self, callback: Callable[[Transfer], object]) -> None:
        """Call `callback(transfer)` once when there is an outcome; now, if there is one."""
        self.future.add_done_callback(lambda _future: callback(self))

    def __await__(self) -> Generator[Any, None, Checksums | None]:
        # Not `asyncio.wrap_future`: it would cancel the copy for all when one waiter goes.
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not waiter.done():
                waiter.set_result(None)

        def tell(_future: object) -> None:
            with suppress(RuntimeError):  # the loop is closed, so nobody waits in it
                loop.call_soon_threadsafe(wake)

        self.future.add_done_callback(tell)
        yield from waiter
        return self.result(0)

    def __bool__(self) -> bool:
        raise TypeError(f"a transfer is neither true nor false; ask {self.what}.done")

    def __repr__(self) -> str:
        if not self.done:
            state = "running" if self.future.running() else "waiting"
        elif self.future.cancelled():
            state = "cancelled"
        else:
            state = "failed" if self.future.exception() else "completed"
        return f"<{self.what}, {state}>"
