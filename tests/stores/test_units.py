"""Units of work: what large writes do to the event loop, in which order revisions are recorded, and array parameters."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import numpy as np
import pytest

from memoryd.memory.model import Change, Passage, Prepared
from memoryd.memory.ports import NewRevision
from memoryd.stores import arrays, passage_blocks, passage_rows, units
from memoryd.stores.database import Database
from memoryd.stores.generations import Generation
from memoryd.stores.passage_blocks import Addressed, blocks
from memoryd.stores.revisions import PgMemoryReader
from memoryd.stores.units import PgUnits
from memoryd.threads import BULK
from tests.stores.library import CLOCK, Library, clustered, new_library


@pytest.fixture
async def library(database: Database, generation: Generation) -> Library:
    return await new_library(database, generation.number)


def _passage(terms: int, seed: int, vector: bool = True) -> Passage:
    found = np.unique(np.random.default_rng(seed).integers(-(2**62), 2**62, size=terms))
    return Passage(
        (0, 10), len(found), found, np.ones(len(found), dtype=np.int16), np.array([seed], dtype=np.int64),
        {1: clustered(1, seed=seed)[0]} if vector else {},
    )  # fmt: skip


async def test_a_large_write_is_built_off_the_event_loop(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: dict[str, set[bool]] = {}

    def watched(name: str, work: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object) -> object:
            ran.setdefault(name, set()).add(threading.current_thread() is threading.main_thread())
            return work(*args)

        return run

    monkeypatch.setattr(passage_blocks, "_block", watched("blocks", passage_blocks._block))
    monkeypatch.setattr(passage_rows.PassageRows, "_changes", watched("statistics", passage_rows.PassageRows._changes))
    monkeypatch.setattr(units, "_rows", watched("rows", units._rows))
    prepared = [
        replace(library._prepared(clustered(1, seed=n)[0], "u", n), passages=(_passage(3_000, n), _passage(3_000, n + 1000)))
        for n in range(30)
    ]
    large = [replace(one, content=replace(one.content, text="long " * 5_000)) for one in prepared]
    async with PgUnits(library.database, CLOCK).begin(library.scope, None) as unit:
        await unit.insert(large)
    assert ran == {"blocks": {False}, "statistics": {False}, "rows": {False}}
    async with library.database.transaction(library.scope) as connection:
        counted = await (await connection.execute("SELECT count(*), count(DISTINCT pid) FROM postings")).fetchone()
        terms = await (await connection.execute("SELECT count(*), sum(documents) FROM term_statistics")).fetchone()
        stored = await (
            await connection.execute(
                "SELECT terms, facets FROM passages WHERE memory_id = %s AND ordinal = 1", (large[7].memory_id,)
            )
        ).fetchone()
    postings = sum(len(passage.terms) + 1 for one in large for passage in one.passages)
    assert counted == (postings, 60)
    assert terms == (postings - 60, postings - 60), "facets have no statistics"
    assert stored == (large[7].passages[1].terms.tolist(), large[7].passages[1].facets.tolist())


def test_blocks_are_bounded_and_lose_nothing() -> None:
    owner = Addressed(uuid4(), 1, uuid4(), [_passage(2_000, n, vector=False) for n in range(120)], live=True)
    made = list(blocks([owner], range(120), uuid4(), [1]))
    sizes = [len(_encoded(block[1][1], "terms").data) for block in made]
    assert len(made) == 4
    assert max(sizes) <= (65_536 + 2_001) * 12 + 20
    assert sum((size - 20) // 12 for size in sizes) == 120 * 2_001


def _encoded(params: object, name: str) -> arrays.Encoded:
    assert isinstance(params, dict)
    found = params[name]
    assert isinstance(found, arrays.Encoded)
    return found


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_arrays_arrive_as_they_are(database: Database, count: int) -> None:
    numbers = [-(2**15), 0, 2**15 - 1][:count]
    ids = [UUID(int=n) for n in range(count)]
    async with database.shared() as connection:
        row = await (
            await connection.execute(
                "SELECT %s::bigint[], %s::int[], %s::smallint[], %s::bool[], %s::uuid[]",
                (
                    arrays.int8s([n * 2**47 for n in numbers]),
                    arrays.int4s([n * 2**16 for n in numbers]),
                    arrays.int2s(numbers),
                    arrays.bools([n > 0 for n in numbers]),
                    arrays.uuids(ids),
                ),
            )
        ).fetchone()
    assert row == (
        [n * 2**47 for n in numbers],
        [n * 2**16 for n in numbers],
        numbers,
        [n > 0 for n in numbers],
        ids,
    )


class _Backwards:
    """A clock that goes back a second at every look, as another machine's might."""

    def __init__(self) -> None:
        self._now = datetime(2025, 5, 8, tzinfo=UTC)

    def now(self) -> datetime:
        self._now -= timedelta(seconds=1)
        return self._now


