"""One outcome, for every kind of waiter."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import CancelledError, Future

import pytest

from kvbm import errors
from kvbm.layout import DType, FullyContiguous, LayoutConfig
from kvbm.transfer import Faults, ManualExecutor, TransferEngine
from kvbm.transfer.handle import Transfer

LAYOUT = FullyContiguous(LayoutConfig(8, 2, 2, 4, 8, DType.U8))


@pytest.fixture
def executor():
    return ManualExecutor()


@pytest.fixture
def begin(world, executor):
    """Submit a copy of two blocks, with faults if given."""
    engines = []

    def submit(faults=None, **options):
        engine = TransferEngine(executor=executor, faults=faults, **options)
        engines.append(engine)
        return engine.transfer(world.bind(LAYOUT), [0, 1], world.bind(LAYOUT), [0, 1])

    yield submit
    for engine in engines:
        engine.close(0)


def _outcome(call):
    try:
        return call()
    except Exception as error:  # noqa: BLE001  # the outcome is what we want
        return error


@pytest.mark.parametrize("how", ["completes", "fails", "is cancelled"])
@pytest.mark.clause("KV-TIR-05", "KV-SHD-04")
def test_threads_coroutines_and_callbacks_get_the_same_outcome(begin, executor, how) -> None:
    transfer = begin(Faults().fail(0) if how == "fails" else None, checksums=True)
    seen = []
    transfer.add_done_callback(lambda t: seen.append(_outcome(lambda: t.result(0))))

    def wait():
        seen.append(_outcome(lambda: transfer.result(10)))

    threads = [threading.Thread(target=wait) for _ in range(3)]

    async def coroutines():
        async def one():
            return await transfer

        tasks = [asyncio.create_task(one()) for _ in range(3)]
        await asyncio.sleep(0)
        for thread in threads:
            thread.start()
        (transfer.cancel if how == "is cancelled" else executor.run)()
        return await asyncio.gather(*tasks, return_exceptions=True)

    seen += asyncio.run(coroutines())
    for thread in threads:
        thread.join(10)
    transfer.add_done_callback(lambda t: seen.append(_outcome(lambda: t.result(0))))
    assert len(seen) == 8
    if how == "completes":
        assert all(one == seen[0] and len(one) == 2 for one in seen)
    elif how == "fails":
        assert all(one is seen[0] for one in seen)
        assert isinstance(seen[0], errors.TransferFailed)
    else:
        assert {type(one) for one in seen} == {errors.TransferCancelled}
        assert isinstance(seen[0], CancelledError)
    assert transfer.wait(0)


def test_a_coroutine_that_gives_up_cancels_nothing(begin, executor) -> None:
    transfer = begin()

    async def impatient():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_result(transfer), 0.01)

    asyncio.run(impatient())
    executor.run()
    assert transfer.result(0) is None


async def _result(transfer):
    return await transfer


def test_cancel_works_until_the_copy_begins(begin, executor) -> None:
    faults = Faults()
    go = faults.delay(0)
    transfer = begin(faults)
    runner = threading.Thread(target=executor.run)
    runner.start()
    while not transfer.future.running():
        time.sleep(0.001)
    assert not transfer.cancel()
    assert not transfer.future.cancel()
    go.set()
    runner.join()
    assert transfer.result(0) is None
    assert not transfer.cancel()


def test_cancelling_the_future_is_cancelling_the_transfer(begin, executor) -> None:
    transfer = begin()
    assert transfer.future.cancel()
    assert transfer.finished.done()
    assert transfer.wait(0)
    executor.run()
    with pytest.raises(errors.TransferCancelled):
        transfer.result(0)


def test_a_timeout_of_a_waiter_is_not_an_outcome(begin, executor) -> None:
    transfer = begin()
    with pytest.raises(TimeoutError):
        transfer.result(0.01)
    assert not transfer.wait(0.01)
    assert not transfer.done
    executor.run()
    assert transfer.result(0) is None


def test_a_dropped_step_is_a_cancelled_copy(begin, executor) -> None:
    transfer = begin()
    executor.drop()
    with pytest.raises(errors.TransferCancelled):
        transfer.result(0)
    assert transfer.finished.done()


def test_a_step_that_dies_is_a_failed_copy(begin, executor) -> None:
    transfer = begin()
    executor.fail(MemoryError("the thread died"))
    with pytest.raises(errors.TransferFailed, match="the thread died") as raised:
        transfer.result(0)
    assert raised.value.failed == (0, 1)


def test_an_executor_that_takes_nothing_is_a_failed_copy(world) -> None:
    class Full:
        def submit(self, function, /) -> Future[object]:
            del function
            raise RuntimeError("no more steps today")

    with TransferEngine(executor=Full()) as engine:
        transfer = engine.transfer(world.bind(LAYOUT), [0], world.bind(LAYOUT), [0])
        with pytest.raises(errors.TransferFailed, match="no more steps today"):
            transfer.result(0)
        assert transfer.finished.done()


def test_a_transfer_is_neither_true_nor_false() -> None:
    transfer = Transfer(0, "transfer 0")
    with pytest.raises(TypeError, match=r"ask transfer 0\.done"):
        bool(transfer)


def test_a_transfer_says_what_it_is(begin, executor) -> None:
    transfer = begin()
    name = "transfer 0 of 2 blocks from System to System"
    assert repr(transfer) == f"<{name}, waiting>"
    assert executor.steps == (name,)
    executor.run()
    assert repr(transfer) == f"<{name}, completed>"
