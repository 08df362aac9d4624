"""Knowledge bases over HTTP: the whole application, with a worker as it is wired: real parsers, model, object storage."""

import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator
from operator import itemgetter

import pytest
from fastapi import FastAPI

from memoryd.models import Models
from memoryd.session_wiring import objects
from memoryd.settings import Settings
from memoryd.stores.objects import ObstoreObjects
from memoryd.wiring import open_worker_models
from tests.http.conftest import Tenant, client
from tests.http.desk import Desk

HANDBOOK = """# Handbook

Everyone has thirty days of leave.

## Travel

Trains are first class when the journey takes four hours.

## Expenses

| what | limit |
| --- | --- |
| hotel | 150 |
| dinner | 40 |
"""


@pytest.fixture(scope="module")
async def models(settings: Settings) -> AsyncIterator[Models]:
    async with open_worker_models(settings) as opened:
        yield opened


@pytest.fixture
async def desk(app: FastAPI, tenant: Tenant, settings: Settings, models: Models) -> Desk:
    made = Desk(tenant, settings, models)
    await made.make()
    return made


async def test_a_document_from_upload_to_answer(desk: Desk) -> None:
    job = await desk.upload(("guide/handbook.md", HANDBOOK.encode()), publish="true", note="first")
    assert (job["state"], job["counters"]["succeeded"], job["counters"]["chunks"]) == ("succeeded", 1, 3)
    (version,) = (await desk.get("/versions"))["versions"]
    assert (version["version"], version["live"], version["note"]) == (1, True, "first")
    assert (version["documents"], version["chunks"]) == (1, 3)
    document = await desk.get("/documents/guide/handbook.md")
    assert (document["title"], document["media_type"], document["bytes"]) == ("Handbook", "text/markdown", len(HANDBOOK))
    assert document["sha256"] == hashlib.sha256(HANDBOOK.encode()).hexdigest()
    chunks = (await desk.get("/chunks", document_id="guide/handbook.md"))["chunks"]
    assert [one["section"] for one in chunks] == [["Handbook"], ["Handbook", "Travel"], ["Handbook", "Expenses"]]
    assert all(HANDBOOK[slice(*one["span"])] == one["text"] for one in chunks[:2])
    best = (await desk.found("Which class may I travel by train?"))[0]
    assert best["id"] == chunks[1]["id"]
    assert best["knowledge"]["document_id"] == "guide/handbook.md"
    answer = await desk.http.get("/v1/knowledge-bases/handbook/originals/guide/handbook.md")
    assert answer.content == HANDBOOK.encode()
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''handbook.md"


async def test_what_stays_is_not_embedded_again(desk: Desk) -> None:
    await desk.ingest(a=HANDBOOK, b="The office is closed on Sundays.")
    first = desk.embedder.texts
    assert first == 4
    again = await desk.ingest(a=HANDBOOK, b="The office is closed on Sundays.")
    assert again["counters"]["unchanged"] == 2
    assert desk.embedder.texts == first
    assert [one["version"] for one in (await desk.get("/versions"))["versions"]] == [1]
    changed = HANDBOOK.replace("four hours", "three hours")
    await desk.ingest(a=changed, b="The office is closed on Sundays.")
    assert desk.embedder.texts == first + 1
    assert (await desk.post("/publish", 409))["code"] == "conflict"
    diff = await desk.get("/diff", before=1, after=2)
    assert diff["documents"] == {"added": 0, "removed": 0, "changed": 1, "unchanged": 1}
    assert diff["chunks"] == {"added": 1, "removed": 1, "changed": 0, "unchanged": 3}


async def test_a_file_name_that_is_corrected_has_it_parsed_again(desk: Desk) -> None:
    async def outcome(name: str) -> tuple[str | None, str]:
        job = await desk.upload(
            (name, b"city,seats\nBonn,12\n"), options=json.dumps({name: {"document_id": "x"}}), publish="true"
        )
        return (await desk.outcomes(job))["x"], (await desk.get("/documents/x"))["media_type"]

    assert await outcome("seats.txt") == ("succeeded", "text/plain")
    assert await outcome("seats.csv") == ("succeeded", "text/csv")
    embedded = desk.embedder.texts
    assert await outcome("places.CSV") == ("unchanged", "text/csv"), "only what tells formats apart counts"
    assert desk.embedder.texts == embedded


