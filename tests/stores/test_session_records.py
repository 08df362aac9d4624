"""Where snapshots are and what a tenant's sessions do, in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from memoryd.database_wiring import database
from memoryd.ids import uuid7
from memoryd.sessions.model import AutoCommit
from memoryd.sessions.ports import SnapshotRecord, TenantSettings
from memoryd.settings import Settings
from memoryd.stores.sessions.records import PgSessionRecords
from retrieval.scope import Action, Scope
from tests.stack import Stack

AT = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
async def records(settings: Settings) -> AsyncIterator[PgSessionRecords]:
    store = database(settings)
    await store.open()
    yield PgSessionRecords(store)
    await store.close()


def _tenant(stack: Stack) -> Scope:
    scope = Scope(uuid4(), "tester", frozenset(Action))
    with psycopg.connect(stack.superuser_url) as connection:
        connection.execute(
            "INSERT INTO memoryd.tenants (tenant_id, name) VALUES (%s, %s)", (scope.tenant_id, str(scope.tenant_id))
        )
    return scope


def record(session_id: str, *, minutes: int) -> SnapshotRecord:
    at = AT + timedelta(minutes=minutes)
    return SnapshotRecord(uuid7(), session_id, "default", f"key {minutes}", 3, 7, 100, at, "periodic")


async def test_snapshots_are_found_newest_first_and_by_their_tenant_only(stack: Stack, records: PgSessionRecords) -> None:
    scope, other = _tenant(stack), _tenant(stack)
    some = [record("s", minutes=n) for n in (2, 1, 3)]
    for one in [*some, record("t", minutes=9)]:
        await records.add(scope, one)
    assert await records.snapshots(scope, "s", 2) == [some[2], some[0]]
    assert await records.snapshots(other, "s", 5) == []
    await records.remove(other, [some[2].snapshot_id])
    await records.finish(other, some[0].snapshot_id)
    assert await records.snapshots(scope, "s", 5) == [some[2], some[0], some[1]]
    await records.finish(scope, some[2].snapshot_id)
    assert (await records.snapshots(scope, "s", 1))[0].final
    await records.restored(scope, some[2].snapshot_id, 2)
    await records.restored(scope, some[2].snapshot_id, 1)
    assert await records.snapshots(scope, "s", 1) == [replace(some[2], leaps=2)]
    # Who was read back is not final, however late that is said.
    await records.finish(scope, some[2].snapshot_id)
    assert await records.snapshots(scope, "s", 1) == [replace(some[2], leaps=2)]
    assert await records.outdated(scope, AT + timedelta(minutes=3), 5, skip=0) == [some[1], some[0]]
    assert await records.outdated(scope, AT + timedelta(minutes=3), 5, skip=1) == [some[0]]
    await records.remove(scope, [one.snapshot_id for one in some])
    assert await records.snapshots(scope, "s", 5) == []


async def test_what_many_ask_for_at_once_is_told_to_each(stack: Stack, records: PgSessionRecords) -> None:
    scope, other = _tenant(stack), _tenant(stack)
    some = {f"s{n}": [record(f"s{n}", minutes=minutes) for minutes in (3, 2, 1)] for n in range(0, 100, 2)}
    for one in [one for few in some.values() for one in few[::-1]]:
        await records.add(scope, one)
    names = [f"s{n}" for n in range(100)]
    found = await asyncio.gather(*(records.snapshots(scope, name, 2) for name in [*names, "s4"]))
    assert found == [some.get(name, [])[:2] for name in [*names, "s4"]]
    mixed = [(scope, 9), (other, 9), (scope, 1)]
    whole, nothing, newest = await asyncio.gather(*(records.snapshots(one, "s4", limit) for one, limit in mixed))
    assert (whole, nothing, newest) == (some["s4"], [], some["s4"][:1])


async def test_unfinished_are_those_whose_newest_snapshot_is_not_final(stack: Stack, records: PgSessionRecords) -> None:
    scope, other = _tenant(stack), _tenant(stack)
    for name in ("a", "b", "c", "d"):
        older, newer = record(name, minutes=1), record(name, minutes=2)
        await records.add(scope, older)
        await records.add(scope, newer)
        await records.finish(scope, {"b": newer, "c": older}.get(name, record("none", minutes=0)).snapshot_id)
    assert await records.unfinished(scope, "", 9) == ["a", "c", "d"]
    assert await records.unfinished(scope, "a", 1) == ["c"]
    assert await records.unfinished(scope, "d", 9) == []
    assert await records.unfinished(other, "", 9) == []
    await records.end(other, "a")
    await records.end(scope, "d")
    assert await records.unfinished(scope, "", 9) == ["a", "c"]
    with psycopg.connect(stack.superuser_url) as connection:
        connection.execute("UPDATE memoryd.tenants SET deleted_at = now() WHERE tenant_id = %s", (scope.tenant_id,))
    assert await records.unfinished(scope, "", 9) == []


async def test_a_tenants_settings_are_its_own(stack: Stack, records: PgSessionRecords) -> None:
    scope, other = _tenant(stack), _tenant(stack)
    assert await records.settings(scope) == TenantSettings()
    for wanted in (TenantSettings(AutoCommit.IDLE, 60), TenantSettings(AutoCommit.EXPIRY, 90)):
        await records.configure(scope, wanted)
        assert await records.settings(scope) == wanted
    assert await records.settings(other) == TenantSettings()
