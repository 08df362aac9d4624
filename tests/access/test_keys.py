"""The text of a key."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from memoryd.access.keys import issue, key_prefix, matches, parse

uuids = st.integers(0, 2**128 - 1).map(lambda value: UUID(int=value))


@given(uuids, uuids)
def test_a_key_is_read_back(tenant: UUID, key: UUID) -> None:
    issued = issue(tenant, key)
    presented = parse(issued.text)
    assert presented is not None
    assert (presented.tenant_id, presented.key_id) == (tenant, key)
    assert matches(presented, issued.secret_hash)
    assert issued.text.startswith(key_prefix(tenant, key))
    assert issued.prefix == key_prefix(tenant, key)


@given(st.text(max_size=120))
def test_other_texts_are_no_keys(text: str) -> None:
    assert parse(text) is None


@given(uuids, uuids, st.integers(0, 91), st.characters())
def test_a_changed_key_never_matches(tenant: UUID, key: UUID, at: int, character: str) -> None:
    issued = issue(tenant, key)
    changed = issued.text[:at] + character + issued.text[at + 1 :]
    presented = parse(changed)
    if changed != issued.text and presented is not None:
        same_ids = (presented.tenant_id, presented.key_id) == (tenant, key)
        assert not (same_ids and matches(presented, issued.secret_hash))


def test_two_keys_differ() -> None:
    one, other = issue(UUID(int=1), UUID(int=2)), issue(UUID(int=1), UUID(int=2))
    assert one.text != other.text
    assert one.secret_hash != other.secret_hash
