"""What a long question over many spaces may cost."""

import threading
from collections.abc import Sequence
from uuid import UUID

import pytest

from memoryd.errors import InvalidRequest
from memoryd.stores import lexical
from memoryd.stores.database import Database
from memoryd.stores.lexical import PgLexicalIndex
from retrieval.analysis import Analyzer
from retrieval.bm25 import DEFAULT_PARAMS
from retrieval.filters import Filters
from retrieval.ports import Query
from retrieval.scope import Action, Scope

SCOPE = Scope(UUID(int=1), "tests", frozenset(Action))
SPACES = tuple(UUID(int=n) for n in range(1, 1_001))


async def test_many_terms_are_hashed_beside_the_event_loop(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed_by: list[threading.Thread] = []
    term_ids = lexical._term_ids

    def spy(tokens: Sequence[str], spaces: Sequence[UUID]) -> dict[int, str]:
        hashed_by.append(threading.current_thread())
        return term_ids(tokens, spaces)

    monkeypatch.setattr(lexical, "_term_ids", spy)
    index = PgLexicalIndex(database, Analyzer(), DEFAULT_PARAMS)
    for spaces in (SPACES, SPACES[:1]):
        assert await index.search(SCOPE, Query(spaces, Filters()), "a heron on the red harbour wall", limit=10) == []
    assert [thread is threading.main_thread() for thread in hashed_by] == [False, True]


async def test_too_many_terms_are_refused_before_anything_is_hashed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexical, "_term_ids", None)
    question = " ".join(f"word{number}" for number in range(51))
    with pytest.raises(InvalidRequest, match="51 words in 1000 spaces"):
        await PgLexicalIndex(database, Analyzer(), DEFAULT_PARAMS).search(SCOPE, Query(SPACES, Filters()), question, limit=10)


def test_a_mean_belongs_to_its_tenant_spaces_and_version() -> None:
    keys = {
        lexical._digest(tenant, spaces, documents, version)
        for tenant in (UUID(int=1), UUID(int=2))
        for spaces in (SPACES, SPACES[:2], SPACES[1:3])
        for documents, version in ((1, 11), (11, 1), (1, 1))
    }
    assert len(keys) == 18
    assert {len(key) for key in keys} == {16}
