"""Originals: kept for who wants them, and erased once nothing names them, however that came about."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest

from memoryd.clock import SystemClock
from memoryd.errors import InvalidRequest, StoreUnavailable
from memoryd.ids import uuid7
from memoryd.jobs.model import Command, NewItem, NewJob
from memoryd.jobs.service import Jobs
from memoryd.knowledge.orders import Orders
from memoryd.knowledge.uploads import Uploads, Wish
from memoryd.knowledge.versioning import Versioning
from memoryd.stores.jobs.active import PgActiveJobs, active_jobs
from memoryd.stores.jobs.desk import PgDesk
from memoryd.stores.jobs.ledger import PgLedger
from memoryd.stores.knowledge import collect as collecting
from memoryd.stores.knowledge.orphans import PgOrphans
from memoryd.stores.objects import ObstoreObjects
from memoryd.stores.originals import ObjectOriginals
from memoryd.stores.trips import Connection
from retrieval.scope import Scope
from tests.jobs.conftest import Clock, Reminders
from tests.stores.knowledge.shelf import Shelf

LINES = [f"line {n} of the document" for n in range(5)]
HOUR = 3600
DATA = "\n".join(LINES).encode()
DIGEST = hashlib.sha256(DATA).hexdigest()


class Store:
    """A knowledge base with its originals in a folder, and the clock of its garbage collection."""

    def __init__(self, shelf: Shelf, folder: Path) -> None:
        database, self.shelf, self.clock = shelf.database, shelf, Clock()
        self.originals = ObjectOriginals(ObstoreObjects(str(folder), timeout_s=30), PgOrphans(database))
        self.uploads = Uploads(shelf.bases, self.originals, urls=False)
        self.jobs = Jobs(PgLedger(database), Reminders(), self.clock)
        self.orders = Orders(self.uploads, self.jobs)
        active = PgActiveJobs(database)
        self.versions = Versioning(shelf.bases, shelf.versions, shelf.drafts, active, self.originals, SystemClock(), grace_s=0)

    async def upload(self) -> str:
        return (await self.uploads.keep(self.shelf.scope, self.shelf.base, io.BytesIO(DATA))).key

    async def left_over(self) -> str:
        """An upload of which a document was staged, and dropped."""
        key = await self.upload()
        await self.shelf.stage("a", LINES, object_key=key)
        await self.shelf.discard()
        return key

    async def collect(self) -> Sequence[str]:
        return (await self.versions.collected(self.shelf.scope, self.shelf.base, self.clock.now())).object_keys

    async def order(self, text: str | None = None) -> UUID:
        wish = Wish("a", text, None if text else DIGEST, None, None, None, None, {})
        new = await self.orders.order(self.shelf.scope, "handbook", [wish], [], publish=False, note=None, once=None)
        return new.job_id

    async def held(self, key: str = "") -> bool:
        return await self.originals.held(self.shelf.scope, self.shelf.kb, key or DIGEST) is not None


@pytest.fixture
def store(shelf: Shelf, tmp_path: Path) -> Store:
    return Store(shelf, tmp_path)


async def test_what_nothing_names_is_erased_an_hour_later(store: Store) -> None:
    key = await store.left_over()
    assert await store.collect() == ()
    store.clock.pass_(HOUR - 1)
    assert await store.collect() == ()
    assert await store.held()
    store.clock.pass_(1)
    assert await store.collect() == (key,)
    assert not await store.held()
    assert await store.shelf.count("kb_orphans") == 0


async def test_what_is_uploaded_again_stays(store: Store) -> None:
    await store.left_over()
    await store.collect()
    store.clock.pass_(HOUR)
    await store.upload()
    assert await store.collect() == ()
    await store.order()


@pytest.mark.parametrize("text", [None, DATA.decode()])
async def test_what_a_job_is_about_to_be_ordered_of_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    await store.left_over()
    await store.collect()
    store.clock.pass_(HOUR)
    create = store.jobs.create

    async def late(*given: object) -> object:
        assert await store.collect() == ()
        return await create(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(store.jobs, "create", late)
    await store.order(text)
    assert await store.held()


async def test_who_wants_what_is_just_being_erased_finds_it_gone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.left_over()
    await store.collect()
    store.clock.pass_(HOUR)
    delete, waiting = store.originals.delete, list[asyncio.Task[None]]()

    async def slow(keys: Sequence[str]) -> None:
        async def refused() -> None:
            with pytest.raises(InvalidRequest, match="not uploaded"):
                await store.order()

        waiting.append(asyncio.create_task(refused()))
        await asyncio.sleep(0.2)
        await delete(keys)

    monkeypatch.setattr(store.originals, "delete", slow)
    assert len(await store.collect()) == 1
    for one in waiting:
        await one
    await store.upload()
    await store.order()


async def test_who_wants_another_than_what_is_just_being_erased_does_not_wait(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await store.left_over()
    await store.collect()
    store.clock.pass_(HOUR)
    new = "b" * 64
    await store.shelf.stage("b", LINES[1:], object_key=f"{store.shelf.scope.tenant_id}/kb/{store.shelf.kb}/{new}")
    await store.shelf.discard()
    delete = store.originals.delete

    async def slow(keys: Sequence[str]) -> None:
        async with asyncio.timeout(5):
            await store.originals.wanted(store.shelf.scope, store.shelf.kb, [new])
        await delete(keys)

    monkeypatch.setattr(store.originals, "delete", slow)
    assert await store.collect() == (key,)
    assert await store.shelf.count("kb_orphans") == 0


async def test_what_a_document_was_made_of_since_it_was_looked_at_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a job that was tried again and has ended: it is looked for behind the originals."""
    monkeypatch.setattr(collecting, "_OBJECTS", 1)
    folder = f"{store.shelf.scope.tenant_id}/kb/{store.shelf.kb}"
    keys = [f"{folder}/{'0' * 64}", await store.left_over(), f"{folder}/{'f' * 64}"]
    for n, key in enumerate((keys[0], keys[2])):
        await store.shelf.stage(f"d{n}", LINES[n + 1 :], object_key=key)
    await store.shelf.discard()
    await store.collect()
    store.clock.pass_(HOUR)
    asked = count()

    async def late(connection: Connection, scope: Scope, kb_id: UUID) -> int:
        if next(asked) == 2:
            await store.shelf.stage("a", LINES, object_key=keys[1])
        return await active_jobs(connection, scope, kb_id)

    monkeypatch.setattr(collecting, "active_jobs", late)
    assert await store.collect() == (keys[0], keys[2])
    assert await store.held()
    assert await store.shelf.count("kb_orphans") == 0


