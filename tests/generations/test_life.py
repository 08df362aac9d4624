"""Changing the model of an installation, a tenant: what is written meanwhile, who fails, what is refused."""

import asyncio
from dataclasses import replace

import psycopg
import pytest

from memoryd.errors import AlreadyExists, Conflict, Forbidden, GateFailed, InvalidRequest, NotFound, WrongState
from memoryd.generations.model import ScopeKind, State
from memoryd.generations.owed import shown
from memoryd.stores.database import Database
from memoryd.stores.generation_evidence import PgGenerationEvidence
from memoryd.stores.generation_items import PgGenerationItems
from memoryd.stores.generations import PgCatalogues
from retrieval.scope import Action
from tests.generations.conftest import TEXTS, A, B
from tests.generations.world import Tenant, World, nobody


async def _state(world: World, number: int) -> State:
    return (await world.generations.get(world.operator, number)).generation.state


async def test_an_installation_changes_its_model_and_back(world: World, tenant: Tenant) -> None:
    other = await world.tenant()
    ids = await tenant.say(*TEXTS)
    await other.say("somebody else's")
    made = await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    number = made.generation.number
    assert (number, made.generation.state, made.generation.dimension) == (2, State.BUILDING, 12)

    # Writes reach it from the first moment, before any worker was at it.
    await tenant.say("written meanwhile")
    every, has = tenant.stored(2, B)
    assert (len(every), len(has)) == (151, 1)
    await tenant.edit(ids[0], text="edited meanwhile")
    await tenant.edit(ids[1], topics=("kept",))  # its vectors are copied, and there is none to copy yet
    await tenant.delete(ids[2], purge=True)
    await tenant.delete(ids[3])
    assert (await tenant.found("memory number 7"))[0] == "memory number 7"
    assert set(world.asked) == {1}

    await world.work()
    found = await world.generations.get(world.operator, 2)
    assert found.generation.state is State.VERIFYING
    assert found.passed, found.report
    assert not found.gaps
    assert (found.progress.total, found.progress.done) == (153, 153)
    assert found.progress.per_second is not None
    for one in (tenant, other):
        every, has = one.stored(2, B)
        assert has == every
    assert set(world.asked) == {1}, "not before it is told to"

    done = await world.generations.cut_over(world.operator, 2, forced=None)
    assert (done.generation.state, done.generation.replaced) == (State.LIVE, 1)
    assert await _state(world, 1) is State.DRAINING
    assert (await tenant.found("memory number 7"))[0] == "memory number 7"
    assert set(world.asked) == {2}
    assert "memory number 2" not in await tenant.found("memory number 2")
    assert (await world.generations.cut_over(world.operator, 2, forced=None)).generation.state is State.LIVE, "asked again"

    # What it replaced is written to as before, so that going back loses nothing.
    await tenant.say("written to both")
    back = await world.generations.roll_back(world.operator, 2, forced=None)
    assert back.generation.state is State.DRAINING
    assert (await tenant.found("written to both"))[0] == "written to both"
    assert set(world.asked) == {1}

    await world.generations.cut_over(world.operator, 2, forced=None)
    await world.generations.retire(world.operator, 1)
    await tenant.say("after the old one")
    await world.work()
    assert tenant.stored(1, A)[1] == set()
    assert (await tenant.found("after the old one"))[0] == "after the old one"
    with psycopg.connect(world.superuser_url) as connection:
        assert connection.execute("SELECT to_regclass('memoryd.embeddings_1')").fetchone() == (None,)
        log = [action for (action,) in connection.execute("SELECT action FROM memoryd.operator_log ORDER BY entry_id")]
    told = [action for action in log if action.startswith("generation")]
    assert told == [f"generation.{one}" for one in ("create", "cutover", "rollback", "cutover", "retire")]
    with pytest.raises(WrongState):
        await world.generations.roll_back(world.operator, 2, forced=None)


