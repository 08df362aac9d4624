"""A data team at work: a tenant's knowledge base over HTTP, and a worker as it is wired."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx

from memoryd.clock import SystemClock
from memoryd.database_wiring import database
from memoryd.generations.embedders import Embedders
from memoryd.generations.shelf import ModelShelf
from memoryd.job_wiring import open_job_work
from memoryd.jobs.work import JobWork
from memoryd.knowledge_wiring import open_job_handlers
from memoryd.models import Models
from memoryd.session_wiring import objects
from memoryd.settings import Settings
from memoryd.stores.generations import PgCatalogues
from memoryd.together import Company
from retrieval.ports import Lane
from retrieval.vectors import Vectors
from tests.http.conftest import Tenant
from tests.one_model import no_other


class Counting:
    """The worker's embedder, which counts the texts that it is given."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.texts = 0

    @property
    def card(self) -> Any:
        return self._inner.card

    async def embed_queries(self, texts: Sequence[str], *, owner: UUID | None = None) -> Vectors:
        found: Vectors = await self._inner.embed_queries(texts, owner=owner)
        return found

    async def embed_passages(self, texts: Sequence[str], *, lane: Lane = Lane.BULK, owner: UUID | None = None) -> Vectors:
        self.texts += len(texts)
        found: Vectors = await self._inner.embed_passages(texts, lane=lane, owner=owner)
        return found


class OneTenant:
    def __init__(self, tenant_id: UUID) -> None:
        self._tenant_id = tenant_id

    async def tenants(self, after: UUID | None, limit: int) -> list[UUID]:
        return [] if after else [self._tenant_id]


class Desk:
    """A data team's tenant, with a worker."""

    def __init__(self, tenant: Tenant, settings: Settings, models: Models) -> None:
        self.http = tenant.http
        self.tenant = tenant
        self.embedder = Counting(models.runtime)
        self._settings = settings
        self._models = models

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[JobWork]:
        """Works on the tenant's jobs while the context is open."""
        settings, clock = self._settings, SystemClock()
        db = database(settings)
        await db.open()
        embedders = Embedders(PgCatalogues(db), ModelShelf(self.embedder, no_other))
        tenants, company = OneTenant(self.tenant.tenant_id), Company()
        async with (
            open_job_handlers(settings, db, embedders, objects(settings), self._models, clock, company=company) as handlers,
            open_job_work(settings, db, tenants, handlers, clock, company=company) as work,
        ):
            yield work
        await db.close()

    async def make(self, **fields: object) -> None:
        """The knowledge base `handbook`."""
        answer = await self.http.post("/v1/knowledge-bases", json={"name": "handbook", **fields})
        assert answer.status_code == 201, answer.text

    async def ended(self, answer: httpx.Response) -> dict[str, Any]:
        """The job that was answered, once a worker is through with it."""
        assert answer.status_code in {200, 202}, answer.text
        job: dict[str, Any] = answer.json()
        async with self.worker() as work:
            while job["state"] in {"queued", "running"}:
                # As the sweeper does: on a busy machine something may have to be tried again.
                work.remind(self.tenant.tenant_id)
                await asyncio.sleep(0.05)
                job = (await self.http.get(f"/v1/jobs/{job['id']}")).json()
        return job

    async def ingest(self, *, publish: bool = True, remove: Sequence[str] = (), **texts: str) -> dict[str, Any]:
        """A job of these texts, by document id."""
        documents = [{"document_id": name, "text": text} for name, text in texts.items()]
        body = {"documents": documents, "remove": list(remove), "publish": publish}
        return await self.ended(await self.http.post("/v1/knowledge-bases/handbook/jobs", json=body))

    async def upload(self, *files: tuple[str, bytes] | tuple[str, bytes, str], **fields: str) -> dict[str, Any]:
        """A job of these files: their names and contents, and perhaps types."""
        sent = [("file", one) for one in files]
        answer = await self.http.post("/v1/knowledge-bases/handbook/documents", files=sent, data=fields)
        return await self.ended(answer)

    async def get(self, path: str = "", **params: str | int) -> dict[str, Any]:
        """What a path below the knowledge base answers."""
        answer = await self.http.get(f"/v1/knowledge-bases/handbook{path}", params=params)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def post(self, path: str, status: int, **fields: object) -> dict[str, Any]:
        """The same for a change."""
        answer = await self.http.post(f"/v1/knowledge-bases/handbook{path}", json=fields)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def documents(self, **params: str) -> list[str]:
        return [one["document_id"] for one in (await self.get("/documents", **params))["documents"]]

    async def outcomes(self, job: dict[str, Any]) -> dict[str, str | None]:
        """By document, the reason, or the state where there is none."""
        items = (await self.http.get(f"/v1/jobs/{job['id']}/items", params={"limit": 100})).json()["items"]
        return {one["document_id"]: one["reason"] or one["state"] for one in items}

    async def found(self, query: str, **fields: object) -> list[dict[str, Any]]:
        hits: list[dict[str, Any]] = (await self.post("/search", 200, query=query, **fields))["hits"]
        return hits
