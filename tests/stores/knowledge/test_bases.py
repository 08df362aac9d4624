"""Knowledge bases themselves, and whom they are for."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from ingestion.chunk import Chunking, Strategy
from memoryd.clock import SystemClock
from memoryd.errors import AlreadyExists, Collision, Conflict, InvalidRequest, NotFound
from memoryd.generations.model import Actor, NewGeneration, State
from memoryd.ids import uuid7
from memoryd.knowledge.bases import KnowledgeBases
from memoryd.knowledge.model import BaseChange, ChunkingChange
from memoryd.stores.database import Database
from memoryd.stores.generation_registry import PgRegistry
from memoryd.stores.generations import Generation
from memoryd.stores.knowledge import bases as module
from retrieval.scope import Scope
from tests.stores.knowledge.shelf import START, Shelf, erased, new_shelf

LINES = [f"line {n} of the document" for n in range(5)]


async def test_made_listed_changed(shelf: Shelf) -> None:
    await shelf.another("b")
    await shelf.another("a-1")
    with pytest.raises(AlreadyExists):
        await shelf.another("b")
    page = await shelf.bases.page(shelf.scope, after=None, limit=2)
    assert [one.name for one in page] == ["a-1", "b"]
    assert [one.name for one in await shelf.bases.page(shelf.scope, after="b", limit=2)] == ["handbook"]
    cut = Chunking(Strategy.CODE, 500, 0)
    change = BaseChange("new", ChunkingChange(Strategy.CODE, 500, 0), 3)
    changed = await shelf.bases.update(shelf.scope, "handbook", change, shelf.now())
    said = replace(shelf.base, description="new", chunking=cut, retain=3, updated_at=START + timedelta(seconds=1))
    assert await shelf.bases.get(shelf.scope, "handbook") == changed == said
    with pytest.raises(NotFound):
        await shelf.bases.update(shelf.scope, "none", change, shelf.now())
    with pytest.raises(NotFound):
        await shelf.bases.get(shelf.scope, "none")
    assert await shelf.actions() == ["kb.create"] * 3 + ["kb.update"]


async def test_a_change_leaves_what_it_does_not_name(shelf: Shelf) -> None:
    steps: list[tuple[BaseChange, tuple[str | None, int | None]]] = [
        (BaseChange(description="new", retain=5), ("new", 5)),
        (BaseChange(), ("new", 5)),
        (BaseChange(description=None), (None, 5)),
        (BaseChange(retain=None), (None, None)),
    ]
    for change, after in steps:
        last = await shelf.bases.update(shelf.scope, "handbook", change, shelf.now())
        assert (last.description, last.retain, last.chunking) == (*after, shelf.base.chunking)


async def test_changes_of_different_fields_at_once_all_stand(shelf: Shelf) -> None:
    cuts = (ChunkingChange(strategy=Strategy.CODE), ChunkingChange(max_tokens=500), ChunkingChange(overlap_tokens=0))
    changes = (BaseChange(description="new"), BaseChange(retain=5), *(BaseChange(chunking=cut) for cut in cuts))
    use = KnowledgeBases(shelf.bases, None, SystemClock())
    async with shelf.database.transaction(shelf.scope) as connection:
        await connection.execute("SELECT FROM knowledge_bases WHERE kb_id = %s FOR UPDATE", (shelf.kb,))
        changing = [asyncio.create_task(use.update(shelf.scope, "handbook", change)) for change in changes]
        await asyncio.wait(changing, timeout=0.3)
    await asyncio.gather(*changing)
    last = await shelf.bases.get(shelf.scope, "handbook")
    assert (last.description, last.retain, last.chunking) == ("new", 5, Chunking(Strategy.CODE, 500, 0))


async def test_settings_of_chunking_that_do_not_go_together_are_refused(shelf: Shelf) -> None:
    for cut in (ChunkingChange(max_tokens=64, overlap_tokens=33), ChunkingChange(overlap_tokens=500)):
        with pytest.raises(InvalidRequest, match="at most half"):
            await shelf.bases.update(shelf.scope, "handbook", BaseChange("new", cut), shelf.now())
    assert await shelf.bases.get(shelf.scope, "handbook") == shelf.base


async def test_a_deleted_one_leaves_nothing(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DOCUMENTS", 1)
    monkeypatch.setattr(module, "_CHUNKS", 2)
    other = await shelf.another("other")
    for one in (shelf, other):
        await one.release(a=LINES, b=LINES[:1])
        await one.release(a=LINES[:2])
        await one.begin("c", LINES)
    await shelf.versions.tag(shelf.scope, shelf.kb, "good", 1, shelf.now())
    keys = await shelf.bases.delete(shelf.scope, shelf.kb)
    assert keys == sorted({str(shelf.new("x", LINES[:n]).object_key) for n in (1, 2, 5)})
    assert await shelf.bases.delete(shelf.scope, shelf.kb) == []
    with pytest.raises(NotFound):
        await shelf.pin()
    assert await other.read("1") == {"a": LINES, "b": LINES[:1]}
    rows = await shelf.rows()
    assert {name: len(found) for name, found in rows.items()} == {
        "knowledge_bases": 1,
        "kb_versions": 3,
        "kb_tags": 0,
        "kb_documents": 4,
        "kb_sections": 5,
        "kb_chunks": 8,
        "kb_vectors": 8,
        "kb_postings": len(LINES) * 5 + 5 + 10,
    }
    await shelf.bases.create(shelf.scope, replace(shelf.base, kb_id=uuid7()))


async def test_the_generations_of_a_deleted_one_are_retired(shelf: Shelf, database: Database) -> None:
    registry, other = PgRegistry(database), await shelf.another("other")
    actor = Actor(shelf.scope.tenant_id, "key:test", "test", shelf.now())
    new = [NewGeneration("model", "1", 8, "", "", actor.tenant_id, one.kb) for one in (shelf, other)]
    made = [await registry.add(actor, one, idempotency=None) for one in new]
    await shelf.bases.delete(shelf.scope, shelf.kb)
    states = [(await registry.get(actor, one.generation.number)).generation.state for one in made]
    assert states == [State.RETIRED, State.BUILDING]
    await registry.retire(actor, made[1].generation.number)


async def test_an_interrupted_deletion_is_read_by_nobody_and_goes_on(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    await shelf.release(a=LINES, b=LINES[:1])
    await shelf.versions.tag(shelf.scope, shelf.kb, "good", 1, shelf.now())

    async def interrupted(*_: object) -> None:
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(module, "erase", interrupted)
        with pytest.raises(TimeoutError):
            await shelf.bases.delete(shelf.scope, shelf.kb)
    for selector in ("live", "1", "good"):
        with pytest.raises(NotFound):
            await shelf.pin(selector)
    assert await shelf.bases.page(shelf.scope, after=None, limit=5) == []
    with pytest.raises(AlreadyExists, match="being deleted"):
        await shelf.another("handbook")
    assert await shelf.bases.to_delete(shelf.scope, "handbook") == shelf.kb
    assert len(await shelf.bases.delete(shelf.scope, shelf.kb)) == 2
    assert set(Counter({name: len(found) for name, found in (await shelf.rows()).items()}).values()) == {0}


async def test_one_that_is_being_deleted_takes_nothing(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job goes on writing between the transactions of a deletion."""
    await shelf.release(a=LINES, b=LINES, c=LINES)
    staging = await shelf.begin("d", LINES)
    assert staging is not None
    monkeypatch.setattr(module, "_DOCUMENTS", 1)
    erase_some, rounds = module.PgBases._erase_some, Counter[str]()

    async def beside(self: module.PgBases, scope: Scope, kb_id: UUID) -> bool:
        rounds["erase"] += 1
        assert rounds["erase"] < 20, "it does not run after who writes"
        for work in (shelf.begin("x", LINES), shelf.remove("b"), shelf.publish(), shelf.rollback(1), shelf.pin(), shelf.pin("1")):
            try:
                rounds["done"] += bool(await work)
            except (NotFound, Collision):
                rounds["refused"] += 1
        for late in (shelf.part(staging, LINES), shelf.finish(staging)):
            with pytest.raises(Collision):
                await late
        return await erase_some(self, scope, kb_id)

    monkeypatch.setattr(module.PgBases, "_erase_some", beside)
    await shelf.bases.delete(shelf.scope, shelf.kb)
    assert (rounds["done"], rounds["refused"]) == (0, rounds["erase"] * 5), "a removal of what is not there is no error"
    assert {name: len(found) for name, found in (await shelf.rows()).items() if found} == {}


