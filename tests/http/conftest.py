"""The whole application over real stores and a real model, called in-process."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from memoryd.database_wiring import database as service_database
from memoryd.http.app import create_app
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.wiring import open_services
from tests.stack import OPERATOR_KEY

TURNS = [
    ("Caroline", "I went to a support group yesterday and it was powerful.", "2023-05-08T13:56:00Z", "s1"),
    ("Melanie", "That sounds great! What did you talk about?", "2023-05-08T13:56:00Z", "s1"),
    ("Caroline", "Courage, mostly, and how to tell family.", "2023-05-08T13:56:00Z", "s1"),
    ("Melanie", "I painted a sunrise over the lake last year.", "2023-05-08T13:56:00Z", "s1"),
    ("Caroline", "My pottery class starts in June, on Thursdays.", "2023-06-02T09:00:00Z", "s2"),
    ("Melanie", "I ran a charity race for mental health.", "2023-06-02T09:00:00Z", "s2"),
    ("Caroline", "We adopted a greyhound called Biscuit.", "2023-07-15T18:30:00Z", "s3"),
    ("Melanie", "Biscuit is a lovely name for a dog.", "2023-07-15T18:30:00Z", "s3"),
]


@dataclass(frozen=True)
class Tenant:
    """A tenant with a client that carries its key."""

    tenant_id: UUID
    name: str
    key: str
    http: httpx.AsyncClient

    async def remember(self, *texts: str, **fields: object) -> list[str]:
        """Ids of new memories with these texts."""
        body = {"memories": [{"text": text, **fields} for text in texts]}
        answer = await self.http.post("/v1/memories", json=body)
        assert answer.status_code == 201, answer.text
        return [one["id"] for one in answer.json()["results"]]

    async def recall(self, query: str, **fields: object) -> dict[str, Any]:
        """The answer to a recall."""
        answer = await self.http.post("/v1/recall", json={"query": query, **fields})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def texts(self, query: str, **fields: object) -> list[str]:
        """The texts found."""
        return [hit["text"] for hit in (await self.recall(query, **fields))["hits"]]


@pytest.fixture(scope="module")
async def database(settings: Settings) -> AsyncIterator[Database]:
    """For what a test writes beside the application."""
    opened = service_database(settings)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    app = create_app(
        lambda: open_services(settings), max_body_bytes=settings.max_body_bytes, request_timeout_s=settings.request_timeout_s
    )
    async with app.router.lifespan_context(app):
        yield app


def client(app: FastAPI, key: str | None) -> httpx.AsyncClient:
    """A client of ``app``; an exception that escapes the application fails the test."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://memoryd.test", headers=headers, timeout=60)


@pytest.fixture(scope="session")
async def operator(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app, OPERATOR_KEY) as http:
        yield http


@pytest.fixture(scope="session")
async def anonymous(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app, None) as http:
        yield http


async def new_tenant(app: FastAPI, operator: httpx.AsyncClient, name: str) -> Tenant:
    answer = await operator.post("/v1/admin/tenants", json={"name": f"{name}-{uuid4().hex[:8]}"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    return Tenant(UUID(made["id"]), made["name"], made["key"]["key"], client(app, made["key"]["key"]))


@pytest.fixture
async def tenant(app: FastAPI, operator: httpx.AsyncClient) -> AsyncIterator[Tenant]:
    made = await new_tenant(app, operator, "a")
    async with made.http:
        yield made


@pytest.fixture
async def other(app: FastAPI, operator: httpx.AsyncClient) -> AsyncIterator[Tenant]:
    made = await new_tenant(app, operator, "b")
    async with made.http:
        yield made


@pytest.fixture
async def talk(tenant: Tenant) -> Tenant:
    for session in ("s1", "s2", "s3"):
        messages = [{"name": name, "content": text, "event_time": time} for name, text, time, of in TURNS if of == session]
        body = {"messages": messages, "session_id": session, "user_id": "caroline" if session != "s2" else "melanie"}
        assert (await tenant.http.post("/v1/memories", json=body)).status_code == 201
    return tenant