async def test_object_storage_may_take_longer_than_a_transaction_may_idle(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await store.left_over()
    await store.collect()
    store.clock.pass_(HOUR)
    transaction, delete = store.shelf.database.transaction, store.originals.delete

    @asynccontextmanager
    async def impatient(scope: Scope) -> AsyncIterator[Connection]:
        async with transaction(scope) as connection:
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 1000")
            yield connection

    async def slow(keys: Sequence[str]) -> None:
        await asyncio.sleep(1.5)
        await delete(keys)

    monkeypatch.setattr(store.shelf.database, "transaction", impatient)
    monkeypatch.setattr(store.originals, "delete", slow)
    assert await store.collect() == (key,)
    assert not await store.held()
    assert await store.shelf.count("kb_orphans") == 0


async def test_what_could_not_be_erased_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    key = await store.left_over()
    await store.collect()
    store.clock.pass_(HOUR)

    async def down(keys: Sequence[str]) -> None:
        raise StoreUnavailable("down")

    with monkeypatch.context() as patch:
        patch.setattr(store.originals, "delete", down)
        with pytest.raises(StoreUnavailable):
            await store.collect()
    assert await store.collect() == (key,)


async def test_many_are_erased_some_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "_OBJECTS", 2)
    for n in range(5):
        await store.shelf.begin(f"d{n}", LINES[n:])
    await store.shelf.discard()
    await store.collect()
    store.clock.pass_(HOUR)
    assert len(await store.collect()) == 5


async def test_texts_of_a_job_that_is_cancelled_are_erased(store: Store) -> None:
    job_id = await store.order(DATA.decode())
    assert await store.held()
    await store.jobs.act(store.shelf.scope, job_id, Command.CANCEL)
    assert await store.collect() == ()
    store.clock.pass_(HOUR)
    assert len(await store.collect()) == 1
    assert not await store.held()


async def test_what_a_document_is_made_from_outlives_a_cancelled_job_of_it(store: Store) -> None:
    key = await store.upload()
    await store.shelf.stage("a", LINES, object_key=key)
    await store.jobs.act(store.shelf.scope, await store.order(), Command.CANCEL)
    store.clock.pass_(HOUR)
    for _ in range(2):
        assert await store.collect() == ()
        store.clock.pass_(HOUR)


async def test_what_failed_stays_for_another_try_until_its_job_is_forgotten(store: Store) -> None:
    shelf, job_id = store.shelf, await store.order(DATA.decode())
    await _end(shelf, job_id, "failed")
    await shelf.begin("a", LINES, object_key=f"{shelf.scope.tenant_id}/kb/{shelf.kb}/{DIGEST}")
    await shelf.discard()
    for _ in range(2):
        assert await store.collect() == ()
        store.clock.pass_(HOUR)
    desk = PgDesk(shelf.database, attempts=3)
    assert await desk.forget(shelf.scope.tenant_id, store.clock.now() + timedelta(seconds=1)) == 1
    await store.collect()
    store.clock.pass_(HOUR)
    assert len(await store.collect()) == 1


async def test_what_never_became_a_document_is_erased_when_its_job_is_forgotten(store: Store) -> None:
    job_id = await store.order(DATA.decode())
    await _end(store.shelf, job_id, "failed")
    desk = PgDesk(store.shelf.database, attempts=3)
    assert await desk.forget(store.shelf.scope.tenant_id, store.clock.now() + timedelta(seconds=1)) == 1
    await store.collect()
    store.clock.pass_(HOUR)
    assert len(await store.collect()) == 1


async def test_a_job_of_a_knowledge_base_that_is_gone_is_cancelled_and_forgotten(store: Store) -> None:
    shelf = store.shelf
    new = NewJob("ingest", {}, [NewItem("a", {"key": "k"})], kb_id=uuid7(), space="default")
    job = await store.jobs.create(shelf.scope, new)
    await store.jobs.act(shelf.scope, job.job_id, Command.CANCEL)
    assert await shelf.count("kb_orphans") == 0


async def _end(shelf: Shelf, job_id: UUID, state: str) -> None:
    params = {"tenant": shelf.scope.tenant_id, "job": job_id, "state": state, "now": Clock().at}
    async with shelf.database.transaction(shelf.scope) as connection:
        for sql in (
            "UPDATE job_items SET state = %(state)s WHERE tenant_id = %(tenant)s AND job_id = %(job)s",
            "UPDATE jobs SET state = 'partial', failed = 1, finished_at = %(now)s WHERE tenant_id = %(tenant)s",
        ):
            await connection.execute(sql, params)
