"""Jobs that publish what is staged, beside others that are staging."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from memoryd.clock import SystemClock
from memoryd.errors import StoreUnavailable
from memoryd.jobs.model import Command, ItemState, Job, JobItem, JobState, NewItem, NewJob, Outcome
from memoryd.jobs.ports import Control
from memoryd.jobs.runner import Runner
from memoryd.jobs.service import Jobs
from memoryd.knowledge.ingest import Ingest
from memoryd.knowledge.versioning import Versioning
from memoryd.stores.jobs.active import PgActiveJobs
from memoryd.stores.jobs.desk import PgDesk
from memoryd.stores.jobs.ledger import PgLedger
from memoryd.stores.knowledge import discard
from retrieval.filters import JsonValue
from retrieval.scope import Scope
from tests.jobs.conftest import ATTEMPTS, KIND, POLICY, Clock, Reminders
from tests.stores.knowledge.shelf import Shelf

OLD, NEW = ["the old rule"], ["the new rule", "and why", "and since when"]


async def nothing() -> None:
    """Meanwhile."""


@dataclass
class Desk:
    """A shelf whose documents are staged by jobs; ``meanwhile`` happens in the middle of a document."""

    shelf: Shelf
    clock: Clock = field(default_factory=Clock)
    meanwhile: dict[str, Callable[[], Awaitable[object]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        database = self.shelf.database
        self.jobs = Jobs(PgLedger(database), Reminders(), self.clock)
        self.runner = Runner(PgDesk(database, attempts=ATTEMPTS), Reminders(), {KIND: self}, self.clock, POLICY)
        drafts, active = self.shelf.drafts, PgActiveJobs(database)
        self.versions = Versioning(self.shelf.bases, self.shelf.versions, drafts, active, None, SystemClock(), grace_s=0)
        unread: Any = None  # these documents have no originals, and are not parsed
        self.ingest = Ingest(self.shelf.bases, drafts, self.versions, unread, unread, SystemClock())

    async def order(self, *documents: str, publish: bool) -> UUID:
        items = [NewItem(one, {}) for one in documents]
        payload: dict[str, JsonValue] = {"kb": self.shelf.base.name, "publish": publish}
        new = NewJob(KIND, payload, items, kb_id=self.shelf.kb, space="default")
        return (await self.jobs.create(self.shelf.scope, new)).job_id

    async def process(self, scope: Scope, job: Job, item: JobItem, control: Control) -> Outcome:
        staging = await self.shelf.begin(item.document_id, NEW)
        if staging is None:
            return Outcome(ItemState.UNCHANGED)
        if not staging.stored:
            staging = await self.shelf.part(staging, NEW)
        await self.meanwhile.pop(item.document_id, nothing)()
        await control.checkpoint()
        await self.shelf.finish(staging, NEW)
        return Outcome(ItemState.SUCCEEDED)

    async def finished(self, scope: Scope, job: Job) -> None:
        await self.ingest.finished(scope, job)

    async def turn(self) -> bool:
        """One turn at a job; false when none can be had."""
        claim = await self.runner.claim(self.shelf.scope.tenant_id)
        if claim is not None:
            await self.runner.work(claim)
        return claim is not None

    async def turns(self) -> None:
        while await self.turn():
            pass

    async def job(self, job_id: UUID) -> Job:
        return await self.jobs.get(self.shelf.scope, job_id)

    async def act(self, job_id: UUID, command: Command) -> Job:
        return await self.jobs.act(self.shelf.scope, job_id, command)

    async def live(self) -> dict[str, list[str]]:
        return await self.shelf.read()

    async def version(self, job_id: UUID) -> JsonValue:
        """What it published."""
        return (await self.job(job_id)).payload.get("version")

    async def versions_made(self) -> int:
        return len(await self.shelf.versions.page(self.shelf.scope, self.shelf.kb, before=None, limit=9))


async def test_a_job_publishes_nothing_that_another_has_half_done(shelf: Shelf) -> None:
    desk = Desk(shelf)
    await shelf.release(one=OLD, two=OLD)

    async def small_job() -> None:
        small = await desk.order("small", publish=True)
        await desk.turns()
        job = await desk.job(small)
        assert (job.state, job.attempts, job.error and job.error.code) == (JobState.RUNNING, 0, "others_write")
        assert await desk.live() == {"one": OLD, "two": OLD}

    desk.meanwhile["two"] = small_job
    large = await desk.order("one", "two", publish=False)
    await desk.turns()
    large_job = await desk.job(large)
    assert large_job.state is JobState.SUCCEEDED
    assert [one.attempts for one in await desk.jobs.items(shelf.scope, large, limit=9)] == [1, 1], "nothing was thrown away"
    assert await desk.live() == {"one": OLD, "two": OLD}
    desk.clock.pass_(2)
    await desk.turns()
    assert await desk.live() == {"one": NEW, "two": NEW, "small": NEW}
    assert await desk.versions_made() == 2


async def test_two_jobs_that_publish_make_one_version_of_both_and_wait_for_nobody(shelf: Shelf) -> None:
    desk = Desk(shelf)

    async def second() -> None:
        other.append(await desk.order("b", publish=True))
        await desk.turns()

    other: list[UUID] = []
    desk.meanwhile["a"] = second
    first = await desk.order("a", publish=True)
    await desk.turns()
    assert (await desk.job(first)).state is JobState.SUCCEEDED, "the other is through too, but for its publishing"
    assert await desk.live() == {"a": NEW, "b": NEW}
    assert await desk.version(first) == 1
    desk.clock.pass_(2)
    await desk.turns()
    assert await desk.version(*other) is None, "the first published what it did"
    assert {one.state for one in await desk.jobs.page(shelf.scope, limit=9)} == {JobState.SUCCEEDED}
    assert await desk.versions_made() == 1


async def test_a_job_notes_the_version_that_it_published_and_none_that_it_did_not(shelf: Shelf) -> None:
    desk = Desk(shelf)
    first, staging, again = [await desk.order("a", publish=publish) for publish in (True, False, True)]
    await desk.turns()
    new = await desk.order("b", publish=True)
    before = (await desk.job(new)).revision
    await desk.turns()
    assert [await desk.version(one) for one in (first, staging, again, new)] == [1, None, None, 2]
    assert (await desk.job(new)).revision > before


@dataclass
class Dying(Desk):
    """Its worker comes to an end behind the first publish."""

    ends: list[Exception] = field(default_factory=list)

    async def finished(self, scope: Scope, job: Job) -> None:
        await super().finished(scope, job)
        if self.ends:
            raise self.ends.pop()


@pytest.mark.parametrize("passing", [True, False])
async def test_a_job_that_ends_badly_behind_its_publish_publishes_nothing_of_others(shelf: Shelf, passing: bool) -> None:
    desk = Dying(shelf, ends=[StoreUnavailable("gone") if passing else RuntimeError("a bug")])
    job_id = await desk.order("a", publish=True)
    await desk.turn()
    state = JobState.RUNNING if passing else JobState.FAILED
    assert ((await desk.job(job_id)).state, await desk.version(job_id)) == (state, 1)
    await desk.order("staged", publish=False)
    await desk.turns()
    if passing:
        desk.clock.pass_(100)
    else:
        await desk.act(job_id, Command.RETRY)
    await desk.turns()
    assert ((await desk.job(job_id)).state, await desk.version(job_id)) == (JobState.SUCCEEDED, 1)
    assert await desk.live() == {"a": NEW}
    assert await desk.versions_made() == 2, "one of them a draft"


async def test_what_was_to_be_published_is_told_that_its_draft_was_discarded(shelf: Shelf) -> None:
    desk = Desk(shelf)
    desk.clock.at = shelf.now()
    before = await desk.order("a", publish=True)
    await desk.turns()
    await shelf.release(a=OLD)

    async def roll_back() -> None:
        await shelf.rollback(1)

    desk.meanwhile["b"] = roll_back
    desk.clock.at = shelf.now() + timedelta(minutes=1)
    moved, staged = await desk.order("b", publish=True), await desk.order("c", publish=False)
    await desk.turns()
    assert (await desk.job(moved)).state is JobState.FAILED
    await shelf.discard()
    told = [(await desk.job(one)).payload.get("discarded") for one in (before, moved, staged)]
    assert told == [None, True, None]


@dataclass
class Failing(Desk):
    """Documents of which some cannot be read, by the shelf's clock, which begins drafts."""

    unreadable: set[str] = field(default_factory=lambda: {"bad"})

    async def process(self, scope: Scope, job: Job, item: JobItem, control: Control) -> Outcome:
        if item.document_id in self.unreadable:
            return Outcome(ItemState.FAILED, "corrupt", "it cannot be read")
        return await super().process(scope, job, item, control)

    async def retried(self, job_id: UUID) -> Job:
        await self.act(job_id, Command.RETRY)
        await self.turns()
        return await self.job(job_id)

    async def discarded(self) -> None:
        await self.versions.discard(self.shelf.scope, self.shelf.base.name)


