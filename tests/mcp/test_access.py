"""Who sees what: every tool and resource, for another tenant, for weaker keys and confined ones, and for hostile arguments."""

import logging
from dataclasses import dataclass

import pytest
from fastapi import FastAPI
from mcp import Client, MCPError
from mcp.types import CallToolResult

from memoryd.mcp.catalogue import ENTRIES
from tests.http.conftest import Tenant
from tests.mcp.conftest import connected, text

CANARY = "xylophone-canary-7f3a"


@dataclass(frozen=True)
class Victim:
    """Tenant A, whose texts, names and ids are canaries."""

    tenant: Tenant
    memory: str
    handle: str
    cursor: str
    checkpoint: str

    async def everything(self) -> list[object]:
        """All that A can see of its own."""
        http = self.tenant.http
        of_memory, of_session = f"/v1/memories/{self.memory}", f"/v1/sessions/{CANARY}"
        paths = [of_memory, f"{of_memory}/history", "/v1/memories", "/v1/spaces"]
        paths += [f"{of_session}/messages", f"{of_session}/checkpoints"]
        return [(await http.get(path)).json() for path in paths]


@pytest.fixture
async def victim(app: FastAPI, tenant: Tenant) -> Victim:
    memory, _ = await tenant.remember(
        f"The vault code is {CANARY}", f"Backup of {CANARY}", space=f"space-{CANARY}", user_id=CANARY, session_id=CANARY
    )
    packed = (await tenant.http.post("/v1/context", json={"query": "vault code"})).json()
    async with connected(app, tenant.key) as own:
        page = (await own.call_tool("timeline", {"limit": 1})).structured_content
        session = {"session_id": CANARY}
        await own.call_tool("session", session | {"action": "append", "messages": [{"role": "user", "content": CANARY}]})
        made = (await own.call_tool("session", session | {"action": "checkpoint", "label": CANARY})).structured_content
    return Victim(tenant, memory, packed["items"][0]["handle"], page["next_cursor"], made["checkpoint_id"])


# For each tool: B's call at A, and the code of its error; none: an answer without anything of A.
MATRIX: dict[str, list[tuple[dict[str, object], str | None]]] = {
    "recall": [({"query": "vault code"}, None), ({"query": "vault code", "spaces": [f"space-{CANARY}"]}, "space_not_found")],
    "context": [({"query": "vault code"}, None), ({"query": "vault code", "spaces": [f"space-{CANARY}"]}, "space_not_found")],
    "search_knowledge": [({"query": "vault code", "kb": CANARY}, "not_found")],
    "remember": [({"text": "mine", "supersedes": "{memory}"}, "not_found")],
    "forget": [({"id": "{memory}"}, "not_found"), ({"id": "{memory}", "purge": True}, "not_found")],
    "expand": [
        ({"handle": "{memory}"}, "not_found"),
        ({"handle": "{memory}.r1+0"}, "not_found"),
        ({"handle": "{memory}.r1.k1714564800000000"}, "not_found"),
        ({"handle": "{memory}", "around": True}, "not_found"),
        ({"handle": "{handle}"}, "handle_invalid"),
    ],
    "timeline": [
        ({"user_id": CANARY}, None), ({"cursor": "{cursor}"}, None), ({"spaces": [f"space-{CANARY}"]}, "space_not_found"),
    ],
    "session": [
        ({"action": "read", "session_id": CANARY}, "not_found"),
        ({"action": "checkpoint", "session_id": CANARY}, "not_found"),
        ({"action": "restore", "session_id": CANARY, "checkpoint_id": "{checkpoint}"}, "not_found"),
        ({"action": "append", "session_id": "mine", "messages": [{"role": "user", "content": "x"}]}, None),
        ({"action": "restore", "session_id": "mine", "checkpoint_id": "{checkpoint}"}, "not_found"),
    ],
}  # fmt: skip


def test_every_tool_is_in_the_matrix() -> None:
    assert set(MATRIX) == set(ENTRIES)


