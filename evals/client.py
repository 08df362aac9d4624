"""The parts of the REST API that are measured, over real HTTP. Waits when asked to (429 and 503)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar
from uuid import UUID

import httpx
from pydantic import BaseModel, ConfigDict, JsonValue

MAX_BATCH = 500
ALL_ARMS = ("dense", "lexical", "temporal")
_WAITABLE = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
_ATTEMPTS = 20
_LONGEST_WAIT_S = 30.0

Body = Mapping[str, JsonValue]


class ApiError(Exception):
    """The service refused a call: its status and problem document are in the message."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Written(_Answer):
    """What became of one memory."""

    id: str
    external_id: str | None = None
    status: str


class WriteAnswer(_Answer):
    """Results in the order of the memories sent."""

    results: list[Written]


class Hit(_Answer):
    """One recalled memory."""

    id: str
    external_id: str | None = None
    text: str
    score: float


class RecallAnswer(_Answer):
    """Hits, best first; stages as the service timed them; how many hits the reranker read."""

    hits: list[Hit]
    degraded: list[str] = []
    timings_ms: dict[str, float] = {}
    reranked: int = 0


class Shown(_Answer):
    """One item of a context; ``merged`` are the ids of memories shown inside this one."""

    id: str
    rendition: str
    tokens: int
    merged: list[str] = []


class ContextAnswer(_Answer):
    """A packed context and its manifest."""

    text: str
    used_tokens: int
    items: list[Shown]
    degraded: list[str] = []


class JobCounters(_Answer):
    """What became of a job's documents."""

    chunks: int
    failed: int
    unchanged: int


class JobAnswer(_Answer):
    """A job as it stands."""

    id: str
    state: str
    counters: JobCounters
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing happens any more."""
        return self.state not in {"queued", "running", "paused"}


class ChunkText(_Answer):
    """What was embedded of a chunk: its prefix and its text."""

    prefix: str
    text: str


class ChunkTexts(_Answer):
    """Chunks of a document, in order."""

    chunks: list[ChunkText]
    next_cursor: str | None = None


class NewKey(_Answer):
    """A key, shown once."""

    key: str


class TenantAnswer(_Answer):
    """A new tenant with its first key."""

    id: UUID
    key: NewKey


class Space(_Answer):
    """A memory bank."""

    id: UUID
    name: str


class SpacePage(_Answer):
    """Spaces by name."""

    spaces: list[Space]
    next_cursor: str | None = None


Answer = TypeVar("Answer", bound=_Answer)


@dataclass(frozen=True, slots=True)
class Recall:
    """A recall or context request. Nothing that changes the ranking is left to the service's defaults."""

    query: str
    space: str
    limit: int = 10
    arms: tuple[str, ...] = ALL_ARMS
    fusion: str = "convex"
    rerank: str = "off"
    filters: Body | None = None

    def body(self) -> dict[str, JsonValue]:
        """As the API takes it."""
        body: dict[str, JsonValue] = {
            "query": self.query,
            "spaces": [self.space],
            "limit": self.limit,
            "arms": list(self.arms),
            "fusion": self.fusion,
            "rerank": self.rerank,
        }
        if self.filters is not None:
            body["filters"] = dict(self.filters)
        return body


