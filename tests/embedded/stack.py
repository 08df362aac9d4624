"""The whole stack in a process of its own, for tests that kill it: ``python -m tests.embedded.stack <data dir>``."""

import asyncio
import json
import os
import sys
from pathlib import Path

from memoryd.embedded.datadir import DataDir, opened
from memoryd.embedded.errors import EmbeddedError
from memoryd.embedded.gate import Gate
from memoryd.embedded.log import EventLog
from memoryd.embedded.ports import Ports, listen
from memoryd.embedded.postgres import PostgresServer
from memoryd.embedded.spec import ChildSpec
from memoryd.embedded.supervisor import Supervisor
from memoryd.embedded.valkey import ValkeyServer


async def serve(data: DataDir, *, with_api: bool = True) -> None:
    """As ``memoryd up`` does, without migrations. Prints one line when ready."""
    ports = Ports(data.run / "ports.json")
    postgres = PostgresServer(data, port=ports.pick("postgres"))
    valkey = ValkeyServer(data, port=ports.pick("valkey"))
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with Gate(listener) as gate:
        events = EventLog(data.logs / "supervisor.log", stderr=sys.stderr)
        supervisor = Supervisor(data, events=events, url=url)
        api = ChildSpec(
            "api",
            (sys.executable, "-m", "tests.embedded.app"),
            env=dict(os.environ),
            folder=Path.cwd(),
            depends_on=("postgres", "valkey"),
            door=gate,
        )

        async def compose() -> None:
            await supervisor.start(postgres.spec())
            await supervisor.start(valkey.spec())
            if with_api:
                await supervisor.start(api)
            said = {"url": url, "pid": os.getpid(), "postgres": postgres.superuser_url, "valkey": valkey.url}
            print(json.dumps(said), flush=True)

        await supervisor.run(compose)


if __name__ == "__main__":
    try:
        with opened(Path(sys.argv[1])) as opened_data:
            asyncio.run(serve(opened_data))
    except EmbeddedError as error:
        sys.exit(f"{error.code}: {error}")