async def test_tenants_do_not_meet(database: Database, generation: Generation, shelf: Shelf) -> None:
    other = await new_shelf(database, generation)
    await shelf.release(a=LINES)
    await other.release(a=LINES[:2])
    assert await shelf.read() == {"a": LINES}
    assert await other.read() == {"a": LINES[:2]}
    known = await other.drafts.known(other.scope, [generation.number], [shelf.batch(4, LINES)[1][0].hash])
    assert known == {generation.number: {}}, "vectors are a tenant's own"
    before = await shelf.rows()
    staging = await shelf.begin("b", LINES)
    assert staging is not None
    staged = await shelf.rows()
    assert staged != before
    pin, chunk = await shelf.pin(), (await shelf.reader.chunks(shelf.scope, await shelf.pin(), "a", after=-1, limit=1))[0]
    refused: list[tuple[Awaitable[object], type[Exception]]] = [
        *((work, NotFound) for work in _of_another(shelf, other)),
        (other.part(staging, LINES), Conflict),
        (other.finish(staging), Conflict),
        (other.reader.document(other.scope, pin, "a"), NotFound),
        (other.reader.section(other.scope, pin, chunk.chunk_id), NotFound),
    ]
    for work, kind in refused:
        with pytest.raises(kind):
            await work
    assert await other.reader.documents(other.scope, pin, after=None, limit=5) == []
    assert await other.bases.delete(other.scope, shelf.kb) == []
    assert await other.versions.page(other.scope, shelf.kb, before=None, limit=5) == []
    assert await other.drafts.hashes(other.scope, shelf.kb, ["a"]) == {}
    assert not await other.drafts.remove(other.scope, shelf.kb, "a", other.now())
    assert await shelf.rows() == staged


