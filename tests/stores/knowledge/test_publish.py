"""Publishing: all or nothing, one at a time, and never what is damaged."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

import numpy as np
import psycopg
import pytest

from memoryd.errors import Conflict, StoreUnavailable
from memoryd.stores.knowledge import publish as publishing
from memoryd.stores.knowledge import writing
from memoryd.stores.knowledge.batches import Batch, statements
from memoryd.stores.knowledge.verify import verify
from tests.stores.knowledge.shelf import Shelf

LINES = [f"line {n} of the document" for n in range(5)]
DAMAGES = {
    "documents without all their chunks": "DELETE FROM kb_chunks WHERE tenant_id = %(tenant)s AND ordinal = 1",
    "documents whose tokens do not add up": "UPDATE kb_documents SET tokens = 1 WHERE tenant_id = %(tenant)s",
    "chunks that are not what was hashed": "UPDATE kb_chunks SET text = 'x' WHERE tenant_id = %(tenant)s AND ordinal = 2",
    "chunks in other versions": "UPDATE kb_chunks SET to_seq = 9 WHERE tenant_id = %(tenant)s AND ordinal = 0",
    "chunks without a section": "DELETE FROM kb_sections WHERE tenant_id = %(tenant)s AND ordinal = 1",
    "chunks without a vector": "DELETE FROM kb_vectors WHERE tenant_id = %(tenant)s",
    "vectors of another dimension": "UPDATE kb_vectors SET embedding = '[1,0]' WHERE tenant_id = %(tenant)s",
    "vectors in other versions": "UPDATE kb_vectors SET from_seq = 7 WHERE tenant_id = %(tenant)s",
    "postings missing": "DELETE FROM kb_postings WHERE tenant_id = %(tenant)s AND tf = 1",
    "terms whose postings have other lengths": "UPDATE kb_postings SET length = 99 WHERE tenant_id = %(tenant)s",
    "postings in other versions": "UPDATE kb_postings SET to_seq = 9 WHERE tenant_id = %(tenant)s",
}


@pytest.mark.parametrize("named", DAMAGES)
async def test_a_damaged_draft_is_refused_by_name_and_readers_stay(shelf: Shelf, named: str) -> None:
    await shelf.stage("a", LINES)
    async with shelf.database.transaction(shelf.scope) as connection:
        await connection.execute(DAMAGES[named], {"tenant": shelf.scope.tenant_id})
    with pytest.raises(StoreUnavailable, match=named):
        await shelf.publish()
    assert (await shelf.bases.get(shelf.scope, "handbook")).live_seq is None
    await shelf.discard()
    assert await shelf.release(a=LINES) == 1
    assert await shelf.read() == {"a": LINES}


async def test_what_the_draft_closed_is_verified_too(shelf: Shelf) -> None:
    await shelf.release(a=LINES)
    await shelf.remove("a")
    async with shelf.database.transaction(shelf.scope) as connection:
        sql = "UPDATE kb_postings SET to_seq = NULL WHERE tenant_id = %(tenant)s"
        await connection.execute(sql, {"tenant": shelf.scope.tenant_id})
    with pytest.raises(StoreUnavailable, match="postings in other versions"):
        await shelf.publish()
    assert await shelf.read() == {"a": LINES}


@pytest.mark.parametrize("step", ["leave_out", "verify", "count", "move", "leave"])
async def test_a_crash_at_any_step_changes_nothing_and_a_second_attempt_completes(
    shelf: Shelf, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shelf.release(a=LINES)
    await shelf.stage("b", LINES[:2])
    await shelf.begin("half", LINES)
    before = await shelf.rows()
    with monkeypatch.context() as patch:
        patch.setattr(publishing, step, crash_after(getattr(publishing, step)))
        with pytest.raises(Crash):
            await shelf.publish()
    assert await shelf.rows() == before
    assert await shelf.read() == {"a": LINES}
    assert (await shelf.publish()).seq == 2
    assert await shelf.read() == {"a": LINES, "b": LINES[:2]}


class Crash(Exception):
    """As if the process were gone."""


def crash_after(work: Callable[..., object]) -> Callable[..., object]:
    async def crashing(*given: object, **named: object) -> object:
        await work(*given, **named)  # type: ignore[misc]
        raise Crash

    return crashing


async def test_one_publishes_at_a_time(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    await shelf.stage("a", LINES)
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(*given: object) -> None:
        await verify(*given)  # type: ignore[arg-type]
        begun.set()
        await go.wait()

    monkeypatch.setattr(publishing, "verify", slow)
    first = asyncio.create_task(shelf.publish())
    await begun.wait()
    with pytest.raises(Conflict, match="already"):
        await shelf.publish()
    writing = asyncio.create_task(shelf.stage("b", LINES))
    await asyncio.sleep(0.1)
    assert not writing.done(), "a change waits for the draft to end, and is in the next"
    go.set()
    assert (await first).seq == 1
    await writing
    assert await shelf.read() == {"a": LINES}
    assert (await shelf.publish()).seq == 2
    assert await shelf.read() == {"a": LINES, "b": LINES}


async def test_a_rollback_during_a_publish_wins(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    await shelf.release(a=LINES)
    await shelf.release(a=LINES[:1])
    await shelf.stage("b", LINES)

    async def slow(*given: object) -> None:
        await verify(*given)  # type: ignore[arg-type]
        await shelf.rollback(1)

    monkeypatch.setattr(publishing, "verify", slow)
    with pytest.raises(Conflict, match="made live"):
        await shelf.publish()
    assert await shelf.read() == {"a": LINES}


async def test_a_batch_for_a_draft_that_is_gone_is_refused(shelf: Shelf) -> None:
    staging = await shelf.begin("a", LINES)
    assert staging is not None
    staging = await shelf.part(staging, LINES)
    await shelf.publish()
    for work in (shelf.part(staging, LINES), shelf.finish(staging)):
        with pytest.raises(Conflict, match="gone"):
            await work
    assert await shelf.read() == {}, "half a document is left out"
    assert await shelf.count("kb_chunks") == await shelf.count("kb_postings") == await shelf.count("kb_documents") == 0
    again = await shelf.begin("a", LINES)
    assert again is not None
    assert again.stored == 0
    await shelf.discard()
    with pytest.raises(Conflict, match="gone"):
        await shelf.part(again, LINES)


async def test_writing_goes_on_where_it_ended(shelf: Shelf) -> None:
    staging = await shelf.begin("a", LINES)
    assert staging is not None
    one = await shelf.part(staging, LINES)
    resumed = await shelf.begin("a", LINES)
    assert resumed == one
    with pytest.raises(Conflict, match="another attempt"):
        await shelf.part(staging, LINES)
    with pytest.raises(ValueError, match="ended"):
        await shelf.drafts.add(shelf.scope, one, *shelf.batch(4, LINES))
    assert resumed is not None
    while resumed.stored < len(LINES):
        resumed = await shelf.part(resumed, LINES)
    with pytest.raises(Conflict):
        await shelf.finish(one)
    await shelf.finish(resumed)
    await shelf.publish()
    assert await shelf.read() == {"a": LINES}


async def test_other_content_begins_anew(shelf: Shelf) -> None:
    staging = await shelf.begin("a", LINES)
    assert staging is not None
    staging = await shelf.part(staging, LINES)
    other = await shelf.begin("a", LINES[::-1])
    assert other is not None
    assert other.stored == 0
    with pytest.raises(Conflict):
        await shelf.part(staging, LINES)
    assert await shelf.count("kb_chunks") == await shelf.count("kb_postings") == 0


async def test_a_batch_is_written_whole_or_not_at_all(shelf: Shelf) -> None:
    staging = await shelf.begin("a", LINES)
    assert staging is not None
    before = await shelf.rows()
    sections, chunks = shelf.batch(0, LINES)
    doubled = replace(chunks[1], terms=np.repeat(chunks[1].terms[:1], 2), tfs=np.ones(2, dtype=np.int16))
    with pytest.raises(psycopg.errors.UniqueViolation):
        await shelf.drafts.add(shelf.scope, staging, sections, [chunks[0], doubled])
    assert await shelf.rows() == before


async def test_known_vectors_are_those_stored(shelf: Shelf) -> None:
    await shelf.stage("a", LINES)
    _, chunks = shelf.batch(0, LINES)
    number = shelf.generation.number
    by_generation = await shelf.drafts.known(shelf.scope, [number, 999], [chunks[0].hash, bytes(32), chunks[0].hash])
    assert set(by_generation) == {number, 999}
    assert by_generation[999] == {}
    known = by_generation[number]
    assert list(known) == [chunks[0].hash]
    assert abs(known[chunks[0].hash] - chunks[0].vectors[number]).max() < 1e-3
    assert known[chunks[0].hash].dtype == chunks[0].vectors[number].dtype


async def test_large_batches_are_encoded_in_a_thread(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = set[str]()

    def seen(tenant_id: UUID, batches: Sequence[Batch]) -> object:
        ran.add(threading.current_thread().name)
        return statements(tenant_id, batches)

    monkeypatch.setattr(writing, "statements", seen)
    await shelf.stage("a", [" ".join(f"w{n}" for n in range(3000)), "short"])
    await shelf.publish()
    assert {name.split("_")[0] for name in ran} == {"unit"}
    assert len((await shelf.read())["a"]) == 2


async def test_many_writers_and_publishers_lose_nothing(shelf: Shelf) -> None:
    async def write(name: str) -> None:
        for _ in range(5):
            try:
                await shelf.stage(name, [f"{name} {n}" for n in range(4)])
            except Conflict:
                continue
            return

    async def publish() -> None:
        try:
            await shelf.publish()
        except Conflict:
            await asyncio.sleep(0)

    names = [f"d{n}" for n in range(4)]
    await asyncio.gather(*map(write, names), *(publish() for _ in range(3)))
    for name in names:
        await write(name)
    await shelf.publish()
    assert await shelf.read() == {name: [f"{name} {n}" for n in range(4)] for name in names}
    for seq in range(1, (await shelf.pin()).seq):
        await shelf.read(str(seq))
