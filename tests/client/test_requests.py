"""One request and what can become of it: retries, keys, problems, paths, pages."""

import json
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from memoryd.client import (
    Conflict,
    Forbidden,
    Gone,
    InvalidRequest,
    Memoryd,
    MemorydProblem,
    NotFound,
    Retries,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from memoryd.client.errors import LASTING
from memoryd.client.retries import worth_another
from memoryd.client.steps import Answer, Lost
from tests.client.conftest import Side
from tests.client.service import STREAM, Pieces, Service, base, event, job, problem, version


def test_a_write_is_sent_again_under_the_same_key(side: Side, service: Service) -> None:
    service.answers = [
        httpx.ConnectError("down"),
        problem(503, "store_unavailable", **{"Retry-After": "0"}),
        httpx.Response(201, json=base()),
    ]
    assert side.value(side.knowledge.create("handbook")).name == "handbook"
    keys = [one.headers["idempotency-key"] for one in service.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    service.answers = [httpx.Response(201, json=base())]
    side.value(side.knowledge.create("handbook"))
    assert service.asked[-1].headers["idempotency-key"] != keys[0]


def test_a_key_of_the_callers_own(side: Side, service: Service) -> None:
    service.answers = [httpx.Response(201, json=version(1))]
    side.value(side.knowledge.publish("handbook", note="first", key="mine"))
    assert service.asked[-1].headers["idempotency-key"] == "mine"
    assert json.loads(service.asked[-1].content) == {"note": "first"}


def test_every_request_has_the_credential(side: Side, service: Service) -> None:
    side.value(side.knowledge.get("handbook"))
    assert service.asked[-1].headers["authorization"] == "Bearer mdk_key"


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "malformed_body", InvalidRequest),
        (401, "unauthenticated", Unauthenticated),
        (403, "forbidden", Forbidden),
        (404, "not_found", NotFound),
        (409, "already_exists", Conflict),
        (410, "version_gone", Gone),
        (412, "precondition_failed", Conflict),
        (413, "payload_too_large", InvalidRequest),
        (422, "invalid_request", InvalidRequest),
        (429, "inference_overloaded", Unavailable),
        (500, "internal", Unavailable),
        (503, "store_unavailable", Unavailable),
    ],
)
def test_problems_are_exceptions(side: Side, service: Service, status: int, code: str, kind: type[MemorydProblem]) -> None:
    service.answers = [problem(status, code, "the reason") for _ in range(6)]
    with pytest.raises(kind) as caught:
        side.value(side.knowledge.get("handbook"))
    error = caught.value
    assert (error.status, error.code, error.detail, error.request_id) == (status, code, "the reason", "r-1")
    assert str(error) == f"the reason [{code}]"
    # What is no use to repeat is asked once.
    assert len(service.asked) == (6 if status in {429, 503} else 1)


@pytest.mark.parametrize("code", sorted(LASTING))
def test_what_does_not_pass_by_waiting_is_told_at_once(side: Side, service: Service, code: str) -> None:
    service.answers = [problem(503, code, **{"Retry-After": "30"})]
    with pytest.raises(Unavailable):
        side.value(side.knowledge.get("handbook"))
    assert len(service.asked) == 1


def test_a_timeout_of_the_callers_own(service: Service) -> None:
    """Of both clients; what has a time of its own keeps it."""
    with pytest.raises(ValueError, match="timeout_s"):
        Memoryd("http://memoryd.test", "key", timeout_s=0)
    for blocking in (True, False):
        side = Side(service, blocking=blocking, timeout_s=3.0)
        side.value(side.knowledge.get("handbook"))
        assert service.asked[-1].extensions["timeout"] == {"connect": 3.0, "read": 3.0, "write": 60.0, "pool": 60.0}
        service.answers = [httpx.Response(200, content=event("state", job("succeeded")), headers=STREAM)]
        side.items(side.jobs.events(UUID(int=1)))
        assert service.asked[-1].extensions["timeout"]["read"] == 60.0
        side.close()


def test_faults_of_fields(side: Side, service: Service) -> None:
    answer = {"status": 422, "code": "invalid_request", "detail": "x", "errors": [{"field": "name", "message": "too long"}]}
    service.answers = [httpx.Response(422, json=answer)]
    with pytest.raises(InvalidRequest) as caught:
        side.value(side.knowledge.create("handbook"))
    assert [(one.field, one.message) for one in caught.value.faults] == [("name", "too long")]


def test_a_conflict_that_will_be_over_is_waited_for(side: Side, service: Service) -> None:
    service.answers = [problem(409, "conflict", **{"Retry-After": "0"}), httpx.Response(201, json=base())]
    side.value(side.knowledge.create("handbook"))
    assert len(service.asked) == 2


def _running(times: int) -> list[httpx.Response | Exception]:
    return [problem(409, "idempotency_in_progress", **{"Retry-After": "0"}) for _ in range(times)]


def test_that_an_earlier_attempt_is_at_work_is_no_attempt(side: Side, service: Service) -> None:
    lost = [httpx.ReadTimeout("no answer") for _ in range(5)]
    service.answers = [*lost, *_running(10), httpx.Response(201, json=version(1))]
    assert side.value(side.knowledge.publish("handbook")).version == 1
    assert len({one.headers["idempotency-key"] for one in service.asked}) == 1


def test_an_earlier_attempt_is_waited_for_as_long_as_it_may_last(service: Service) -> None:
    for retries, asked in ((Retries(attempts=3, first_s=0.0, running_s=5.0), 5 + 3), (Retries(attempts=1), 1)):
        service.asked, service.answers = [], _running(20)
        side = Side(service, blocking=True, retries=retries)
        with pytest.raises(Conflict, match="idempotency_in_progress"):
            side.value(side.knowledge.publish("handbook"))
        assert len(service.asked) == asked
        side.close()


