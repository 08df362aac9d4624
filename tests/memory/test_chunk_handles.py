"""Handles of chunks: beside those of memories, and no longer than they may be."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryd.errors import NotFound
from memoryd.memory.handles import ChunkHandle, Handles
from retrieval.scope import Action, Scope

NOW = datetime(2024, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)
HANDLES = Handles(b"sixteen bytes or more", ttl=timedelta(hours=1))
SCOPE = Scope(UUID(int=1), "key", frozenset({Action.READ}), None)


@given(
    terms=st.lists(st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=400), max_size=80),
    version=st.integers(1, 2**63 - 1),
    in_section=st.booleans(),
)
def test_a_handle_of_a_chunk_says_what_it_was_given_and_stays_short(terms: list[str], version: int, in_section: bool) -> None:
    handle = ChunkHandle(
        UUID(int=7), "s" * 128, "excerpt", UUID(int=8), "k" * 100, version, in_section, 200_000, tuple(terms)
    )  # fmt: skip
    text = HANDLES.issue(SCOPE, handle, NOW)
    assert len(text) < 1_000
    read = HANDLES.read(SCOPE, text, NOW)
    assert isinstance(read, ChunkHandle)
    assert read.terms == tuple(terms)[: len(read.terms)]
    assert (read.kb_id, read.kb, read.version, read.in_section) == (UUID(int=8), "k" * 100, version, in_section)


def test_a_handle_of_a_chunk_is_for_its_space() -> None:
    text = HANDLES.issue(SCOPE, ChunkHandle(UUID(int=7), "hr", "gist", UUID(int=8), "handbook", 3), NOW)
    confined = Scope(SCOPE.tenant_id, "key", SCOPE.actions, frozenset({"sales"}))
    with pytest.raises(NotFound):
        HANDLES.read(confined, text, NOW)
