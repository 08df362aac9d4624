"""The key that `memoryd up` prints works, whatever became of the one it printed before."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from memoryd.access.authenticate import Authenticator
from memoryd.access.first import FIRST_TENANT
from memoryd.access.keys import parse
from memoryd.access.service import KeyService
from memoryd.clock import SystemClock
from memoryd.database_wiring import database, first_key
from memoryd.errors import NotFound
from memoryd.settings import Settings
from memoryd.stores.access import PgAccess
from memoryd.stores.database import Database
from memoryd.wiring import Administration, open_administration
from retrieval.scope import Action, Scope


@pytest.fixture
async def administration(settings: Settings) -> AsyncIterator[Administration]:
    async with open_administration(settings) as opened:
        yield opened
        for name in (FIRST_TENANT, f"{FIRST_TENANT}-2"):
            try:
                tenant = await opened.tenants.named(name)
            except NotFound:
                continue
            await opened.tenants.delete(tenant.tenant_id, name, opened.tenants.operation("test"))


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    opened = database(settings)
    await opened.open()
    yield opened
    await opened.close()


async def _let_in(db: Database, text: str) -> Scope:
    authenticator = Authenticator(PgAccess(db), SystemClock())
    try:
        return await authenticator.scope(text, "test")
    finally:
        await authenticator.close()


async def test_a_revoked_key_is_replaced(
    settings: Settings, administration: Administration, db: Database, tmp_path: Path
) -> None:
    path = tmp_path / "key"
    first = await first_key(settings, path)
    assert await first_key(settings, path) == first, "a key that works is kept"
    scope = await _let_in(db, first)
    presented = parse(first)
    assert presented is not None
    admin = Scope(scope.tenant_id, "test", frozenset(Action))
    await KeyService(PgAccess(db), SystemClock()).revoke(admin, presented.key_id, None)
    second = await first_key(settings, path)
    assert second != first
    assert path.read_text().strip() == second
    assert (await _let_in(db, second)).tenant_id == scope.tenant_id


async def test_a_suspended_tenant_keeps_its_key(settings: Settings, administration: Administration, tmp_path: Path) -> None:
    path, tenants = tmp_path / "key", administration.tenants
    first = await first_key(settings, path)
    tenant = await tenants.named(FIRST_TENANT)
    await tenants.suspend(tenant.tenant_id, tenants.operation("test"), suspended=True)
    assert await first_key(settings, path) == first, "or every start would make one more"


@pytest.mark.parametrize("kept", [True, False], ids=["key kept", "key lost"])
async def test_a_tenant_that_is_being_deleted_is_not_waited_for(
    settings: Settings, administration: Administration, db: Database, tmp_path: Path, kept: bool
) -> None:
    path, tenants = tmp_path / "key", administration.tenants
    first = await first_key(settings, path)
    tenant = await tenants.named(FIRST_TENANT)
    await tenants._store.mark_deleted(tenant.tenant_id, FIRST_TENANT, tenants.operation("test"))  # and then it was killed
    if not kept:
        path.unlink()
    second = await first_key(settings, path)
    assert second != first
    assert (await _let_in(db, second)).tenant_id != tenant.tenant_id
    await tenants.delete(tenant.tenant_id, FIRST_TENANT, tenants.operation("test"))
    assert await first_key(settings, path) == second


async def test_a_deleted_tenant_is_made_again(
    settings: Settings, administration: Administration, db: Database, tmp_path: Path
) -> None:
    path, tenants = tmp_path / "key", administration.tenants
    first = await first_key(settings, path)
    tenant = await tenants.named(FIRST_TENANT)
    await tenants.delete(tenant.tenant_id, FIRST_TENANT, tenants.operation("test"))
    second = await first_key(settings, path)
    assert second != first
    assert (await _let_in(db, second)).tenant_id == (await tenants.named(FIRST_TENANT)).tenant_id
