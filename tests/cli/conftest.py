"""The commands against a small service on a port of this machine."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from click.testing import CliRunner, Result

from memoryd.cli.main import cli
from tests.client.service import Service

Message = dict[str, Any]


@contextmanager
def served(service: Service) -> Iterator[str]:
    """Its URL."""

    async def application(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        url = f"http://memoryd.test{scope['raw_path'].decode()}?{scope['query_string'].decode()}"
        answer = service.transport().handle_request(httpx.Request(scope["method"], url, headers=scope["headers"], content=body))
        await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.headers.raw})
        await send({"type": "http.response.body", "body": answer.read()})

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application, lifespan="off", log_config=None, access_log=False))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    with served(service) as address:
        yield address


Command = Callable[..., Result]


@pytest.fixture
def command(url: str) -> Command:
    """``memoryd …`` with this service in the environment."""

    def run(*arguments: str | Path, **environment: str | None) -> Result:
        env = {"MEMORYD_URL": url, "MEMORYD_API_KEY": "mdk_key", **environment}
        return CliRunner().invoke(cli, [str(one) for one in arguments], env=env, catch_exceptions=False)

    return run


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "readme.md").write_text("# Read me")
    (folder / "leave.md").write_text("# Leave")
    return folder
