"""Waiting for blocks: first come first served, and nobody sleeps through what he waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvbm.blocks import BlockList, ImmutableBlock
from kvbm.errors import ErrorKind, NotEnoughBlocksAvailable, WaitCancelled
from kvbm.pool import BlockPool

SOON = 5.0  # seconds; nothing here takes more than milliseconds unless it hangs


def publish(pool: BlockPool, *names: int) -> BlockList[ImmutableBlock]:
    blocks = pool.allocate_blocks(len(names))
    blocks.stage(names)
    return pool.register_blocks(blocks)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


WAYS: dict[str, Callable[[BlockPool, Any], None]] = {
    "drop": lambda _, held: held.clear(),
    "release": lambda _, held: held[0].release(),
    "try_return": lambda pool, held: pool.try_return_block(held[0][0]),
    "unpin": lambda pool, held: (held.clear(), pool.unpin_blocks([7])),
    "downgrade": lambda _, held: held[0][0].downgrade(),
    "add_blocks": lambda pool, _: pool.add_blocks(1),
}


@pytest.mark.parametrize("way", WAYS)
def test_whatever_makes_a_block_available_wakes_who_waits(way: str) -> None:
    async def main() -> None:
        pool = BlockPool(1)
        held = [publish(pool, 7)]
        if way == "unpin":
            pool.pin_blocks([7])
        waiter = asyncio.create_task(pool.wait_for_blocks(1, timeout=SOON))
        await settle()
        assert not waiter.done()
        WAYS[way](pool, held)
        blocks = await waiter
        assert len(blocks) == 1

    asyncio.run(main())


def test_a_rejected_duplicate_wakes_who_waits_for_its_slot() -> None:
    async def main() -> None:
        pool = BlockPool(2)
        primary = publish(pool, 7)
        second = pool.allocate_blocks(1)
        second.stage([7])
        waiter = asyncio.create_task(pool.wait_for_blocks(1, timeout=SOON))
        await settle()
        shared = pool.register_blocks(second)
        assert (await waiter).block_ids == [1]
        assert shared.block_ids == primary.block_ids == [0]

    asyncio.run(main())


@given(
    counts=st.lists(st.integers(1, 4), min_size=2, max_size=6),
    drops=st.permutations(range(4)),
    cancelled=st.none() | st.integers(0, 5),
)
@settings(max_examples=40)
@pytest.mark.clause("KV-LIV-05")
def test_waiters_are_served_in_the_order_of_arrival(
    counts: list[int], drops: list[int], cancelled: int | None
) -> None:
    async def main() -> list[int]:
        pool = BlockPool(4)
        held: dict[int, Any] = dict(enumerate(pool.allocate_blocks(4).to_list()))
        served: list[int] = []

        async def client(number: int, count: int) -> None:
            blocks = await pool.wait_for_blocks(count, timeout=SOON)
            assert len(blocks) == count
            served.append(number)
            await settle()
            del blocks

        tasks = []
        for number, count in enumerate(counts):
            tasks.append(asyncio.create_task(client(number, count)))
            await asyncio.sleep(0)
        if cancelled is not None and cancelled < len(tasks):
            tasks[cancelled].cancel()
        for slot in drops:
            del held[slot]
            await settle()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert pool.available_blocks() == 4
        assert not pool._wakers
        return served

    expected = [number for number in range(len(counts)) if number != cancelled]
    assert asyncio.run(main()) == expected


def test_a_wait_ends_in_time_and_leaves_the_others_their_place() -> None:
    async def main() -> None:
        pool = BlockPool(2)
        held = pool.allocate_blocks(2)
        impatient = asyncio.create_task(pool.wait_for_blocks(2, timeout=0.01))
        await asyncio.sleep(0)
        patient = asyncio.create_task(pool.wait_for_blocks(1, timeout=SOON))
        with pytest.raises(WaitCancelled, match=r"within 0\.01 s") as error:
            await impatient
        assert error.value.kind is ErrorKind.CANCELLED
        assert isinstance(error.value, TimeoutError)
        assert error.value.requested == 2
        held[0].release()
        assert len(await patient) == 1

    asyncio.run(main())


def test_who_waits_behind_a_large_request_is_served_when_that_gives_up() -> None:
    async def main() -> None:
        pool = BlockPool(2)
        held = pool.allocate_blocks(1)
        large = asyncio.create_task(pool.wait_for_blocks(2))
        await asyncio.sleep(0)
        small = asyncio.create_task(pool.wait_for_blocks(1, timeout=SOON))
        await settle()
        assert not small.done(), "a small request does not starve a large one"
        large.cancel()
        with pytest.raises(asyncio.CancelledError):
            await large
        assert len(await small) == 1
        assert len(held) == 1

    asyncio.run(main())


def test_a_close_tells_everybody_who_waits() -> None:
    async def main() -> None:
        pool = BlockPool(1)
        held = pool.allocate_blocks(1)
        tasks = [asyncio.create_task(pool.wait_for_blocks(1)) for _ in range(3)]
        await settle()
        pool.close()
        for task in tasks:
            with pytest.raises(WaitCancelled, match="the pool was closed"):
                await task
        with pytest.raises(WaitCancelled):
            await pool.wait_for_blocks(1)
        del held

    asyncio.run(main())


@pytest.mark.clause("KV-CAP-06")
def test_nobody_waits_for_more_blocks_than_there_are() -> None:
    async def main() -> None:
        pool = BlockPool(2)
        with pytest.raises(NotEnoughBlocksAvailable):
            await pool.wait_for_blocks(3, timeout=SOON)
        held = pool.allocate_blocks(2)
        first = asyncio.create_task(pool.wait_for_blocks(1, timeout=SOON))
        await asyncio.sleep(0)
        with pytest.raises(NotEnoughBlocksAvailable):
            await pool.wait_for_blocks(3, timeout=0.05)
        held.release()
        (await first).release()
        assert (await pool.wait_for_blocks(2, timeout=0)).block_ids in ([0, 1], [1, 0])

    asyncio.run(main())


def test_a_release_in_another_thread_wakes_who_waits() -> None:
    async def main() -> None:
        pool = BlockPool(1)
        for _ in range(50):
            held = [pool.allocate_blocks(1)]
            waiter = asyncio.create_task(pool.wait_for_blocks(1, timeout=SOON))
            thread = threading.Thread(target=held.clear)
            await asyncio.sleep(0)
            thread.start()
            (await waiter).release()
            thread.join()

    asyncio.run(main())


def test_a_release_after_the_loop_has_ended_is_harmless() -> None:
    pool = BlockPool(1)
    held = pool.allocate_blocks(1)
    loop = asyncio.new_event_loop()
    task = loop.create_task(pool.wait_for_blocks(1))
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()
    loop.close()
    held.release()
    assert pool.available_blocks() == 1
    with pytest.raises(RuntimeError):
        task.get_coro().close() or loop.run_until_complete(task)  # type: ignore[union-attr]