@pytest.fixture
def failing(shelf: Shelf) -> Failing:
    desk = Failing(shelf)
    desk.clock.at = shelf.now() + timedelta(minutes=1)
    return desk


async def test_no_part_is_published_of_what_a_job_found_in_a_draft_that_was_discarded(failing: Failing) -> None:
    await failing.shelf.release(z=OLD)
    await failing.order("a", publish=False)
    await failing.turns()
    job_id = await failing.order("a", "bad", publish=True)
    await failing.turns()
    partial = await failing.job(job_id)
    assert (partial.state, partial.counters.succeeded, partial.counters.unchanged) == (JobState.PARTIAL, 0, 1)
    await failing.discarded()
    failing.unreadable.clear()
    job = await failing.retried(job_id)
    assert (job.state, job.error and job.error.code) == (JobState.FAILED, "conflict")
    assert await failing.live() == {"z": OLD}


async def test_a_job_that_found_all_in_a_draft_that_was_discarded_has_not_succeeded(failing: Failing) -> None:
    await failing.shelf.release(z=OLD)
    await failing.shelf.release(y=OLD)
    await failing.order("a", publish=False)
    await failing.turns()
    await failing.shelf.rollback(1)
    job_id = await failing.order("a", publish=True)
    await failing.turns()
    moved = await failing.job(job_id)
    assert (moved.state, moved.counters.unchanged) == (JobState.FAILED, 1)
    await failing.discarded()
    job = await failing.retried(job_id)
    assert (job.state, job.error and job.error.code) == (JobState.FAILED, "conflict")
    assert await failing.live() == {"z": OLD}


