"""Working memory over HTTP: the whole application, real stores and a real model."""

import asyncio
import gzip
import json
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI

from memoryd.settings import Settings
from memoryd.wiring import open_session_rounds, open_worker_models
from tests.http.conftest import Tenant, client
from tests.http.talking import append, lose_redis, texts, user
from tests.sessions.whole import together


async def test_a_session_begun_by_an_effect_has_the_user_of_its_first_messages(tenant: Tenant) -> None:
    await tenant.http.put("/v1/sessions/s/effects/step", json={"value": 1})
    for name in ("ana", "bob"):
        body = {"messages": [{"role": "user", "content": "hello"}], "user_id": name}
        assert (await tenant.http.post("/v1/sessions/s/messages", json=body)).status_code == 201
    for name, found in (("ana", ["s"]), ("bob", [])):
        page = (await tenant.http.get("/v1/sessions", params={"user_id": name})).json()
        assert [one["id"] for one in page["sessions"]] == found
    assert (await tenant.http.get("/v1/sessions/s")).json()["user_id"] == "ana"
    assert (await tenant.http.delete("/v1/sessions/s")).status_code == 204
    assert (await tenant.http.get("/v1/sessions", params={"user_id": "ana"})).json()["sessions"] == []


async def test_messages_are_appended_read_and_known_again(tenant: Tenant) -> None:
    body = {"messages": [user("hello", id="m1", name="Caroline"), user("there", metadata={"a": [1, None]})], "user_id": "u"}
    first = await tenant.http.post("/v1/sessions/s/messages", json=body, headers={"Idempotency-Key": "k"})
    again = await tenant.http.post("/v1/sessions/s/messages", json=body, headers={"Idempotency-Key": "k"})
    assert (first.status_code, first.json()) == (201, again.json())
    assert first.json()["results"] == [
        {"position": 1, "id": "m1", "status": "created"}, {"position": 2, "id": None, "status": "created"},
    ]  # fmt: skip
    reused = await tenant.http.post("/v1/sessions/s/messages", json={"messages": [user("x")]}, headers={"Idempotency-Key": "k"})
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    call = {"role": "assistant", "tool_calls": [{"id": "c1", "name": "look", "arguments": {"at": 3}}], "agent_id": "a1"}
    parts = [{"type": "text", "text": "result"}, {"type": "image", "url": "x"}]
    await append(tenant, "s", user("hello", id="m1"), call, {"role": "tool", "tool_call_id": "c1", "content": parts})
    page = (await tenant.http.get("/v1/sessions/s/messages", params={"after": 1, "limit": 2})).json()
    assert [one["position"] for one in page["messages"]] == [2, 3]
    assert (page["next_after"], page["head"]) == (3, 4)
    assert page["messages"][0]["metadata"] == {"a": [1, None]}
    assert page["messages"][1]["tool_calls"] == [{"id": "c1", "name": "look", "arguments": {"at": 3}}]
    last = (await tenant.http.get("/v1/sessions/s/messages", params={"newest": True, "limit": 1})).json()["messages"]
    assert (last[0]["content"], last[0]["tool_call_id"]) == (parts, "c1")
    session = (await tenant.http.get("/v1/sessions/s")).json()
    assert (session["user_id"], session["agents"], session["space"], session["head"]) == ("u", ["a1"], "default", 4)
    assert session["restored_from"] is None


BAD_MESSAGES: list[object] = [
    {"role": "wizard", "content": "x"},
    {"role": "user", "content": ""},
    {"role": "user"},
    {"role": "user", "content": 7},
    {"role": "user", "content": "x", "surprise": 1},
    {"role": "user", "content": "x", "tool_calls": [{"id": "1", "name": "n"}]},
    {"role": "user", "content": "x", "tool_call_id": "1"},
    {"role": "tool", "content": "x"},
    {"role": "user", "content": "x", "id": "a\u0007b"},
    {"role": "user", "content": "x", "id": ""},
    {"role": "user", "content": "x", "name": "n" * 201},
    {"role": "user", "content": "x", "event_time": "yesterday"},
    {"role": "user", "content": "x", "metadata": {"k": "x" * 20_000}},
    {"role": "user", "content": "x", "pinned": "yes"},
    "x",
    None,
]


