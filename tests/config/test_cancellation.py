from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from kvbm.config import CancellationToken


def test_callbacks_are_called_once_newest_first() -> None:
    token, called = CancellationToken(), []
    token.on_cancel(lambda: called.append("old"))
    token.on_cancel(lambda: called.append("new"))
    assert not token.is_cancelled
    assert not called
    token.cancel()
    token.cancel()
    assert token.is_cancelled
    assert called == ["new", "old"]
    token._check()


def test_a_callback_of_a_cancelled_token_is_called_at_once() -> None:
    token, called = CancellationToken(), []
    token.cancel()
    token.on_cancel(lambda: called.append(1))
    assert called == [1]
    token._check()


def test_a_callback_can_be_taken_back() -> None:
    token, called = CancellationToken(), []
    forget = token.on_cancel(lambda: called.append(1))
    forget()
    forget()
    token.cancel()
    assert not called


def test_a_callback_may_use_its_token() -> None:
    """It would hang if any lock were held."""
    token, called = CancellationToken(), []

    def callback() -> None:
        assert token.is_cancelled
        token.cancel()
        token.on_cancel(lambda: called.append("inner"))
        assert token.wait(0)
        with ThreadPoolExecutor(1) as pool:  # nor a lock that its own thread could take again
            pool.submit(token.cancel).result(timeout=10)
            pool.submit(token.on_cancel, lambda: called.append("other thread")).result(timeout=10)

    token.on_cancel(callback)
    token.cancel()
    assert called == ["inner", "other thread"]


def test_every_callback_is_called_even_if_others_raise() -> None:
    token, called = CancellationToken(), []
    token.on_cancel(lambda: called.append(1))
    token.on_cancel(lambda: 1 // 0)
    child = token.child_token()
    child.on_cancel(lambda: {}["missing"])  # type: ignore[misc]
    with pytest.raises(ExceptionGroup) as caught:
        token.cancel()
    assert called == [1]
    assert caught.group_contains(ZeroDivisionError)
    assert caught.group_contains(KeyError)
    token._check()


def test_a_child_is_cancelled_with_its_parent_and_not_the_other_way_round() -> None:
    parent = CancellationToken()
    child = parent.child_token()
    sibling, grandchild = parent.child_token(), child.child_token()
    child.cancel()
    assert child.is_cancelled
    assert grandchild.is_cancelled
    assert not parent.is_cancelled
    assert not sibling.is_cancelled
    parent.cancel()
    assert sibling.is_cancelled


def test_a_child_of_a_cancelled_token_is_cancelled() -> None:
    parent = CancellationToken()
    parent.cancel()
    assert parent.child_token().is_cancelled


def test_dead_children_leave_nothing_with_their_parent() -> None:
    parent = CancellationToken()
    for _ in range(100):
        parent.child_token()
    gc.collect()
    assert repr(parent) == "CancellationToken(0 callbacks)"
    living = parent.child_token()
    assert repr(parent) == "CancellationToken(1 callbacks)"
    parent.cancel()
    assert living.is_cancelled
    assert repr(parent) == "CancellationToken(cancelled)"


def test_wait_ends_by_cancel_or_by_timeout() -> None:
    token = CancellationToken()
    start = time.monotonic()
    assert not token.wait(0)
    assert not token.wait(-1)
    assert time.monotonic() - start < 0.5
    assert not token.wait(0.01)
    threading.Timer(0.02, token.cancel).start()
    assert token.wait()
    assert token.wait(0)


def test_a_wait_that_timed_out_leaves_nothing_behind() -> None:
    token = CancellationToken()
    token.wait(0)
    assert repr(token) == "CancellationToken(0 callbacks)"


def test_await() -> None:
    async def main() -> None:
        token = CancellationToken()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await token
        assert repr(token) == "CancellationToken(0 callbacks)"
        threading.Timer(0.02, token.cancel).start()
        await token
        await token.child_token().cancelled()

    asyncio.run(main())


def test_a_loop_that_closed_meanwhile_is_no_trouble() -> None:
    token = CancellationToken()
    loop = asyncio.new_event_loop()
    task = loop.create_task(token.cancelled())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    token.cancel()
    assert not task.done()
    task._log_destroy_pending = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("cancellers", [1, 4])
def test_under_many_threads_each_callback_is_called_once(cancellers: int) -> None:
    threads, each = 8, 200
    for _ in range(10):
        token, called = CancellationToken(), []
        start = threading.Barrier(threads + cancellers)

        def register(name: int, token: CancellationToken = token) -> None:
            start.wait()  # noqa: B023  # of this round
            for number in range(each):
                token.on_cancel(lambda key=(name, number): called.append(key))  # noqa: B023

        def cancel(token: CancellationToken = token) -> None:
            start.wait()  # noqa: B023
            token.cancel()

        with ThreadPoolExecutor(threads + cancellers) as pool:
            jobs = [pool.submit(register, name) for name in range(threads)]
            jobs += [pool.submit(cancel) for _ in range(cancellers)]
            for job in jobs:
                job.result()
        assert len(called) == len(set(called)) == threads * each
        token._check()


def test_a_cancel_between_registering_and_looking_calls_once() -> None:
    token, called = CancellationToken(), []

    class Interrupted(dict):  # type: ignore[type-arg]
        def __setitem__(self, key: object, value: object) -> None:
            super().__setitem__(key, value)
            token.cancel()

    token._callbacks = Interrupted()
    token.on_cancel(lambda: called.append(1))
    assert called == [1]
