"""Generations whose workers are killed, stopped, slow, or without the model."""

import asyncio

import numpy as np
import psycopg
import pytest

from memoryd.errors import Conflict, GateFailed
from memoryd.generations.model import ScopeKind, State
from retrieval.errors import InferenceError
from retrieval.vectors import Vectors
from tests.embedded.running import until
from tests.generations.conftest import TEXTS, B
from tests.generations.world import Crash, Tenant, World, nobody


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
            beside.append(await world.rebuild(nobody).run())
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


async def test_the_lease_is_renewed_however_long_a_step_takes(world: World, tenant: Tenant) -> None:
    await tenant.say(*TEXTS)
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    beside: list[int] = []

    async def slow(name: str) -> None:
        if name == "count" and not beside:
            world.expire()
            await until(world.leased, 30.0)
            beside.append(await world.rebuild(nobody).run())

    await world.rebuild(slow, renew_s=0.05).run()
    assert beside == [0], "the other worker finds nothing to do"
    every, has = tenant.stored(2, B)
    assert has == every


async def test_a_step_ends_when_its_lease_is_lost(world: World, tenant: Tenant) -> None:
    await tenant.say(*TEXTS)
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)

    async def paused(name: str) -> None:
        if name == "count":
            await world.generations.pause(world.operator, 2)
            await asyncio.sleep(60)

    async with asyncio.timeout(30):
        await world.rebuild(paused, renew_s=0.05).run()
    found = await world.generations.get(world.operator, 2)
    assert (found.paused, found.progress.done, found.failure) == (True, 0, None)


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
    await world.rebuild(nobody).run()
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


async def test_what_a_writer_holds_is_waited_for_however_long(
    world: World, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memoryd.generations.rebuild._AGAIN_S", 0.01)
    monkeypatch.setattr("memoryd.generations.rebuild._PASSES", 3)
    await tenant.say(*TEXTS[:20])
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    with psycopg.connect(world.superuser_url) as connection:
        connection.execute("SELECT FROM memoryd.passages ORDER BY pid LIMIT 2 FOR UPDATE")
        await world.rebuild(nobody, round_s=0.2).run()
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
    await world.rebuild(nobody, round_s=0.5).run()
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
            others.append(await world.rebuild(nobody, round_s=0.01).run())

    await world.rebuild(meanwhile).run()
    assert others == [1]
    await world.work()
    progress = (await world.generations.get(world.operator, 2)).progress
    assert (progress.done, progress.total) == (150, 150)


async def test_what_the_model_refuses_holds_up_nothing_else(
    world: World, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = {"memory number 17", "memory number 90", "written later"}
    asked: list[str] = []
    looks: list[str] = []

    async def one_round(name: str) -> None:
        looks.extend([name] if name == "due" else [])
        if len(looks) == 2:
            raise Crash

    async def fussy(texts: list[str], **_named: object) -> Vectors:
        asked.extend(texts)
        for one in texts:
            if one in refused:
                raise InferenceError("The model failed on input 1 of 1.")
        return B.vectors(texts)

    await tenant.say(*TEXTS)
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    monkeypatch.setattr(B, "embed_passages", fussy)
    with pytest.raises(Crash):
        await world.rebuild(one_round).run()
    with psycopg.connect(world.superuser_url) as connection:
        pids = [
            connection.execute("SELECT pid FROM memoryd.passages ORDER BY pid OFFSET %s LIMIT 1", (at,)).fetchone()
            for at in (17, 90)
        ]
    assert pids[0] is not None
    failure = (await world.generations.get(world.operator, 2)).failure
    assert failure is not None
    assert f"passage {pids[0][0]} of tenant {tenant.scope.tenant_id}" in failure
    await world.work()
    found = await world.generations.get(world.operator, 2)
    assert (found.generation.state, found.passed, found.gaps) == (State.VERIFYING, False, False)
    every, has = tenant.stored(2, B)
    assert every - has == {pid[0] for pid in pids if pid is not None}
    assert str(found.report).count(f"of tenant {tenant.scope.tenant_id}") == 2, "named in the report"
    assert asked.count("memory number 17") <= 5, "tried again once, and then left"
    assert found.failure is not None
    assert f"passage {pids[0][0]} of tenant {tenant.scope.tenant_id} and 1 more" in found.failure, "told beside the report"
    # Asked to verify again, the worker tries again what is missing.
    asked.clear()
    owed = await world.generations.verify(world.operator, 2)
    assert (owed.owed, owed.passed) == ({}, False)
    await world.work()
    found = await world.generations.get(world.operator, 2)
    assert (found.owed, found.passed, found.failure is None) == (None, False, False)
    assert 1 <= asked.count("memory number 17") <= 2
    refused -= {"memory number 17", "memory number 90"}
    await world.generations.verify(world.operator, 2)
    await world.work()
    found = await world.generations.get(world.operator, 2)
    assert (found.owed, found.passed, found.failure) == (None, True, None)
    # What is written after it passed takes that back.
    await tenant.say("written later")
    await world.work()
    assert not (await world.generations.get(world.operator, 2)).passed
    with pytest.raises(GateFailed):
        await world.generations.cut_over(world.operator, 2, forced=None)


async def test_a_model_that_refuses_everything_is_waited_for(
    world: World, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(texts: list[str], **_named: object) -> Vectors:
        raise InferenceError("refused the request (401).")

    await tenant.say(*TEXTS[:5])
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    monkeypatch.setattr(B, "embed_passages", refuses)
    await world.rebuild(nobody).run()
    found = await world.generations.get(world.operator, 2)
    assert (found.generation.state, found.failure) == (State.BUILDING, "inference_failed: refused the request (401).")
    monkeypatch.undo()
    await world.work()
    assert (await world.generations.get(world.operator, 2)).passed