@pytest.mark.parametrize("bad", BAD_MESSAGES, ids=lambda bad: str(bad)[:60])
async def test_a_bad_message_is_refused_and_nothing_is_stored(tenant: Tenant, bad: object) -> None:
    answer = await tenant.http.post("/v1/sessions/s/messages", json={"messages": [user("fine"), bad]})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert (await tenant.http.get("/v1/sessions/s")).status_code == 404


async def test_a_tool_may_have_nothing_to_say(tenant: Tenant) -> None:
    call = {"role": "assistant", "tool_calls": [{"id": "c1", "name": "delete"}]}
    await append(tenant, "s", user("delete it"), call, {"role": "tool", "tool_call_id": "c1", "content": ""})
    page = (await tenant.http.get("/v1/sessions/s/messages")).json()
    assert (page["messages"][2]["content"], page["messages"][2]["tool_call_id"]) == ("", "c1")
    window = (await tenant.http.get("/v1/sessions/s/context", params={"budget_tokens": 200})).json()
    assert [one["position"] for one in window["messages"]] == [1, 2, 3]
    done = (await tenant.http.post("/v1/sessions/s/commit", json={"roles": ["user", "assistant", "tool"]})).json()
    assert done["created"] == 1


async def test_metadata_is_measured_as_the_shortest_json_of_it(tenant: Tenant) -> None:
    most = 16 * 1024 - len('{"a":"","b":[1,2]}')
    for more, status in ((0, 201), (1, 422)):
        said = user("x", metadata={"a": "x" * (most + more), "b": [1, 2]})
        assert (await tenant.http.post("/v1/sessions/s/messages", json={"messages": [said]})).status_code == status


async def test_what_is_wrong_is_named_by_the_fields_that_were_sent(tenant: Tenant) -> None:
    bad = {"messages": [{"role": "user", "content": 7}]}
    answer = (await tenant.http.post("/v1/sessions/s/messages", json=bad)).json()
    assert {one["field"] for one in answer["errors"]} == {"messages.0.content.str", "messages.0.content"}
    for odd in ({"messages": [user("x")], "list[x]": 1}, {"messages": [{**user("x"), "list[x]": 1}]}):
        answer = (await tenant.http.post("/v1/sessions/s/messages", json=odd)).json()
        assert [one["field"].endswith("list[x]") for one in answer["errors"]] == [True]


async def test_an_encoded_body_and_two_keys_are_refused(tenant: Tenant) -> None:
    body = json.dumps({"messages": [user("x")]}).encode()
    kind = ("Content-Type", "application/json")
    for headers, content, status in (
        ([("Content-Encoding", "gzip")], gzip.compress(body), 415),
        ([("Content-Encoding", "gzip")], body, 415),
        ([("Idempotency-Key", "a"), ("Idempotency-Key", "b")], body, 422),
        ([("Content-Encoding", "identity")], body, 201),
    ):
        answer = await tenant.http.post("/v1/sessions/s/messages", content=content, headers=[kind, *headers])
        assert answer.status_code == status
    assert (await tenant.http.get("/v1/sessions/s")).json()["head"] == 1


async def test_snapshots_of_a_session_that_is_not_there_are_not_found(tenant: Tenant) -> None:
    assert (await tenant.http.get("/v1/sessions/s/snapshots")).status_code == 404
    await append(tenant, "s", user("hello"))
    assert (await tenant.http.get("/v1/sessions/s/snapshots")).json() == {"snapshots": []}