async def test_a_tenant_has_its_own_and_nobody_else_sees_it(world: World, tenant: Tenant) -> None:
    other = await world.tenant()
    await tenant.say(*TEXTS[:20])
    await other.say(*TEXTS[:20])
    made = await world.generations.create(tenant.actor, "b", ScopeKind.TENANT, knowledge_base=None)
    number = made.generation.number
    with pytest.raises(NotFound):
        await world.generations.get(other.actor, number)
    for refused in (world.generations.pause, world.generations.resume, world.generations.retire, world.generations.verify):
        with pytest.raises(NotFound):
            await refused(other.actor, number)
        with pytest.raises(Forbidden):
            await refused(tenant.actor, 1)
    for moved in (world.generations.cut_over, world.generations.roll_back):
        with pytest.raises(NotFound):
            await moved(other.actor, number, forced="why not")
        with pytest.raises(Forbidden):
            await moved(tenant.actor, 1, forced=None)
    await world.work()
    assert other.stored(number, B)[1] == set()
    await world.generations.cut_over(tenant.actor, number, forced=None)
    assert (await tenant.found("memory number 3"))[0] == "memory number 3"
    assert set(world.asked) == {number}
    assert (await other.found("memory number 3"))[0] == "memory number 3"
    assert set(world.asked) == {1}
    # It replaced nothing of the tenant's, so that the installation's answers again.
    await world.generations.roll_back(tenant.actor, number, forced=None)
    await tenant.say("and on")
    assert (await tenant.found("and on"))[0] == "and on"
    assert set(world.asked) == {1}
    shown = {one.generation.number: one for one in await world.generations.page(other.actor, after=0, limit=10)}
    assert set(shown) == {1}
    confined = replace(tenant.scope, spaces=frozenset({"default"}))
    for scope in (confined, replace(tenant.scope, actions=frozenset({Action.READ, Action.WRITE}))):
        with pytest.raises(Forbidden):
            world.generations.tenant(scope)


async def test_a_failed_gate_blocks_unless_a_reason_is_given(world: World, tenant: Tenant) -> None:
    await tenant.say(*TEXTS[:20])
    await world.generations.create(world.operator, "c", ScopeKind.INSTALLATION, knowledge_base=None)
    with pytest.raises(WrongState):
        await world.generations.cut_over(world.operator, 2, forced="at once")
    with pytest.raises(WrongState):
        await world.generations.verify(world.operator, 2)
    await world.work()
    with psycopg.connect(world.superuser_url) as connection:
        connection.execute("UPDATE memoryd.embeddings SET embedding = '[1,0,0,0,0]' WHERE generation = 2")
        gone = "DELETE FROM memoryd.embeddings WHERE generation = 2 AND pid = (SELECT max(pid) FROM memoryd.passages)"
        connection.execute(gone)
    report = (await world.generations.verify(world.operator, 2)).report
    assert report is not None
    checks = report["checks"]
    assert isinstance(checks, dict)
    assert {name: one["passed"] for name, one in checks.items() if name != "overlap"} == {
        "counts": False,
        "hashes": False,
        "self_match": False,
    }
    with pytest.raises(GateFailed) as refused:
        await world.generations.cut_over(world.operator, 2, forced=None)
    assert refused.value.report == shown(report)
    assert await _state(world, 1) is State.LIVE
    forced = await world.generations.cut_over(world.operator, 2, forced="a drill")
    assert forced.forced == "a drill"
    with psycopg.connect(world.superuser_url) as connection:
        (detail,) = connection.execute("SELECT detail FROM memoryd.operator_log WHERE action = 'generation.cutover'").fetchall()
    assert detail[0]["forced"] == "a drill"


