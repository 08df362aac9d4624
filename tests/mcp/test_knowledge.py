"""Knowledge bases over MCP: found with their sources, expanded by the ids of results, and never another tenant's."""

import json
import re
from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI
from mcp import Client, MCPError

from memoryd.database_wiring import database as service_database
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.generations import live_generation
from retrieval.packing import TokenizerRegistry
from retrieval.scope import Action, Scope
from tests.http.conftest import Tenant
from tests.mcp.conftest import connected, plain, text
from tests.one_model import embedder_of
from tests.stores.knowledge.bookcase import Bookcase, Doc, Part, doc

COUNTER = TokenizerRegistry().counter("o200k_base")
RULES = " ".join(f"Rule {n}: everybody asks the office in writing before day {n}." for n in range(60))
LEAVE = Doc(
    "Employee handbook",
    (
        Part("Parental leave is sixteen weeks at full pay.", ("Leave",), 12),
        Part(f"Parental leave is asked for like this. {RULES}", ("Leave",), 13),
    ),
)


@pytest.fixture(scope="module")
async def database(settings: Settings) -> AsyncIterator[Database]:
    opened = service_database(settings)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def handbook(app: FastAPI, database: Database, tenant: Tenant) -> Bookcase:
    generation = await live_generation(database)
    assert generation is not None
    embed = embedder_of(app).embed_passages
    scope = Scope(tenant.tenant_id, "test", frozenset(Action))
    made = await Bookcase.make(database, scope, generation.number, embed, name="handbook")
    await made.publish({"handbook.pdf": LEAVE})
    return made


async def test_a_chunk_is_found_with_its_source_and_expanded(agent: Client, handbook: Bookcase) -> None:
    found = await agent.call_tool("search_knowledge", {"kb": "handbook", "query": "How long is parental leave?"})
    best = found.structured_content["hits"][0]
    assert best["source"] == "Employee handbook, Leave, page 12"
    assert best["id"] == f"handbook@1/{handbook.chunk_id('handbook.pdf', 0)}"
    assert f"1 id {best['id']} (Employee handbook, Leave, page 12): Parental leave is sixteen weeks" in text(found)
    # What is live moves on; the ids name what was shown.
    await handbook.publish({"handbook.pdf": None, "new.pdf": doc("There is no leave.")})
    again = await agent.call_tool("search_knowledge", {"kb": "handbook@1", "query": "How long is parental leave?"})
    assert again.structured_content["hits"][0] == best
    alone = text(await agent.call_tool("expand", {"handle": best["id"]}))
    assert "sixteen weeks" in alone
    assert "asked for" not in alone
    around = await agent.call_tool("expand", {"handle": best["id"], "around": True, "budget_tokens": 4_000})
    assert "sixteen weeks" in text(around)
    assert "Rule 59" in text(around)


async def test_what_is_shortened_can_be_expanded(agent: Client, handbook: Bookcase) -> None:
    asked: dict[str, object] = {"kb": "handbook@live", "query": "How is parental leave asked for?"}
    for budget in (256, 400, 1_000):
        answer = await agent.call_tool("search_knowledge", {**asked, "budget_tokens": budget})
        assert 60 < COUNTER.count(text(answer)) <= budget
        assert COUNTER.count(json.dumps(answer.structured_content, ensure_ascii=False)) <= budget
    cut = next(hit for hit in answer.structured_content["hits"] if hit.get("truncated"))
    part = await agent.call_tool("expand", {"handle": cut["handle"], "budget_tokens": 500})
    assert COUNTER.count(text(part)) <= 500
    whole = text(await agent.call_tool("expand", {"handle": cut["handle"], "budget_tokens": 4_000}))
    assert "Rule 0:" in whole
    assert "Rule 59:" in whole
    # In parts, from what was found to the end of its section: each goes on where the one before ended.
    handle: str | None = part.structured_content.get("first_handle", cut["id"])
    seen: list[str] = []
    while handle is not None:
        part = await agent.call_tool("expand", {"handle": handle, "around": True, "budget_tokens": 500})
        assert COUNTER.count(text(part)) <= 500
        seen += re.findall(r"(?<!\S)\d+:(?!\S)", text(part))  # a part ends where any word does
        first, handle = part.structured_content.get("first_handle"), part.structured_content["next_handle"]
        if first is not None:
            seen, handle = [], first
    assert seen == [f"{n}:" for n in range(60)]


async def test_another_tenants_knowledge_base_does_not_exist(app: FastAPI, handbook: Bookcase, other: Tenant) -> None:
    async with connected(app, other.key) as stranger:
        for tool, asked in (
            ("search_knowledge", {"kb": "handbook", "query": "parental leave"}),
            ("expand", {"handle": f"handbook@1/{handbook.chunk_id('handbook.pdf', 0)}"}),
        ):
            answer = await stranger.call_tool(tool, asked)
            assert answer.structured_content["code"] == "not_found"
            assert "sixteen" not in text(answer)


@pytest.mark.parametrize("kb", ["nowhere", "handbook@7", "handbook@q3"])
async def test_what_is_not_there_to_be_searched_is_looked_for_where_it_is_listed(
    agent: Client, handbook: Bookcase, kb: str
) -> None:
    answer = await agent.call_tool("search_knowledge", {"kb": kb, "query": "parental leave"})
    assert answer.structured_content["code"] == "not_found"
    assert "memoryd://knowledge-bases" in text(answer)
    assert "timeline" not in text(answer)


async def test_resources_list_knowledge_bases_and_their_versions(agent: Client, handbook: Bookcase) -> None:
    await handbook.publish({"new.pdf": doc("There is more.")})
    listed = [str(one.uri) for one in (await agent.list_resources()).resources]
    assert "memoryd://knowledge-bases/handbook/versions" in listed
    (bases,) = (await agent.read_resource("memoryd://knowledge-bases")).contents
    assert json.loads(plain(bases)) == {
        "knowledge_bases": [{"name": "handbook", "space": "default", "description": None, "live": "handbook@2"}],
        "more": False,
    }
    (versions,) = (await agent.read_resource("memoryd://knowledge-bases/handbook/versions")).contents
    told = json.loads(plain(versions))["versions"]
    assert [(one["kb"], one["live"], one["documents"]) for one in told] == [("handbook@2", True, 2), ("handbook@1", False, 1)]


async def test_a_confined_key_hears_of_no_other_spaces_knowledge(app: FastAPI, tenant: Tenant, handbook: Bookcase) -> None:
    made = await tenant.http.post("/v1/keys", json={"name": "k", "spaces": ["elsewhere"], "actions": ["read"]})
    async with connected(app, made.json()["key"]) as confined:
        assert "handbook" not in (await confined.list_resources()).model_dump_json()
        assert "handbook" not in (await confined.read_resource("memoryd://knowledge-bases")).model_dump_json()
        with pytest.raises(MCPError, match="not_found"):
            await confined.read_resource("memoryd://knowledge-bases/handbook/versions")
