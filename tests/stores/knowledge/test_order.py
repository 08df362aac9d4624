"""Of several jobs that bring one document, the one that was ordered last has the last word, whichever comes to it first."""

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest

from memoryd.errors import Conflict
from memoryd.jobs.control import ItemControl
from memoryd.jobs.model import Command, ItemState, Job, JobItem, JobState, NewItem, NewJob, Outcome
from memoryd.jobs.ports import Control, NotYet
from memoryd.knowledge.model import Overtaken, Staging
from memoryd.stores.database import Database
from memoryd.stores.generations import Generation
from memoryd.stores.jobs.desk import PgDesk
from retrieval.scope import Scope
from tests.jobs.conftest import KIND, POLICY
from tests.stores.knowledge.shelf import PART, Shelf, new_shelf
from tests.stores.knowledge.test_publish_by_job import Desk, nothing

OLD, MID, NEW = ["old"], ["mid", "and more", "and more yet"], ["new", "and why"]
REMOVE: list[str] = []


@dataclass
class Orders(Desk):
    """Jobs that bring lines, or with none remove. ``within`` happens in the middle of every document."""

    lines: dict[tuple[UUID, str], Sequence[str]] = field(default_factory=dict)
    within: Callable[[], Awaitable[object]] = nothing
    instead: Callable[[Job, JobItem, Control], Awaitable[Outcome]] | None = None

    async def bring(self, **documents: Sequence[str]) -> UUID:
        items = [NewItem(one, {} if lines else {"remove": True}) for one, lines in documents.items()]
        new = NewJob(KIND, {"kb": self.shelf.base.name}, items, kb_id=self.shelf.kb, space="default")
        job_id = (await self.jobs.create(self.shelf.scope, new)).job_id
        self.lines |= {(job_id, one): lines for one, lines in documents.items()}
        return job_id

    async def process(self, scope: Scope, job: Job, item: JobItem, control: Control) -> Outcome:
        if self.instead is not None:
            return await self.instead(job, item, control)
        if item.source.get("remove"):
            await self.within()
            return await self.ingest.process(scope, job, item, control)
        shelf, lines = self.shelf, self.lines[item.job_id, item.document_id]
        new = shelf.new(item.document_id, lines)
        staging = await shelf.drafts.begin(shelf.scope, shelf.kb, new, self.clock.now(), by=item.job_id)
        if staging is None or isinstance(staging, Overtaken):
            return Outcome(ItemState.UNCHANGED, reason="overtaken" if staging else None)
        await self.within()
        try:
            while len(lines) > staging.stored:
                staging = await shelf.part(staging, lines)
            await shelf.finish(staging)
        except Conflict:
            return await self.process(scope, job, item, control)
        return Outcome(ItemState.SUCCEEDED)

    async def outcomes(self, job_id: UUID) -> list[tuple[str, str | None]]:
        return [(one.state.value, one.reason) for one in await self.jobs.items(self.shelf.scope, job_id, limit=9)]

    async def draft(self) -> dict[str, list[str]]:
        """What a publish makes of it."""
        await self.shelf.stage("last", OLD)
        await self.shelf.publish()
        return {name: lines for name, lines in (await self.live()).items() if name != "last"}

    async def first(self, job_id: UUID, *others: UUID) -> None:
        """This job, before the others begin."""
        for one in others:
            await self.act(one, Command.PAUSE)
        await self.turns()
        assert (await self.job(job_id)).state is JobState.SUCCEEDED
        for one in others:
            await self.act(one, Command.RESUME)


@pytest.fixture
async def orders(shelf: Shelf) -> Orders:
    return Orders(shelf)


@pytest.mark.parametrize("later", [NEW, OLD, REMOVE])
async def test_what_was_ordered_later_stands_though_it_is_done_first(orders: Orders, later: list[str]) -> None:
    await orders.shelf.release(a=OLD, b=OLD)
    one = await orders.bring(a=MID, b=MID)
    two = await orders.bring(a=later)
    await orders.first(two, one)
    await orders.turns()
    assert await orders.outcomes(one) == [("unchanged", "overtaken"), ("succeeded", None)]
    assert await orders.draft() == {"b": MID} | ({"a": later} if later else {})


