import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from unittest.mock import ANY

import pytest

from memoryd.together import Company, Following, Together


class Counted:
    """Doubles numbers; notes what came together. Fails of negative ones, and does nothing before it may."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun = asyncio.Event()
        self.may = asyncio.Event()
        self.may.set()
        self.cancelled = False

    async def work(self, key: tuple[str, ...], asked: Sequence[int]) -> list[int]:
        self.groups.append(list(asked))
        self.begun.set()
        try:
            await self.may.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if bad := [one for one in asked if one < 0]:
            raise ValueError(bad)
        return [2 * one for one in asked]


def company_of(stack: ExitStack, size: int) -> Company:
    company = Company()
    for _ in range(size):
        stack.enter_context(company.joined("a"))
    return company


async def test_who_comes_within_the_time_is_served_at_once_and_in_order() -> None:
    counted = Counted()
    with ExitStack() as stack:
        together = Together(counted.work, company_of(stack, 9), linger_s=0.05)
        assert await asyncio.gather(*(together.ask(("a",), one) for one in (1, 2, 3))) == [2, 4, 6]
        assert await asyncio.gather(*(together.ask(("a", key), one) for key, one in (("b", 4), ("c", 5)))) == [8, 10]
    assert counted.groups == [[1, 2, 3], [4], [5]], "those of another key have another"


async def test_nobody_waits_who_is_alone_or_for_more_than_there_are() -> None:
    counted = Counted()
    forever = 3600.0
    async with asyncio.timeout(10):
        assert await Together(counted.work, Company(), linger_s=forever).ask(("a",), 1) == 2
        with ExitStack() as stack:
            others = company_of(stack, 3)
            assert await Together(counted.work, others, linger_s=forever).ask(("b",), 1) == 2, "those are company to others"
        with ExitStack() as stack:
            company = company_of(stack, 3)
            together = Together(counted.work, company, linger_s=forever)
            assert await asyncio.gather(*(together.ask(("a",), one) for one in (1, 2, 3))) == [2, 4, 6]
            most = Together(counted.work, company, linger_s=forever, most=2)
            assert await asyncio.gather(*(most.ask(("a",), one) for one in (1, 2, 3, 4))) == [2, 4, 6, 8]
        assert company.size("a") == 0
    assert counted.groups == [[1], [1], [1, 2, 3], [1, 2], [3, 4]]


async def test_nobody_fails_of_another() -> None:
    counted = Counted()
    with ExitStack() as stack:
        together = Together(counted.work, company_of(stack, 3))
        got = await asyncio.gather(*(together.ask(("a",), one) for one in (1, -2, 3)), return_exceptions=True)
        assert (got[0], got[2]) == (2, 6)
        assert isinstance(got[1], ValueError)
        assert counted.groups == [[1, -2, 3], [1], [-2], [3]]
        counted.groups.clear()
        with pytest.raises(ValueError, match="-1"):
            await Together(counted.work, Company()).ask(("a",), -1)
    assert counted.groups == [[-1]], "who failed alone is not done again"


async def test_what_may_have_been_done_is_not_done_again() -> None:
    counted = Counted()
    with ExitStack() as stack:
        together = Together(counted.work, company_of(stack, 3), final=ValueError)
        got = await asyncio.gather(*(together.ask(("a",), one) for one in (1, -2, 3)), return_exceptions=True)
    assert [type(one) for one in got] == [ValueError] * 3
    assert counted.groups == [[1, -2, 3]]


async def test_those_that_are_done_again_do_not_wait_for_each_other() -> None:
    counted = Counted()
    counted.may.clear()
    with ExitStack() as stack:
        together = Together(counted.work, company_of(stack, 3))
        asking = [asyncio.create_task(together.ask(("a",), one)) for one in (-1, -2, 3)]
        await counted.begun.wait()
        counted.may.set()
        await asyncio.sleep(0)
        counted.may.clear()
        async with asyncio.timeout(10):
            while len(counted.groups) < 4:
                counted.begun.clear()
                await counted.begun.wait()
        counted.may.set()
        got = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(one) for one in got] == [ValueError, ValueError, int]


async def test_work_goes_on_while_somebody_waits_for_it() -> None:
    counted = Counted()
    counted.may.clear()
    with ExitStack() as stack:
        together = Together(counted.work, company_of(stack, 2))
        first, second = (asyncio.create_task(together.ask(("a",), one)) for one in (1, 2))
        await counted.begun.wait()
        counted.begun.clear()
        first.cancel()
        await asyncio.sleep(0.01)
        counted.may.set()
        assert await second == 4
        counted.may.clear()
        counted.begun.clear()
        both = [asyncio.create_task(together.ask(("a",), one)) for one in (3, 4)]
        await counted.begun.wait()
        for one in both:
            one.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        await asyncio.sleep(0.01)
        assert counted.cancelled
        counted.may.set()
        assert await asyncio.gather(*(together.ask(("a",), one) for one in (5, 6))) == [10, 12], "it is there for those that come"


async def test_who_leaves_before_it_begins_is_left_out() -> None:
    counted = Counted()
    with ExitStack() as stack:
        together = Together(counted.work, company_of(stack, 3), linger_s=0.05)
        first, second = (asyncio.create_task(together.ask(("a",), one)) for one in (1, 2))
        await asyncio.sleep(0.001)
        first.cancel()
        assert await second == 4
        alone = asyncio.create_task(together.ask(("a",), 3))
        await asyncio.sleep(0.001)
        alone.cancel()
        await asyncio.sleep(0.1)
    assert counted.groups == [[2]]


async def test_who_is_alone_is_answered_at_once_and_who_comes_meanwhile_goes_together() -> None:
    counted = Counted()
    following = Following(counted.work, at_once=1, most=3)
    async with asyncio.timeout(10):
        assert await following.ask(("a",), 1) == 2
        counted.may.clear()
        counted.begun.clear()
        first = asyncio.create_task(following.ask(("a",), 2))
        await counted.begun.wait()
        others = [asyncio.create_task(following.ask(("a",), one)) for one in (3, 4, 5, 6)]
        elsewhere = asyncio.create_task(following.ask(("b",), 7))
        await asyncio.sleep(0)
        others[1].cancel()
        await asyncio.sleep(0.01)
        assert counted.groups == [[1], [2], [7]], "those of another key wait for nobody"
        counted.may.set()
        await asyncio.gather(first, *others, elsewhere, return_exceptions=True)
        assert [one.result() for one in (first, others[0], *others[2:], elsewhere)] == [4, 6, 10, 12, 14]
    assert others[1].cancelled()
    assert counted.groups[3:] == [[3, 5], [6]], "three at most, and nothing for who has gone"


async def test_those_who_ask_in_one_turn_go_together() -> None:
    counted = Counted()
    following = Following(counted.work)
    assert await asyncio.gather(*(following.ask(("a",), one) for one in range(5))) == [0, 2, 4, 6, 8]
    assert counted.groups == [[0, 1, 2, 3, 4]]
    assert not following._lines


async def test_nobody_fails_of_another_who_follows_him_but_of_the_store() -> None:
    counted = Counted()
    following, final = Following(counted.work), Following(counted.work, final=ValueError)
    assert await asyncio.gather(*(following.ask(("a",), one) for one in (1, -1, 2)), return_exceptions=True) == [2, ANY, 4]
    assert counted.groups == [[1, -1, 2], [1], [-1], [2]]
    told = await asyncio.gather(*(final.ask(("a",), one) for one in (1, -1)), return_exceptions=True)
    assert [type(one) for one in told] == [ValueError, ValueError]
    assert await final.ask(("a",), 3) == 6


async def test_who_waits_behind_an_outage_does_not_wait_for_another() -> None:
    counted = Counted()
    following = Following(counted.work, final=ValueError, at_once=1, most=2)
    counted.may.clear()
    async with asyncio.timeout(10):
        first = asyncio.create_task(following.ask(("a",), -1))
        await counted.begun.wait()
        others = [asyncio.create_task(following.ask(("a",), one)) for one in range(6)]
        await asyncio.sleep(0)
        counted.may.set()
        told = await asyncio.gather(first, *others, return_exceptions=True)
        assert {type(one) for one in told} == {ValueError}
        assert counted.groups == [[-1]]
        assert await following.ask(("a",), 3) == 6


async def test_nobody_hangs_on_work_that_was_cancelled() -> None:
    async def cancelled(key: tuple[str, ...], asked: Sequence[int]) -> list[int]:
        raise asyncio.CancelledError

    following = Following(cancelled, at_once=1, most=1)
    async with asyncio.timeout(10):
        told = await asyncio.gather(*(following.ask(("a",), one) for one in range(3)), return_exceptions=True)
    assert {type(one) for one in told} == {asyncio.CancelledError}
    assert not following._lines