def test_nobody_answers(side: Side, service: Service) -> None:
    service.answers = [httpx.ConnectError("refused") for _ in range(6)]
    with pytest.raises(Unreachable, match="refused"):
        side.value(side.knowledge.get("handbook"))
    assert len(service.asked) == 6


@pytest.mark.parametrize(("status", "text"), [(404, "<html>"), (200, "{}"), (302, "")])
def test_somebody_else_answers(side: Side, service: Service, status: int, text: str) -> None:
    service.answers = [httpx.Response(status, text=text)]
    with pytest.raises(UnexpectedAnswer):
        side.value(side.knowledge.get("handbook"))


def test_pauses_double_up_to_a_limit_and_keep_to_retry_after() -> None:
    retries = Retries(attempts=8, first_s=1.0, most_s=5.0, patience_s=30.0, chance=lambda: 0.0)
    lost = Lost(httpx.ConnectError("x"))
    assert [retries.pause(attempt, lost) for attempt in range(1, 9)] == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0, None]
    assert retries.pause(1, Answer(429, {"retry-after": "7"})) == 7.0
    assert retries.pause(1, Answer(503, {"retry-after": "31"})) is None
    assert retries.pause(1, Answer(503, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"})) == 1.0
    assert retries.pause(1, Answer(500, {})) is None
    halved = Retries(first_s=1.0, chance=lambda: 1.0)
    assert halved.pause(1, lost) == 0.5


def test_a_file_that_cannot_be_read_is_not_worth_another_attempt() -> None:
    assert worth_another(Lost(OSError("gone")))
    assert not worth_another(Lost(OSError("gone"), part=0))


@pytest.mark.parametrize(
    ("document_id", "raw"),
    [
        ("guide/intro.md", "guide/intro.md"),
        ("../up", "%2E%2E/up"),
        ("a b?c#d%e", "a%20b%3Fc%23d%25e"),
        ("ä/日", "%C3%A4/%E6%97%A5"),
        ("/rooted", "/rooted"),
    ],
)
def test_ids_in_paths(side: Side, service: Service, document_id: str, raw: str) -> None:
    service.answers = [httpx.Response(204)]
    side.value(side.knowledge.remove("handbook", document_id))
    assert service.asked[-1].url.raw_path.decode() == f"/v1/knowledge-bases/handbook/documents/{raw}"


def test_pages_are_one_iteration_of_one_version(side: Side, service: Service) -> None:
    first = {"version": 7, "document_id": "a", "chunks": [_chunk(0), _chunk(1)], "next_cursor": "c1"}
    service.answers = [
        httpx.Response(200, json=first),
        httpx.Response(200, json=first | {"chunks": [_chunk(2)], "next_cursor": None}),
    ]
    assert [one.ordinal for one in side.items(side.knowledge.chunks("handbook", "a"))] == [0, 1, 2]
    queries = [dict(one.url.params) for one in service.asked]
    assert queries[0] == {"version": "live", "document_id": "a", "limit": "200"}
    assert queries[1] == {"version": "7", "document_id": "a", "limit": "200", "cursor": "c1"}


def test_an_update_sends_what_is_given(side: Side, service: Service) -> None:
    service.answers = [httpx.Response(200, json=base()) for _ in range(2)]
    side.value(side.knowledge.update("handbook", retain=None))
    side.value(side.knowledge.update("handbook", description="x"))
    assert [json.loads(one.content) for one in service.asked] == [{"retain": None}, {"description": "x"}]


def test_an_original_is_written_when_it_is_whole(side: Side, service: Service, tmp_path: Path) -> None:
    whole, etag = b"one two", '"5ea1b2a9d7e0f6c14df95f9af1c3ea2c5ff6f7c2ce1ca2c1c9a1e5a2ca2ed0a6"'
    to = tmp_path / "original.txt"
    service.answers = [
        httpx.Response(200, stream=Pieces(b"one ", httpx.ReadError("cut")), headers={"ETag": '"x"'}),
        httpx.Response(200, stream=Pieces(b"one ", b"TWO"), headers={"ETag": etag}),
        httpx.Response(200, stream=Pieces(b"one ", b"two")),
    ]
    assert side.value(side.knowledge.original("handbook", "a/b.txt", to)) == len(whole)
    assert to.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [to]
    service.answers = [problem(404, "not_found")]
    with pytest.raises(NotFound):
        side.value(side.knowledge.original("handbook", "b", tmp_path / "b"))
    assert list(tmp_path.iterdir()) == [to]


def test_an_address_is_looked_at_before_it_is_used() -> None:
    for wrong in ("127.0.0.1:7077", "ftp://memoryd.test", "", "http://", "http://memoryd.test:99999", "http://a\nb"):
        with pytest.raises(ValueError, match=r"not the URL|Port"):
            Memoryd(wrong, "key")
    for wrong in ("", "mdk_…", "mdk_1\nX-Evil: 1", "mdk 1"):
        with pytest.raises(ValueError, match="not an API key"):
            Memoryd("http://memoryd.test", wrong)


def _chunk(ordinal: int) -> dict[str, object]:
    return {
        "id": "00000000-0000-0000-0000-000000000001",
        "ordinal": ordinal,
        "section": ["Leave"],
        "prefix": "",
        "text": "text",
        "kind": "text",
        "span": [0, 4],
        "pages": None,
        "tokens": 1,
        "sha256": "00",
    }
