"""``memoryd up``: everything on one machine, supervised."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import click

from memoryd.embedded import datadir
from memoryd.embedded.datadir import DataDir
from memoryd.embedded.gate import Gate
from memoryd.embedded.log import EventLog
from memoryd.embedded.ports import Ports, listen
from memoryd.embedded.postgres import PostgresServer
from memoryd.embedded.spec import ChildSpec
from memoryd.embedded.supervisor import Supervisor
from memoryd.embedded.valkey import ValkeyServer
from memoryd.errors import StoreUnavailable
from memoryd.models import pull_models
from memoryd.settings import Settings
from memoryd.stores.bootstrap import DATABASE, Passwords, bootstrap
from memoryd.wiring import first_key, prepare_database

_FIRST_KEY = "first_tenant_key"
_PREPARE_PATIENCE_S = 60.0
_PREPARE_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class UpOptions:
    """Where, and on which ports; ``None``: remembered or free ones."""

    data_dir: Path
    host: str
    port: int
    postgres_port: int | None
    valkey_port: int | None
    print_json: bool


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=None, help="Everything lives here; made if missing.")
@click.option("--host", default=None, help="Address to listen on (MEMORYD_HOST, 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port of the API (MEMORYD_PORT, 7077); 0: a free one.")
@click.option("--postgres-port", type=click.IntRange(1, 65535), default=None, help="Default: a free one, remembered.")
@click.option("--valkey-port", type=click.IntRange(1, 65535), default=None, help="Default: a free one, remembered.")
@click.option("--print-json", is_flag=True, help="Print one line of JSON when ready: url, api_key, operator_key, pid.")
def up(
    data_dir: Path | None,
    host: str | None,
    port: int | None,
    postgres_port: int | None,
    valkey_port: int | None,
    print_json: bool,
) -> None:
    """Start PostgreSQL, Valkey, the API and the worker, and keep them running. Ctrl-C stops everything."""
    settings = Settings()
    options = UpOptions(
        data_dir=data_dir or datadir.default_path(),
        host=host or settings.host,
        port=settings.port if port is None else port,
        postgres_port=postgres_port,
        valkey_port=valkey_port,
        print_json=print_json,
    )
    with datadir.opened(options.data_dir) as data:
        asyncio.run(_run(data, options, settings))


async def _run(data: DataDir, options: UpOptions, settings: Settings) -> None:
    listener = listen(options.host, options.port)
    port = listener.getsockname()[1]
    shown = f"[{options.host}]" if ":" in options.host else options.host
    url = f"http://{shown}:{port}"
    remembered = Ports(data.run / "ports.json")
    postgres_port = remembered.pick("postgres", options.postgres_port)
    valkey_port = remembered.pick("valkey", options.valkey_port)
    postgres, valkey = PostgresServer(data, port=postgres_port), ValkeyServer(data, port=valkey_port)
    supervisor = Supervisor(
        data,
        events=EventLog(data.logs / "supervisor.log", stderr=_terminal(options)),
        url=url,
        ports={"api": port, "postgres": postgres_port, "valkey": valkey_port},
    )
    async with Gate(listener) as gate:

        async def compose() -> None:
            await asyncio.to_thread(pull_models, settings, _say(options))
            await supervisor.start(postgres.spec())
            await supervisor.start(valkey.spec())
            stack = _stack_settings(data, postgres, valkey, settings)
            key = await _prepared(data, postgres, stack)
            env = _child_environment(stack)
            here = Path.cwd()  # relative paths in the settings are relative to where the user is
            await supervisor.start(
                ChildSpec("api", _role("api"), env, folder=here, depends_on=("postgres",), door=gate, start_timeout_s=180)
            )
            await supervisor.start(ChildSpec("worker", _role("worker"), env, folder=here, depends_on=("postgres", "valkey")))
            _announce(options, data, url, key, stack)

        await supervisor.run(compose)


async def _prepared(data: DataDir, postgres: PostgresServer, stack: Settings) -> str:
    """Database, tables and first tenant, whose key is returned.

    PostgreSQL may die in the middle; it is started again, and every step is safe to repeat.
    """
    until = time.monotonic() + _PREPARE_PATIENCE_S
    while True:
        try:
            await asyncio.to_thread(_prepare, data, postgres, stack)
            return await first_key(stack, data.secrets / _FIRST_KEY)
        except StoreUnavailable:
            if time.monotonic() >= until:
                raise
            await asyncio.sleep(_PREPARE_PAUSE_S)


def _prepare(data: DataDir, postgres: PostgresServer, stack: Settings) -> None:
    credentials = data.credentials
    bootstrap(postgres.superuser_url, Passwords(credentials.postgres_owner, credentials.postgres_service))
    prepare_database(stack)


def _stack_settings(data: DataDir, postgres: PostgresServer, valkey: ValkeyServer, settings: Settings) -> Settings:
    """The caller's settings, with the stores and secrets of this data directory."""
    credentials = data.credentials
    return Settings.model_validate(
        settings.model_dump()
        | {
            "database_url": postgres.url("memoryd_service", credentials.postgres_service, DATABASE),
            "owner_database_url": postgres.url("memoryd_owner", credentials.postgres_owner, DATABASE),
            "redis_url": valkey.url,
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
    yield _stack_settings(data, postgres, ValkeyServer(data, port=state.ports["valkey"]), settings)


def _child_environment(stack: Settings) -> Mapping[str, str]:
    """This process's environment with every setting made explicit. Secrets reach the children this way, not by argument."""
    env = dict(os.environ)
    for name in Settings.model_fields:
        value = getattr(stack, name)
        if name == "owner_database_url" or value is None:
            env.pop(f"MEMORYD_{name.upper()}", None)
            continue
        secret = getattr(value, "get_secret_value", None)
        env[f"MEMORYD_{name.upper()}"] = str(secret() if secret else value)
    return env | {"PYTHONUNBUFFERED": "1"}


def _role(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "memoryd", name)


def _terminal(options: UpOptions) -> TextIO | None:
    return None if options.print_json else sys.stderr


def _announce(options: UpOptions, data: DataDir, url: str, key: str, stack: Settings) -> None:
    if options.print_json:
        operator = stack.operator_key.get_secret_value() if stack.operator_key else None
        line = {"url": url, "api_key": key, "operator_key": operator, "pid": os.getpid()}
        click.echo(json.dumps(line))
        return
    click.echo(
        f"\n  memoryd is ready at {url}\n\n"
        f"  API key     {key}\n"
        f"  data        {data.path}\n"
        f"  runs        PostgreSQL with pgvector, Valkey, API, worker; embeddings by {stack.embedding_model}\n"
        f"  try         curl -s {url}/readyz\n"
        f"  docs        {url}/docs\n\n"
        "  Ctrl-C stops everything.\n"
    )


def _say(options: UpOptions) -> Callable[[str], None]:
    def say(line: str) -> None:
        if not options.print_json:
            click.echo(f"  {line}", err=True)

    return say


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=None)
def status(data_dir: Path | None) -> None:
    """What `memoryd up` is running: processes, ports, restarts."""
    path = data_dir or datadir.default_path()
    state = datadir.read_state(path)
    if state is None or not state.alive:
        click.echo(f"nothing runs on {path}")
        sys.exit(1)
    click.echo(f"{state.state} at {state.url} (pid {state.pid}) since {state.started_at}")
    for name, child in state.children.items():
        click.echo(f"  {name:10} {child.state:9} pid {child.pid or '-':>7}  restarts {child.restarts}")