async def test_hostile_bodies_and_names(tenant: Tenant, settings: Settings) -> None:
    for content in (b"{", b'{"messages": [{"role": "user", "content": "\xff"}]}', b'{"messages": NaN}', b""):
        answer = await tenant.http.post("/v1/sessions/s/messages", content=content, headers={"Content-Type": "application/json"})
        assert 400 <= answer.status_code < 500, answer.text
    surrogate = b'{"messages": [{"role": "user", "content": "\\ud800"}]}'
    answer = await tenant.http.post("/v1/sessions/s/messages", content=surrogate, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    large = await append(tenant, "s", user("x" * settings.session_max_message_bytes), status=413)
    assert large.json()["code"] == "payload_too_large"
    assert (await tenant.http.get("/v1/sessions/s")).status_code == 404
    for name in ("x" * 201, "a%00b", "a%0Ab", "%C2%85", "%E2%80%AE", "%20", "..%20"):
        for path in (f"/v1/sessions/{name}/messages", f"/v1/sessions/s/state/{name}", f"/v1/sessions/s/effects/{name}"):
            method = "POST" if path.endswith("/messages") else "PUT"
            body = {"messages": [user("x")]} if method == "POST" else {"value": 1}
            answer = await tenant.http.request(method, path, json=body)
            assert answer.status_code in {404, 422}, (path, answer.text)
    for name in ("ä ö", "{t}:s", "%25%7B", "user@example.com:1", "日本"):
        await append(tenant, name, user("fine"))
        assert await texts(tenant, name) == ["fine"]
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    assert (await tenant.http.put("/v1/sessions/s/state/k", json={"value": deep})).status_code == 422
    big = await tenant.http.put("/v1/sessions/s/state/k", json={"value": "x" * settings.session_max_value_bytes})
    assert (big.status_code, big.json()["code"]) == (413, "payload_too_large")
    assert (await tenant.http.get("/v1/sessions/s")).status_code == 404


async def test_state_is_compared_and_set(tenant: Tenant) -> None:
    path = "/v1/sessions/s/state/plan"
    made = await tenant.http.put(path, json={"value": {"a": [1, "ä", None, 1.5]}}, headers={"If-None-Match": "*"})
    assert (made.status_code, made.headers["etag"]) == (200, '"1"')
    read = await tenant.http.get(path)
    assert (read.json(), read.headers["etag"]) == ({"key": "plan", "version": 1, "value": {"a": [1, "ä", None, 1.5]}}, '"1"')
    second = await tenant.http.put(path, json={"value": 2}, headers={"If-Match": read.headers["etag"]})
    assert second.json() == {"key": "plan", "version": 2}
    for headers in ({"If-Match": '"1"'}, {"If-None-Match": "*"}, {"If-Match": '"foreign"'}):
        late = await tenant.http.put(path, json={"value": 3}, headers=headers)
        assert (late.status_code, late.json()["code"], late.json()["current_version"]) == (409, "version_conflict", 2)
    assert (await tenant.http.get("/v1/sessions/s/state")).json() == {"entries": [{"key": "plan", "version": 2, "value": 2}]}
    assert (await tenant.http.delete(path, headers={"If-Match": '"1"'})).status_code == 409
    assert (await tenant.http.delete(path, headers={"If-Match": '"2"'})).status_code == 204
    assert (await tenant.http.get(path)).status_code == 404
    assert (await tenant.http.delete(path)).status_code == 404
    for tag in ('"2"', 'W/"2"', '"0"', '"foreign"'):
        nothing = await tenant.http.put(path, json={"value": 1}, headers={"If-Match": tag})
        assert (nothing.status_code, nothing.json()["current_version"]) == (409, 0), tag
    assert (await tenant.http.put(path, json={"value": 1}, headers={"If-Match": "*"})).status_code == 409
    for headers in (
        {"If-Match": "3"},
        {"If-Match": '"1", "2"'},
        {"If-None-Match": '"1"'},
        {"If-Match": "*", "If-None-Match": "*"},
    ):
        assert (await tenant.http.put(path, json={"value": 1}, headers=headers)).status_code == 422


async def test_checkpoint_restore_undo_and_effects(tenant: Tenant) -> None:
    await append(tenant, "s", user("one"), user("two"))
    await tenant.http.put("/v1/sessions/s/state/k", json={"value": "old"})
    body = {"step": 3, "label": "before", "metadata": {"x": 1}}
    made = await tenant.http.post("/v1/sessions/s/checkpoints", json=body)
    assert (made.status_code, made.json()["position"], made.json()["step"]) == (201, 2, 3)
    await append(tenant, "s", user("three"))
    await tenant.http.put("/v1/sessions/s/state/k", json={"value": "new"})
    back = (await tenant.http.post("/v1/sessions/s/restore", json={"checkpoint_id": made.json()["id"]})).json()
    assert (back["set_aside"], back["next_position"], await texts(tenant, "s")) == (1, 4, ["one", "two"])
    assert (await tenant.http.get("/v1/sessions/s/state/k")).json()["value"] == "old"
    undone = await tenant.http.post("/v1/sessions/s/restore", json={"checkpoint_id": back["undo"]})
    assert (undone.status_code, await texts(tenant, "s")) == (200, ["one", "two", "three"])
    listed = (await tenant.http.get("/v1/sessions/s/checkpoints")).json()["checkpoints"]
    assert [(one["label"], one["automatic"]) for one in listed] == [("before", False), (None, True), (None, True)]
    one = (await tenant.http.get(f"/v1/sessions/s/checkpoints/{made.json()['id']}")).json()
    assert one["state"] == [{"key": "k", "version": 1, "value": "old"}]
    assert (await tenant.http.get(f"/v1/sessions/s/checkpoints/{uuid4()}")).status_code == 404
    assert (await tenant.http.post("/v1/sessions/s/restore", json={"checkpoint_id": str(uuid4())})).status_code == 404
    assert (await tenant.http.get("/v1/sessions/s/effects/pay")).status_code == 404
    first = (await tenant.http.put("/v1/sessions/s/effects/pay", json={"value": {"receipt": 7}})).json()
    second = await tenant.http.put("/v1/sessions/s/effects/pay", json={"value": {"receipt": 8}})
    assert (first["created"], second.status_code, second.json()["created"]) == (True, 200, False)
    assert second.json()["value"] == (await tenant.http.get("/v1/sessions/s/effects/pay")).json()["value"] == {"receipt": 7}


async def test_sessions_are_listed_changed_and_deleted(tenant: Tenant) -> None:
    for number in range(3):
        await append(tenant, f"s{number}", user("x"), user_id=f"u{number % 2}", agent_id=f"a{number}", ttl_s=100)
    page = (await tenant.http.get("/v1/sessions", params={"limit": 2})).json()
    rest = (await tenant.http.get("/v1/sessions", params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert [one["id"] for one in page["sessions"] + rest["sessions"]] == ["s2", "s1", "s0"]
    assert rest["next_cursor"] is None
    by_user = (await tenant.http.get("/v1/sessions", params={"user_id": "u0"})).json()["sessions"]
    by_agent = (await tenant.http.get("/v1/sessions", params={"agent_id": "a1"})).json()["sessions"]
    assert ([one["id"] for one in by_user], [one["id"] for one in by_agent]) == (["s2", "s0"], ["s1"])
    by_both = (await tenant.http.get("/v1/sessions", params={"user_id": "u0", "agent_id": "a2"})).json()["sessions"]
    assert [(one["id"], one["agents"]) for one in by_both] == [("s2", ["a2"])]
    assert (await tenant.http.get("/v1/sessions", params={"cursor": "eHg"})).status_code == 422
    changed = (await tenant.http.patch("/v1/sessions/s0", json={"ttl_s": 500, "auto_commit": "idle"})).json()
    assert (changed["ttl_s"], changed["auto_commit"]) == (500, "idle")
    cleared = (await tenant.http.patch("/v1/sessions/s0", json={"auto_commit": None})).json()
    assert (cleared["ttl_s"], cleared["auto_commit"]) == (500, None)
    assert (await tenant.http.patch("/v1/sessions/none", json={"ttl_s": 500})).status_code == 404
    assert (await tenant.http.post("/v1/sessions/s0/snapshots")).status_code == 201
    assert (await tenant.http.delete("/v1/sessions/s0")).status_code == 204
    assert (await tenant.http.delete("/v1/sessions/s0")).status_code == 404
    assert (await tenant.http.get("/v1/sessions/s0/messages")).status_code == 404
    assert (await tenant.http.get("/v1/sessions/s0/snapshots")).status_code == 404
    await append(tenant, "s0", user("new"))
    assert await texts(tenant, "s0") == ["new"]


async def test_a_key_confined_to_spaces_sees_their_sessions_only(app: FastAPI, tenant: Tenant) -> None:
    await append(tenant, "blue", user("secret"), space="blue")
    await tenant.http.post("/v1/sessions/blue/snapshots")
    made = await tenant.http.post("/v1/keys", json={"name": "k", "actions": ["read", "write", "delete"], "spaces": ["red"]})
    async with client(app, made.json()["key"]) as red:
        for answer in (
            await red.get("/v1/sessions/blue"),
            await red.get("/v1/sessions/blue/messages"),
            await red.get("/v1/sessions/blue/context"),
            await red.get("/v1/sessions/blue/events"),
            await red.post("/v1/sessions/blue/messages", json={"messages": [user("x")]}),
            await red.post("/v1/sessions/blue/messages", json={"messages": [user("x")], "space": "red"}),
            await red.put("/v1/sessions/blue/state/k", json={"value": 1}),
            await red.put("/v1/sessions/blue/effects/k", json={"value": 1}),
            await red.post("/v1/sessions/blue/commit"),
            await red.post("/v1/sessions/blue/snapshots"),
            await red.get("/v1/sessions/blue/snapshots"),
            await red.delete("/v1/sessions/blue"),
            await red.post("/v1/sessions/new/messages", json={"messages": [user("x")], "space": "green"}),
        ):
            assert answer.status_code in {404, 409}, answer.text
            assert "secret" not in answer.text
        assert (await red.get("/v1/sessions")).json()["sessions"] == []
        assert (await red.post("/v1/sessions/mine/messages", json={"messages": [user("x")], "space": "red"})).status_code == 201
        assert [one["id"] for one in (await red.get("/v1/sessions")).json()["sessions"]] == ["mine"]
        assert (await red.put("/v1/session-settings", json={"auto_commit": "idle"})).status_code == 403
    assert await texts(tenant, "blue") == ["secret"]


async def test_a_commit_makes_memories_once(tenant: Tenant) -> None:
    await append(
        tenant, "chat/1".replace("/", "-"),
        user("I moved to the lighthouse at Skagen.", name="Caroline", event_time="2024-05-01T10:00:00Z", metadata={"k": "v"}),
        {"role": "assistant", "content": [{"type": "text", "text": "Congratulations on the lighthouse."}], "agent_id": "helper"},
        {"role": "assistant", "tool_calls": [{"id": "c", "name": "map", "arguments": {}}]},
        {"role": "tool", "tool_call_id": "c", "content": "57.7 N"},
        {"role": "system", "content": "Be brief."},
        user_id="caroline",
    )  # fmt: skip
    path = "/v1/sessions/chat-1/commit"
    first = (await tenant.http.post(path)).json()
    assert first == {"created": 2, "duplicates": 0, "passed_over": 3, "through": 5}
    assert (await tenant.http.post(path, json={})).json() == {"created": 0, "duplicates": 0, "passed_over": 0, "through": 5}
    await append(tenant, "chat-1", user("The lamp of the lighthouse is broken."))
    assert (await tenant.http.post(path)).json()["created"] == 1
    hits = (await tenant.recall("Who lives in a lighthouse?"))["hits"]
    assert len(hits) == 3
    hit = next(one for one in hits if one["speaker"] == "Caroline")
    assert (hit["user_id"], hit["session_id"], hit["event_time"], hit["metadata"]) == (
        "caroline", "chat-1", "2024-05-01T10:00:00Z", {"k": "v"},
    )  # fmt: skip
    assert hit["source"] == {"type": "session", "uri": "memoryd://sessions/chat-1/messages/1"}
    assert {one["speaker"] for one in hits} == {"Caroline", "helper", "user"}
    # A session of the same name that is made anew is another one.
    await tenant.http.delete("/v1/sessions/chat-1")
    await append(tenant, "chat-1", user("A new keeper has come to the lighthouse."))
    assert (await tenant.http.post(path)).json()["created"] == 1


async def test_what_a_restore_brought_back_is_committed_later(tenant: Tenant) -> None:
    await append(tenant, "s", user("first turn"))
    point = (await tenant.http.post("/v1/sessions/s/checkpoints", json={})).json()["id"]
    await append(tenant, "s", user("second turn"))
    undo = (await tenant.http.post("/v1/sessions/s/restore", json={"checkpoint_id": point})).json()["undo"]
    await append(tenant, "s", user("third turn"))
    assert (await tenant.http.post("/v1/sessions/s/commit")).json()["created"] == 2
    await tenant.http.post("/v1/sessions/s/restore", json={"checkpoint_id": undo})
    assert (await tenant.http.post("/v1/sessions/s/commit")).json()["created"] == 1
    listed = (await tenant.http.get("/v1/memories", params={"session_id": "s"})).json()["memories"]
    assert sorted(one["text"] for one in listed) == ["first turn", "second turn", "third turn"]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "a\0b"},
        {"role": "user", "content": [{"type": "text", "text": "a\0b"}]},
        {"role": "user", "content": [{"type": "text", "a\0b": "text"}]},
        {"role": "assistant", "tool_calls": [{"id": "1", "name": "f", "arguments": "\0"}]},
        {"role": "user", "content": "a", "metadata": {"k": "\0"}},
    ],
)
async def test_nul_is_refused_because_long_term_memory_could_not_hold_it(tenant: Tenant, message: dict[str, Any]) -> None:
    answer = await tenant.http.post("/v1/sessions/s/messages", json={"messages": [message]})
    assert answer.status_code == 422
    assert (await tenant.http.put("/v1/sessions/s/state/k", json={"value": "\0"})).status_code == 422
    assert (await tenant.http.get("/v1/sessions/s/messages")).status_code == 404


