"""A small service that speaks the documented shapes, behind httpx's mock transport: what it is asked is kept to be looked at."""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx

NOW = "2026-11-21T12:00:00+00:00"
Handler = Callable[[httpx.Request], httpx.Response]


def problem(status: int, code: str, detail: str = "because", **headers: str) -> httpx.Response:
    """An RFC 9457 problem."""
    body = {"type": f"https://memoryd.dev/errors/{code}", "title": code, "status": status, "code": code, "detail": detail}
    return httpx.Response(status, json=body | {"request_id": "r-1"}, headers=headers)


def base(name: str = "handbook", **fields: object) -> dict[str, Any]:
    """A knowledge base."""
    return {
        "id": str(UUID(int=1)),
        "name": name,
        "space": "default",
        "description": None,
        "chunking": {"strategy": "structural", "max_tokens": 384, "overlap_tokens": 32},
        "retain": None,
        "live": None,
        "newest": 0,
        "created_at": NOW,
        "updated_at": NOW,
        "of_a_later_service": True,
        **fields,
    }


def version(number: int, **fields: object) -> dict[str, Any]:
    """A version."""
    counts = {"documents": 1, "chunks": 2, "tokens": 3}
    made = {"version": number, "state": "published", "live": True, "tags": [], "base": number - 1, **counts}
    rest = {"manifest": None, "note": None, "created_at": NOW, "published_at": NOW, "published_by": "key"}
    return made | rest | fields


def job(state: str = "queued", *, revision: int = 1, number: int = 1, items: int = 2, **counters: int) -> dict[str, Any]:
    """A job."""
    names = ("succeeded", "unchanged", "failed", "cancelled", "chunks", "tokens", "bytes")
    return {
        "id": str(UUID(int=number)),
        "kind": "ingest",
        "kb": "handbook",
        "state": state,
        "revision": revision,
        "counters": dict.fromkeys(names, 0) | {"items": items} | counters,
        "per_second": {"chunks": 2.5},
        "created_by": "key",
        "created_at": NOW,
        "updated_at": NOW,
    }


def event(kind: str, body: dict[str, Any]) -> bytes:
    """A server-sent event that carries a job."""
    return f"id: {body['revision']}\nevent: {kind}\ndata: {json.dumps(body)}\n\n".encode()


STREAM = {"Content-Type": "text/event-stream; charset=utf-8"}


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces; an exception among them breaks it off."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


@dataclass
class Service:
    """``answers`` are given first, one a request; then the knowledge base answers."""

    answers: list[httpx.Response | Exception] = field(default_factory=list)
    asked: list[httpx.Request] = field(default_factory=list)
    staged: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    versions: int = 0
    most_bytes: int = 10**9

    def transport(self) -> httpx.MockTransport:
        """For either client."""
        return httpx.MockTransport(self._answer)

    def of(self, method: str, path: str) -> list[httpx.Request]:
        """Requests whose path matches."""
        return [one for one in self.asked if one.method == method and re.fullmatch(path, one.url.path)]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        path = request.url.path.removeprefix("/v1/knowledge-bases/handbook")
        known: dict[tuple[str, str], Handler] = {
            ("GET", ""): lambda _: httpx.Response(200, json=base(live=self.versions or None, newest=self.versions)),
            ("GET", "/versions"): self._versions,
            ("GET", "/documents"): self._documents,
            ("GET", "/diff"): self._diff,
            ("POST", "/compare"): self._compare,
            ("POST", "/uploads"): self._upload,
            ("POST", "/jobs"): self._ingest,
            ("POST", "/publish"): self._publish,
        }
        handler = known.get((request.method, path))
        if handler is not None:
            return handler(request)
        if match := re.fullmatch(r"/v1/jobs/([0-9a-f-]+)/events", request.url.path):
            made = next(one for one in self.jobs if one["id"] == match[1])
            return httpx.Response(200, content=event("state", made), headers=STREAM)
        return problem(404, "not_found")

    def _versions(self, request: httpx.Request) -> httpx.Response:
        shown = [version(self.versions)] if self.versions else []
        if self.jobs and not self.versions:
            shown.insert(0, version(1, state="draft", live=False, base=None))
        return httpx.Response(200, json={"versions": shown, "next_cursor": None})

    def _documents(self, request: httpx.Request) -> httpx.Response:
        shown = [
            {"document_id": one, "sha256": digest, "metadata": {}, "bytes": 1, "characters": 1, "chunks": 1, "tokens": 1}
            | {"warnings": [], "since": 1, "stored_at": NOW, "title": None, "media_type": None, "uri": None, "pages": None}
            for one, digest in self.staged.items()
        ]
        return httpx.Response(200, json={"version": self.versions, "documents": shown, "next_cursor": None})

    def _diff(self, request: httpx.Request) -> httpx.Response:
        counts = {"added": len(self.staged), "removed": 0, "changed": 0, "unchanged": 0}
        changes = [{"document_id": one, "change": "added", "chunks_added": 1, "chunks_removed": 0} for one in self.staged]
        body = {"before": 0, "after": 1, "documents": counts, "chunks": counts, "changes": changes, "next_cursor": None}
        return httpx.Response(200, json=body)

    def _compare(self, request: httpx.Request) -> httpx.Response:
        given = json.loads(request.content)["documents"]
        sorted_ = {
            "unchanged": [one for one, digest in given.items() if self.staged.get(one) == digest],
            "changed": [one for one, digest in given.items() if self.staged.get(one, digest) != digest],
            "new": [one for one in given if one not in self.staged],
        }
        return httpx.Response(200, json=sorted_)

    def _upload(self, request: httpx.Request) -> httpx.Response:
        files = parts(request)
        if sum(map(len, files)) > self.most_bytes:
            return problem(413, "payload_too_large")
        kept = []
        for content in files:
            digest = hashlib.sha256(content).hexdigest()
            self.uploads[digest] = content
            kept.append({"upload": digest, "file_name": None, "bytes": len(content)})
        return httpx.Response(201, json={"uploads": kept})

    def _ingest(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        for one in body["documents"]:
            assert one["upload"] in self.uploads
            self.staged[one["document_id"]] = one["upload"]
        for one in body["remove"]:
            del self.staged[one]
        count = len(body["documents"]) + len(body["remove"])
        self.jobs.append(job("succeeded", number=len(self.jobs) + 1, items=count, succeeded=count))
        self.versions += body["publish"]
        return httpx.Response(202, json=self.jobs[-1] | {"state": "queued"})

    def _publish(self, request: httpx.Request) -> httpx.Response:
        self.versions += 1
        return httpx.Response(201, json=version(self.versions))


def parts(request: httpx.Request) -> list[bytes]:
    """The files of a form."""
    boundary = b"--" + request.headers["content-type"].partition("boundary=")[2].encode()
    return [one.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for one in request.content.split(boundary)[1:-1]]
