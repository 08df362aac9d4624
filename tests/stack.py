"""Real PostgreSQL and Valkey for a test session: the embedded servers, in a directory of their own."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from memoryd.embedded.datadir import opened
from memoryd.embedded.ports import Ports
from memoryd.embedded.postgres import PostgresServer
from memoryd.embedded.spec import ChildSpec, trampoline
from memoryd.embedded.valkey import ValkeyServer
from memoryd.stores.bootstrap import Passwords, bootstrap
from memoryd.stores.names import DATABASE

OPERATOR_KEY = "operator-key-of-the-tests"


@dataclass(frozen=True)
class Stack:
    """Where the servers are."""

    superuser_url: str
    owner_url: str
    service_url: str
    redis_url: str


@contextmanager
def running_stack() -> Iterator[Stack]:
    """Both servers, bootstrapped: roles and extension, but no tables yet."""
    # Below /tmp and not below pytest's folder: the servers' user must be able to enter, and a socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="memoryd-test-"))
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        data = stack.enter_context(opened(folder / "data"))
        ports = Ports(data.run / "ports.json")
        postgres, valkey = PostgresServer(data, port=ports.pick("postgres")), ValkeyServer(data, port=ports.pick("valkey"))
        for spec in (postgres.spec(), valkey.spec()):
            stack.enter_context(_running(spec))
        secrets = data.credentials
        bootstrap(postgres.superuser_url, Passwords(secrets.postgres_owner, secrets.postgres_service))
        yield Stack(
            superuser_url=postgres.tcp_url("postgres", secrets.postgres_superuser, DATABASE),
            owner_url=postgres.tcp_url("memoryd_owner", secrets.postgres_owner, DATABASE),
            service_url=postgres.tcp_url("memoryd_service", secrets.postgres_service, DATABASE),
            redis_url=valkey.url,
        )


@contextmanager
def _running(spec: ChildSpec) -> Iterator[None]:
    if spec.prepare is not None:
        spec.prepare()
    argv = trampoline(spec.argv, account=spec.account, folder=spec.folder, orphan_signal=spec.orphan_signal)
    process = subprocess.Popen(argv, env=dict(spec.env), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asyncio.run(_ready(spec))
        yield
    finally:
        for step in spec.stop:
            process.send_signal(step.signal)
            try:
                process.wait(step.patience_s)
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            process.kill()
            process.wait()


async def _ready(spec: ChildSpec) -> None:
    assert spec.probe is not None
    async with asyncio.timeout(60):
        while True:
            if await spec.probe():
                return
            await asyncio.sleep(0.05)