async def test_a_file_is_read_in_the_charset_that_it_came_with(desk: Desk) -> None:
    await desk.upload(("note.txt", "Да, нет.".encode("koi8-r"), "text/plain; charset=koi8-r"), publish="true")
    assert [one["text"] for one in (await desk.get("/chunks", document_id="note.txt", version="live"))["chunks"]] == ["Да, нет."]


async def test_publish_pin_roll_back_and_collect(desk: Desk) -> None:
    await desk.ingest(a="The password of the guest network is walnut.")
    await desk.http.put("/v1/knowledge-bases/handbook/tags/stable", json={"version": "1"})
    await desk.ingest(a="The password of the guest network is almond.", b="The printer is on the second floor.")
    question = "What is the password of the guest network?"

    async def answers(**fields: object) -> str:
        text: str = (await desk.found(question, **fields))[0]["text"]
        return text.removesuffix(".").rsplit(" ", 1)[-1]

    assert [await answers(), await answers(version="1"), await answers(version="stable")] == ["almond", "walnut", "walnut"]
    assert (await desk.post("/rollback", 200, to="1"))["live"] is True
    assert [await answers(), await desk.documents(), await answers(version="2")] == ["walnut", ["a"], "almond"]
    await desk.ingest(c="The canteen opens at noon.")
    assert (await desk.documents(), await answers()) == (["a", "c"], "walnut")
    answer = await desk.http.patch("/v1/knowledge-bases/handbook", json={"retain": 1})
    assert answer.json()["retain"] == 1
    assert (await desk.post("/collect", 200))["versions"] == [2]
    gone = await desk.post("/search", 410, query=question, version="2")
    assert gone["code"] == "version_gone"
    assert (await desk.post("/rollback", 410, to="2"))["code"] == "version_gone"
    assert await answers(version="stable") == "walnut"


async def test_who_may_not_see_the_version_moves_no_pointer(app: FastAPI, desk: Desk) -> None:
    await desk.ingest(a="one")
    await desk.ingest(b="two")
    await desk.ingest(publish=False, c="three")
    made = await desk.http.post("/v1/keys", json={"name": "writer", "actions": ["write"]})
    async with client(app, made.json()["key"]) as writer:
        for path, body in (("publish", {}), ("rollback", {"to": "1"})):
            answer = await writer.post(f"/v1/knowledge-bases/handbook/{path}", json=body)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
            assert (await desk.get())["live"] == 2


async def test_a_version_is_said_by_its_number_or_as_text(desk: Desk) -> None:
    await desk.ingest(publish=False, a="one")
    where = "/v1/knowledge-bases/handbook"
    assert (await desk.http.post(f"{where}/publish")).json()["version"] == 1, "without a body"
    await desk.ingest(a="two")
    assert (await desk.post("/rollback", 200, to=1))["live"]
    assert (await desk.http.put(f"{where}/tags/newest", json={"version": 2})).status_code == 204
    assert [one["text"] for one in await desk.found("two", version=2)] == ["two"]
    for wrong in (True, -1, 1.5, 10**15):
        assert (await desk.http.post(f"{where}/rollback", json={"to": wrong})).status_code == 422


async def test_a_job_may_only_publish(desk: Desk) -> None:
    await desk.ingest(publish=False, **{"travel.md": "# Travel\n\nBook your train early."})
    assert (await desk.get())["live"] is None
    job = await desk.ingest()
    assert (job["state"], job["counters"]["items"]) == ("succeeded", 0)
    assert (await desk.get())["live"] == 1
    assert (await desk.ingest())["state"] == "succeeded"  # nothing is staged
    assert (await desk.get())["live"] == 1


async def test_a_job_says_of_what_it_is_and_whether_it_publishes(desk: Desk) -> None:
    said = itemgetter("kb", "publish", "note", "version")
    job = await desk.upload(("a.txt", b"one"), publish="true", note="nightly")
    assert said(job) == ("handbook", True, "nightly", 1)
    staged = await desk.ingest(publish=False, b="two")
    assert said(staged) == ("handbook", False, None, None)

    async def listed(status: int = 200, **query: str) -> list[str]:
        answer = await desk.http.get("/v1/jobs", params=query)
        assert answer.status_code == status, answer.text
        return [one["id"] for one in answer.json().get("jobs", [])]

    assert await listed(kb="handbook") == await listed(kb_id=job["kb_id"]) == [staged["id"], job["id"]]
    assert await listed(404, kb="other") == []
    assert await listed(422, kb="handbook", kb_id=job["kb_id"]) == []


