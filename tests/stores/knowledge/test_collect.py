"""Garbage collection: what is kept, for how long, and what goes."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from memoryd.errors import Conflict, NotFound, VersionGone
from memoryd.ids import uuid7
from memoryd.jobs.model import NewItem, NewJob
from memoryd.knowledge.model import Collected, VersionState
from memoryd.stores.jobs.ledger import PgLedger
from memoryd.stores.knowledge import collect as collecting
from memoryd.stores.knowledge import discard as discarding
from memoryd.stores.knowledge.rows import erase
from tests.stores.knowledge.shelf import Shelf

LINES = [f"line {n} of the document" for n in range(5)]
HOUR = 3600.0


async def _collect(shelf: Shelf, grace_s: float = 0) -> Collected:
    return await shelf.versions.collect(shelf.scope, shelf.kb, now=shelf.now(), grace_s=grace_s)


async def test_without_a_retention_everything_is_kept(shelf: Shelf) -> None:
    for n in range(3):
        await shelf.release(a=LINES[n:])
    before = await shelf.rows()
    assert await _collect(shelf) == Collected((), 0, 0, ())
    assert await shelf.rows() == before


async def test_a_round_with_nothing_to_collect_locks_nothing(shelf: Shelf) -> None:
    """Each knowledge base has one a minute: it is one look, and waits for nobody who is publishing."""
    await shelf.release(a=LINES)
    await shelf.retain(1)
    async with shelf.database.transaction(shelf.scope) as connection:
        await connection.execute("SELECT FROM knowledge_bases WHERE tenant_id = %s FOR UPDATE", (shelf.scope.tenant_id,))
        async with asyncio.timeout(5):
            assert await _collect(shelf) == Collected((), 0, 0, ())
    with pytest.raises(NotFound):
        await shelf.versions.collect(shelf.scope, uuid7(), now=shelf.now(), grace_s=0)


async def test_the_newest_the_live_the_tagged_and_the_base_of_the_draft_stay(shelf: Shelf) -> None:
    for n in range(8):
        await shelf.release(a=[f"text {n}"])
    await shelf.versions.tag(shelf.scope, shelf.kb, "good", 2, shelf.now())
    await shelf.rollback(4)
    await shelf.stage("b", ["draft"])
    await shelf.rollback(3)
    await shelf.retain(2)
    done = await _collect(shelf)
    assert done.versions == (1, 5, 6)
    page = await shelf.versions.page(shelf.scope, shelf.kb, before=None, limit=10)
    assert [one.seq for one in page if one.state is VersionState.COLLECTED] == [6, 5, 1]
    assert [one.seq for one in page if one.state is VersionState.PUBLISHED] == [8, 7, 4, 3, 2]
    for seq in (8, 7, 4, 3, 2):
        assert await shelf.read(str(seq)) == {"a": [f"text {seq - 1}"]}
    await shelf.rollback(4)
    assert (await shelf.publish()).seq == 9
    assert await shelf.read() == {"a": ["text 3"], "b": ["draft"]}


async def test_who_pinned_a_version_reads_it_for_the_grace(shelf: Shelf) -> None:
    await shelf.release(a=LINES, b=["stays"])
    pin = await shelf.pin()
    await shelf.release(a=LINES[:1])
    await shelf.retain(1)
    done = await _collect(shelf, HOUR)
    assert (done.versions, done.documents) == ((1,), 0)
    with pytest.raises(VersionGone):
        await shelf.pin("1")
    assert await shelf.at(pin) == {"a": LINES, "b": ["stays"]}
    shelf.ticks += int(HOUR)
    done = await _collect(shelf, HOUR)
    assert (done.versions, done.documents, done.chunks) == ((), 1, 5)
    assert await shelf.count("kb_chunks") == await shelf.count("kb_vectors") == 2
    assert await shelf.count("kb_postings") == 6
    assert await shelf.read() == {"a": LINES[:1], "b": ["stays"]}
    assert [one for one in await shelf.actions() if one == "kb.collect"] == ["kb.collect"] * 2


async def test_rows_stay_while_one_version_between_needs_them(shelf: Shelf) -> None:
    await shelf.release(a=LINES)
    await shelf.release(b=["b"])
    await shelf.release(a=["other"])
    await shelf.release(b=["other"])
    await shelf.versions.tag(shelf.scope, shelf.kb, "kept", 2, shelf.now())
    await shelf.retain(1)
    done = await _collect(shelf)
    assert (done.versions, done.documents) == ((1, 3), 0)
    assert await shelf.read("kept") == {"a": LINES, "b": ["b"]}
    await shelf.versions.tag(shelf.scope, shelf.kb, "kept", None, shelf.now())
    await _collect(shelf)
    done = await _collect(shelf)
    assert await shelf.count("kb_documents") == 2
    assert await shelf.read() == {"a": ["other"], "b": ["other"]}


async def test_much_garbage_goes_in_small_transactions(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "_DOCUMENTS", 2)
    monkeypatch.setattr(collecting, "_CHUNKS", 3)
    await shelf.release(**{f"d{n}": LINES for n in range(5)})
    for n in range(5):
        await shelf.remove(f"d{n}")
    await shelf.release(z=["z"])
    await shelf.retain(1)
    steps = list[int]()

    async def counted(*given: object) -> tuple[int, bool]:
        done = await erase(*given)  # type: ignore[arg-type]
        steps.append(done[0])
        return done

    monkeypatch.setattr(collecting, "erase", counted)
    done = await _collect(shelf)
    assert (done.documents, done.chunks) == (5, 25)
    assert sum(steps) == 25
    assert max(steps) == 3
    assert await shelf.count("kb_documents") == await shelf.count("kb_chunks") == 1


async def test_originals_that_no_document_names_are_named_in_two_rounds(shelf: Shelf) -> None:
    old, new, half = (str(shelf.new("a", lines).object_key) for lines in (LINES, LINES[:1], LINES[:2]))
    await shelf.release(a=LINES, twin=LINES)
    await shelf.remove("twin")
    await shelf.release(a=LINES[:1])
    await shelf.begin("a", LINES[:2])
    await shelf.discard()
    assert (await _collect(shelf)).object_keys == (half,), "what was staged and dropped"
    await shelf.retain(1)
    done = await _collect(shelf)
    assert done.object_keys == tuple(sorted([half, old]))
    assert (await _collect(shelf)).object_keys == (old,)
    assert (await _collect(shelf)).object_keys == ()
    await shelf.stage("a", LINES)
    await shelf.discard()
    await shelf.release(back=LINES)
    assert old not in (await _collect(shelf)).object_keys, "named again"
    assert await shelf.reader.object_key(shelf.scope, await shelf.pin(), "a") == new


async def test_originals_of_what_failed_stay_for_another_try(shelf: Shelf) -> None:
    key, job = str(shelf.new("a", LINES).object_key), uuid7()
    wish = NewJob("ingest", {}, [NewItem("a", {"key": key}), NewItem("b", {"key": "other"})], kb_id=shelf.kb)
    await PgLedger(shelf.database).add(shelf.scope, job, wish, shelf.now(), None)
    await _end(shelf, job, "failed")
    await shelf.begin("a", LINES)
    await shelf.begin("b", LINES[:1])
    await shelf.discard()
    assert (await _collect(shelf)).object_keys == (str(shelf.new("b", LINES[:1]).object_key),)
    await _collect(shelf)
    assert (await _collect(shelf)).object_keys == ()
    await _end(shelf, job, "succeeded")
    assert (await _collect(shelf)).object_keys == (key,)


async def _end(shelf: Shelf, job: UUID, state: str) -> None:
    params = {"tenant": shelf.scope.tenant_id, "job": job, "state": state}
    async with shelf.database.transaction(shelf.scope) as connection:
        for sql in (
            "UPDATE job_items SET state = %(state)s WHERE tenant_id = %(tenant)s AND job_id = %(job)s",
            "UPDATE jobs SET state = 'partial', failed = 1 WHERE tenant_id = %(tenant)s AND job_id = %(job)s",
        ):
            await connection.execute(sql, params)


async def test_an_interrupted_discard_takes_nothing_more_and_is_finished(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discarding, "_DOCUMENTS", 1)
    await shelf.release(a=LINES, b=LINES[:2])
    before, step = await shelf.rows(), discarding._step

    async def interrupted(*given: object) -> bool:
        await step(*given)  # type: ignore[arg-type]
        raise TimeoutError

    for finish in ("discard", "collect"):
        await shelf.stage("a", LINES[:1])
        await shelf.remove("b")
        with monkeypatch.context() as patch:
            patch.setattr(discarding, "_step", interrupted)
            with pytest.raises(TimeoutError):
                await shelf.discard()
        for work in (shelf.stage("c", LINES), shelf.publish(), shelf.remove("b")):
            with pytest.raises(Conflict):
                await work
        assert await shelf.read() == {"a": LINES, "b": LINES[:2]}
        if finish == "discard":
            assert await shelf.discard()
        else:
            await _collect(shelf)
        assert await shelf.rows() == before


async def test_what_was_begun_for_a_draft_that_is_gone_is_garbage(shelf: Shelf) -> None:
    staging = await shelf.begin("a", LINES)
    assert staging is not None
    await shelf.part(staging, LINES)
    async with shelf.database.transaction(shelf.scope) as connection:
        await connection.execute("DELETE FROM kb_versions WHERE tenant_id = %(tenant)s", {"tenant": shelf.scope.tenant_id})
    done = await shelf.versions.collect(shelf.scope, shelf.kb, now=shelf.now() + timedelta(days=1), grace_s=0)
    assert (done.documents, done.chunks) == (1, 2)
    assert await shelf.count("kb_postings") == 0
