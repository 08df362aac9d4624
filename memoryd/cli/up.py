"""``memoryd up``: everything on one machine, supervised."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import click

from memoryd.cli.stack import max_connections, stack_settings
from memoryd.embedded import datadir
from memoryd.embedded.abandonable import abandonable
from memoryd.embedded.datadir import DataDir
from memoryd.embedded.gate import Gate
from memoryd.embedded.log import EventLog
from memoryd.embedded.ports import Ports, listen
from memoryd.embedded.postgres import PostgresServer
from memoryd.embedded.spec import ChildSpec
from memoryd.embedded.supervisor import Supervisor
from memoryd.embedded.valkey import ValkeyServer
from memoryd.errors import StoreUnavailable
from memoryd.settings import Settings

_PREPARE_PATIENCE_S = 60.0
_PREPARE_PAUSE_S = 0.5
# Both start at once, and the model is loaded twice: minutes on a small machine that does other things.
_ROLE_PATIENCE_S = 180.0


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
    postgres = PostgresServer(data, port=postgres_port, max_connections=max_connections(settings))
    valkey = ValkeyServer(data, port=valkey_port)
    supervisor = Supervisor(
        data,
        events=EventLog(data.logs / "supervisor.log", stderr=_terminal(options)),
        url=url,
        ports={"api": port, "postgres": postgres_port, "valkey": valkey_port},
    )
    async with Gate(listener) as gate:

        async def compose() -> None:
            await _together(
                supervisor.start(postgres.spec()),
                supervisor.start(valkey.spec()),
                abandonable(lambda: _models_pulled(settings, _say(options))),
            )
            stack = stack_settings(data, postgres, valkey, settings)
            key = await _prepared(data, postgres, stack)
            env = _child_environment(stack)
            here = Path.cwd()  # relative paths in the settings are relative to where the user is
            api = ChildSpec(
                "api", _role("api"), env, folder=here, depends_on=("postgres",), door=gate, start_timeout_s=_ROLE_PATIENCE_S
            )
            worker = ChildSpec(
                "worker", _role("worker"), env, folder=here, depends_on=("postgres", "valkey"), start_timeout_s=_ROLE_PATIENCE_S
            )
            await _together(supervisor.start(api), supervisor.start(worker))
            _announce(options, data, url, key, stack)

        await supervisor.run(compose)


async def _together(*works: Coroutine[None, None, object]) -> None:
    """All of them at the same time, begun in this order. Raises what the first raised that failed; the others are cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _models_pulled(settings: Settings, say: Callable[[str], None]) -> None:
    # While PostgreSQL makes its first database, on another core.
    from memoryd.cli.preparing import pull_models

    pull_models(settings, say)


async def _prepared(data: DataDir, postgres: PostgresServer, stack: Settings) -> str:
    """Database, tables and first tenant, whose key is returned.

    PostgreSQL may die in the middle; it is started again, and every step is safe to repeat.
    """
    from memoryd.cli.preparing import prepared

    until = time.monotonic() + _PREPARE_PATIENCE_S
    while True:
        try:
            return await prepared(data, postgres, stack)
        except StoreUnavailable:
            if time.monotonic() >= until:
                raise
            await asyncio.sleep(_PREPARE_PAUSE_S)


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