@pytest.mark.parametrize("published", [False, True])
async def test_a_removal_that_was_ordered_earlier_takes_nothing_away(orders: Orders, published: bool) -> None:
    await orders.shelf.release(a=OLD)
    one = await orders.bring(a=REMOVE)
    two = await orders.bring(a=NEW)
    await orders.first(two, one)
    if published:
        await orders.shelf.publish()
    await orders.turns()
    assert await orders.outcomes(one) == [("unchanged", "overtaken")]
    assert await orders.versions_made() == 2, "it begins no draft"
    assert (await orders.live() if published else await orders.draft()) == {"a": NEW}


@pytest.mark.parametrize("later", [NEW, REMOVE])
@pytest.mark.parametrize("there", [False, True])
async def test_a_document_that_is_being_written_gives_way_to_what_was_ordered_later(
    orders: Orders, later: list[str], there: bool
) -> None:
    if there:
        await orders.shelf.release(a=OLD)
    one = await orders.bring(a=MID)

    async def meanwhile() -> None:
        orders.within = nothing
        two.append(await orders.bring(a=later))
        await orders.turns()

    two: list[UUID] = []
    orders.within = meanwhile
    await orders.turns()
    assert await orders.outcomes(one) == [("unchanged", "overtaken")]
    assert await orders.outcomes(two[0]) == [("succeeded" if later or there else "unchanged", None)]
    assert await orders.draft() == ({"a": later} if later else {})


@pytest.mark.parametrize("earlier", [MID, REMOVE])
async def test_it_waits_for_a_later_job_that_is_at_the_document_for_that_may_fail(orders: Orders, earlier: list[str]) -> None:
    await orders.shelf.release(a=OLD)
    one = await orders.bring(a=earlier)
    two = await orders.bring(a=NEW)

    async def meanwhile() -> None:
        orders.within = nothing
        await orders.act(one, Command.RESUME)
        await orders.turns()
        assert await orders.outcomes(one) == [("queued", "others_write")]
        raise ZeroDivisionError

    await orders.act(one, Command.PAUSE)
    orders.within = meanwhile
    await orders.turns()
    assert await orders.outcomes(two) == [("failed", "internal_error")]
    orders.clock.pass_(2)
    await orders.turns()
    (item,) = await orders.jobs.items(orders.shelf.scope, one, limit=9)
    assert (item.state, item.attempts) == (ItemState.SUCCEEDED, 1)
    assert await orders.draft() == ({"a": earlier} if earlier else {})


async def test_it_waits_for_an_earlier_job_that_writes_the_same_while_the_worker_of_that_lives(orders: Orders) -> None:
    async def meanwhile() -> None:
        orders.within = nothing
        two.append(await orders.bring(a=MID))
        await orders.turns()
        (item,) = await orders.jobs.items(shelf.scope, two[0], limit=9)
        assert (item.state, item.reason, item.attempts) == (ItemState.QUEUED, "others_write", 0)
        with pytest.raises(NotYet, match=f"job {one}, which was ordered earlier"):
            await shelf.drafts.overtaken(shelf.scope, shelf.kb, "a", orders.clock.now(), by=two[0])
        later = orders.clock.now() + POLICY.lease
        assert await shelf.drafts.overtaken(shelf.scope, shelf.kb, "a", later, by=two[0]) is None
        taken_over = await shelf.drafts.begin(shelf.scope, shelf.kb, shelf.new("a", MID), later, by=two[0])
        assert isinstance(taken_over, Staging)

    shelf, two = orders.shelf, list[UUID]()
    one = await orders.bring(a=MID)
    orders.within = meanwhile
    await orders.turns()
    assert await orders.outcomes(one) == [("succeeded", None)]
    orders.clock.pass_(2)
    await orders.turns()
    assert await orders.outcomes(two[0]) == [("unchanged", None)]
    assert await orders.draft() == {"a": MID}