async def test_the_worker_summarises_snapshots_and_brings_back(app: FastAPI, tenant: Tenant, settings: Settings) -> None:
    """The worker's services as they are wired: real model, real PostgreSQL, real folder."""
    turns = [f"On day {n} the keeper of the lighthouse wrote that the harbour had {n + 3} ships in it." for n in range(20)]
    await append(tenant, "s", *(user(turn, name="Keeper") for turn in turns))
    soon = settings.model_copy(update={"session_snapshot_interval_s": 2})
    await asyncio.sleep(1.1)
    async with open_worker_models(soon) as models, open_session_rounds(soon, models) as rounds:
        report = together([await rounds.save(), await rounds.tend(), await rounds.summarise()])
        assert report.failed == 0
        assert report.snapshots >= 1
        assert report.summarised >= 1
    context = (await tenant.http.get("/v1/sessions/s/context", params={"budget_tokens": 200})).json()
    assert context["used_tokens"] <= 200
    assert context["summary"]["written_by"] == "extractive"
    assert all(line["speaker"] == "Keeper" and line["text"] in turns for line in context["summary"]["lines"])
    assert context["messages"][-1]["content"] == turns[-1]
    await lose_redis(settings)
    page = (await tenant.http.get("/v1/sessions/s/messages")).json()
    kept = (await tenant.http.get("/v1/sessions/s/snapshots")).json()["snapshots"]
    assert [one["content"] for one in page["messages"]] == turns
    assert page["restored_from"]["snapshot_id"] == kept[0]["id"]


async def test_a_key_of_one_space_begins_a_session_there(tenant: Tenant) -> None:
    key = (await tenant.http.post("/v1/keys", json={"name": "k", "actions": ["read", "write"], "spaces": ["team"]})).json()["key"]
    mine = {"Authorization": f"Bearer {key}"}
    assert (await tenant.http.put("/v1/sessions/one/effects/e", json={"value": 1}, headers=mine)).status_code in {200, 201}
    assert (await tenant.http.get("/v1/sessions/one", headers=mine)).json()["space"] == "team"
    several = {"name": "k2", "actions": ["read", "write"], "spaces": ["team", "other"]}
    key = (await tenant.http.post("/v1/keys", json=several)).json()["key"]
    refused = await tenant.http.put("/v1/sessions/two/effects/e", json={"value": 1}, headers={"Authorization": f"Bearer {key}"})
    assert (refused.status_code, refused.json()["code"]) == (404, "space_not_found")
