"""Verifications that the worker owes, and what stays of a report when another is made."""

import json
from uuid import uuid4

import psycopg
import pytest

from memoryd.errors import GateFailed, WrongState
from memoryd.generations.model import Registered, ScopeKind, State
from memoryd.generations.owed import OWED, asked_for, owing, settled
from memoryd.generations.ports import Asked, Labelled, Report
from tests.generations.conftest import TEXTS, B
from tests.generations.world import Tenant, World

FINE: Report = {"passed": True, "checks": {"counts": {"passed": True}}}
FAILED: Report = {"passed": False, "checks": {"counts": {"passed": True}, "ndcg": {"passed": False}}}
JUDGED: Report = {"passed": True, "checks": {"counts": {"passed": True}, "ndcg": {"passed": True}}}


def test_a_measured_ndcg_stays_until_it_is_measured_again() -> None:
    kept = settled(FINE, FAILED, None)
    assert kept == FAILED
    assert settled(FINE, kept, None) == kept
    assert settled(JUDGED, kept, None) == JUDGED
    assert settled(FINE, JUDGED, None) == JUDGED
    assert settled(FINE, None, None) == settled(FINE, FINE, None) == FINE


def test_what_is_owed_is_done_once_and_forgotten_never() -> None:
    asked = Asked(uuid4(), [Labelled("where?", frozenset({"a", "b"}))])
    note = owing(asked)
    assert asked_for(note[OWED]) == asked
    assert asked_for(None) is asked_for({}) is None
    owed = FINE | {"passed": False} | note
    assert settled(FINE, owed, note[OWED]) == FINE
    still = FINE | {"passed": False} | note
    assert settled(FINE, owed, None) == settled(FINE, owed, {}) == still, "it came meanwhile"


async def _verified(world: World, tenant: Tenant, number: int, *queries: Labelled) -> Registered:
    return await world.generations.verify(tenant.actor, number, queries)


async def test_what_takes_longer_than_a_request_is_left_to_the_worker(
    world: World, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tenant.say(*TEXTS[:20])
    number = (await world.generations.create(tenant.actor, "b", ScopeKind.TENANT, knowledge_base=None)).generation.number
    await world.work()
    assert (await world.generations.get(tenant.actor, number)).passed
    monkeypatch.setattr(world.generations, "_patience_s", 0.0)
    owed = await _verified(world, tenant, number, Labelled("memory number 3", frozenset({"nothing"})))
    assert (owed.owed is not None, owed.passed) == (True, False)
    again = await _verified(world, tenant, number)
    assert again.owed == owed.owed, "without questions it takes none away"
    with pytest.raises(GateFailed, match="still to be verified"):
        await world.generations.cut_over(tenant.actor, number, forced=None)
    await world.work()
    done = await world.generations.get(tenant.actor, number)
    assert done.owed is None
    assert done.report is not None
    assert str(done.report["checks"]).count("questions_without_an_answer") == 1
    monkeypatch.undo()
    await _verified(world, tenant, number, Labelled("memory number 3", frozenset({"nothing"})))
    await world.generations.pause(tenant.actor, number)
    monkeypatch.setattr(world.generations, "_patience_s", 0.0)
    with pytest.raises(WrongState, match="resume it"):
        await _verified(world, tenant, number)


async def test_of_what_is_retired_nothing_is_owed(world: World, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    number = (await world.generations.create(tenant.actor, "b", ScopeKind.TENANT, knowledge_base=None)).generation.number
    await world.work()
    monkeypatch.setattr(world.generations, "_patience_s", 0.0)
    assert (await _verified(world, tenant, number)).owed is not None
    retired = await world.generations.retire(tenant.actor, number)
    assert retired.owed is None, "who waits for it is told to go"


@pytest.mark.parametrize("state", [State.VERIFYING, State.DRAINING])
async def test_what_lacks_vectors_is_completed_and_measured_again(world: World, tenant: Tenant, state: State) -> None:
    await tenant.say(*TEXTS[:20])
    number = (await world.generations.create(tenant.actor, "b", ScopeKind.TENANT, knowledge_base=None)).generation.number
    await world.work()
    if state is State.DRAINING:
        await world.generations.cut_over(tenant.actor, number, forced=None)
        await world.generations.roll_back(tenant.actor, number, forced=None)
    with psycopg.connect(world.superuser_url) as connection:
        connection.execute("DELETE FROM memoryd.embeddings WHERE generation = %s AND pid %% 2 = 0", (number,))
    question = Labelled("memory number 3", frozenset({"nothing"}))
    await world.generations.pause(tenant.actor, number)
    paused = await _verified(world, tenant, number, question)
    assert (paused.owed, paused.passed) == (None, False), "the worker would not come"
    await world.generations.resume(tenant.actor, number)
    owed = await _verified(world, tenant, number, question)
    assert asked_for(owed.owed) == Asked(tenant.scope.tenant_id, [question])
    await world.work()
    done = await world.generations.get(tenant.actor, number)
    assert (done.generation.state, done.owed, done.failure) == (state, None, None)
    every, has = tenant.stored(number, B)
    assert has == every
    assert done.report is not None
    assert '"questions_without_an_answer": 1' in json.dumps(done.report["checks"]), "with its questions"
    await world.generations.retire(tenant.actor, number)
