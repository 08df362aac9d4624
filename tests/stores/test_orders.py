"""Lists, timelines and the audit log are read in the order of an index: a page never reads a whole space."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from memoryd.access.model import AuditQuery, Space
from memoryd.mcp.ports import Period, Position
from memoryd.stores import audit
from memoryd.stores.access import insert_space
from memoryd.stores.audit import PgAuditLog
from memoryd.stores.chronicle import PgChronicle
from memoryd.stores.database import Database
from memoryd.stores.generations import Generation
from memoryd.stores.revisions import PgMemoryReader
from memoryd.stores.trips import Params
from retrieval.filters import Filters
from tests.stack import Stack
from tests.stores.library import CLOCK, Library, new_library

_MEMORIES = """
WITH made AS (
    INSERT INTO memoryd.memories (tenant_id, memory_id, space_id)
    SELECT %(tenant)s, gen_random_uuid(), (%(spaces)s::uuid[])[1 + n %% 2] FROM generate_series(1, 4000) n
    RETURNING memory_id, space_id, seq)
INSERT INTO memoryd.memory_revisions (tenant_id, memory_id, revision, space_id, seq, action, actor, kind, text, occurred_at,
    source_type, confidence, live)
SELECT %(tenant)s, memory_id, 1, space_id, seq, 'created', 'test', 'semantic', 'note', %(now)s - seq * interval '1 minute',
    'test', 1, true FROM made
"""
_ENTRIES = """
INSERT INTO memoryd.audit_log (tenant_id, at, principal, action, object_type, object_ids, request_id)
SELECT %(tenant)s, %(now)s + n * interval '1 second', 'test', CASE WHEN n %% 500 = 0 THEN 'memory.purge' ELSE 'memory.create' END,
    'memory', ARRAY[CASE WHEN n = 3 THEN %(tenant)s ELSE gen_random_uuid() END], 'test' FROM generate_series(1, 4000) n