async def test_what_is_asked_for_twice_or_at_the_wrong_time(world: World, tenant: Tenant) -> None:
    create = world.generations.create
    with pytest.raises(AlreadyExists):
        await create(world.operator, "a", ScopeKind.INSTALLATION, knowledge_base=None)
    with pytest.raises(Forbidden):
        await create(tenant.actor, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    with pytest.raises(Forbidden):
        await create(world.operator, "b", ScopeKind.TENANT, knowledge_base=None)
    with pytest.raises(InvalidRequest):
        await create(tenant.actor, "b", ScopeKind.KNOWLEDGE_BASE, knowledge_base=None)
    await create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    with pytest.raises(Conflict, match="building"):
        await create(world.operator, "c", ScopeKind.INSTALLATION, knowledge_base=None)
    with pytest.raises(WrongState):
        await world.generations.retire(world.operator, 1)
    with pytest.raises(Conflict, match="nothing to go back to"):
        await world.generations.roll_back(world.operator, 1, forced=None)
    await world.generations.retire(world.operator, 2)
    for refused in (world.generations.pause, world.generations.resume):
        with pytest.raises(WrongState):
            await refused(world.operator, 2)
    assert await _state(world, 2) is State.RETIRED
    await create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)


async def test_a_deleted_tenants_generation_goes(world: World, tenant: Tenant) -> None:
    await tenant.say(*TEXTS[:5])
    made = await world.generations.create(tenant.actor, "b", ScopeKind.TENANT, knowledge_base=None)
    await world.work()
    with psycopg.connect(world.superuser_url) as connection:
        connection.execute("DELETE FROM memoryd.tenants WHERE tenant_id = %s", (tenant.scope.tenant_id,))
    await world.work()
    assert await _state(world, made.generation.number) is State.RETIRED
    await world.work()
    assert (await world.generations.get(world.operator, made.generation.number)).purged_at is not None


async def test_tenants_do_not_keep_the_operator_or_each_other_from_a_new_model(world: World, tenant: Tenant) -> None:
    others = [(await world.tenant()).scope.tenant_id for _ in range(3)]
    with psycopg.connect(world.superuser_url) as connection:
        for one in (tenant.scope.tenant_id, *others):
            for _ in range(8 if one == tenant.scope.tenant_id else 7):
                connection.execute(
                    "INSERT INTO memoryd.generations (model, revision, dimension, state, tenant_id, kb_id) "
                    "VALUES ('x', '1', 8, 'draining', %s, gen_random_uuid())",
                    (one,),
                )
    with pytest.raises(Conflict, match="8 generations"):
        await world.generations.create(tenant.actor, "b", ScopeKind.TENANT, knowledge_base=None)
    for _ in range(3):
        await world.generations.create((await world.tenant()).actor, "b", ScopeKind.TENANT, knowledge_base=None)
    with pytest.raises(Conflict, match="32 generations"):
        await world.generations.create((await world.tenant()).actor, "b", ScopeKind.TENANT, knowledge_base=None)
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)


async def test_everything_is_counted_however_long_that_takes(world: World, tenant: Tenant) -> None:
    await tenant.say("one")
    (live,) = await PgCatalogues(world.database).in_use()
    hasty = Database(world.service_url, size=2, timeout_s=10, statement_timeout_s=0.2)
    await hasty.open()
    try:
        with psycopg.connect(world.superuser_url) as connection:
            connection.execute("LOCK TABLE memoryd.kb_chunks")  # as if it were that long
            counting = asyncio.create_task(PgGenerationItems(hasty).count(live, tenant.scope.tenant_id))
            verifying = asyncio.create_task(PgGenerationEvidence(hasty).counted(live, tenant.scope.tenant_id))
            await asyncio.wait((counting, verifying), timeout=0.5)
        assert (await counting, (await verifying).items) == (1, 1)
    finally:
        await hasty.close()


async def test_a_table_is_dropped_when_nobody_reads_vectors_for_long(world: World, tenant: Tenant) -> None:
    await tenant.say("one")
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    await world.generations.retire(world.operator, 2)
    world.expire()
    with psycopg.connect(world.superuser_url) as connection:
        connection.execute("SELECT count(*) FROM memoryd.embeddings")
        await world.rebuild(nobody, round_s=0.1).run()
        found = await world.generations.get(world.operator, 2)
        assert found.purged_at is None
        assert found.failure is not None
        assert await tenant.found("one") == ["one"]
    await world.work()
    assert (await world.generations.get(world.operator, 2)).purged_at is not None
