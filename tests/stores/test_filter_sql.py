"""Filters as SQL: the terms of many facets in many spaces are worked out once a question, and beside the event loop."""

import asyncio
import threading
from dataclasses import replace
from uuid import UUID

import pytest

from memoryd.stores import filter_sql
from memoryd.stores.filter_sql import conditions, conditions_of
from memoryd.stores.terms import metadata_term, topic_term
from retrieval.filters import Filters
from retrieval.ports import Query

FILTERS = Filters(topics_any=("a", "b"), topics_all=("c",), metadata=(("n", 1), ("ok", True)))
SPACES = tuple(UUID(int=n) for n in range(300))
TERMS = 5 * len(SPACES)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each term that is hashed, whether on the event loop."""
    seen: list[bool] = []
    loop = threading.current_thread()

    def topic(space: UUID, name: str) -> int:
        seen.append(threading.current_thread() is loop)
        return topic_term(space, name)

    def metadata(space: UUID, key: str, value: str | int | float | bool | None) -> int:
        seen.append(threading.current_thread() is loop)
        return metadata_term(space, key, value)

    monkeypatch.setattr(filter_sql, "topic_term", topic)
    monkeypatch.setattr(filter_sql, "metadata_term", metadata)
    return seen


async def test_many_facets_are_hashed_once_a_question_and_beside_the_event_loop(hashed: list[bool]) -> None:
    query = Query(SPACES, FILTERS)
    first, *others = await asyncio.gather(*(conditions_of(query) for _ in range(6)))
    assert hashed == [False] * TERMS
    assert all((one.sql, one.params) == (first.sql, first.params) for one in others)
    assert first.params["facet0"] == [topic_term(space, topic) for space in SPACES for topic in ("a", "b")]
    assert first.params["facet3"] == [metadata_term(space, "ok", True) for space in SPACES]
    await conditions_of(replace(query, pins=()))
    assert len(hashed) == TERMS
    fewer = await conditions_of(replace(query, spaces=SPACES[:200]))
    assert fewer.params["facet1"] == [topic_term(space, "c") for space in SPACES[:200]]


async def test_few_facets_are_hashed_where_they_are_needed(hashed: list[bool]) -> None:
    found = await conditions(FILTERS, SPACES[:2])
    assert hashed == [True] * 10
    assert found.params["facet2"] == [metadata_term(space, "n", 1) for space in SPACES[:2]]


async def test_one_who_waits_no_longer_leaves_the_others_their_terms(hashed: list[bool]) -> None:
    query = Query(SPACES, FILTERS)
    late, other = asyncio.ensure_future(conditions_of(query)), asyncio.ensure_future(conditions_of(query))
    await asyncio.sleep(0)
    late.cancel()
    assert "facet3" in (await other).params
    assert late.cancelled()
    assert len(hashed) == TERMS
