"""Which generation serves, and which a write has to reach."""

from uuid import UUID

import pytest

from memoryd.errors import StoreUnavailable
from memoryd.generations.catalogue import Catalogue
from memoryd.generations.model import Generation, Progress, State

TENANT, KB, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)


def _made(number: int, state: State, *, tenant: bool = False, kb: UUID | None = None, replaced: int | None = None) -> Generation:
    owner = TENANT if tenant or kb else None
    return Generation(number, f"m{number}", "1", 8, state=state, tenant_id=owner, kb_id=kb, replaced=replaced)


INSTALLATION = _made(1, State.LIVE)


def _numbers(catalogue: Catalogue, kb_id: UUID | None) -> list[int]:
    return [one.number for one in catalogue.candidates(kb_id)]


def test_the_smallest_scope_that_has_a_live_one_serves() -> None:
    alone = Catalogue((INSTALLATION, _made(2, State.BUILDING, tenant=True)))
    assert alone.serving(None).number == alone.serving(KB).number == 1
    own = Catalogue((INSTALLATION, _made(2, State.LIVE, tenant=True)))
    assert own.serving(None).number == own.serving(KB).number == 2
    both = Catalogue((INSTALLATION, _made(2, State.LIVE, tenant=True), _made(3, State.LIVE, kb=KB)))
    assert (both.serving(None).number, both.serving(KB).number, both.serving(OTHER).number) == (2, 3, 2)


def test_a_write_reaches_every_unretired_one_around_it() -> None:
    states = (State.BUILDING, State.CATCHING_UP, State.VERIFYING, State.DRAINING)
    found = Catalogue((INSTALLATION, *(_made(n, state) for n, state in enumerate(states, 2)), _made(9, State.LIVE, kb=KB)))
    assert [one.number for one in found.covering(None)] == [1, 2, 3, 4, 5]
    assert [one.number for one in found.covering(OTHER)] == [1, 2, 3, 4, 5]
    assert [one.number for one in found.covering(KB)] == [1, 2, 3, 4, 5, 9]


def test_what_was_replaced_stands_in_while_it_drains() -> None:
    drained = Catalogue((_made(1, State.DRAINING), _made(2, State.LIVE, replaced=1), _made(3, State.DRAINING)))
    assert _numbers(drained, None) == [2, 1]
    scoped = Catalogue((INSTALLATION, _made(2, State.DRAINING, tenant=True), _made(3, State.LIVE, tenant=True, replaced=2)))
    assert _numbers(scoped, None) == [3, 2, 1]


def test_without_a_live_one_nothing_can_be_answered() -> None:
    with pytest.raises(StoreUnavailable, match="memoryd migrate"):
        Catalogue((_made(1, State.BUILDING),)).serving(None)


def test_time_left_follows_from_the_work_so_far() -> None:
    assert Progress(None, 0, 0, 0, 0.0).eta_s is None
    half = Progress(200, 100, 80, 4_000, 20.0)
    assert (half.per_second, half.tokens_per_second, half.eta_s) == (5.0, 200.0, 20.0)
    assert Progress(100, 130, 0, 0, 10.0).eta_s == 0, "more was written since it was counted"