async def test_a_confined_key_sees_what_is_in_its_spaces(shelf: Shelf) -> None:
    secret = await shelf.another("secret", "board")
    await secret.release(a=LINES)
    staging = await secret.begin("b", LINES)
    assert staging is not None
    before = await shelf.rows()
    confined = replace(shelf, scope=replace(shelf.scope, spaces=frozenset({"default"})))
    spy = replace(secret, scope=confined.scope)
    assert [one.name for one in await confined.bases.page(confined.scope, after=None, limit=5)] == ["handbook"]
    for work in (
        spy.bases.get(spy.scope, "secret"),
        spy.pin(),
        spy.pin("1"),
        spy.bases.update(spy.scope, "secret", BaseChange(retain=1), spy.now()),
        spy.bases.create(spy.scope, replace(secret.base, kb_id=uuid7(), name="mine")),
        *_of_another(secret, confined),
    ):
        with pytest.raises(NotFound):
            await work
    for work in (spy.part(staging, LINES), spy.finish(staging)):
        with pytest.raises(Conflict):
            await work
    assert await spy.bases.delete(spy.scope, secret.kb) == []
    assert await spy.versions.page(spy.scope, secret.kb, before=None, limit=5) == []
    assert await spy.drafts.hashes(spy.scope, secret.kb, ["a"]) == {}
    assert not await spy.remove("a")
    assert await shelf.rows() == before
    await confined.release(a=LINES)
    assert await confined.read() == {"a": LINES}


def _of_another(owner: Shelf, stranger: Shelf) -> list[Awaitable[object]]:
    """What a stranger may try with an id that is not for him."""
    scope, kb, now = stranger.scope, owner.kb, owner.now()
    return [
        stranger.drafts.begin(scope, kb, owner.new("x", LINES), now),
        stranger.drafts.discard(scope, kb),
        stranger.versions.publish(scope, kb, note=None, now=now),
        stranger.versions.rollback(scope, kb, 1, now),
        stranger.versions.tag(scope, kb, "mine", 1, now),
        stranger.versions.tag(scope, kb, "mine", None, now),
        stranger.versions.diff(scope, kb, 0, 1, cursor=None, limit=5),
        stranger.versions.collect(scope, kb, now=now, grace_s=0, erase=erased),
    ]