async def test_an_ingest_without_a_change_does_not_stand_in_the_way(desk: Desk) -> None:
    await desk.ingest(a="one")
    await desk.ingest(a="two")
    assert (await desk.ingest(publish=False, a="two"))["counters"]["unchanged"] == 1
    assert [one["state"] for one in (await desk.get("/versions"))["versions"]] == ["published", "published"]
    await desk.post("/rollback", 200, to="1")
    assert (await desk.ingest(b="three"))["state"] == "succeeded"
    assert await desk.documents() == ["a", "b"]


async def test_a_removal_is_staged_and_a_draft_can_be_dropped(desk: Desk) -> None:
    await desk.ingest(a="one", b="two")
    assert (await desk.http.delete("/v1/knowledge-bases/handbook/documents/a")).status_code == 204
    assert await desk.documents() == ["a", "b"]
    assert [one["document_id"] for one in (await desk.get("/diff"))["changes"]] == ["a"]
    assert (await desk.http.delete("/v1/knowledge-bases/handbook/draft")).status_code == 204
    assert (await desk.post("/publish", 409))["code"] == "conflict"
    job = await desk.ingest(c="three", remove=["b"])
    assert job["state"] == "succeeded"
    assert await desk.documents() == ["a", "c"]


async def test_what_was_ordered_later_stands_and_a_removal_waits_for_what_was_ordered_before(desk: Desk) -> None:
    await desk.ingest(a="one", b="two", c="three")
    texts = [{"document_id": name, "text": f"{name} of before"} for name in "ab"]
    answer = await desk.post("/jobs", 202, documents=texts, remove=["c"])
    before = f"/v1/jobs/{answer['id']}"
    assert (await desk.http.post(f"{before}/pause")).json()["state"] == "paused"
    refused = await desk.http.delete("/v1/knowledge-bases/handbook/documents/b")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert answer["id"] in refused.json()["detail"]
    compared = await desk.post("/compare", 200, documents={"a": hashlib.sha256(b"one").hexdigest()})
    assert compared == {"unchanged": [], "changed": ["a"], "new": []}
    await desk.ingest(a="a of later", c="c of later")
    job = await desk.ended(await desk.http.post(f"{before}/resume"))
    assert job["counters"] | {"succeeded": 1, "unchanged": 2} == job["counters"]
    assert await desk.outcomes(job) == {"a": "overtaken", "b": "succeeded", "c": "overtaken"}
    await desk.post("/publish", 201)
    found = {name: (await desk.get("/chunks", document_id=name))["chunks"][0]["text"] for name in "abc"}
    assert found == {"a": "a of later", "b": "b of before", "c": "c of later"}
    assert (await desk.http.delete("/v1/knowledge-bases/handbook/documents/b")).status_code == 204


async def test_a_job_whose_draft_was_discarded_publishes_no_part_of_it(desk: Desk) -> None:
    await desk.ingest(a="one")
    await desk.ingest(a="two")
    await desk.ingest(publish=False, b="three")
    await desk.post("/rollback", 200, to="1")
    job = await desk.ingest(c="four")
    assert (job["state"], job["error"]["code"], job["counters"]["succeeded"]) == ("failed", "conflict", 1)
    assert (await desk.http.delete("/v1/knowledge-bases/handbook/draft")).status_code == 204
    again = await desk.ended(await desk.http.post(f"/v1/jobs/{job['id']}/retry"))
    assert (again["state"], again["version"]) == ("failed", None)
    assert "discarded" in again["error"]["detail"]
    assert (await desk.ingest(c="four"))["version"] == 3
    assert await desk.documents() == ["a", "c"]


async def test_one_bad_document_does_not_stop_the_others(desk: Desk) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"0" * 300_000_000)
        archive.writestr("[Content_Types].xml", b"<Types/>")
    job = await desk.upload(
        ("good.txt", "The lift is out of order.".encode("utf-16")),
        ("bomb.docx", bomb.getvalue()),
        ("cut.pdf", b"%PDF-1.7\n1 0 obj\n<< /Type"),
        ("noise.txt", bytes(range(256)) * 40),
        ("empty.md", b"\n\n"),
        publish="true",
    )
    assert job["state"] == "partial"
    outcomes = await desk.outcomes(job)
    assert outcomes["good.txt"] == "succeeded"
    assert outcomes["bomb.docx"] == "archive_bomb"
    assert (outcomes["cut.pdf"], outcomes["noise.txt"], outcomes["empty.md"]) == ("corrupt", "not_text", "empty")
    # It was to be published if all is well; now somebody decides.
    assert (await desk.get())["live"] is None
    assert (await desk.post("/publish", 201))["documents"] == 1
    assert (await desk.found("Is the lift working?"))[0]["text"] == "The lift is out of order."


