"""The key builder: one slot a tenant, and no name that reaches another key."""

from collections.abc import Iterator
from typing import SupportsIndex
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from memoryd.sessions.ranges import Span, closed, contains, dump, minus, of, parse, union
from memoryd.stores.sessions.keys import INDEXES, PARTS, Keys, decoded, encoded

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


def _all(tenant: UUID, name: str) -> list[str]:
    keys = Keys(tenant)
    return [
        *(keys.part(name, part) for part in PARTS),
        *map(keys.index, INDEXES),
        keys.of_user(name),
        keys.of_agent(name),
    ]


@given(one=NAMES, other=NAMES)
def test_a_tenants_keys_share_a_slot_and_no_two_names_share_a_key(one: str, other: str) -> None:
    tenant = uuid4()
    first, second = _all(tenant, one), _all(tenant, other)
    assert len({key_slot(key.encode()) for key in first + second}) == 1
    assert len(set(first)) == len(first)
    assert all(key.startswith(f"t:{{{tenant}}}:") for key in first)
    shared = set(first) & set(second)
    assert shared == (set(first) if one == other else {Keys(tenant).index(name) for name in INDEXES})
    assert set(first).isdisjoint(_all(uuid4(), one))
    assert decoded(encoded(one).encode()) == one


SETS = st.sets(st.integers(1, 40))


@given(one=SETS, other=SETS, head=st.integers(0, 40))
def test_ranges_are_sets(one: set[int], other: set[int], head: int) -> None:
    first, second = of(one), of(other)
    assert parse(dump(first)) == first

    def members(ranges: tuple[Span, ...]) -> set[int]:
        return {position for position in range(1, 50) if contains(ranges, position)}

    assert members(union(first, second)) == one | other
    assert members(minus(first, second)) == one - other
    assert members(closed((*first, Span(45, None)), head)) == {position for position in one if position <= head}
    assert contains((Span(45, None),), 10**9)


class Watched(tuple[Span, ...]):
    """Ranges that count how often one of them is looked at."""

    looks = 0

    def __getitem__(self, at: SupportsIndex) -> Span:  # type: ignore[override]  # nobody takes slices
        Watched.looks += 1
        return super().__getitem__(at)

    def __iter__(self) -> Iterator[Span]:
        for span in super().__iter__():
            Watched.looks += 1
            yield span


def test_thousands_of_ranges_are_walked_and_not_compared_each_with_each() -> None:
    many = 5_000
    one, other = Watched(of(range(1, 2 * many, 2))), Watched(of(range(2, 2 * many, 2)))
    Watched.looks = 0
    assert minus(one, other) == tuple(one)
    assert Watched.looks < 10 * many
    Watched.looks = 0
    assert contains(one, 2 * many - 1)
    assert not contains(one, 2 * many - 2)
    assert Watched.looks < 50
