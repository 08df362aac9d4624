"""A server that stops while somebody listens to events."""

import asyncio
import logging
import socket
from functools import partial
from uuid import uuid4

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from memoryd.cli.serve import Server
from memoryd.http.app import end_streams
from memoryd.jobs.model import NewItem, NewJob
from memoryd.sessions.events import Places
from retrieval.scope import Action, Scope
from tests.http.conftest import Tenant
from tests.http.talking import append, user


async def test_who_listens_does_not_hold_up_a_stop(
    app: FastAPI, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    services = app.state.services
    for events in (services.jobs.events, services.sessions.events):
        monkeypatch.setattr(events, "_places", Places(4))  # the others go on
    await append(tenant, "s", user("one"))
    scope = Scope(tenant.tenant_id, "key:x", frozenset({Action.READ, Action.WRITE}))
    job = await services.jobs.use.create(scope, NewJob(f"kind-{uuid4()}", {}, [NewItem("a", {})]))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=20)
    server = Server(config, partial(end_streams, app))
    serving = asyncio.ensure_future(server.serve([listener]))
    url, headers = f"http://127.0.0.1:{listener.getsockname()[1]}", {"Authorization": f"Bearer {tenant.key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
        begun = asyncio.Semaphore(0)

        async def listen(path: str) -> None:
            async with http.stream("GET", path) as answer:
                assert answer.status_code == 200
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        begun.release()

        streams = [
            asyncio.ensure_future(listen(one)) for one in (f"/v1/jobs/{job.job_id}/events", "/v1/sessions/s/events?after=0")
        ]
        async with asyncio.timeout(15):
            for _ in streams:
                await begun.acquire()
            server.should_exit = True
            await asyncio.gather(serving, *streams)
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []
