"""Pages of documents and chunks over HTTP: all of one version, whatever is published between them."""

from typing import Any

import pytest
from fastapi import FastAPI

from memoryd.http.cursors import to_cursor
from memoryd.stores.database import Database
from memoryd.stores.generations import live_generation
from retrieval.scope import Action, Scope
from tests.http.conftest import Tenant
from tests.stores.knowledge.bookcase import Bookcase, Doc, Part, doc, hashed

LONG = "\U0001f4d6" * 500


def sections(word: str) -> Doc:
    return Doc("", tuple(Part(f"{word} sentence {n}.") for n in range(4)))


@pytest.fixture
async def handbook(app: FastAPI, database: Database, tenant: Tenant) -> Bookcase:
    generation = await live_generation(database)
    assert generation is not None
    scope = Scope(tenant.tenant_id, "test", frozenset(Action))
    made = await Bookcase.make(database, scope, generation.number, hashed(generation.dimension), name="handbook")
    await made.publish({"a": sections("old"), "b": doc("one"), "c": doc("two")})
    return made


async def page(tenant: Tenant, path: str, status: int = 200, **params: object) -> dict[str, Any]:
    query = {"limit": 2, **params}
    answer = await tenant.http.get(f"/v1/knowledge-bases/handbook/{path}", params={name: str(one) for name, one in query.items()})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_the_next_page_is_of_the_version_of_the_first(tenant: Tenant, handbook: Bookcase) -> None:
    documents, chunks = await page(tenant, "documents"), await page(tenant, "chunks", document_id="a")
    await handbook.publish({"a": sections("new"), "b": None, "c": None, "d": doc("three")})
    for version in ("live", "1"):
        rest = await page(tenant, "documents", version=version, cursor=documents["next_cursor"])
        assert (rest["version"], [one["document_id"] for one in rest["documents"]]) == (1, ["c"])
        rest = await page(tenant, "chunks", version=version, document_id="a", cursor=chunks["next_cursor"])
        assert (rest["version"], [one["text"] for one in rest["chunks"]]) == (1, ["old sentence 2.", "old sentence 3."])
    assert (await page(tenant, "documents"))["version"] == 2
    other = await page(tenant, "documents", 422, version="2", cursor=documents["next_cursor"])
    assert other["detail"] == "cursor: of version 1, not 2"
    await handbook.collect()
    gone = await page(tenant, "documents", 410, cursor=documents["next_cursor"])
    assert gone["code"] == "version_gone"


async def test_the_next_page_of_a_diff_is_of_the_versions_of_the_first(tenant: Tenant, handbook: Bookcase) -> None:
    await handbook.publish({name: doc(f"new {name}") for name in "defgh"})
    first = await page(tenant, "diff", before="1", after="live")
    await handbook.publish({"e": None, "f": None, "g": None})
    for before, after in (("1", "live"), ("1", "2")):
        rest = await page(tenant, "diff", limit=4, before=before, after=after, cursor=first["next_cursor"])
        assert (rest["before"], rest["after"], rest["next_cursor"]) == (1, 2, None)
        assert [one["document_id"] for one in (*first["changes"], *rest["changes"])] == [*"defgh"]
    assert (await page(tenant, "diff", before="1", after="live"))["after"] == 3
    other = await page(tenant, "diff", 422, before="1", after="3", cursor=first["next_cursor"])
    assert other["detail"] == "cursor: of version 2, not 3"
    await handbook.collect()
    gone = await page(tenant, "diff", 410, before="1", after="live", cursor=first["next_cursor"])
    assert gone["code"] == "version_gone"


async def test_pages_of_a_draft_go_on_when_it_is_published(tenant: Tenant, handbook: Bookcase) -> None:
    await handbook.stage({name: doc(f"new {name}") for name in "def"})
    first = await page(tenant, "diff")
    assert (first["before"], first["after"]) == (1, 2)
    await handbook.publish({})
    rest = await page(tenant, "diff", cursor=first["next_cursor"])
    assert [one["document_id"] for one in rest["changes"]] == ["f"]


@pytest.mark.parametrize("position", ["a", "1\x1fa", "1\x1flive\x1fa", "1\x1f2\x1fa\x1fb", "0\x1f-1\x1fa"])
async def test_a_cursor_of_no_diff_is_refused(tenant: Tenant, handbook: Bookcase, position: str) -> None:
    answer = await page(tenant, "diff", 422, before="1", after="live", cursor=to_cursor(position))
    assert answer["code"] == "invalid_request"


@pytest.mark.parametrize("position", ["a", "1", "\x1fa", "live\x1fa", "1\x1f\x1f", "1\x1fx", "\u0661\x1f1", f"{10**18}\x1f1"])
async def test_a_cursor_that_was_not_given_out_is_refused(tenant: Tenant, handbook: Bookcase, position: str) -> None:
    answer = await page(tenant, "chunks", 422, document_id="a", cursor=to_cursor(position))
    assert answer["code"] == "invalid_request"


async def test_a_document_of_the_longest_id_has_one_behind_it(tenant: Tenant, handbook: Bookcase) -> None:
    await handbook.publish({LONG: doc("long"), LONG[:-1] + "\U0001f4d7": doc("longer")})
    first = await page(tenant, "documents", limit=4)
    assert first["documents"][-1]["document_id"] == LONG
    last = await page(tenant, "documents", cursor=first["next_cursor"])
    assert len(last["documents"]) == 1
    first = await page(tenant, "diff", limit=1, before="1", after="live")
    last = await page(tenant, "diff", limit=1, before="1", after="live", cursor=first["next_cursor"])
    assert first["changes"][0]["document_id"] == LONG
    assert len(last["changes"]) == 1