async def test_uploads_are_named_in_a_job_and_compared_first(desk: Desk) -> None:
    content = b"# Opening hours\n\nNine to five."
    digest = hashlib.sha256(content).hexdigest()
    compared = await desk.post("/compare", 200, documents={"hours.md": digest})
    assert compared == {"unchanged": [], "changed": [], "new": ["hours.md"]}
    sent = await desk.http.post("/v1/knowledge-bases/handbook/uploads", files={"file": ("hours.md", content)})
    assert sent.json() == {"uploads": [{"upload": digest, "file_name": "hours.md", "bytes": len(content)}]}
    wish = {"document_id": "hours.md", "upload": digest, "metadata": {"team": "office"}, "uri": "https://example.org/hours"}
    path = "/v1/knowledge-bases/handbook/jobs"
    job = await desk.ended(await desk.http.post(path, json={"documents": [wish], "publish": True}))
    assert job["state"] == "succeeded"
    document = await desk.get("/documents/hours.md")
    assert (document["metadata"], document["uri"]) == ({"team": "office"}, "https://example.org/hours")
    compared = await desk.post("/compare", 200, documents={"hours.md": digest, "other": digest})
    assert compared == {"unchanged": ["hours.md"], "changed": [], "new": ["other"]}
    unknown = await desk.http.post(path, json={"documents": [wish | {"upload": "0" * 64}]})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "invalid_request")


async def test_a_repeated_request_begins_one_job_and_publishes_once(desk: Desk) -> None:
    path, key = "/v1/knowledge-bases/handbook", {"Idempotency-Key": "k1"}
    body = {"documents": [{"document_id": "a", "text": "once"}]}
    first = await desk.http.post(f"{path}/jobs", json=body, headers=key)
    second = await desk.http.post(f"{path}/jobs", json=body, headers=key)
    assert first.json()["id"] == second.json()["id"]
    files = {"file": ("b.txt", b"twice")}
    sent = [await desk.http.post(f"{path}/documents", files=files, headers={"Idempotency-Key": "k2"}) for _ in range(2)]
    assert sent[0].json()["id"] == sent[1].json()["id"]
    other = await desk.http.post(f"{path}/documents", files={"file": ("b.txt", b"else")}, headers={"Idempotency-Key": "k2"})
    assert other.json()["code"] == "idempotency_key_reused"
    await desk.ended(first)
    await desk.ended(sent[0])
    published = [await desk.http.post(f"{path}/publish", json={}, headers={"Idempotency-Key": "k3"}) for _ in range(2)]
    assert [one.json()["version"] for one in published] == [1, 1]


async def test_what_cannot_be_ingested_is_refused_at_once(desk: Desk) -> None:
    path = "/v1/knowledge-bases/handbook"
    for body in (
        {},
        {"documents": [{"document_id": "a"}]},
        {"documents": [{"document_id": "a", "text": "x", "url": "https://example.org"}]},
        {"documents": [{"document_id": "a\n", "text": "x"}]},
        {"documents": [{"document_id": "a", "text": "x"}, {"document_id": "a", "text": "y"}]},
        {"documents": [{"document_id": "a", "text": "x"}], "remove": ["a"]},
        {"documents": [{"document_id": "a", "url": "https://example.org/"}]},  # fetching is off
    ):
        assert (await desk.http.post(f"{path}/jobs", json=body)).status_code == 422, body
    assert (await desk.http.post(f"{path}/documents", json={})).status_code == 415
    no_file = await desk.http.post(f"{path}/documents", files={"other": ("a", b"x")})
    assert (no_file.status_code, no_file.json()["code"]) == (422, "invalid_request")
    for options in ("{", "[]", '{"a.txt": {"text": "x"}}', '{"b.txt": {}}', '{"a.txt": {"nonsense": 1}}'):
        answer = await desk.http.post(f"{path}/documents", files={"file": ("a.txt", b"x")}, data={"options": options})
        assert answer.status_code == 422, options
    assert (await desk.http.post("/v1/knowledge-bases", json={"name": "Not a name"})).status_code == 422
    assert (await desk.http.post("/v1/knowledge-bases", json={"name": "handbook"})).json()["code"] == "already_exists"
    assert (await desk.http.get("/v1/jobs")).json()["jobs"] == []


