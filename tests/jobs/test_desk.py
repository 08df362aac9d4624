"""Items that end side by side are ended in one trip."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

import pytest

from memoryd.jobs.model import Claim, Dead, Failure, JobItem, Outcome
from memoryd.jobs.model import ItemState as S
from memoryd.jobs.ports import LeaseLost
from memoryd.stores.database import Database
from memoryd.stores.trips import Cursor, Statement
from retrieval.scope import Scope
from tests.jobs.conftest import Bench, Handler

WELL = Outcome(S.SUCCEEDED, chunks=3, tokens=7, size=9, pages=2)


async def begun(bench: Bench, count: int) -> tuple[Claim, list[JobItem]]:
    claim = await bench.runner(Handler()).claim(bench.scope.tenant_id)
    assert claim is not None
    items = [await bench.desk.next(claim, bench.clock.now()) for _ in range(count)]
    return claim, [one for one in items if isinstance(one, JobItem)]


async def test_several_items_end_and_as_many_begin(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trips, at_once = 0, Database.at_once

    async def counted(database: Database, scope: Scope, statements: Sequence[Statement]) -> list[Cursor]:
        nonlocal trips
        trips += 1
        return await at_once(database, scope, statements)

    job_id = await bench.make(*"abcdef")
    claim, items = await begun(bench, 4)
    bench.clock.pass_(2)
    same, bad = Outcome(S.UNCHANGED, size=1), Outcome(S.FAILED, "empty", 'there is "no" text in it')
    verdicts: list[Outcome | Dead] = [WELL, same, bad, Dead(Failure("down", "it is down"))]
    monkeypatch.setattr(Database, "at_once", counted)
    with ExitStack() as stack:
        for _ in items:
            stack.enter_context(bench.company.joined(bench.scope.tenant_id))
        now = bench.clock.now()
        ends = (bench.desk.settle_and_next(claim, one.item, verdict, now) for one, verdict in zip(items, verdicts, strict=True))
        following = await asyncio.gather(*ends)
    assert trips == 1
    assert [one and (one.document_id, one.state, one.attempts) for one in following] == [
        ("e", S.RUNNING, 1),
        ("f", S.RUNNING, 1),
        None,
        None,
    ]
    ended = await bench.items(job_id)
    assert [one.state for one in ended] == [S.SUCCEEDED, S.UNCHANGED, S.FAILED, S.FAILED, S.RUNNING, S.RUNNING]
    assert [(one.chunks, one.tokens, one.size, one.pages, one.reason, one.dead) for one in ended[:4]] == [
        (3, 7, 9, 2, None, False),
        (0, 0, 1, None, None, False),
        (0, 0, 0, None, "empty", False),
        (0, 0, 0, None, "down", True),
    ]
    assert ended[2].detail == bad.detail
    counters = (await bench.job(job_id)).counters
    assert (counters.succeeded, counters.unchanged, counters.failed) == (1, 1, 2)
    assert (counters.chunks, counters.tokens, counters.size) == (3, 7, 10)


async def test_an_item_that_ended_already_is_counted_once(bench: Bench) -> None:
    job_id = await bench.make(*"abc")
    claim, items = await begun(bench, 2)
    await bench.desk.settle(claim, items[0].item, WELL, bench.clock.now())
    with ExitStack() as stack:
        for _ in items:
            stack.enter_context(bench.company.joined(bench.scope.tenant_id))
        now = bench.clock.now()
        await asyncio.gather(*(bench.desk.settle_and_next(claim, one.item, WELL, now) for one in items))
    assert (await bench.job(job_id)).counters.succeeded == 2
    assert (await bench.job(job_id)).counters.chunks == 6


async def test_who_lost_the_job_ends_none_of_its_items(bench: Bench) -> None:
    job_id = await bench.make(*"abc")
    claim, items = await begun(bench, 2)
    await bench.desk.let_go(claim, bench.clock.now())
    with ExitStack() as stack:
        for _ in items:
            stack.enter_context(bench.company.joined(bench.scope.tenant_id))
        now = bench.clock.now()
        ends = (bench.desk.settle_and_next(claim, one.item, WELL, now) for one in items)
        ended = await asyncio.gather(*ends, return_exceptions=True)
    assert [type(one) for one in ended] == [LeaseLost, LeaseLost]
    assert set(await bench.states(job_id)) == {S.QUEUED}