class Client:
    """One key's view of a memoryd. Use as an async context manager; share ``pool`` between many keys."""

    def __init__(self, url: str, key: str, *, pool: httpx.AsyncClient | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"}
        self._owned = pool is None
        self._http = pool or open_pool()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._owned:
            await self._http.aclose()

    async def create_space(self, name: str) -> None:
        """Makes a space; one that is there already is left as it is."""
        await self._post("/v1/spaces", {"name": name}, accept=(httpx.codes.CONFLICT,))

    async def space_id(self, name: str) -> UUID:
        """The id behind a space's name. Raises :class:`ApiError` when there is none."""
        cursor: str | None = None
        while True:
            page = _parse(SpacePage, await self._get("/v1/spaces", {"cursor": cursor} if cursor else {}))
            for space in page.spaces:
                if space.name == name:
                    return space.id
            cursor = page.next_cursor
            if cursor is None:
                raise ApiError(f"no space named {name!r}")

    async def create_tenant(self, name: str) -> TenantAnswer:
        """A new tenant. Needs an operator key."""
        return _parse(TenantAnswer, await self._post("/v1/admin/tenants", {"name": name}))

    async def write(self, memories: Sequence[Body]) -> list[Written]:
        """Writes up to :data:`MAX_BATCH` memories in one request."""
        answer = await self._post("/v1/memories", {"memories": [dict(memory) for memory in memories]})
        return _parse(WriteAnswer, answer).results

    async def write_all(self, memories: Sequence[Body]) -> list[Written]:
        """Writes any number, batch after batch."""
        written: list[Written] = []
        for start in range(0, len(memories), MAX_BATCH):
            written += await self.write(memories[start : start + MAX_BATCH])
        return written

    async def recall(self, request: Recall) -> RecallAnswer:
        """``POST /v1/recall``."""
        return _parse(RecallAnswer, await self._post("/v1/recall", request.body()))

    async def context(self, request: Recall, *, budget_tokens: int, tokenizer: str) -> ContextAnswer:
        """``POST /v1/context``."""
        body = request.body() | {"budget_tokens": budget_tokens, "tokenizer": tokenizer}
        return _parse(ContextAnswer, await self._post("/v1/context", body))

    async def create_base(self, name: str) -> None:
        """Makes a knowledge base."""
        await self._post("/v1/knowledge-bases", {"name": name})

    async def ingest(self, name: str, documents: Sequence[Body], *, publish: bool) -> JobAnswer:
        """Orders a job."""
        body: dict[str, JsonValue] = {"documents": [dict(one) for one in documents], "publish": publish}
        return _parse(JobAnswer, await self._post(f"/v1/knowledge-bases/{name}/jobs", body))

    async def job(self, job_id: str) -> JobAnswer:
        """How a job stands."""
        return _parse(JobAnswer, await self._get(f"/v1/jobs/{job_id}", {}))

    async def cancel_job(self, job_id: str) -> None:
        """Ends a job; one that has ended is left as it is."""
        await self._post(f"/v1/jobs/{job_id}/cancel", {}, accept=(httpx.codes.CONFLICT,))

    async def chunk_texts(self, name: str, documents: Sequence[str]) -> dict[str, list[str]]:
        """Of the live version, what was embedded of each document."""
        found: dict[str, list[str]] = {}
        for document in documents:
            cursor: str | None = ""
            while cursor is not None:
                params = {"document_id": document, "limit": "200"} | ({"cursor": cursor} if cursor else {})
                page = _parse(ChunkTexts, await self._get(f"/v1/knowledge-bases/{name}/chunks", params))
                found.setdefault(document, []).extend(one.prefix + one.text for one in page.chunks)
                cursor = page.next_cursor
        return found

    async def search_base(self, name: str, query: str, *, arms: Sequence[str], limit: int) -> RecallAnswer:
        """``POST /v1/knowledge-bases/{name}/search``."""
        body: dict[str, JsonValue] = {"query": query, "limit": limit, "arms": list(arms), "rerank": "off", "fusion": "convex"}
        return _parse(RecallAnswer, await self._post(f"/v1/knowledge-bases/{name}/search", body))

    async def post(self, path: str, body: Body, headers: Mapping[str, str]) -> bytes:
        """A request that is not of the REST API, with headers of its own."""
        request = self._http.build_request("POST", self._url + path, json=body, headers={**self._headers, **headers})
        return (await self._send(request, ())).content

    async def _post(self, path: str, body: Body, *, accept: tuple[int, ...] = ()) -> httpx.Response:
        return await self._send(self._http.build_request("POST", self._url + path, json=body, headers=self._headers), accept)

    async def _get(self, path: str, params: Mapping[str, str]) -> httpx.Response:
        return await self._send(self._http.build_request("GET", self._url + path, params=params, headers=self._headers), ())

    async def _send(self, request: httpx.Request, accept: tuple[int, ...]) -> httpx.Response:
        for _ in range(_ATTEMPTS):
            response = await self._http.send(request)
            if response.status_code not in _WAITABLE:
                break
            await asyncio.sleep(retry_after(response))
        if response.is_error and response.status_code not in accept:
            raise ApiError(f"{request.method} {request.url.path}: {response.status_code} {response.text[:500]}")
        return response


def open_pool() -> httpx.AsyncClient:
    """A connection pool patient enough for a bulk write on a small machine."""
    return httpx.AsyncClient(timeout=httpx.Timeout(300.0, connect=5.0))


def retry_after(response: httpx.Response) -> float:
    """Seconds to wait: ``Retry-After`` where it is a number, else one, and never more than thirty."""
    try:
        seconds = float(response.headers.get("Retry-After", "1"))
    except ValueError:
        seconds = 1.0
    return min(max(seconds, 0.0), _LONGEST_WAIT_S)


def _parse(model: type[Answer], response: httpx.Response) -> Answer:
    return model.model_validate_json(response.content)