async def test_a_later_job_that_was_cancelled_or_is_of_another_knowledge_base_says_nothing(
    orders: Orders, database: Database, generation: Generation
) -> None:
    one = await orders.bring(a=MID)
    two = await orders.bring(a=NEW)
    await orders.act(two, Command.CANCEL)
    stranger = Orders(await new_shelf(database, generation))
    await stranger.bring(a=NEW)
    await stranger.turns()
    await orders.turns()
    assert await orders.outcomes(one) == [("succeeded", None)]
    assert await orders.draft() == {"a": MID}


async def test_what_a_job_has_still_to_bring_or_remove_is_not_known(orders: Orders) -> None:
    shelf = orders.shelf
    await shelf.release(a=OLD, b=OLD, c=OLD)

    async def known() -> dict[str, str | None]:
        return dict(await shelf.drafts.hashes(shelf.scope, shelf.kb, ["a", "b", "c", "d", "e"]))

    def has(lines: Sequence[str]) -> str:
        return shelf.new("", lines).content_hash.hex()

    await orders.bring(c=OLD)
    await orders.turns()
    another = Orders(await shelf.another("another"))
    await another.act(await another.bring(c=NEW), Command.PAUSE)
    assert await known() == dict.fromkeys("abc", has(OLD))
    one = await orders.bring(a=NEW, b=REMOVE, d=NEW)
    unknown = {"a": None, "b": None, "c": has(OLD), "d": None}
    assert await known() == unknown
    await orders.act(one, Command.PAUSE)
    assert await known() == unknown
    await orders.act(one, Command.RESUME)
    await orders.turns()
    assert await known() == {"a": has(NEW), "c": has(OLD), "d": has(NEW)}


async def test_a_removal_by_hand_is_refused_while_a_job_has_still_to_come_to_the_document(orders: Orders) -> None:
    shelf = orders.shelf
    await shelf.release(a=OLD, b=OLD)
    one = await orders.bring(a=NEW)
    for state in ("queued", "paused"):
        with pytest.raises(Conflict, match=f"job {one} has not come to this document yet"):
            await shelf.remove("a")
        if state == "queued":
            await orders.act(one, Command.PAUSE)
    assert await shelf.remove("b")
    await orders.act(one, Command.RESUME)

    async def meanwhile() -> None:
        with pytest.raises(Conflict, match="has not come"):
            await shelf.remove("a")

    orders.within = meanwhile
    await orders.turns()
    assert await orders.outcomes(one) == [("succeeded", None)]
    assert await shelf.remove("a")
    assert await orders.draft() == {}


async def test_a_long_document_that_gives_way_is_not_undone_by_an_older_job(orders: Orders) -> None:
    async def gives_way(job: Job, item: JobItem, control: Control) -> Outcome:
        lines = orders.lines[item.job_id, item.document_id]
        new = orders.shelf.new(item.document_id, lines)
        staging = await orders.shelf.drafts.begin(orders.shelf.scope, orders.shelf.kb, new, orders.shelf.now(), by=item.job_id)
        if not isinstance(staging, Staging):
            return Outcome(ItemState.UNCHANGED, reason="overtaken")
        begun.append((item.job_id, staging.stored))
        staging = await orders.shelf.part(staging, lines)
        await control.checkpoint(chunks=PART, tokens=1)
        if staging.stored < len(lines):
            assert isinstance(control, ItemControl)
            control._give_way()  # as it does where another tenant waits
        await orders.shelf.finish(staging)
        return Outcome(ItemState.SUCCEEDED)

    begun: list[tuple[UUID, int]] = []
    orders.instead = gives_way
    one = await orders.bring(a=[f"one {n}" for n in range(6)])
    two = await orders.bring(a=[f"two {n}" for n in range(6)])
    for _ in range(9):
        await orders.turn()
        orders.clock.pass_(2)
    assert [stored for job_id, stored in begun if job_id == two] == [0, 2, 4]
    assert await orders.outcomes(two) == [("succeeded", None)]
    assert await orders.outcomes(one) == [("unchanged", "overtaken")]
    assert await orders.draft() == {"a": [f"two {n}" for n in range(6)]}


