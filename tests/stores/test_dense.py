"""The dense index: exact where it says so, and not starved by a selective filter where it is approximate."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import numpy as np
import pytest
from psycopg.rows import TupleRow

from memoryd.stores.database import Database
from memoryd.stores.dense import Graph, PgDenseIndex, approximate_sql
from memoryd.stores.filter_sql import conditions
from memoryd.stores.generations import Generation
from memoryd.stores.maintenance import PgMaintenance
from memoryd.stores.trips import Params
from memoryd.stores.vectors import HalfVectorArrayParam, HalfVectorParam
from retrieval.filters import Filters
from retrieval.ports import Query
from retrieval.scope import Scope
from retrieval.vectors import Vectors
from tests.stores.library import Library, clustered, new_library

COUNT = 4_000
TOP = 10


class Crowd:
    """A library of many vectors, with the exact answers computed by numpy."""

    def __init__(self, library: Library, vectors: Vectors, ids: list[UUID]) -> None:
        self.library = library
        self.vectors = vectors
        self.ids = ids
        self.questions = clustered(20, seed=2)

    def exact(self, question: Vectors, keep: np.ndarray) -> set[UUID]:
        """The ids of the nearest among those to keep."""
        scores = np.where(keep, self.vectors @ question, -2)
        return {self.ids[index] for index in np.argsort(-scores)[: min(TOP, int(keep.sum()))]}

    async def recall(self, index: PgDenseIndex, filters: Filters, keep: np.ndarray) -> float:
        """Mean recall@10 against the exact answers."""
        query = Query((self.library.space,), filters)
        shares = []
        for question in self.questions:
            hits = await index.search(self.library.scope, query, question, limit=TOP)
            found = {hit.memory_id for hit in hits}
            wanted = self.exact(question, keep)
            assert len(found) == len(hits) == len(wanted)
            shares.append(len(found & wanted) / len(wanted))
        return float(np.mean(shares))


@pytest.fixture(scope="module")
async def crowd(database: Database, generation: Generation) -> Crowd:
    library = await new_library(database, generation.number)
    vectors = clustered(COUNT, seed=1)
    users = [f"u{n % 100}" for n in range(COUNT)]  # one user is 1% of the memories
    buckets = [n % 2 if n % 50 else 7 for n in range(COUNT)]
    ids = await library.add(vectors, users=users, buckets=buckets)
    # Somebody else's vectors, right on the questions: they must neither show up nor crowd out.
    stranger = await new_library(database, generation.number)
    await stranger.add(clustered(20, seed=2), users=["u1"] * 20, buckets=[0] * 20)
    return Crowd(library, vectors, ids)


def _maintenance(database: Database, generation: Generation) -> PgMaintenance:
    return PgMaintenance(database, generation=generation.number, exact_limit=100, ann_tail=1_000)


EVERYTHING = np.ones(COUNT, dtype=bool)
ONE_USER = np.arange(COUNT) % 100 == 7
HALF = (np.arange(COUNT) % 2 == 1) & (np.arange(COUNT) % 50 != 0)
NOBODY = np.zeros(COUNT, dtype=bool)
CASES = {
    "everything": (Filters(), EVERYTHING),
    "one percent": (Filters(user_id="u7"), ONE_USER),
    "one percent by metadata": (Filters(metadata=(("bucket", 7),)), np.arange(COUNT) % 50 == 0),
    "half": (Filters(metadata=(("bucket", 1),)), HALF),
    "nobody": (Filters(user_id="nobody"), NOBODY),
}


@pytest.mark.parametrize("case", CASES)
async def test_exact_below_the_limit(case: str, crowd: Crowd, database: Database, generation: Generation) -> None:
    filters, keep = CASES[case]
    if not keep.any():
        query = Query((crowd.library.space,), filters)
        index = PgDenseIndex(database, generation, exact_limit=COUNT)
        assert await index.search(crowd.library.scope, query, crowd.questions[0], limit=TOP) == []
        return
    # Half precision may swap the last place.
    assert await crowd.recall(PgDenseIndex(database, generation, exact_limit=COUNT), filters, keep) >= 0.98


@pytest.mark.parametrize("indexed", ["nothing", "some", "all"])
async def test_approximate_above_it_whatever_is_indexed(
    indexed: str, crowd: Crowd, database: Database, generation: Generation
) -> None:
    """The index and the tail that is not in it yet are searched together; a selective filter is answered exactly."""
    maintenance = _maintenance(database, generation)
    if indexed == "some":
        assert await maintenance.index_tail(crowd.library.scope.tenant_id) == 200
    if indexed == "all":
        while await maintenance.finish_tail(crowd.library.scope.tenant_id):
            pass
    index = PgDenseIndex(database, generation, exact_limit=100)
    for filters, keep in (CASES[name] for name in ("everything", "one percent", "one percent by metadata", "half")):
        assert await crowd.recall(index, filters, keep) >= 0.95


async def test_small_tenants_are_never_indexed(database: Database, generation: Generation) -> None:
    library = await new_library(database, generation.number)
    await library.add(clustered(50, seed=3), users=["u"] * 50, buckets=[0] * 50)
    assert await _maintenance(database, generation).index_tail(library.scope.tenant_id) == 0


async def test_scores_are_cosines_best_first(crowd: Crowd, database: Database, generation: Generation) -> None:
    index = PgDenseIndex(database, generation, exact_limit=COUNT)
    query = Query((crowd.library.space,), Filters())
    hits = await index.search(crowd.library.scope, query, crowd.vectors[17], limit=5)
    assert hits[0].memory_id == crowd.ids[17]
    assert hits[0].score == pytest.approx(1.0, abs=2e-3)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


async def test_vectors_survive_the_wire(database: Database) -> None:
    vectors = clustered(3, seed=4)
    async with database.shared() as connection:
        rows = await (
            await connection.execute("SELECT v::text FROM unnest(%s::halfvec[]) AS v", (HalfVectorArrayParam(vectors),))
        ).fetchall()
        one = await (await connection.execute("SELECT %s::halfvec::text", (HalfVectorParam(vectors[0]),))).fetchone()
    assert one is not None
    read = np.array([np.fromstring(text.strip("[]"), sep=",") for (text,) in [*rows, one]])
    assert np.abs(read - vectors[[0, 1, 2, 0]]).max() < 1e-3


async def _index_all(maintenance: PgMaintenance, library: Library) -> None:
    assert await maintenance.index_tail(library.scope.tenant_id)
    while await maintenance.finish_tail(library.scope.tenant_id):
        pass


async def _graph_of(database: Database, library: Library) -> tuple[int, int]:
    async with database.tenant(library.scope.tenant_id) as connection:
        row = await (await connection.execute("SELECT graph, vectors FROM tenant_hnsw_graphs")).fetchone()
    assert row is not None
    return row


async def _filled(database: Database, generation: Generation, count: int, seed: int) -> Crowd:
    library = await new_library(database, generation.number)
    vectors = clustered(count, seed=seed)
    ids = await library.add(vectors, users=[f"u{n % 100}" for n in range(count)], buckets=[n % 10 for n in range(count)])
    return Crowd(library, vectors, ids)


async def test_large_tenants_get_graphs_of_their_own(database: Database, generation: Generation) -> None:
    maintenance = PgMaintenance(database, generation=generation.number, exact_limit=100, ann_tail=100)
    crowds = [await _filled(database, generation, 300, seed) for seed in (11, 12, 13)]
    # Each is dealt a graph before any was counted.
    await asyncio.gather(*(maintenance.index_tail(crowd.library.scope.tenant_id) for crowd in crowds))
    for crowd in crowds:
        while await maintenance.finish_tail(crowd.library.scope.tenant_id):
            pass
    dealt = [await _graph_of(database, crowd.library) for crowd in crowds]
    assert len({graph for graph, _ in dealt}) == 3
    assert [vectors for _, vectors in dealt] == [300, 300, 300]


async def test_two_workers_deal_one_tenant_one_graph(database: Database, generation: Generation) -> None:
    maintenance = PgMaintenance(database, generation=generation.number, exact_limit=100, ann_tail=100)
    crowd = await _filled(database, generation, 300, 14)
    tenant_id = crowd.library.scope.tenant_id
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'hnsw_graphs'::regclass AND NOT granted"
    async with database.tenant(tenant_id) as connection:
        row = await (await connection.execute("SELECT sum(vectors) FROM hnsw_graphs")).fetchone()
        assert row is not None
        await connection.execute("LOCK TABLE hnsw_graphs IN SHARE ROW EXCLUSIVE MODE")
        both = asyncio.gather(*(maintenance.index_tail(tenant_id) for _ in range(2)))
        async with asyncio.timeout(10):
            while True:
                if await (await connection.execute(waiting)).fetchone() == (2,):
                    break
                await asyncio.sleep(0.02)
    assert sum(await both) == 300
    async with database.tenant(tenant_id) as connection:
        after = await (await connection.execute("SELECT sum(vectors) FROM hnsw_graphs")).fetchone()
    assert after == (row[0] + 300,)


async def test_tenants_that_share_a_graph_still_find_their_nearest(
    database: Database, generation: Generation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unequal tenants in one graph, the same clumps: the small one's neighbours are mostly the large one's."""
    maintenance = PgMaintenance(database, generation=generation.number, exact_limit=100, ann_tail=100)
    crowds = [await _filled(database, generation, count, seed) for count, seed in ((6000, 21), (2500, 24), (900, 22), (250, 23))]
    large = crowds[0]
    async with database.tenant(large.library.scope.tenant_id) as connection:
        await connection.execute("UPDATE hnsw_graphs SET vectors = CASE graph WHEN 15 THEN 0 ELSE 1000000 END")
    for crowd in crowds:
        await _index_all(maintenance, crowd.library)
        async with database.tenant(large.library.scope.tenant_id) as connection:
            await connection.execute("UPDATE hnsw_graphs SET vectors = CASE graph WHEN 15 THEN vectors ELSE 1000000 END")
    assert {(await _graph_of(database, crowd.library))[0] for crowd in crowds} == {15}
    for crowd in crowds:
        for filters in (None, Filters(user_id="u3"), Filters(metadata=(("bucket", 3),))):
            assert "embeddings_hnsw_1_15" in await _plan(database, generation, crowd, 15, filters)
    graph_searches = _counted(database, monkeypatch)
    index = PgDenseIndex(database, generation, exact_limit=20)
    # Of 9,650 vectors: a graph is searched for candidates that are a fifth of it, whether a tenant's or a filter's.
    for crowd, searched in zip(crowds, (1, 1, 0, 0), strict=True):
        numbers = np.arange(len(crowd.ids))
        for filters, keep in (
            (Filters(), numbers >= 0),
            (Filters(user_id="u3"), numbers % 100 == 3),
            (Filters(metadata=(("bucket", 3),)), numbers % 10 == 3),
        ):
            assert await crowd.recall(index, filters, keep) >= 0.95
        assert len(graph_searches) == searched * len(crowd.questions)
        graph_searches.clear()


def _counted(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The searches of a graph from here on."""
    seen: list[str] = []
    read = database.read

    async def counting(
        scope: Scope, sql: str, params: Params, *, setup: Sequence[str] = (), timeout_s: float | None = None
    ) -> list[TupleRow]:
        if "e.graph = " in sql:
            seen.append(sql)
        return await read(scope, sql, params, setup=setup, timeout_s=timeout_s)

    monkeypatch.setattr(database, "read", counting)
    return seen


async def _plan(database: Database, generation: Generation, crowd: Crowd, graph: int, filters: Filters | None) -> str:
    filtered = None if filters is None else await conditions(filters, (crowd.library.space,))
    params: dict[str, object] = {
        "tenant": crowd.library.scope.tenant_id,
        "spaces": [crowd.library.space],
        "vector": HalfVectorParam(crowd.questions[0]),
        "limit": TOP,
    }
    if filtered is not None:
        params |= filtered.params
    sql = f"EXPLAIN {approximate_sql(generation, graph, filtered)}"
    rows = await database.read(crowd.library.scope, sql, params, setup=Graph(graph, 1.0).setup)
    return "\n".join(line for (line,) in rows)
