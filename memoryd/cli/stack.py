"""The settings of the stack in a data directory: for its children, and for who administrates it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from memoryd.embedded import datadir
from memoryd.embedded.datadir import DataDir
from memoryd.embedded.postgres import PostgresServer
from memoryd.embedded.valkey import ValkeyServer
from memoryd.settings import Settings
from memoryd.stores.names import DATABASE

# The API's pool of connections, and those of the worker's four parts: upkeep, sessions, jobs, generations.
_POOLS = 5
# For what stands beside the pools: migrations, the superuser's own, `memoryd doctor` and `psql`.
_OTHER_CONNECTIONS = 10
_LEAST_CONNECTIONS = 60


def max_connections(settings: Settings) -> int:
    """How many connections the PostgreSQL of a data directory has to take."""
    return max(_LEAST_CONNECTIONS, _POOLS * settings.database_pool_size + _OTHER_CONNECTIONS)


def stack_settings(data: DataDir, postgres: PostgresServer, valkey: ValkeyServer, settings: Settings) -> Settings:
    """The caller's settings, with the stores and secrets of this data directory."""
    credentials = data.credentials
    return Settings.model_validate(
        settings.model_dump()
        | {
            "database_url": postgres.url("memoryd_service", credentials.postgres_service, DATABASE),
            "owner_database_url": postgres.url("memoryd_owner", credentials.postgres_owner, DATABASE),
            "redis_url": valkey.url,
            "asked_file": settings.asked_file or data.run / "asked",
            "object_store": settings.object_store or str(data.path / "objects"),
            "operator_key": settings.operator_key or credentials.operator_key,
            "handle_secret": settings.handle_secret or credentials.handle_secret,
        }
    )


@contextmanager
def administered(path: Path | None) -> Iterator[Settings]:
    """Settings to administrate with: the environment's, or those of a running ``memoryd up``."""
    settings = Settings()
    if settings.database_url is not None and path is None:
        yield settings
        return
    where = path or datadir.default_path()
    state = datadir.read_state(where)
    if state is None or not state.alive:
        raise click.ClickException(f"nothing runs on {where}: start `memoryd up`, or set MEMORYD_DATABASE_URL")
    data = datadir.attached(where)
    postgres = PostgresServer(data, port=state.ports["postgres"])
    yield stack_settings(data, postgres, ValkeyServer(data, port=state.ports["valkey"]), settings)
