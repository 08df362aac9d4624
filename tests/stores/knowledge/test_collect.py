"""Garbage collection: what is kept, for how long, and what goes."""

import asyncio
from datetime import timedelta

import pytest

from memoryd.errors import Conflict, NotFound, VersionGone
from memoryd.ids import uuid7
from memoryd.knowledge.model import Collected, VersionState
from memoryd.stores.knowledge import collect as collecting
from memoryd.stores.knowledge import discard as discarding
from memoryd.stores.knowledge.rows import erase
from tests.stores.knowledge.shelf import Shelf, erased

LINES = [f"line {n} of the document" for n in range(5)]
HOUR = 3600.0


async def test_without_a_retention_everything_is_kept(shelf: Shelf) -> None:
    for n in range(3):
        await shelf.release(a=LINES[n:])
    before = await shelf.rows()
    assert await shelf.collect() == Collected((), 0, 0, ())
    assert await shelf.rows() == before


async def test_a_round_with_nothing_to_collect_locks_nothing(shelf: Shelf) -> None:
    """Each knowledge base has one a minute: it is one look, and waits for nobody who is publishing."""
    await shelf.release(a=LINES)
    await shelf.retain(1)
    async with shelf.database.transaction(shelf.scope) as connection:
        await connection.execute("SELECT FROM knowledge_bases WHERE tenant_id = %s FOR UPDATE", (shelf.scope.tenant_id,))
        async with asyncio.timeout(5):
            assert await shelf.collect() == Collected((), 0, 0, ())
    with pytest.raises(NotFound):
        await shelf.versions.collect(shelf.scope, uuid7(), now=shelf.now(), grace_s=0, erase=erased)


async def test_the_newest_the_live_the_tagged_and_the_base_of_the_draft_stay(shelf: Shelf) -> None:
    for n in range(8):
        await shelf.release(a=[f"text {n}"])
    await shelf.versions.tag(shelf.scope, shelf.kb, "good", 2, shelf.now())
    await shelf.rollback(4)
    await shelf.stage("b", ["draft"])
    await shelf.rollback(3)
    await shelf.retain(2)
    done = await shelf.collect()
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
    done = await shelf.collect(HOUR)
    assert (done.versions, done.documents) == ((1,), 0)
    with pytest.raises(VersionGone):
        await shelf.pin("1")
    assert await shelf.at(pin) == {"a": LINES, "b": ["stays"]}
    shelf.ticks += int(HOUR)
    done = await shelf.collect(HOUR)
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
    done = await shelf.collect()
    assert (done.versions, done.documents) == ((1, 3), 0)
    assert await shelf.read("kept") == {"a": LINES, "b": ["b"]}
    await shelf.versions.tag(shelf.scope, shelf.kb, "kept", None, shelf.now())
    await shelf.collect()
    done = await shelf.collect()
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
    done = await shelf.collect()
    assert (done.documents, done.chunks) == (5, 25)
    assert sum(steps) == 25
    assert max(steps) == 3
    assert await shelf.count("kb_documents") == await shelf.count("kb_chunks") == 1


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
            await shelf.collect()
        assert await shelf.rows() == before


async def test_what_was_begun_for_a_draft_that_is_gone_is_garbage(shelf: Shelf) -> None:
    staging = await shelf.begin("a", LINES)
    assert staging is not None
    await shelf.part(staging, LINES)
    async with shelf.database.transaction(shelf.scope) as connection:
        await connection.execute("DELETE FROM kb_versions WHERE tenant_id = %(tenant)s", {"tenant": shelf.scope.tenant_id})
    done = await shelf.versions.collect(shelf.scope, shelf.kb, now=shelf.now() + timedelta(days=1), grace_s=0, erase=erased)
    assert (done.documents, done.chunks) == (1, 2)
    assert await shelf.count("kb_postings") == 0