async def test_a_draft_that_had_nothing_of_a_job_is_discarded_without_a_word_to_it(failing: Failing) -> None:
    """It was tried again while that was the draft, and failed again; what it had done before is live."""
    job_id = await failing.order("a", "bad", publish=True)
    await failing.turns()
    await failing.versions.publish(failing.shelf.scope, failing.shelf.base.name, note=None)
    failing.shelf.ticks += 100
    failing.clock.pass_(120)
    await failing.order("other", publish=False)
    await failing.turns()
    failing.clock.pass_(60)
    assert (await failing.retried(job_id)).state is JobState.PARTIAL
    await failing.discarded()
    failing.unreadable.clear()
    job = await failing.retried(job_id)
    assert (job.state, job.payload.get("version")) == (JobState.SUCCEEDED, 2)
    assert await failing.live() == {"a": NEW, "bad": NEW}


class Undoing(Desk):
    """Takes out again what was staged as ``b``."""

    async def finished(self, scope: Scope, job: Job) -> None:
        await self.shelf.remove("b")
        await super().finished(scope, job)


async def test_a_draft_that_changes_nothing_is_dropped_and_nobody_told(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where that is interrupted, and gone on with by garbage collection."""

    async def down(*_: object) -> bool:
        raise StoreUnavailable("in the middle")

    desk = Undoing(shelf)
    await shelf.release(a=NEW)
    job_id = await desk.order("b", publish=True)
    with monkeypatch.context() as patch:
        patch.setattr(discard, "_step", down)
        await desk.turns()
    await shelf.collect()
    desk.clock.pass_(2)
    await desk.turns()
    job = await desk.job(job_id)
    assert (job.state, job.counters.succeeded) == (JobState.SUCCEEDED, 1)
    assert not {"discarded", "version"} & job.payload.keys()
    assert await desk.versions_made() == 1


async def test_a_paused_job_is_named_to_who_would_publish_the_half_of_it(shelf: Shelf) -> None:
    desk = Desk(shelf)
    large = await desk.order("one", "two", publish=False)

    async def pause() -> None:
        await desk.act(large, Command.PAUSE)

    desk.meanwhile["two"] = pause
    await desk.turns()
    assert (await desk.job(large)).state is JobState.PAUSED
    small = await desk.order("small", publish=True)
    await desk.turns()
    job = await desk.job(small)
    assert (job.state, job.error and job.error.code) == (JobState.FAILED, "conflict")
    assert job.error is not None
    assert str(large) in job.error.detail
    await desk.act(large, Command.CANCEL)
    await desk.act(small, Command.RETRY)
    await desk.turns()
    assert (await desk.job(small)).state is JobState.SUCCEEDED
    assert await desk.live() == {"one": NEW, "small": NEW}


async def test_a_draft_that_changes_nothing_is_not_dropped_under_another_job(shelf: Shelf) -> None:
    desk = Desk(shelf)
    await shelf.release(same=NEW)

    async def nightly() -> None:
        await desk.order("same", publish=True)
        await desk.turns()

    desk.meanwhile["new"] = nightly
    await desk.order("new", publish=False)
    await desk.turns()
    desk.clock.pass_(2)
    await desk.turns()
    assert await desk.live() == {"same": NEW, "new": NEW}


async def test_jobs_that_come_one_after_the_other_keep_none_from_publishing(shelf: Shelf) -> None:
    desk = Desk(shelf)
    waiting, go = asyncio.Event(), asyncio.Event()

    async def under_way() -> None:
        waiting.set()
        await go.wait()

    desk.meanwhile["long"] = under_way
    await desk.order("long", publish=False)
    long = asyncio.create_task(desk.turn())
    await waiting.wait()
    await desk.order("a", publish=True)
    await desk.turns()
    others = await shelf.another("other")
    late = await desk.order("late", publish=False)
    elsewhere = await replace(desk, shelf=others).order(publish=False)
    await desk.turns()
    assert (await desk.job(late)).state is JobState.QUEUED, "it begins when what is staged is published"
    assert (await desk.job(elsewhere)).state is JobState.SUCCEEDED
    go.set()
    await long
    desk.clock.pass_(2)
    await desk.turns()
    assert await desk.live() == {"a": NEW, "long": NEW}
    assert (await desk.job(late)).state is JobState.SUCCEEDED


async def test_what_has_not_begun_is_not_waited_for(shelf: Shelf) -> None:
    desk = Desk(shelf)
    held = await desk.order("later", publish=False)
    await desk.act(held, Command.PAUSE)
    await desk.order("a", publish=True)
    await desk.turns()
    assert await desk.live() == {"a": NEW}
