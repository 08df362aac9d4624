"""Documents that are written side by side: several go into one trip, and none of them pays for another."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack

import pytest

from memoryd.errors import Collision, Conflict, StoreUnavailable
from memoryd.knowledge.model import Staging
from memoryd.stores.database import Database
from memoryd.stores.knowledge import drafts
from memoryd.stores.knowledge.drafts import PgDrafts
from memoryd.stores.trips import Connection, Cursor, Statement, last_trip
from memoryd.together import Company
from retrieval.scope import Scope
from tests.stores.knowledge.shelf import Shelf

NAMES = [*"cabed"]
LINES = ["one line", "another line"]


def of(name: str) -> list[str]:
    return [f"{line} of {name}" for line in LINES]


@pytest.fixture
async def trips(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[list[str]]]:
    """Everybody is in company; how trips begin, by their first words."""
    made: list[list[str]] = []
    at_once = Database.at_once

    async def noted(database: Database, scope: Scope, statements: Sequence[Statement]) -> list[Cursor]:
        made.append([sql.split()[0] for sql, _ in statements])
        return await at_once(database, scope, statements)

    monkeypatch.setattr(Database, "at_once", noted)
    with ExitStack() as stack:
        company = Company()
        for _ in NAMES:
            stack.enter_context(company.joined(shelf.scope.tenant_id))
        shelf.drafts = PgDrafts(shelf.database, company=company)
        yield made


async def begin_all(shelf: Shelf, names: Sequence[str] = NAMES) -> dict[str, Staging]:
    begun = await asyncio.gather(*(shelf.begin(name, of(name)) for name in names))
    return {name: one for name, one in zip(names, begun, strict=True) if one is not None}


async def test_documents_are_begun_and_finished_in_one_trip_each(shelf: Shelf, trips: list[list[str]]) -> None:
    await shelf.stage("first", LINES)
    trips.clear()
    staged = await begin_all(shelf)
    assert len(trips) == 1
    assert len({one.document_pid for one in staged.values()}) == len(NAMES)
    await asyncio.gather(*(shelf.finish(one, of(name)) for name, one in staged.items()))
    await shelf.publish()
    assert await shelf.read() == {"first": LINES} | {name: of(name) for name in NAMES}
    again = await begin_all(shelf)
    assert (again, len(trips)) == ({}, 2), "those that stand are found together, without a draft too"


async def test_the_first_documents_of_a_draft_begin_it_together(shelf: Shelf, trips: list[list[str]]) -> None:
    staged = await begin_all(shelf)
    assert {one.seq for one in staged.values()} == {1}
    assert len(staged) == len(NAMES)


async def test_a_document_that_two_bring_at_once_is_begun_once(shelf: Shelf, trips: list[list[str]]) -> None:
    await shelf.stage("first", LINES)
    one, two, other = await asyncio.gather(*(shelf.begin(name, LINES) for name in "aab"))
    assert one is not None
    assert (one, one != other) == (two, True)
    assert await shelf.count("kb_documents") == 3
    # With other content, the later begins anew.
    one, two = await asyncio.gather(shelf.begin("c", LINES), shelf.begin("c", of("c")))
    assert None not in (one, two)
    assert one != two


async def test_one_that_is_gone_or_changed_is_no_matter_to_the_others(shelf: Shelf, trips: list[list[str]]) -> None:
    await shelf.stage("b", LINES)
    staged = await begin_all(shelf, "acde")
    # Of these, one was begun anew, and another came into the draft meanwhile from elsewhere.
    assert await shelf.begin("c", LINES[::-1])
    await shelf.finish(staged["d"], of("d"))
    ended = await asyncio.gather(*(shelf.finish(one, of(name)) for name, one in staged.items()), return_exceptions=True)
    assert [type(one) for one in ended] == [type(None), Collision, Collision, type(None)]
    await shelf.publish()
    assert await shelf.read() == {"a": of("a"), "b": LINES, "d": of("d"), "e": of("e")}


async def test_a_former_revision_goes_though_another_wrote_it_meanwhile(shelf: Shelf, trips: list[list[str]]) -> None:
    await shelf.stage("first", LINES)
    staged = await begin_all(shelf, "ab")
    async with shelf.database.transaction(shelf.scope) as connection:
        await connection.execute(
            "INSERT INTO kb_documents SELECT (jsonb_populate_record(d, '{\"complete\": true}'::jsonb "
            "|| jsonb_build_object('document_pid', nextval(pg_get_serial_sequence('kb_documents', 'document_pid'))))).* "
            "FROM kb_documents d WHERE d.tenant_id = %(tenant)s AND d.document_pid = %(pid)s",
            {"tenant": shelf.scope.tenant_id, "pid": staged["a"].document_pid},
        )
    await asyncio.gather(*(shelf.finish(one, of(name)) for name, one in staged.items()))
    await shelf.publish()
    assert await shelf.read() == {"first": LINES, "a": of("a"), "b": of("b")}


async def test_nothing_goes_into_a_draft_that_is_gone(shelf: Shelf, trips: list[list[str]]) -> None:
    await shelf.stage("first", LINES)
    staged = await begin_all(shelf)
    await shelf.discard()
    ended = await asyncio.gather(*(shelf.finish(one, of(name)) for name, one in staged.items()), return_exceptions=True)
    assert all(isinstance(one, Conflict) for one in ended)
    assert await shelf.count("kb_documents") == await shelf.count("kb_chunks") == 0


async def test_known_vectors_are_those_that_each_asked_for(shelf: Shelf, trips: list[list[str]]) -> None:
    await shelf.stage("first", of("a") + of("b"))
    trips.clear()
    number = shelf.generation.number
    hashes = [[shelf.batch(0, of(name))[1][0].hash] for name in "abc"]
    a, b, c = await asyncio.gather(*(shelf.drafts.known(shelf.scope, [number], one) for one in hashes))
    assert [list(one[number]) for one in (a, b, c)] == [hashes[0], hashes[1], []]
    assert trips == [["SELECT"]]


async def test_an_answer_that_is_lost_behind_its_commit_is_told_to_all(
    shelf: Shelf, trips: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Done again at once it would seem to be somebody else's: the next attempt of each finds what was written."""
    await shelf.stage("first", LINES)
    staged = await begin_all(shelf, "ab")

    async def lost(connection: Connection, statements: Sequence[Statement]) -> list[Cursor]:
        await last_trip(connection, statements)
        raise StoreUnavailable("the line went dead")

    monkeypatch.setattr(drafts, "last_trip", lost)
    ended = await asyncio.gather(*(shelf.finish(one, of(name)) for name, one in staged.items()), return_exceptions=True)
    assert [type(one) for one in ended] == [StoreUnavailable] * 2
    assert await begin_all(shelf, "ab") == {}
