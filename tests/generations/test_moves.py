"""Which generation is live after a cutover or a rollback, whatever was retired; who may see what of it; repeated requests."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from memoryd.errors import AlreadyExists, Conflict, Forbidden, IdempotencyKeyReused, WrongState
from memoryd.generations.model import ScopeKind, State
from memoryd.memory.model import Idempotency
from tests.generations.conftest import TEXTS, A, B
from tests.generations.world import Tenant, World


async def _changed(world: World, tenant: Tenant, *models: str) -> list[int]:
    """The numbers of a tenant's own generations that were live one after the other."""
    numbers = []
    for model in models:
        made = await world.generations.create(tenant.actor, model, ScopeKind.TENANT, knowledge_base=None)
        await world.work()
        await world.generations.cut_over(tenant.actor, made.generation.number, forced=None)
        numbers.append(made.generation.number)
    return numbers


async def test_a_tenant_comes_back_to_the_installation_when_what_it_replaced_is_retired(world: World, tenant: Tenant) -> None:
    await tenant.say(*TEXTS[:20])
    one, two = await _changed(world, tenant, "b", "c")
    await world.generations.retire(tenant.actor, one)
    await world.work()
    await tenant.say("written with its own")
    back = await world.generations.roll_back(tenant.actor, two, forced=None)
    assert back.generation.state is State.DRAINING
    assert (await tenant.found("written with its own"))[0] == "written with its own"
    assert set(world.asked) == {1}
    every, has = tenant.stored(1, A)
    assert has == every, "the installation's has everything, however a tenant changes its own"
    await world.generations.roll_back(tenant.actor, two, forced=None)
    await world.generations.retire(tenant.actor, two)
    assert set((await tenant.states()).values()) == {State.RETIRED}


async def test_what_a_retired_one_had_replaced_is_gone_back_to(world: World, tenant: Tenant) -> None:
    await tenant.say(*TEXTS[:20])
    one, two, three = await _changed(world, tenant, "b", "c", "a")
    await world.generations.retire(tenant.actor, two)
    await world.generations.roll_back(tenant.actor, three, forced=None)
    assert (await tenant.found("memory number 3"))[0] == "memory number 3"
    assert set(world.asked) == {one}
    assert (await tenant.states())[one] is State.LIVE
    # And forward again, and back: what was replaced goes round in a circle.
    await world.generations.cut_over(tenant.actor, three, forced=None)
    await world.generations.cut_over(tenant.actor, one, forced=None)
    await world.generations.retire(tenant.actor, three)
    await world.generations.roll_back(tenant.actor, one, forced=None)
    await tenant.found("memory number 3")
    assert set(world.asked) == {1}
    assert tenant.stored(one, B)[1], "it drains"


async def test_the_scope_around_serves_when_it_has_everything(world: World, tenant: Tenant) -> None:
    await tenant.say(*TEXTS[:5])
    (own,) = await _changed(world, tenant, "b")
    with psycopg.connect(world.superuser_url) as connection:
        connection.execute(
            "INSERT INTO memoryd.generation_gaps (tenant_id, generation) VALUES (%s, 1)", (tenant.scope.tenant_id,)
        )
    with pytest.raises(Conflict, match="generation 1 lacks vectors"):
        await world.generations.roll_back(tenant.actor, own, forced=None)
    await world.work()
    await world.generations.roll_back(tenant.actor, own, forced=None)
    await tenant.found("memory number 3")
    assert set(world.asked) == {1}


async def test_the_wrong_one_is_not_said_to_be_rolled_back(world: World, tenant: Tenant) -> None:
    await tenant.say(*TEXTS[:20])
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    await world.work()
    await world.generations.cut_over(world.operator, 2, forced=None)
    with pytest.raises(WrongState, match="2 is live: roll back 2"):
        await world.generations.roll_back(world.operator, 1, forced=None)
    await world.generations.roll_back(world.operator, 2, forced=None)
    again = await world.generations.roll_back(world.operator, 2, forced=None)
    assert again.generation.state is State.DRAINING, "asked again, it is so already"


async def test_what_the_operator_knows_of_all_tenants_is_no_tenants(world: World, tenant: Tenant) -> None:
    """In whatever state the installation's generation is."""
    await tenant.say(*TEXTS[:20])
    moves = (world.generations.cut_over, world.generations.roll_back)
    await world.generations.create(world.operator, "c", ScopeKind.INSTALLATION, knowledge_base=None)

    async def refused() -> None:
        for number in (1, 2):
            for move in moves:
                with pytest.raises(Forbidden):
                    await move(tenant.actor, number, forced=None)

    await refused()
    await world.work()
    with psycopg.connect(world.superuser_url) as connection:
        connection.execute("UPDATE memoryd.generations SET report = '{\"passed\": false}' WHERE generation = 2")
    await refused()
    await world.generations.cut_over(world.operator, 2, forced="a drill")
    await refused()


async def test_a_repeated_request_finds_the_generation_it_made(world: World, tenant: Tenant) -> None:
    create, once = world.generations.create, Idempotency(f"again {uuid4()}", b"first")
    for actor, kind in ((world.operator, ScopeKind.INSTALLATION), (tenant.actor, ScopeKind.TENANT)):
        made = await create(actor, "b", kind, knowledge_base=None, idempotency=once)
        again = await create(actor, "b", kind, knowledge_base=None, idempotency=once)
        assert again.generation == made.generation
        with pytest.raises(IdempotencyKeyReused):
            await create(actor, "c", kind, knowledge_base=None, idempotency=replace(once, fingerprint=b"other"))
        with pytest.raises(AlreadyExists):
            await create(actor, "b", kind, knowledge_base=None, idempotency=replace(once, key=f"other {uuid4()}"))
    assert len(await tenant.states()) == 1


async def test_a_repeated_request_needs_no_model(world: World, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be out of reach by now, and to load it takes a while."""
    create, once = world.generations.create, Idempotency(f"again {uuid4()}", b"first")
    for actor, kind in ((world.operator, ScopeKind.INSTALLATION), (tenant.actor, ScopeKind.TENANT)):
        made = await create(actor, "b", kind, knowledge_base=None, idempotency=once)
        with monkeypatch.context() as patch:
            patch.setattr(world.generations, "_card_of", None)
            again = await create(actor, "b", kind, knowledge_base=None, idempotency=once)
            assert again.generation.number == made.generation.number
            with pytest.raises(IdempotencyKeyReused):
                await create(actor, "b", kind, knowledge_base=None, idempotency=replace(once, fingerprint=b"other"))


async def test_the_operators_keys_are_forgotten(world: World, tenant: Tenant) -> None:
    first, second = (Idempotency(f"{which} {uuid4()}", b"first") for which in ("first", "second"))
    made = await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None, idempotency=first)
    await world.generations.retire(world.operator, made.generation.number)
    later = replace(world.operator, at=world.operator.at + timedelta(days=1, minutes=1))
    other = await world.generations.create(later, "b", ScopeKind.INSTALLATION, knowledge_base=None, idempotency=second)
    with psycopg.connect(world.superuser_url) as connection:
        kept = connection.execute("SELECT key FROM memoryd.operator_idempotency_keys").fetchall()
    assert (first.key,) not in kept
    assert (second.key,) in kept
    await world.generations.retire(world.operator, other.generation.number)
    much_later = replace(later, at=later.at + timedelta(days=1, minutes=1))
    anew = await world.generations.create(much_later, "b", ScopeKind.INSTALLATION, knowledge_base=None, idempotency=second)
    assert anew.generation.number > other.generation.number, "it means nothing any more"
