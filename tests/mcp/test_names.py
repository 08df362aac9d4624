"""Names of texts: what is written is read, and nothing else is."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryd.mcp.names import ChunkName, MemoryName, parse
from memoryd.memory.ports import Moment
from retrieval.packing import Place

ID = UUID("8f14e45f-ceea-467f-a8b2-1c2b3d4e5f60")
TIMES = st.none() | st.datetimes(datetime(1, 1, 2), datetime(9998, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
PLACES = st.none() | st.builds(Place, at=st.integers(0, 200_000), around=st.booleans())


@given(
    st.builds(
        MemoryName,
        memory_id=st.uuids(),
        revision=st.none() | st.integers(1, 999_999_999),
        at=st.builds(Moment, as_of=TIMES, known_at=TIMES),
        place=PLACES,
    )
    | st.builds(
        ChunkName,
        kb=st.from_regex(r"[a-z0-9][a-z0-9._-]{0,99}", fullmatch=True),
        version=st.integers(1, 10**18 - 1).map(str),
        chunk_id=st.uuids(),
        in_section=st.booleans(),
        place=PLACES,
    )
)
def test_a_name_says_what_it_was_given(name: MemoryName | ChunkName) -> None:
    assert parse(str(name)) == name
    assert parse(name.id) is not None
    assert len(str(name)) < 200


@pytest.mark.parametrize(
    "text",
    [
        "", "x", f"{{{ID}}}", f"{ID} ", f"{ID}\n", f"{ID}.r", f"{ID}.r1.r2", f"{ID}+", f"{ID}+-1", f"{ID}~1+2", f"{ID}.s",
        f"{ID}.k{'9' * 18}", f"{ID}.k{'9' * 19}", f"{ID}.r{'9' * 10}", f"{ID}+٣", f"kb@0/{ID}", f"kb/{ID}", f"KB@1/{ID}",
        f"kb@1/{ID}.r1", f"kb@1/{ID}.s.s",
    ],
)  # fmt: skip
def test_what_is_no_name(text: str) -> None:
    assert parse(text) is None


def test_a_moment_is_exact() -> None:
    at = datetime(2024, 5, 1, 12, tzinfo=UTC) + timedelta(microseconds=1)
    name = MemoryName(ID, 2, Moment(known_at=at))
    assert str(name) == f"{ID}.r2.k1714564800000001"
    assert parse(str(name)) == name
