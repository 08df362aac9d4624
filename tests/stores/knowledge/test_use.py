"""The use cases of versions on the real store, where jobs, publishing and clearing up meet."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from memoryd.clock import SystemClock
from memoryd.errors import AlreadyExists, Collision, Conflict, NotFound, StoreUnavailable
from memoryd.ids import uuid7
from memoryd.jobs.model import Command, NewItem, NewJob
from memoryd.knowledge.bases import KnowledgeBases
from memoryd.knowledge.model import Collected, KnowledgeBase
from memoryd.knowledge.rounds import Collection
from memoryd.knowledge.versioning import Versioning
from memoryd.stores.jobs.active import PgActiveJobs
from memoryd.stores.jobs.ledger import PgLedger
from memoryd.stores.knowledge import collect as collecting
from memoryd.stores.knowledge import discard as discarding
from memoryd.stores.knowledge import drafts
from memoryd.stores.knowledge import publish as publishing
from memoryd.stores.knowledge.rows import erase
from memoryd.stores.knowledge.verify import verify
from memoryd.stores.knowledge.writing import writing
from memoryd.stores.originals import ObjectOriginals
from retrieval.scope import Scope
from tests.stores.knowledge.shelf import Shelf

LINES = [f"line {n} of the document" for n in range(5)]
JOB = UUID(int=1)


def use(shelf: Shelf) -> Versioning:
    jobs = PgActiveJobs(shelf.database)
    return Versioning(shelf.bases, shelf.versions, shelf.drafts, jobs, None, SystemClock(), grace_s=0)


@dataclass
class Originals(ObjectOriginals):
    """Notes what it is to remove, and may be down."""

    down: bool = False
    broken: UUID | None = None
    cleared: list[UUID] = field(default_factory=list)

    async def clear(self, scope: Scope, kb_id: UUID) -> None:
        if self.down or kb_id == self.broken:
            raise StoreUnavailable("down")
        self.cleared.append(kb_id)


async def test_a_draft_that_somebody_is_just_changing_is_not_dropped_as_unchanged(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shelf.release(a=LINES)
    assert not await shelf.stage("a", LINES)
    staging = await shelf.begin("b", LINES[:2])
    assert staging is not None
    staging = await shelf.part(staging, LINES[:2])
    ending, go = asyncio.Event(), asyncio.Event()

    async def slow(*given: Any) -> Any:
        ending.set()
        await go.wait()
        return await writing(*given)

    monkeypatch.setattr(drafts, "writing", slow)
    finishing = asyncio.create_task(shelf.finish(staging))
    await ending.wait()
    publishes = asyncio.create_task(use(shelf).published_by_job(shelf.scope, "handbook", JOB, note=None))
    done, _ = await asyncio.wait([publishes], timeout=0.2)
    assert not done, "it waits for what is being written"
    go.set()
    await finishing
    await publishes
    assert await shelf.read() == {"a": LINES, "b": LINES[:2]}


async def test_a_draft_that_changes_nothing_is_dropped_also_after_a_rollback(shelf: Shelf) -> None:
    await shelf.release(a=LINES)
    await shelf.release(a=LINES[:1], b=LINES)
    await shelf.rollback(1)
    await shelf.stage("c", LINES)
    await shelf.remove("c")
    assert not await shelf.stage("a", LINES)
    assert not await shelf.drafts.discard(shelf.scope, (await shelf.another("other")).kb, unchanged_by=JOB)
    await use(shelf).published_by_job(shelf.scope, "handbook", JOB, note=None)
    assert [one.seq for one in await shelf.versions.page(shelf.scope, shelf.kb, before=None, limit=9)] == [2, 1]
    assert (await shelf.actions())[-1] == "kb.discard"
    await shelf.remove("a")
    assert not await shelf.drafts.discard(shelf.scope, shelf.kb, unchanged_by=JOB)
    await use(shelf).published_by_job(shelf.scope, "handbook", JOB, note=None)
    assert await shelf.read() == {}


async def test_of_two_jobs_that_publish_at_once_the_second_has_nothing_left_to_do(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shelf.stage("a", LINES)
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(*given: object) -> None:
        await verify(*given)  # type: ignore[arg-type]
        begun.set()
        await go.wait()

    monkeypatch.setattr(publishing, "verify", slow)
    first = asyncio.create_task(use(shelf).published_by_job(shelf.scope, "handbook", JOB, note="first"))
    await begun.wait()
    with pytest.raises(Collision) as told:
        await use(shelf).published_by_job(shelf.scope, "handbook", JOB, note="second")
    assert told.value.retryable, "its job tries again"
    go.set()
    await first
    await use(shelf).published_by_job(shelf.scope, "handbook", JOB, note="second")
    assert [one.note for one in await shelf.versions.page(shelf.scope, shelf.kb, before=None, limit=9)] == ["first"]


async def test_a_publish_that_another_job_was_faster_with_is_no_failure(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    await shelf.stage("a", LINES)
    publish = shelf.versions.publish

    async def late(*given: object, **named: object) -> object:
        monkeypatch.setattr(shelf.versions, "publish", publish)
        await publish(shelf.scope, shelf.kb, note="theirs", now=shelf.now())
        return await publish(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(shelf.versions, "publish", late)
    await use(shelf).published_by_job(shelf.scope, "handbook", JOB, note="mine")
    assert [one.note for one in await shelf.versions.page(shelf.scope, shelf.kb, before=None, limit=9)] == ["theirs"]
    # Where the draft is still there, the conflict is told.
    await shelf.stage("a", LINES[:1])
    await shelf.versions.publish(shelf.scope, shelf.kb, note=None, now=shelf.now())
    await shelf.stage("b", LINES)
    await shelf.rollback(1)
    with pytest.raises(Conflict, match="made live"):
        await use(shelf).published_by_job(shelf.scope, "handbook", JOB, note="mine")


async def test_what_meets_a_discard_is_to_be_tried_again(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    await shelf.release(a=LINES)
    await shelf.stage("a", LINES[:1])

    async def interrupted(*_: object) -> bool:
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(discarding, "_step", interrupted)
        with pytest.raises(TimeoutError):
            await shelf.discard()
    for work in (shelf.begin("b", LINES), shelf.publish()):
        with pytest.raises(Collision, match="being discarded") as told:
            await work
        assert told.value.retryable
    await shelf.discard()
    assert await shelf.stage("b", LINES)


async def test_originals_are_left_to_a_job_that_came_while_garbage_was_collected(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = str(shelf.new("a", LINES).object_key)
    await shelf.stage("a", LINES)
    await shelf.discard()
    ledger = PgLedger(shelf.database)

    async def ordered() -> None:
        job = NewJob("ingest", {}, [NewItem("a", {"key": old})], kb_id=shelf.kb, space="default")
        await ledger.add(shelf.scope, uuid7(), job, shelf.now(), None)

    async def meanwhile(*given: object) -> tuple[int, bool]:
        await ordered()
        return await erase(*given)  # type: ignore[arg-type]

    await shelf.release(a=LINES[:1])
    await shelf.release(a=LINES[:2])
    await shelf.retain(1)
    monkeypatch.setattr(collecting, "erase", meanwhile)
    done = await shelf.collect()
    assert (done.documents, done.object_keys) == (1, ())
    async with shelf.database.transaction(shelf.scope) as connection:
        await connection.execute("UPDATE jobs SET state = 'succeeded' WHERE tenant_id = %s", (shelf.scope.tenant_id,))
    assert (await shelf.collect()).object_keys == ()
    shelf.ticks += 3600
    assert old in (await shelf.collect()).object_keys, "later"


async def test_a_paused_job_keeps_originals_and_nothing_else(shelf: Shelf) -> None:
    ledger, job_id = PgLedger(shelf.database), uuid7()
    await shelf.release(a=LINES)
    await shelf.release(a=LINES[:1])
    job = NewJob("ingest", {}, [NewItem("b", {"key": None})], kb_id=shelf.kb, space="default")
    await ledger.add(shelf.scope, job_id, job, shelf.now(), None)
    await ledger.act(shelf.scope, job_id, Command.PAUSE, shelf.now(), None)
    await shelf.retain(1)
    done = await use(shelf).collect(shelf.scope, "handbook")
    assert (done.versions, done.documents, done.object_keys) == ((1,), 1, ())


async def test_a_deletion_is_not_over_before_the_originals_are_gone(shelf: Shelf) -> None:
    await shelf.release(a=LINES)
    originals = Originals()
    bases = KnowledgeBases(shelf.bases, originals, SystemClock())
    originals.down = True
    with pytest.raises(StoreUnavailable):
        await bases.delete(shelf.scope, "handbook")
    with pytest.raises(AlreadyExists):
        await shelf.another("handbook")
    originals.down = False
    await bases.delete(shelf.scope, "handbook")
    assert set(originals.cleared) == {shelf.kb}
    with pytest.raises(NotFound):
        await shelf.bases.get(shelf.scope, "handbook")


class Failing(Versioning):
    """Its knowledge base `bad` cannot be looked at."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__(shelf.bases, shelf.versions, shelf.drafts, PgActiveJobs(shelf.database), None, SystemClock(), grace_s=0)
        self.looked: list[str] = []

    async def collected(self, scope: Scope, base: KnowledgeBase, now: datetime) -> Collected:
        self.looked.append(base.name)
        if base.name == "bad":
            raise ZeroDivisionError
        return await super().collected(scope, base, now)


