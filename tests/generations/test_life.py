"""Changing the model of an installation, a tenant: what is written meanwhile, who fails, what is refused."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import psycopg
import pytest

from memoryd.errors import AlreadyExists, Conflict, Forbidden, GateFailed, InvalidRequest, NotFound, WrongState
from memoryd.generations.model import ScopeKind, State
from memoryd.stores.database import Database
from memoryd.stores.generation_evidence import PgGenerationEvidence
from memoryd.stores.generation_items import PgGenerationItems
from memoryd.stores.generations import PgCatalogues
from retrieval.ports import Vectors
from retrieval.scope import Action
from tests.generations.tiny import Tiny
from tests.generations.world import Crash, Tenant, World, new_world
from tests.stack import Stack

A, B, C = Tiny("a", 8), Tiny("b", 12), Tiny("c", 5)
TEXTS = [f"memory number {n}" for n in range(150)]


@pytest.fixture
async def world(stack: Stack) -> AsyncIterator[World]:
    made = await new_world(stack, "generations_life", [A, B, C])
    yield made
    await made.shelf.close()
    await made.database.close()


@pytest.fixture
async def tenant(world: World) -> Tenant:
    return await world.tenant()


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
    assert refused.value.report == report
    assert await _state(world, 1) is State.LIVE
    forced = await world.generations.cut_over(world.operator, 2, forced="a drill")
    assert forced.forced == "a drill"
    with psycopg.connect(world.superuser_url) as connection:
        (detail,) = connection.execute("SELECT detail FROM memoryd.operator_log WHERE action = 'generation.cutover'").fetchall()
    assert detail[0]["forced"] == "a drill"


async def test_a_worker_that_is_killed_loses_and_repeats_nothing(world: World, tenant: Tenant) -> None:
    await tenant.say(*TEXTS, *(f"more of it: {n}" for n in range(250)))
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    for step in ("page", "store", "advanced", "gap"):
        left = {step: 2 if step != "gap" else 1}

        async def kill(name: str, left: dict[str, int] = left) -> None:
            if name in left:
                left[name] -= 1
                if not left[name]:
                    raise Crash

        world.expire()
        worker = world.rebuild(kill)
        with pytest.raises(Crash):
            await worker.run()
        world.restart()
        tenant.stored(2, B)
    await world.work()
    every, has = tenant.stored(2, B)
    assert has == every
    assert (await world.generations.get(world.operator, 2)).passed


async def test_one_worker_at_a_time_and_none_while_paused(world: World, tenant: Tenant) -> None:
    await tenant.say(*TEXTS)
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    beside: list[int] = []

    async def another(name: str) -> None:
        if name == "store" and not beside:
            beside.append(await world.rebuild(_no).run())
            await world.generations.pause(world.operator, 2)

    await world.rebuild(another).run()
    assert beside == [0], "the other worker has the lease"
    found = await world.generations.get(world.operator, 2)
    assert (found.generation.state, found.paused, found.failure) == (State.BUILDING, True, None)
    await tenant.say("written while it is paused")
    await world.work()
    assert (await world.generations.get(world.operator, 2)).progress.done <= 64
    await world.generations.resume(world.operator, 2)
    await world.work()
    assert (await world.generations.get(world.operator, 2)).passed
    every, has = tenant.stored(2, B)
    assert has == every


async def _no(name: str) -> None: ...


async def test_a_writer_without_the_model_notes_what_is_missing(world: World, tenant: Tenant) -> None:
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    await world.work()
    assert (await world.generations.get(world.operator, 2)).passed
    world.restart()
    world.shop.out.add("b")
    await tenant.say("without")
    assert tenant.stored(2, B)[1] == set()
    assert (await world.generations.get(world.operator, 2)).gaps
    with pytest.raises(Conflict, match="lacks vectors"):
        await world.generations.cut_over(world.operator, 2, forced=None)
    await world.rebuild(_no).run()
    failed = await world.generations.get(world.operator, 2)
    assert failed.gaps
    assert failed.failure is not None
    world.shop.out.clear()
    world.restart()
    await world.work()
    healed = await world.generations.get(world.operator, 2)
    assert (healed.gaps, healed.failure) == (False, None)
    every, has = tenant.stored(2, B)
    assert has == every
    await world.generations.cut_over(world.operator, 2, forced=None)
    assert await tenant.found("without") == ["without"]


async def test_a_process_that_has_not_loaded_the_model_answers_from_the_one_before(world: World, tenant: Tenant) -> None:
    await tenant.say(*TEXTS[:5])
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    await world.work()
    await world.generations.cut_over(world.operator, 2, forced=None)
    world.restart()
    assert (await tenant.found("memory number 1"))[0] == "memory number 1"
    assert set(world.asked) == {1}
    while world.shelf.ready((await world.generations.get(world.operator, 2)).generation) is None:
        await world.shelf.of((await world.generations.get(world.operator, 2)).generation)
    assert (await tenant.found("memory number 1"))[0] == "memory number 1"
    assert set(world.asked) == {2}


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


async def test_what_a_writer_holds_is_waited_for_however_long(
    world: World, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memoryd.generations.rebuild._AGAIN_S", 0.01)
    monkeypatch.setattr("memoryd.generations.rebuild._PASSES", 3)
    await tenant.say(*TEXTS[:20])
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    with psycopg.connect(world.superuser_url) as connection:
        connection.execute("SELECT FROM memoryd.passages ORDER BY pid LIMIT 2 FOR UPDATE")
        await world.rebuild(_no, round_s=0.2).run()
        found = await world.generations.get(world.operator, 2)
        assert (found.generation.state, found.report) == (State.CATCHING_UP, None)
        every, has = tenant.stored(2, B)
        assert len(every - has) == 2
    await world.work()
    assert (await world.generations.get(world.operator, 2)).passed


async def test_one_that_fails_does_not_stop_the_others(world: World, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    await tenant.say(*TEXTS[:5])
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    made = await world.generations.create(tenant.actor, "c", ScopeKind.TENANT, knowledge_base=None)
    monkeypatch.setattr(B, "embed_passages", _broken)
    await world.rebuild(_no, round_s=0.5).run()
    found = await world.generations.get(world.operator, 2)
    assert (found.generation.state, found.failure) == (State.BUILDING, "internal: DataException")
    assert (await world.generations.get(world.operator, made.generation.number)).generation.state is State.VERIFYING
    monkeypatch.undo()
    await world.work()
    found = await world.generations.get(world.operator, 2)
    assert (found.passed, found.failure) == (True, None)


async def _broken(texts: list[str], **_named: object) -> Vectors:
    """What a broken model says: no numbers."""
    return np.full((len(texts), B.card.dimension), np.nan, dtype=np.float32)


async def test_a_worker_goes_on_where_another_has_come_since_it_looked(world: World, tenant: Tenant) -> None:
    await tenant.say(*TEXTS)
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    others: list[int] = []

    async def meanwhile(name: str) -> None:
        if name == "lease" and not others:
            others.append(await world.rebuild(_no, round_s=0.01).run())

    await world.rebuild(meanwhile).run()
    assert others == [1]
    await world.work()
    progress = (await world.generations.get(world.operator, 2)).progress
    assert (progress.done, progress.total) == (150, 150)


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
        await world.rebuild(_no, round_s=0.1).run()
        found = await world.generations.get(world.operator, 2)
        assert found.purged_at is None
        assert found.failure is not None
        assert await tenant.found("one") == ["one"]
    await world.work()
    assert (await world.generations.get(world.operator, 2)).purged_at is not None