async def test_revisions_are_recorded_one_after_the_other(library: Library) -> None:
    (memory,) = await library.add(clustered(1, seed=3), users=["u"], buckets=[1])
    backwards = PgUnits(library.database, _Backwards())
    for action in (Change.UPDATED, Change.DELETED, Change.REVERTED, Change.UPDATED):
        async with backwards.begin(library.scope, None) as unit:
            head = await unit.lock(memory)
            assert head is not None
            passages = None if action is Change.DELETED else (_passage(3, 5),)
            await unit.revise(head, NewRevision(head.content, action, None, passages, keep_vectors=False))
    history = await PgMemoryReader(library.database).history(library.scope, memory, before=None, limit=10)
    assert [one.revision for one in history] == [5, 4, 3, 2, 1]
    for later, earlier in pairwise(history):
        assert later.recorded_at > earlier.recorded_at
        if earlier.action is not Change.DELETED:
            assert earlier.retired_at == later.recorded_at


async def test_the_time_of_a_revision_is_taken_behind_the_lock(library: Library) -> None:
    """A revision is recorded when it could be made, not when its request began to wait."""

    class Ticking:
        ticks = 0

        def now(self) -> datetime:
            return CLOCK.now() + timedelta(hours=self.ticks)

    (memory,) = await library.add(clustered(1, seed=4), users=["u"], buckets=[1])
    clock = Ticking()
    async with PgUnits(library.database, clock).begin(library.scope, None) as unit:
        clock.ticks = 1
        locked_at = clock.now()
        head = await unit.lock(memory)
        assert head is not None
        await unit.revise(head, NewRevision(head.content, Change.DELETED, None, None, keep_vectors=False))
    (latest, _) = await PgMemoryReader(library.database).history(library.scope, memory, before=None, limit=10)
    assert latest.recorded_at >= locked_at


async def test_metadata_counts_when_rows_are_built(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[bool] = []
    build = units._rows

    def rows(memories: Sequence[Prepared]) -> str:
        ran.append(threading.current_thread() is threading.main_thread())
        return build(memories)

    monkeypatch.setattr(units, "_rows", rows)
    one = library._prepared(clustered(1, seed=1)[0], "u", 1)
    loaded = library._prepared(clustered(1, seed=2)[0], "u", 2)
    loaded = replace(loaded, content=replace(loaded.content, metadata={f"k{n}": n for n in range(1_000)}))
    for memory in (one, loaded):
        async with PgUnits(library.database, CLOCK).begin(library.scope, None) as unit:
            await unit.insert([memory])
    assert ran == [True, False]


async def test_a_transaction_waits_for_no_load(library: Library) -> None:
    go = threading.Event()
    busy = [asyncio.ensure_future(BULK.run(go.wait, 60)) for _ in range(8)]
    try:
        prepared = library._prepared(clustered(1, seed=1)[0], "u", 1)
        large = replace(prepared, passages=(_passage(3_000, 1),), content=replace(prepared.content, text="long " * 5_000))
        async with (
            asyncio.timeout(20),
            PgUnits(library.database, CLOCK).begin(library.scope, None) as unit,
        ):
            await unit.insert([large])
    finally:
        go.set()
        await asyncio.gather(*busy)