async def test_who_waited_and_found_nothing_to_do_has_done_nothing(orders: Orders) -> None:
    await orders.shelf.release(a=OLD)
    one, two = await orders.bring(a=REMOVE), await orders.bring(a=REMOVE)
    three = await orders.bring(a=NEW)

    async def meanwhile() -> None:
        orders.within = nothing
        await orders.act(two, Command.RESUME)
        await orders.turns()
        raise ZeroDivisionError

    for job_id in (one, two):
        await orders.act(job_id, Command.PAUSE)
    orders.within = meanwhile
    await orders.turns()
    await orders.act(one, Command.RESUME)
    await orders.turns()
    orders.clock.pass_(2)
    await orders.turns()
    assert await orders.outcomes(three) == [("failed", "internal_error")]
    assert [*await orders.outcomes(one), *await orders.outcomes(two)] == [("succeeded", None), ("unchanged", None)]


async def test_a_job_is_kept_while_an_older_one_may_come_to_its_documents(orders: Orders) -> None:
    one, two = await orders.bring(a=MID), await orders.bring(a=NEW)
    await orders.first(two, one)
    await orders.act(one, Command.PAUSE)
    orders.clock.pass_(timedelta(days=91).total_seconds())
    desk, tenant_id = PgDesk(orders.shelf.database, attempts=3), orders.shelf.scope.tenant_id
    assert await desk.forget(tenant_id, orders.clock.now()) == 0
    await orders.act(one, Command.RESUME)
    await orders.turns()
    assert await orders.outcomes(one) == [("unchanged", "overtaken")]
    orders.clock.pass_(1)
    assert await desk.forget(tenant_id, orders.clock.now()) == 2
    assert await orders.draft() == {"a": NEW}


async def test_the_order_is_not_that_of_clocks_that_differ(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time_ns
    jobs = []
    for ahead_s, lines in ((60, OLD), (30, MID), (0, NEW)):
        monkeypatch.setattr(time, "time_ns", lambda ahead=ahead_s: real() + ahead * 10**9)
        jobs.append(await orders.bring(a=lines))
    monkeypatch.undo()
    assert sorted(jobs) == jobs
    await orders.turns()
    assert await orders.draft() == {"a": NEW}


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_comes_when_all_is_as_if_they_had_been_done_in_order(orders: Orders, seed: int) -> None:
    chance = random.Random(seed)
    expected: dict[str, list[str]] = {}
    if chance.random() < 0.5:
        expected = {"a": OLD, "b": OLD}
        await orders.shelf.release(**expected)
    jobs: list[UUID] = []
    for _ in range(4):
        names = chance.sample("abc", chance.randint(1, 3))
        changes = {name: chance.choice([OLD, MID, NEW, REMOVE]) for name in names}
        jobs.append(await orders.bring(**changes))
        expected = {name: lines for name, lines in (expected | changes).items() if lines}
        if chance.random() < 0.5:
            await orders.act(jobs[-1], Command.PAUSE)

    async def within() -> None:
        for job_id in jobs:
            if chance.random() < 0.4 and (await orders.job(job_id)).state is JobState.PAUSED:
                await orders.act(job_id, Command.RESUME)
        if chance.random() < 0.5:
            await orders.turn()

    orders.within = within
    for job_id in chance.sample(jobs, len(jobs)):
        await orders.turns()
        if (await orders.job(job_id)).state is JobState.PAUSED:
            await orders.act(job_id, Command.RESUME)
    while {(await orders.job(one)).state for one in jobs} != {JobState.SUCCEEDED}:
        await orders.turns()
        orders.clock.pass_(2)
    assert await orders.draft() == expected
