"""Handles: what they carry, how long they are, and which are refused."""

import base64
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryd.errors import HandleExpired
from memoryd.memory.handles import Handle, Handles
from memoryd.memory.ports import Moment
from retrieval.scope import Action, Scope

NOW = datetime(2024, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)
HANDLES = Handles(b"sixteen bytes or more", ttl=timedelta(hours=1))
SCOPE = Scope(UUID(int=1), "key", frozenset({Action.READ}), None)


@given(
    terms=st.lists(st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=400), max_size=80),
    revision=st.none() | st.integers(1, 2**62),
    at=st.sampled_from((Moment(), Moment(as_of=NOW), Moment(NOW, NOW))),
)
def test_a_handle_says_what_it_was_given_and_stays_short(terms: list[str], revision: int | None, at: Moment) -> None:
    handle = Handle(UUID(int=7), "s" * 128, "excerpt", revision, 200_000, tuple(terms), at, 199_999)
    text = HANDLES.issue(SCOPE, handle, NOW)
    assert len(text) < 1_000
    read = HANDLES.read(SCOPE, text, NOW)
    assert isinstance(read, Handle)
    assert read.terms == tuple(terms)[: len(read.terms)]
    assert (read.revision, read.seen_chars, read.at, read.matched_at) == (revision, 200_000, at, 199_999)


def test_a_handle_of_an_earlier_version_has_expired() -> None:
    body = json.dumps([str(UUID(int=7)), "default", "gist", int(NOW.timestamp()) + 60]).encode()
    parts = (body, HANDLES._sign(SCOPE.tenant_id, body))
    text = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    with pytest.raises(HandleExpired):
        HANDLES.read(SCOPE, text, NOW)