async def test_settings_of_chunking_that_are_not_named_stay(desk: Desk) -> None:
    where = "/v1/knowledge-bases/handbook"

    async def patched(**chunking: object) -> tuple[object, ...]:
        answer = await desk.http.patch(where, json={"chunking": chunking})
        return answer.status_code, *answer.json().get("chunking", {}).values()

    assert await patched(strategy="fact", max_tokens=300, overlap_tokens=20) == (200, "fact", 300, 20)
    assert await patched(max_tokens=100) == (200, "fact", 100, 20)
    assert await patched(overlap_tokens=0, max_tokens=None) == (200, "fact", 100, 0)
    assert await patched(overlap_tokens=51) == (422,)
    assert await patched() == (200, "fact", 100, 0)


async def test_what_is_known_of_an_original_is_told_without_reading_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.ingest(a=HANDBOOK)

    async def unread(self: ObstoreObjects, found: object) -> AsyncIterator[bytes]:
        nothing: list[bytes] = []
        for piece in nothing:
            yield piece
        raise AssertionError("a HEAD reads nothing")

    monkeypatch.setattr(ObstoreObjects, "_read", unread)
    answer = await desk.http.head("/v1/knowledge-bases/handbook/originals/a")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(HANDBOOK.encode()))
    assert answer.headers["etag"] == f'"{hashlib.sha256(HANDBOOK.encode()).hexdigest()}"'


async def test_a_key_of_other_spaces_sees_no_knowledge_base(app: FastAPI, desk: Desk) -> None:
    made = await desk.http.post("/v1/keys", json={"name": "confined", "actions": ["read", "write", "delete"], "spaces": ["lab"]})
    async with client(app, made.json()["key"]) as confined:
        assert (await confined.get("/v1/knowledge-bases/handbook")).status_code == 404
        assert (await confined.get("/v1/knowledge-bases")).json()["knowledge_bases"] == []
        body = {"documents": [{"document_id": "a", "text": "x"}]}
        assert (await confined.post("/v1/knowledge-bases/handbook/jobs", json=body)).status_code == 404
        assert (await confined.post("/v1/knowledge-bases", json={"name": "mine"})).status_code == 403
        assert (await confined.post("/v1/knowledge-bases", json={"name": "mine", "space": "lab"})).status_code == 201
    reading = await desk.http.post("/v1/keys", json={"name": "reader", "actions": ["read"]})
    async with client(app, reading.json()["key"]) as reader:
        bodies: dict[str, dict[str, object]] = {
            "/publish": {},
            "/rollback": {"to": "1"},
            "/jobs": {"documents": [{"document_id": "a", "text": "x"}]},
        }
        for path, fields in bodies.items():
            assert (await reader.post(f"/v1/knowledge-bases/handbook{path}", json=fields)).status_code == 403


async def test_a_deleted_knowledge_base_leaves_nothing(desk: Desk, settings: Settings) -> None:
    await desk.ingest(a="The safe is behind the picture.")
    stored = objects(settings)
    assert stored is not None
    base = await desk.get()
    assert (await desk.http.delete("/v1/knowledge-bases/handbook")).status_code == 204
    assert (await desk.http.get("/v1/knowledge-bases/handbook")).status_code == 404
    prefix = f"{desk.tenant.tenant_id}/kb/{base['id']}/"
    assert not await stored.exists(prefix + hashlib.sha256(b"The safe is behind the picture.").hexdigest())
    await desk.make()
    assert (await desk.get())["live"] is None


async def test_a_draft_that_was_published_under_a_document_takes_it_again(desk: Desk) -> None:
    """Between the batches of a job somebody publishes: the document is in the next version, whole."""
    await desk.ingest(publish=False, a="first")
    answer = await desk.http.post(
        "/v1/knowledge-bases/handbook/jobs", json={"documents": [{"document_id": "b", "text": HANDBOOK}], "publish": False}
    )
    # A job that is queued keeps the draft from being published, whoever asks.
    assert (await desk.post("/publish", 409))["code"] == "conflict"
    await desk.ended(answer)
    assert (await desk.post("/publish", 201))["documents"] == 2