async def a_round(shelf: Shelf, versions: Versioning, originals: Originals | None = None, quiet_s: float = 0) -> int:
    deletions = KnowledgeBases(shelf.bases, originals, SystemClock())
    tenants = OneTenant(shelf.scope.tenant_id)
    return await Collection(tenants, shelf.bases, versions, deletions, SystemClock(), quiet_s=quiet_s).run()


class OneTenant:
    def __init__(self, tenant_id: UUID) -> None:
        self._tenant_id = tenant_id

    async def tenants(self, after: UUID | None, limit: int) -> Sequence[UUID]:
        return [] if after is not None else [self._tenant_id]


async def test_a_knowledge_base_that_fails_does_not_keep_the_others_from_being_collected(shelf: Shelf) -> None:
    await shelf.another("bad")
    await shelf.release(a=LINES)
    await shelf.release(a=LINES[:1])
    await shelf.retain(1)
    versions = Failing(shelf)
    assert (await a_round(shelf, versions), versions.looked) == (1, ["bad", "handbook"])


async def test_a_round_finishes_deletions_that_were_interrupted(shelf: Shelf) -> None:
    """One that is still being gone on with, and one that fails, do not keep it from others."""
    await shelf.release(a=LINES)
    broken = await shelf.another("broken")
    originals = Originals()
    originals.down = True
    for one in (shelf, broken):
        with pytest.raises(StoreUnavailable):
            await KnowledgeBases(one.bases, originals, SystemClock()).delete(one.scope, one.base.name)
    originals.down, originals.broken = False, broken.kb
    await a_round(shelf, use(shelf), originals, quiet_s=60)
    assert await shelf.count("knowledge_bases") == 2
    await a_round(shelf, use(shelf), originals)
    assert await shelf.bases.interrupted(shelf.scope, quiet_s=0) == [broken.kb]
    assert set(originals.cleared) == {shelf.kb}
    assert await shelf.count("kb_documents") == 0
    assert (await shelf.actions()).count("kb.delete") == 2, "said once, of who asked for it"
    await shelf.another("handbook")
