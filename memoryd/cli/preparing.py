"""What ``memoryd up`` does between its servers and its roles. Apart, so that the servers start while this is imported."""

import asyncio

from memoryd.database_wiring import first_key, prepare_database
from memoryd.embedded.datadir import DataDir
from memoryd.embedded.postgres import PostgresServer
from memoryd.models import pull_models
from memoryd.settings import Settings
from memoryd.stores.bootstrap import Passwords, bootstrap

__all__ = ["prepared", "pull_models"]

_FIRST_KEY = "first_tenant_key"


async def prepared(data: DataDir, postgres: PostgresServer, stack: Settings) -> str:
    """Database, tables and first tenant, whose key is returned. Safe to repeat. Raises ``StoreUnavailable``."""
    await asyncio.to_thread(_prepare, data, postgres, stack)
    return await first_key(stack, data.secrets / _FIRST_KEY)


def _prepare(data: DataDir, postgres: PostgresServer, stack: Settings) -> None:
    credentials = data.credentials
    bootstrap(postgres.superuser_url, Passwords(credentials.postgres_owner, credentials.postgres_service))
    prepare_database(stack)