"""
NOW = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
async def library(stack: Stack, database: Database, generation: Generation) -> Library:
    """Two spaces of 2,000 memories and 4,000 entries in the log; ``Library.space`` is the first."""
    made = await new_library(database, generation.number)
    second = Space(uuid4(), "second", None, CLOCK.now())
    async with database.transaction(made.scope) as connection:
        await insert_space(connection, made.scope, second)
    params = {"tenant": made.scope.tenant_id, "spaces": [made.space, second.space_id], "now": NOW}
    with psycopg.connect(stack.superuser_url, autocommit=True) as superuser:
        superuser.execute(_MEMORIES, params)
        superuser.execute(_ENTRIES, params)
        superuser.execute("ANALYZE memoryd.memories, memoryd.memory_revisions, memoryd.audit_log")
    return made


async def _spaces(library: Library) -> list[UUID]:
    sql = "SELECT space_id FROM spaces WHERE tenant_id = %(tenant)s"
    rows = await library.database.read(library.scope, sql, {"tenant": library.scope.tenant_id})
    return [space for (space,) in rows]


class Plans:
    """The plans of what is read, one that serves any values, as a busy server comes to use."""

    def __init__(self, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of: list[str] = []
        read = library.database.read

        async def explained(scope: object, sql: str, params: Params) -> object:
            setup = ["SET LOCAL plan_cache_mode = force_generic_plan"]
            rows = await read(library.scope, "EXPLAIN (ANALYZE, TIMING OFF) " + sql, params, setup=setup)
            self.of.append("\n".join(line for (line,) in rows))
            return await read(library.scope, sql, params)

        monkeypatch.setattr(library.database, "read", explained)

    def use(self, index: str) -> None:
        """Every plan read it, and no more of it than a few pages."""
        assert self.of
        for plan in self.of:
            read = [line for line in plan.splitlines() if index in line]
            assert read, plan
            assert all(int(re.findall(r"actual rows=(\d+)", line)[0]) < 300 for line in read), plan


@pytest.mark.parametrize(
    ("filters", "index"),
    [(Filters(), "memory_revisions_"), (Filters(known_at=CLOCK.now() + timedelta(days=1)), "memory_revisions_arrival"),
     (Filters(as_of=NOW), "memory_revisions_arrival")],
    ids=["now", "known_at", "as_of"],
)  # fmt: skip
async def test_a_list_goes_on_where_it_stopped(
    library: Library, monkeypatch: pytest.MonkeyPatch, filters: Filters, index: str
) -> None:
    reader, spaces = PgMemoryReader(library.database), await _spaces(library)
    whole = await reader.page(library.scope, spaces, filters, after=None, limit=4_000)
    arrived = [one.seq for one in whole.revisions]
    assert len(arrived) == 4_000
    assert arrived == sorted(arrived), "the spaces merged"
    plans = Plans(library, monkeypatch)
    after, seen = arrived[1_999], list[int]()
    for _ in range(2):
        page = await reader.page(library.scope, spaces, filters, after=after, limit=100)
        seen += [one.seq for one in page.revisions]
        assert page.next_seq is not None
        after = page.next_seq
    assert seen == arrived[2_000:2_200]
    plans.use(index)


@pytest.mark.parametrize("newest_first", [True, False])
async def test_a_timeline_goes_on_where_it_stopped(library: Library, monkeypatch: pytest.MonkeyPatch, newest_first: bool) -> None:
    chronicle, spaces = PgChronicle(library.database), await _spaces(library)

    async def page(behind: Position | None, limit: int) -> list[Position]:
        moments = await chronicle.moments(
            library.scope, spaces, Filters(), Period(None, NOW), behind=behind, newest_first=newest_first, limit=limit
        )
        return [one.position for one in moments]

    whole = await page(None, 4_000)
    assert len(whole) == 4_000
    assert whole == sorted(whole, key=lambda one: (one.occurred_at, one.seq), reverse=newest_first)
    plans = Plans(library, monkeypatch)
    assert await page(whole[1_999], 100) == whole[2_000:2_100]
    plans.use("memory_revisions_time")


async def test_a_rare_action_is_found_by_its_index(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    log, plans = PgAuditLog(library.database), Plans(library, monkeypatch)
    found = await log.audit_page(library.scope, AuditQuery(action="memory.purge"), 5)
    rest = await log.audit_page(library.scope, AuditQuery(action="memory.purge", before=found.before), 5)
    assert (len(found.entries), len(rest.entries), rest.before) == (5, 3, None)
    plans.use("audit_log_action")


async def test_a_search_of_the_log_looks_through_a_part_at_a_time(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third of 4,000 entries is about the object; nothing can say so but the entries."""
    monkeypatch.setattr(audit, "_WINDOW", 250)
    log, plans = PgAuditLog(library.database), Plans(library, monkeypatch)
    query = AuditQuery(object_id=library.scope.tenant_id, until=NOW + timedelta(days=1))
    pages, found = 0, list[datetime]()
    while True:
        page = await log.audit_page(library.scope, query, 10)
        pages, found = pages + 1, found + [entry.at for entry in page.entries]
        if page.before is None:
            break
        query = AuditQuery(object_id=query.object_id, until=query.until, before=page.before)
    assert (pages, found) == (17, [NOW + timedelta(seconds=3)])
    plans.use("audit_log_pkey")


async def test_a_search_by_time_ends_behind_it(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_WINDOW", 250)
    log = PgAuditLog(library.database)
    query, found, pages = AuditQuery(since=NOW + timedelta(seconds=3_701)), 0, 0
    while True:
        page = await log.audit_page(library.scope, query, 200)
        found, pages = found + len(page.entries), pages + 1
        if page.before is None:
            break
        query = AuditQuery(since=query.since, before=page.before)
    assert found == 300
    assert pages <= 5
