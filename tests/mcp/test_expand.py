"""More of what was shown: long texts part by part to their end, and what was known then as it was then."""

import re

import pytest
from mcp import Client
from mcp.types import CallToolResult

from retrieval.packing import TokenizerRegistry
from tests.http.conftest import Tenant
from tests.mcp.conftest import text

COUNTER = TokenizerRegistry().counter("o200k_base")
SECRET = "The password of the old safe is swordfish, as Grandmother said. "


def long_text(paragraphs: int, secret_at: int) -> str:
    texts = [f"Paragraph-{n} is about the weather of that day and nothing else. " * 4 for n in range(paragraphs)]
    texts[secret_at] = SECRET + texts[secret_at]
    return "\n".join(texts)


async def expand(agent: Client, handle: str, **fields: object) -> CallToolResult:
    answer = await agent.call_tool("expand", {"handle": handle, **fields})
    assert not answer.is_error, text(answer)
    return answer


async def test_the_longest_text_is_read_to_its_end(agent: Client, tenant: Tenant) -> None:
    paragraphs = 730
    whole = long_text(paragraphs, 600)[:200_000]
    (memory,) = await tenant.remember(whole)
    handle: str | None = memory
    seen: list[str] = []
    for _ in range(60):
        answer = await expand(agent, handle or "", budget_tokens=2_000)
        assert 1_000 < COUNTER.count(text(answer)) <= 2_000 or answer.structured_content["next_handle"] is None
        seen.append(answer.structured_content["text"])
        handle = answer.structured_content["next_handle"]
        if handle is None:
            break
        assert f"It goes on: expand {handle}, or ask with a larger budget_tokens." in text(answer)
    shown = re.findall(r"Paragraph-(\d+)", " ".join(seen))
    assert shown == re.findall(r"Paragraph-(\d+)", whole)
    assert "larger budget_tokens" not in text(await expand(agent, memory, budget_tokens=20_000))


@pytest.mark.parametrize("tool", ["recall", "context"])
async def test_a_part_is_around_what_matched(agent: Client, tenant: Tenant, tool: str) -> None:
    (memory,) = await tenant.remember(long_text(60, 45))
    found = await agent.call_tool(tool, {"query": "What is the password of Grandmother's safe?", "budget_tokens": 400})
    shown = found.structured_content
    handle = shown["hits"][0]["handle"] if tool == "recall" else shown["expandable"][0]["handle"]
    assert handle in text(found)
    assert "swordfish" in text(found)
    answer = await expand(agent, handle)
    assert "swordfish" in text(answer)
    assert len(answer.structured_content["text"]) > 3_000
    assert re.search(rf"begins before that: expand {memory}\S*\+0\.", text(answer))
    first, following = answer.structured_content["first_handle"], answer.structured_content["next_handle"]
    assert "Paragraph-0 is" in text(await expand(agent, first))
    assert "Paragraph-59 is" in text(await expand(agent, following, budget_tokens=4_000))
    # All of it, where the budget holds all of it.
    assert (await expand(agent, handle, budget_tokens=20_000)).structured_content["next_handle"] is None


async def test_what_was_known_then_is_expanded_as_it_was(agent: Client, tenant: Tenant) -> None:
    (memory,) = await tenant.remember(long_text(60, 30))
    then = (await tenant.http.get(f"/v1/memories/{memory}")).json()["updated_at"]
    await tenant.http.patch(f"/v1/memories/{memory}", json={"text": "The safe was sold."})
    asked = {"query": "What is the password of Grandmother's safe?", "budget_tokens": 500}
    for tool in ("recall", "context"):
        found = (await agent.call_tool(tool, asked | {"known_at": then})).structured_content
        handle = found["hits"][0]["handle"] if tool == "recall" else found["expandable"][0]["handle"]
        assert handle.startswith(f"{memory}.r1.k")
        answer = await expand(agent, handle)
        assert "swordfish" in text(answer)
        assert "Paragraph-0 is" in text(await expand(agent, answer.structured_content["first_handle"]))
        assert "sold" not in text(await expand(agent, handle, around=True))
    assert "The safe was sold." in text(await expand(agent, memory))


async def test_a_short_text_of_then_names_its_revision_too(agent: Client, tenant: Tenant) -> None:
    (memory,) = await tenant.remember("Ada lives in Rome.")
    then = (await tenant.http.get(f"/v1/memories/{memory}")).json()["updated_at"]
    await tenant.http.patch(f"/v1/memories/{memory}", json={"text": "Ada lives in Oslo."})
    found = await agent.call_tool("recall", {"query": "Where does Ada live?", "known_at": then})
    (hit,) = found.structured_content["hits"]
    assert (hit["id"], hit["text"]) == (memory, "Ada lives in Rome.")
    assert hit["handle"] in text(found)
    assert "Rome" in text(await expand(agent, hit["handle"]))
    # What writes takes the memory that such an id is of.
    gone = await agent.call_tool("forget", {"id": hit["handle"]})
    assert gone.structured_content == {"id": memory, "status": "forgotten"}
    # Forgotten, it is shown to who asks for a time before that, and to nobody else.
    assert "Rome" in text(await expand(agent, hit["handle"]))
    for name in (memory, f"{memory}.r1", f"{memory}.r1.k32503680000000000"):
        refused = await agent.call_tool("expand", {"handle": name})
        assert refused.structured_content["code"] == "not_found"


async def test_a_handle_of_rest_leads_to_the_end_too(agent: Client, tenant: Tenant) -> None:
    await tenant.remember(long_text(200, 150))
    packed = (await tenant.http.post("/v1/context", json={"query": "Grandmother's safe", "budget_tokens": 300})).json()
    answer = await expand(agent, packed["items"][0]["handle"])
    (more,) = answer.structured_content["expandable"]
    part = await expand(agent, more["handle"], budget_tokens=2_000)
    assert part.structured_content["next_handle"]


async def test_a_place_behind_the_end_is_no_error(agent: Client, tenant: Tenant) -> None:
    (memory,) = await tenant.remember("short")
    answer = await expand(agent, f"{memory}+5000")
    assert (text(answer), answer.structured_content["next_handle"]) == ("The text ends before that.", None)


async def test_a_part_and_both_notes_are_within_the_budget_wherever_it_is(agent: Client, tenant: Tenant) -> None:
    (memory,) = await tenant.remember(long_text(20, 3))
    for at in range(0, 1_600, 37):
        answer = await expand(agent, f"{memory}~{at}", budget_tokens=256)
        assert COUNTER.count(text(answer)) <= 256, at