@pytest.mark.parametrize("tool", sorted(MATRIX))
async def test_another_tenants_ids_tell_and_change_nothing(
    app: FastAPI, victim: Victim, other: Tenant, tool: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = await victim.everything()
    with caplog.at_level(logging.DEBUG):
        async with connected(app, other.key) as stranger:
            for template, code in MATRIX[tool]:
                asked = {
                    name: value.format(
                        memory=victim.memory, handle=victim.handle, cursor=victim.cursor, checkpoint=victim.checkpoint
                    )
                    if isinstance(value, str)
                    else value
                    for name, value in template.items()
                }
                answer = await stranger.call_tool(tool, asked)
                assert (answer.structured_content.get("code") if answer.is_error else None) == code, text(answer)
                told = text(answer) + str(answer.structured_content)
                assert victim.memory not in told
                assert CANARY not in told.replace(f"no space named 'space-{CANARY}'", "")
    logged = [one.getMessage() for one in caplog.records if one.name.startswith(("memoryd", "mcp"))]
    assert CANARY not in "\n".join(logged)
    assert await victim.everything() == before


async def test_another_tenants_resources_do_not_exist(app: FastAPI, victim: Victim, other: Tenant) -> None:
    async with connected(app, other.key) as stranger:
        assert CANARY not in (await stranger.list_resources()).model_dump_json()
        assert CANARY not in (await stranger.read_resource("memoryd://spaces")).model_dump_json()
        assert CANARY not in (await stranger.read_resource("memoryd://knowledge-bases")).model_dump_json()
        for uri in (
            f"memoryd://spaces/space-{CANARY}/profile",
            "memoryd://spaces/nowhere/profile",
            f"memoryd://knowledge-bases/{CANARY}/versions",
            "memoryd://knowledge-bases/nothing",
            "memoryd://knowledge-bases/%00/versions",
            "memoryd://spaces/%00/profile",
            "memoryd://knowledge-basesandmore",
            "memoryd://other",
            "file:///etc",
        ):
            with pytest.raises(MCPError, match="not_found"):
                await stranger.read_resource(uri)


async def test_a_key_is_offered_what_it_may_do(app: FastAPI, tenant: Tenant) -> None:
    (memory,) = await tenant.remember("stays")
    for actions in (["read"], ["write"], ["delete"], ["read", "write"]):
        key = (await tenant.http.post("/v1/keys", json={"name": "k", "actions": actions})).json()["key"]
        async with connected(app, key) as weak:
            offered = {tool.name for tool in (await weak.list_tools()).tools}
            assert offered == {name for name, entry in ENTRIES.items() if entry.actions & set(actions)}
            for name in set(ENTRIES) - offered:
                refused = await weak.call_tool(name, {"id": memory, "text": "x", "query": "x", "handle": memory})
                assert refused.structured_content["code"] == "forbidden", name
            if "read" not in actions:
                assert (await weak.list_resources()).resources == []
                with pytest.raises(MCPError, match="forbidden"):
                    await weak.read_resource("memoryd://spaces")
    assert [one["text"] for one in (await tenant.http.get("/v1/memories")).json()["memories"]] == ["stays"]


async def test_a_confined_key_stays_in_its_spaces(app: FastAPI, tenant: Tenant) -> None:
    await tenant.remember("the lighthouse is white", space="inside")
    (outside,) = await tenant.remember("the lighthouse is black", space="outside")
    key = (
        await tenant.http.post("/v1/keys", json={"name": "k", "spaces": ["inside"], "actions": ["read", "write", "delete"]})
    ).json()["key"]
    async with connected(app, key) as confined:
        for tool, asked in (("recall", {"query": "lighthouse"}), ("context", {"query": "lighthouse"}), ("timeline", {})):
            shown = text(await confined.call_tool(tool, asked))
            assert "white" in shown
            assert "black" not in shown
        refusals = [
            await confined.call_tool("expand", {"handle": outside}),
            await confined.call_tool("expand", {"handle": f"{outside}.r1"}),
            await confined.call_tool("forget", {"id": outside}),
            await confined.call_tool("remember", {"text": "x", "space": "outside"}),
            await confined.call_tool("timeline", {"spaces": ["outside"]}),
        ]
        assert [one.structured_content["code"] for one in refusals] == [
            "not_found", "not_found", "not_found", "space_not_found", "space_not_found",
        ]  # fmt: skip
        assert "outside" not in (await confined.read_resource("memoryd://spaces")).model_dump_json()
        with pytest.raises(MCPError, match="space_not_found"):
            await confined.read_resource("memoryd://spaces/outside/profile")


async def test_a_key_is_offered_its_part_of_the_session(app: FastAPI, tenant: Tenant) -> None:
    said: dict[str, object] = {"action": "append", "session_id": "s", "messages": [{"role": "user", "content": "x"}]}
    calls: list[dict[str, object]] = [said, {"action": "read", "session_id": "s"}, {"action": "checkpoint", "session_id": "s"}]
    parts: list[tuple[str, list[object], bool | None]] = [
        ("read", ["read"], True), ("write", ["append", "checkpoint"], None),
    ]  # fmt: skip
    for action, allowed, reads in parts:
        key = (await tenant.http.post("/v1/keys", json={"name": "k", "actions": [action]})).json()["key"]
        async with connected(app, tenant.key) as own, connected(app, key) as weak:
            await own.call_tool("session", said)
            kept = (await own.call_tool("session", calls[-1])).structured_content["checkpoint_id"]
            (tool,) = [tool for tool in (await weak.list_tools()).tools if tool.name == "session"]
            properties = tool.input_schema["properties"]
            assert properties["action"]["enum"] == allowed
            assert ("messages" in properties) == ("append" in allowed)
            assert ("budget_tokens" in properties) == ("read" in allowed)
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint is reads
            for asked in (*calls, {"action": "restore", "session_id": "s", "checkpoint_id": kept}):
                answer = await weak.call_tool("session", asked)
                assert (asked["action"] in allowed) != bool(answer.is_error), text(answer)
                assert not answer.is_error or answer.structured_content["code"] == "forbidden"
    assert len((await tenant.http.get("/v1/sessions/s/messages")).json()["messages"]) == 1


async def test_a_confined_key_has_the_sessions_of_its_spaces(app: FastAPI, tenant: Tenant) -> None:
    made = await tenant.http.post("/v1/keys", json={"name": "k", "spaces": ["inside"], "actions": ["read", "write"]})
    said = {"action": "append", "messages": [{"role": "user", "content": "the lighthouse is black"}]}
    async with connected(app, tenant.key) as own, connected(app, made.json()["key"]) as confined:
        await own.call_tool("session", said | {"session_id": "far", "space": "outside"})
        refusals = [
            await confined.call_tool("session", {"action": "read", "session_id": "far"}),
            await confined.call_tool("session", said | {"session_id": "far"}),
            await confined.call_tool("session", said | {"session_id": "new", "space": "outside"}),
        ]
        assert [one.structured_content["code"] for one in refusals] == ["not_found", "not_found", "space_not_found"]
        assert not (await confined.call_tool("session", said | {"session_id": "near", "space": "inside"})).is_error
        assert "black" in text(await confined.call_tool("session", {"action": "read", "session_id": "near"}))


def _nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


HOSTILE: list[tuple[str, dict[str, object]]] = [
    ("recall", {}),
    ("recall", {"query": ""}),
    ("recall", {"query": "a" * 9_000}),
    ("recall", {"query": "a\0b"}),
    ("recall", {"query": 7}),
    ("recall", {"query": "x", "limit": 10**30}),
    ("recall", {"query": "x", "limit": "10"}),
    ("recall", {"query": "x", "limit": True}),
    ("recall", {"query": "x", "budget_tokens": 0}),
    ("recall", {"query": "x", "budget_tokens": float("1e308")}),
    ("recall", {"query": "x", "spaces": ["../../etc"]}),
    ("recall", {"query": "x", "spaces": [f"s{n}" for n in range(101)]}),
    ("recall", {"query": "x", "kinds": ["; DROP TABLE memories"]}),
    ("recall", {"query": "x", "after": 1_700_000_000}),
    ("recall", {"query": "x", "after": "9999-12-31T23:59:59Z", "before": "0001-01-01T00:00:00-23:59"}),
    ("recall", {"query": "x", "user_id": _nested(200)}),
    ("recall", {"query": "x", "tenant_id": "another"}),
    ("search_knowledge", {"query": "x"}),
    ("search_knowledge", {"query": "x", "kb": "../etc"}),
    ("search_knowledge", {"query": "x", "kb": "nothing"}),
    ("search_knowledge", {"query": "x", "kb": "nothing@99999999999999999999"}),
    ("expand", {"handle": "nothing@1/00000000-0000-0000-0000-000000000000"}),
    ("remember", {"text": "a" * 200_001}),
    ("remember", {"text": " \n "}),
    ("remember", {"text": "x", "space": "no spaces in names"}),
    ("remember", {"text": "x", "supersedes": "not-an-id"}),
    ("remember", {"text": "x", "topics": ["t" * 129]}),
    ("remember", {"text": "x", "idempotency_key": "k" * 257}),
    ("forget", {"id": "*"}),
    ("forget", {"id": "{00000000-0000-0000-0000-000000000000}"}),
    ("forget", {"id": "00000000-0000-0000-0000-000000000000", "purge": "yes"}),
    ("expand", {"handle": "h" * 1_001}),
    ("expand", {"handle": "e30.e30"}),
    ("expand", {"handle": "é"}),
    ("expand", {"handle": "z" * 36}),
    ("expand", {"handle": f"00000000-0000-0000-0000-000000000000.k{'9' * 18}"}),
    ("expand", {"handle": "00000000-0000-0000-0000-000000000000.r999999999.k1+999999999"}),
    ("timeline", {"cursor": "é"}),
    ("timeline", {"cursor": "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OjE"}),
    ("timeline", {"cursor": "MTp-MQ"}),
    ("timeline", {"order": "sideways"}),
    ("session", {"session_id": "s"}),
    ("session", {"action": "drop", "session_id": "s"}),
    ("session", {"action": ["append"], "session_id": "s"}),
    ("session", {"action": "append", "session_id": "s"}),
    ("session", {"action": "append", "session_id": "a/b", "messages": [{"role": "user", "content": "x"}]}),
    ("session", {"action": "append", "session_id": "s", "messages": [{"role": "user", "content": "a\0b"}]}),
    ("session", {"action": "append", "session_id": "s", "messages": [{"role": "wizard", "content": "x"}]}),
    ("session", {"action": "append", "session_id": "s", "messages": [{"role": "user", "content": "x"}] * 501}),
    ("session", {"action": "append", "session_id": "s", "messages": [{"role": "user", "content": [{"deep": _nested(100)}]}]}),
    ("session", {"action": "append", "session_id": "s", "label": "l", "messages": [{"role": "user", "content": "x"}]}),
    ("session", {"action": "read", "session_id": "s", "messages": [{"role": "user", "content": "x"}]}),
    ("session", {"action": "read", "session_id": "s", "budget_tokens": 10**9}),
    ("session", {"action": "checkpoint", "session_id": "s", "step": -1}),
    ("session", {"action": "restore", "session_id": "s"}),
    ("session", {"action": "restore", "session_id": "s", "checkpoint_id": "*"}),
    ("session", {"action": "restore", "session_id": "s", "checkpoint_id": "00000000-0000-0000-0000-000000000000"}),
]


@pytest.mark.parametrize(("tool", "asked"), HOSTILE, ids=lambda value: str(value)[:40])
async def test_hostile_arguments_are_errors_that_change_nothing(
    agent: Client, tenant: Tenant, tool: str, asked: dict[str, object]
) -> None:
    answer: CallToolResult = await agent.call_tool(tool, asked)
    assert answer.is_error, text(answer)
    assert answer.structured_content["code"] in {"invalid_request", "handle_invalid", "not_found"}, text(answer)
    assert len(text(answer)) < 600
    assert (await tenant.http.get("/v1/memories")).json()["memories"] == []
    assert (await tenant.http.get("/v1/sessions")).json()["sessions"] == []


async def test_an_unknown_tool_is_an_error_of_the_protocol(agent: Client) -> None:
    with pytest.raises(MCPError, match="no such tool"):
        await agent.call_tool("drop_everything", {})
