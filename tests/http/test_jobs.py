"""Jobs over HTTP: the whole application, with a worker of the test's own."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from memoryd.clock import SystemClock
from memoryd.database_wiring import database
from memoryd.errors import StoreUnavailable
from memoryd.job_wiring import open_job_work
from memoryd.jobs.model import ItemState, Job, JobItem, NewItem, NewJob, Outcome
from memoryd.jobs.ports import Control
from memoryd.jobs.work import JobWork
from memoryd.settings import Settings
from memoryd.together import Company
from retrieval.scope import Action, Scope
from tests.http.conftest import Tenant


class Gate:
    """Each item waits for the test; those named ``bad`` fail, those named ``down`` find no store."""

    def __init__(self) -> None:
        self.begun = asyncio.Semaphore(0)
        self.go = asyncio.Semaphore(0)

    async def process(self, scope: Scope, job: Job, item: JobItem, control: Control) -> Outcome:
        self.begun.release()
        await self.go.acquire()
        await control.checkpoint(chunks=3, tokens=30)
        if item.document_id == "down":
            raise StoreUnavailable("the store is away")
        if item.document_id == "bad":
            return Outcome(ItemState.FAILED, "encrypted", "it wants a password")
        return Outcome(ItemState.SUCCEEDED, chunks=3, tokens=30, size=1_000, pages=2)

    async def finished(self, scope: Scope, job: Job) -> None: ...


class OneTenant:
    def __init__(self, tenant_id: UUID) -> None:
        self._tenant_id = tenant_id

    async def tenants(self, after: UUID | None, limit: int) -> list[UUID]:
        return [] if after else [self._tenant_id]


class Bench:
    """A tenant's jobs of a kind that this test alone works on."""

    def __init__(self, app: FastAPI, tenant: Tenant, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self.tenant = tenant
        self.kind = f"kind-{uuid4()}"
        self.gate = Gate()

    async def make(self, *documents: str) -> str:
        scope = Scope(self.tenant.tenant_id, "key:x", frozenset({Action.READ, Action.WRITE}))
        items = [NewItem(one, {}) for one in documents]
        job = await self._app.state.services.jobs.use.create(scope, NewJob(self.kind, {}, items))
        return str(job.job_id)

    async def reaches(self, job_id: str, state: str) -> None:
        while True:
            if (await self.tenant.http.get(f"/v1/jobs/{job_id}")).json()["state"] == state:
                return
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[JobWork]:
        db = database(self._settings)
        await db.open()
        soon = self._settings.model_copy(update={"jobs_attempts": 1})
        tenants = OneTenant(self.tenant.tenant_id)
        async with open_job_work(soon, db, tenants, {self.kind: self.gate}, SystemClock(), company=Company()) as work:
            work.remind(self.tenant.tenant_id)
            yield work
        await db.close()

    async def post(self, path: str, status: int = 200, **fields: object) -> dict[str, Any]:
        answer = await self.tenant.http.post(path, json=fields or None)
        assert answer.status_code == status, answer.text
        said: dict[str, Any] = answer.json()
        return said


@pytest.fixture
def bench(app: FastAPI, tenant: Tenant, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(app.state.services.jobs.events, "_poll_s", 0.01)
    return Bench(app, tenant, settings)


def told(text: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Id, name and data of each event in a stream."""
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in lines:
            yield int(lines["id"]), lines["event"], json.loads(lines["data"])


async def test_a_job_from_its_beginning_to_its_end(bench: Bench) -> None:
    http, job_id = bench.tenant.http, await bench.make("one", "bad", "three")
    fresh = (await http.get(f"/v1/jobs/{job_id}")).json()
    assert (fresh["state"], fresh["kind"], fresh["counters"]["items"], fresh["eta_s"]) == ("queued", bench.kind, 3, None)
    async with asyncio.timeout(60), bench.worker():
        stream = asyncio.create_task(http.get(f"/v1/jobs/{job_id}/events"))
        for _ in range(3):
            await bench.gate.begun.acquire()
            bench.gate.go.release()
        answer = await stream
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = list(told(answer.text))
    revisions = [revision for revision, _, _ in events]
    assert revisions == sorted(set(revisions))
    states = [data["state"] for _, name, data in events if name == "state"]
    assert (states[-1], set(states) <= {"queued", "running", "partial"}) == ("partial", True)
    assert events[-1][2] == (await http.get(f"/v1/jobs/{job_id}")).json()
    done = events[-1][2]
    counters = {
        "items": 3,
        "succeeded": 2,
        "unchanged": 0,
        "failed": 1,
        "cancelled": 0,
        "chunks": 6,
        "tokens": 60,
        "bytes": 2_000,
    }
    assert done["counters"] == counters
    assert done["per_second"]["chunks"] > 0
    # Who comes back with any of the ids is told what came after it, and of the end also when it saw that.
    for seen in (revisions[0], revisions[-1]):
        again = await http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": str(seen)})
        assert [revision for revision, _, _ in told(again.text)] == [revisions[-1]]
    items = (await http.get(f"/v1/jobs/{job_id}/items", params={"limit": 2})).json()
    assert [(one["document_id"], one["state"], one["reason"]) for one in items["items"]] == [
        ("one", "succeeded", None), ("bad", "failed", "encrypted"),
    ]  # fmt: skip
    rest = (await http.get(f"/v1/jobs/{job_id}/items", params={"cursor": items["next_cursor"]})).json()
    assert ([one["item"] for one in rest["items"]], rest["next_cursor"]) == ([2], None)
    failed = (await http.get(f"/v1/jobs/{job_id}/items", params={"state": "failed"})).json()["items"]
    assert [one["detail"] for one in failed] == ["it wants a password"]
    assert [one["id"] for one in (await http.get("/v1/jobs", params={"state": "partial"})).json()["jobs"]] == [job_id]
    assert (await bench.post(f"/v1/jobs/{job_id}/retry"))["state"] == "queued"


async def test_pause_resume_cancel_and_the_states_that_do_not_allow_them(bench: Bench) -> None:
    job_id = await bench.make("one", "two", "three")
    path = f"/v1/jobs/{job_id}"
    async with asyncio.timeout(60), bench.worker() as work:
        await bench.gate.begun.acquire()
        asked = await bench.post(f"{path}/pause")
        assert (asked["state"], asked["wish"]) == ("running", "pause")
        bench.gate.go.release()
        await bench.reaches(job_id, "paused")
        assert (await bench.post(f"{path}/resume"))["state"] == "queued"
        work.remind(bench.tenant.tenant_id)
        await bench.gate.begun.acquire()
        assert (await bench.post(f"{path}/cancel"))["wish"] == "cancel"
        bench.gate.go.release()
        end = list(told((await bench.tenant.http.get(f"{path}/events")).text))[-1][2]
    assert (end["state"], end["counters"]["cancelled"]) == ("cancelled", 3)
    for command in ("pause", "resume", "retry"):
        problem = await bench.post(f"{path}/{command}", 409)
        assert (problem["code"], problem["state"]) == ("wrong_state", "cancelled")


async def test_dead_letters_are_listed_page_by_page_and_replayed(bench: Bench) -> None:
    http, job_id = bench.tenant.http, await bench.make("down", "down", "fine")
    async with asyncio.timeout(60), bench.worker() as work:
        for _ in range(3):
            bench.gate.go.release()
        await http.get(f"/v1/jobs/{job_id}/events")
        first = (await http.get("/v1/dead-letters", params={"limit": 1})).json()
        rest = (await http.get("/v1/dead-letters", params={"cursor": first["next_cursor"]})).json()
        letters = first["dead_letters"] + rest["dead_letters"]
        assert [(one["job_id"], one["item"], one["reason"]) for one in letters] == [
            (job_id, 0, "store_unavailable"), (job_id, 1, "store_unavailable"),
        ]  # fmt: skip
        done = await bench.post("/v1/dead-letters/replay", job_id=job_id, items=[1])
        assert done["replayed"] == 1
        work.remind(bench.tenant.tenant_id)
        bench.gate.go.release()
        await http.get(f"/v1/jobs/{job_id}/events")
    assert len((await http.get("/v1/dead-letters")).json()["dead_letters"]) == 2
    for number in (-1, 10_000, 3_000_000_000, 10**30):
        assert (await bench.post("/v1/dead-letters/replay", 422, job_id=job_id, items=[1, number]))["code"] == "invalid_request"
    for wrong in ("x", "eA", "MDAwMCB4"):
        answer = await http.get("/v1/dead-letters", params={"cursor": wrong})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_a_stream_of_a_waiting_job_beats_and_ends_in_time(
    bench: Bench, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = app.state.services.jobs.events
    monkeypatch.setattr(events, "_heartbeat_s", 0.05)
    monkeypatch.setattr(events, "_lifetime_s", 0.3)
    job_id = await bench.make("one")
    answer = await bench.tenant.http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "1"})
    assert (list(told(answer.text)), answer.text.count(": heartbeat") > 1) == ([], True)
    # An id that the job never had is no reason to be silent.
    answer = await bench.tenant.http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "99"})
    assert [(revision, name) for revision, name, _ in told(answer.text)] == [(1, "state")]
    monkeypatch.setattr(events._places, "_streams", 0)
    refused = await bench.tenant.http.get(f"/v1/jobs/{job_id}/events")
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
    assert not events._places._taken


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_unknown_jobs_are_not_found(tenant: Tenant, method: str) -> None:
    paths = ("", "/items", "/events") if method == "GET" else ("/cancel", "/pause", "/resume", "/retry")
    for path in paths:
        answer: httpx.Response = await tenant.http.request(method, f"/v1/jobs/{uuid4()}{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
