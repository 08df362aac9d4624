"""The part of the composition root that a database needs before anything serves: it loads no model and no web framework."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from memoryd.access.first import make_first_key, still_good
from memoryd.access.tenants import TenantService
from memoryd.clock import SystemClock
from memoryd.embedded.credentials import store
from memoryd.errors import InvalidRequest
from memoryd.models import described_card
from memoryd.settings import Settings
from memoryd.stores.access import PgAccess
from memoryd.stores.database import Database
from memoryd.stores.migrate import available, ensure_generation, migrate
from memoryd.stores.tenants import PgTenants


def database(settings: Settings) -> Database:
    """The service's database, not opened yet."""
    if settings.database_url is None:
        raise InvalidRequest("set MEMORYD_DATABASE_URL, or run `memoryd up`")
    return Database(
        settings.database_url.get_secret_value(),
        size=settings.database_pool_size,
        timeout_s=settings.database_timeout_s,
        statement_timeout_s=settings.statement_timeout_s,
    )


@asynccontextmanager
async def opened(db: Database) -> AsyncIterator[Database]:
    """Open it, and close it again."""
    await db.open()
    try:
        yield db
    finally:
        await db.close()


def prepare_database(settings: Settings) -> list[str]:
    """Migrate as the owner, and make the configured model's generation if there is none; the names applied."""
    if settings.owner_database_url is None:
        raise InvalidRequest("set MEMORYD_OWNER_DATABASE_URL: migrations run as the owner of the tables")
    url = settings.owner_database_url.get_secret_value()
    applied = migrate(url, available())
    ensure_generation(url, described_card(settings))
    return applied


async def first_key(settings: Settings, path: Path) -> str:
    """A key of the first tenant, kept at ``path`` (mode 0600); another one when that was revoked or its tenant deleted."""
    known = await asyncio.to_thread(_read, path)
    async with opened(database(settings)) as db:
        clock = SystemClock()
        tenants = TenantService(PgTenants(db, idempotency_ttl=timedelta(seconds=settings.idempotency_ttl_s)), clock)
        if await still_good(known, PgAccess(db), tenants, clock):
            return known
        text = await make_first_key(tenants)
    await asyncio.to_thread(store, path, text)
    return text


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
