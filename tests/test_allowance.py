"""Time limits that share a timer end as ``asyncio.timeout`` would end them."""

import asyncio

import pytest

from memoryd.allowance import Allowance


async def test_each_has_the_whole_time_from_its_own_beginning() -> None:
    allowance, clock = Allowance(0.2), asyncio.get_running_loop().time

    async def late() -> float:
        began = clock()
        with pytest.raises(TimeoutError), allowance.each():
            await asyncio.sleep(30)
        return clock() - began

    async def quick() -> str:
        with allowance.each():
            await asyncio.sleep(0)
        return "done"

    first = asyncio.create_task(late())
    await asyncio.sleep(0.1)
    took = await asyncio.gather(first, late(), late())
    assert all(0.2 <= one < 5 for one in took)
    # What was timed once can be timed again, also after the timer found nothing to wait for.
    assert [await quick() for _ in range(3)] == ["done"] * 3
    await asyncio.sleep(0.25)
    assert (await quick(), 0.2 <= await late() < 5) == ("done", True)


async def test_an_error_inside_and_a_cancellation_from_outside_stay_what_they_are() -> None:
    allowance = Allowance(30)
    with pytest.raises(KeyError), allowance.each():
        raise KeyError("x")

    async def waits() -> None:
        with allowance.each():
            await asyncio.sleep(30)

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_one_inside_the_other_only_the_one_that_is_over_says_so() -> None:
    short, long = Allowance(0.05), Allowance(30)
    with long.each():
        with pytest.raises(TimeoutError), short.each():
            await asyncio.sleep(30)
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError), short.each(), long.each():
        await asyncio.sleep(30)


async def test_what_is_cancelled_by_both_stays_cancelled() -> None:
    allowance = Allowance(0.05)

    async def stubborn() -> None:
        with allowance.each():
            try:
                await asyncio.sleep(30)
            finally:
                # Its time is up; before that is told, somebody else cancels it too.
                me = asyncio.current_task()
                assert me is not None
                me.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(stubborn())


def test_it_serves_one_loop_after_the_other() -> None:
    allowance = Allowance(0.05)

    async def late() -> None:
        with pytest.raises(TimeoutError), allowance.each():
            await asyncio.sleep(30)

    async def quick() -> None:
        with allowance.each():
            pass

    for work in (quick, late, quick, late):
        asyncio.run(work())
