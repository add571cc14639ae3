"""Waiting for blocks, first come, first served.

What this is
    A queue of coroutines that want blocks, possibly of several event loops. Whoever is
    first tries whenever something was given back; the others wait behind it, so a
    large request is not starved by small ones.

Interface, as rules of use
    * `await room.wait(n, timeout)`; wake() after anything that may have helped, a close too.
    * A plain allocate_blocks() does not queue and may come first: it never waits.

Clauses: KV-LIV-01, KV-LIV-05, KV-SHD-04
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING

from kvbm.blocks.block_list import BlockList
from kvbm.blocks.handles import MutableBlock
from kvbm.errors import NotEnoughBlocksAvailable, ProgressEngineShutdown, WaitCancelled

if TYPE_CHECKING:
    from kvbm.pool.pool import BlockPool


class _Waiter:
    """One coroutine: how to wake it, from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def wake(self) -> None:
        # A finaliser may call this, in any thread: hand over, do nothing here.
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._event.set)

    async def sleep(self) -> None:
        await self._event.wait()
        self._event.clear()


class WaitingRoom:
    """Those who wait for blocks of one pool, in order of arrival."""

    def __init__(self, pool: BlockPool) -> None:
        self._pool = pool
        self._queue: OrderedDict[_Waiter, None] = OrderedDict()

    async def wait(self, count: int, timeout: float | None) -> BlockList[MutableBlock]:
        """See BlockPool.wait_for_blocks."""
        waiter = _Waiter()
        self._queue[waiter] = None
        self._pool._wakers.append(waiter.wake)
        try:
            async with asyncio.timeout(timeout):
                while True:
                    if count > self._pool.total_blocks():  # now, not when its turn has come
                        raise NotEnoughBlocksAvailable(count, self._pool.available_blocks())
                    if next(iter(self._queue)) is waiter:
                        blocks = self._try(count)
                        if blocks is not None:
                            return blocks
                    await waiter.sleep()
        except TimeoutError:
            raise WaitCancelled(count, f"they did not come within {timeout} s") from None
        except ProgressEngineShutdown:
            raise WaitCancelled(count, "the pool was closed") from None
        finally:
            del self._queue[waiter]
            self._pool._wakers.remove(waiter.wake)
            self.wake()  # the next one is first now

    def wake(self) -> None:
        """Let everybody look again."""
        for waiter in tuple(self._queue):
            waiter.wake()

    def _try(self, count: int) -> BlockList[MutableBlock] | None:
        try:
            return self._pool.allocate_blocks(count)
        except NotEnoughBlocksAvailable:
            return None
