"""Jobs: what they are told, and events that survive a broken line."""

import json
from uuid import UUID

import httpx
import pytest

from memoryd.client import Conflict, Job, UnexpectedAnswer, Unreachable, WaitedTooLong
from tests.client.conftest import Side
from tests.client.service import STREAM, Pieces, Service, event, job, problem

ID = UUID(int=1)
RETRY = b"retry: 0\n\n"


def stream(*pieces: bytes | Exception) -> httpx.Response:
    """An answer that is read while it comes."""
    return httpx.Response(200, stream=Pieces(RETRY, *pieces), headers=STREAM)


def test_events_go_on_where_the_stream_broke_off(side: Side, service: Service) -> None:
    second = event("progress", job("running", revision=3, succeeded=1))
    service.answers = [
        stream(event("state", job("running", revision=2)), second[:30], httpx.ReadError("cut")),
        httpx.ConnectError("restarting"),
        stream(second, b": heartbeat\n\n"),
        stream(event("state", job("succeeded", revision=4, succeeded=2))),
    ]
    found = side.items(side.jobs.events(ID))
    assert [(one.kind, one.job.revision) for one in found] == [("state", 2), ("progress", 3), ("state", 4)]
    assert [one.headers.get("last-event-id") for one in service.asked] == [None, "2", "2", "3"]
    assert all(one.url.path == f"/v1/jobs/{ID}/events" for one in service.asked)


def test_events_after_a_revision(side: Side, service: Service) -> None:
    service.answers = [stream(event("state", job("cancelled", revision=9)))]
    side.items(side.jobs.events(ID, after=7))
    assert service.asked[0].headers["last-event-id"] == "7"


def test_a_line_that_only_breaks_is_given_up(side: Side, service: Service) -> None:
    service.answers = [stream(httpx.ReadError("cut")) for _ in range(10)]
    with pytest.raises(Unreachable, match="cut"):
        side.items(side.jobs.events(ID))
    assert len(service.asked) == 6


def test_a_line_that_was_silent_and_alive_is_taken_up_as_often_as_it_breaks(side: Side, service: Service) -> None:
    service.answers = [stream(b": heartbeat\n\n", httpx.ReadError("cut")) for _ in range(10)]
    service.answers.append(stream(event("state", job("succeeded", revision=4))))
    assert [one.job.revision for one in side.items(side.jobs.events(ID))] == [4]


def test_a_page_is_no_stream(side: Side, service: Service) -> None:
    service.answers = [httpx.Response(200, text="<html>Log in</html>") for _ in range(3)]
    with pytest.raises(UnexpectedAnswer, match="stream"):
        side.value(side.jobs.wait(ID))
    assert len(service.asked) == 1


def test_wait_tells_every_step(side: Side, service: Service) -> None:
    service.answers = [
        stream(event("state", job("running", revision=2)), event("progress", job("running", revision=3, failed=1))),
        stream(event("state", job("partial", revision=4, failed=1, succeeded=1))),
    ]
    told: list[Job] = []
    ended = side.value(side.jobs.wait(ID, on_change=told.append))
    assert ended.state == "partial"
    assert ended.final
    assert ended.counters.ended == 2
    assert [one.revision for one in told] == [2, 3, 4]


def test_wait_asks_again_and_again_where_there_is_no_stream_to_spare(side: Side, service: Service) -> None:
    busy = [problem(429, "too_many_streams", **{"Retry-After": "0"}) for _ in range(6)]
    service.answers = [*busy, httpx.Response(200, json=job("succeeded", revision=8))]
    told: list[Job] = []
    assert side.value(side.jobs.wait(ID, on_change=told.append)).state == "succeeded"
    assert [one.revision for one in told] == [8]


def test_wait_for_so_long(side: Side, service: Service) -> None:
    service.answers = [httpx.Response(200, json=job("running"))]
    with pytest.raises(WaitedTooLong, match="running"):
        side.value(side.jobs.wait(ID, timeout_s=0))


@pytest.mark.parametrize("command", ["cancel", "pause", "resume", "retry"])
def test_commands(side: Side, service: Service, command: str) -> None:
    service.answers = [httpx.Response(200, json=job("running") | {"wish": "pause"})]
    told = side.value(getattr(side.jobs, command)(ID))
    assert told.wish == "pause"
    assert service.asked[0].url.path == f"/v1/jobs/{ID}/{command}"
    assert service.asked[0].headers["idempotency-key"]
    service.answers = [problem(409, "wrong_state")]
    with pytest.raises(Conflict):
        side.value(getattr(side.jobs, command)(ID))


def test_dead_letters_are_listed_and_replayed(side: Side, service: Service) -> None:
    item = {"item": 3, "document_id": "a", "state": "failed", "attempts": 8, "reason": "timeout", "detail": "x", "dead": True}
    letter = item | {"chunks": 0, "tokens": 0, "bytes": 9, "job_id": str(ID), "kind": "ingest"}
    pages = [{"dead_letters": [letter], "next_cursor": "c"}, {"dead_letters": [letter | {"item": 4}], "next_cursor": None}]
    service.answers = [httpx.Response(200, json=page) for page in pages]
    assert [(one.job_id, one.item) for one in side.items(side.jobs.dead_letters())] == [(ID, 3), (ID, 4)]
    assert [one.url.path for one in service.asked] == ["/v1/dead-letters"] * 2
    for items in (None, [3]):
        service.answers = [httpx.Response(200, json={"replayed": 1, "job": job("queued")})]
        done = side.value(side.jobs.replay(ID, items=items))
        assert (done.replayed, done.job.state) == (1, "queued")
        sent = service.asked[-1]
        assert (sent.url.path, json.loads(sent.content)) == ("/v1/dead-letters/replay", {"job_id": str(ID), "items": items})
        assert sent.headers["idempotency-key"]


def test_items_and_lists_are_filtered_by_the_service(side: Side, service: Service) -> None:
    item = {"item": 3, "document_id": "a", "state": "failed", "attempts": 1, "reason": "encrypted", "detail": "x", "dead": False}
    page = {"items": [item | {"chunks": 0, "tokens": 0, "bytes": 9}], "next_cursor": None}
    service.answers = [httpx.Response(200, json=page), httpx.Response(200, json={"jobs": [job()], "next_cursor": None})]
    assert [one.reason for one in side.items(side.jobs.items(ID, state="failed"))] == ["encrypted"]
    assert len(side.items(side.jobs.list(state="running", kb_id=ID))) == 1
    assert dict(service.asked[0].url.params) == {"state": "failed", "limit": "200"}
    assert dict(service.asked[1].url.params) == {"state": "running", "kb_id": str(ID), "limit": "200"}
