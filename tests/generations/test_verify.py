"""What a verification looks at: live versions, questions about documents, and tenants from everywhere."""

from collections.abc import Mapping
from uuid import uuid4

import psycopg
import pytest

from memoryd.generations.model import Registered, ScopeKind
from memoryd.generations.ports import Labelled
from tests.generations.conftest import TEXTS, B
from tests.generations.world import Tenant, World

_BASE = """
INSERT INTO memoryd.knowledge_bases (tenant_id, kb_id, name, space, chunking, live_seq, newest_seq, created_at, updated_at)
VALUES (%(tenant)s, %(kb)s, 'handbook', 'default', '{}', 2, 2, now(), now())
"""
_DOCUMENT = """
INSERT INTO memoryd.kb_documents (tenant_id, kb_id, document_id, from_seq, to_seq, complete, content_hash, settings_hash, bytes,
    stored_at)
VALUES (%(tenant)s, %(kb)s, %(id)s, %(since)s, %(until)s, true, '', '', 1, now()) RETURNING document_pid
"""
_CHUNK = """
INSERT INTO memoryd.kb_chunks (tenant_id, chunk_id, kb_id, document_pid, section, ordinal, from_seq, to_seq, hash, prefix, text,
    kind, span_start, span_end, tokens, length, terms)
VALUES (%(tenant)s, gen_random_uuid(), %(kb)s, %(document)s, 0, %(ordinal)s, %(since)s, %(until)s, '', '', %(text)s, 'text', 0, 1,
    1, 1, '{}')
"""
_GAP = "INSERT INTO memoryd.generation_gaps (tenant_id, generation) VALUES (%s, 1)"


class Handbook:
    """A knowledge base of a tenant, whose version 2 is live."""

    def __init__(self, world: World, tenant: Tenant) -> None:
        self._world = world
        self._params: dict[str, object] = {"tenant": tenant.scope.tenant_id, "kb": uuid4()}
        with psycopg.connect(world.superuser_url) as connection:
            connection.execute(_BASE, self._params)

    def document(self, name: str, *texts: str, since: int = 1, until: int | None = None) -> None:
        """One with these chunks; what serves lacks their vectors until a worker was there."""
        with psycopg.connect(self._world.superuser_url) as connection:
            params = self._params | {"id": name, "since": since, "until": until}
            row = connection.execute(_DOCUMENT, params).fetchone()
            assert row is not None
            for ordinal, text in enumerate(texts):
                connection.execute(_CHUNK, params | {"document": row[0], "ordinal": ordinal, "text": text})
            connection.execute(_GAP + " ON CONFLICT DO NOTHING", (self._params["tenant"],))


def _check(found: Registered, name: str) -> Mapping[str, object]:
    assert found.report is not None
    checks = found.report["checks"]
    assert isinstance(checks, Mapping)
    check = checks[name]
    assert isinstance(check, Mapping)
    return check


async def _verified(world: World, tenant: Tenant, number: int, query: str, *relevant: str) -> Registered:
    asked = [Labelled(query, frozenset(relevant))] if query else []
    return await world.generations.verify(tenant.actor, number, asked)


async def _own(world: World, tenant: Tenant) -> int:
    made = await world.generations.create(tenant.actor, "b", ScopeKind.TENANT, knowledge_base=None)
    await world.work()
    return made.generation.number


async def test_documents_are_judged_beside_any_number_of_memories(world: World, tenant: Tenant) -> None:
    ids = await tenant.say(*TEXTS[:30])
    book = Handbook(world, tenant)
    book.document("leave", *(f"leave {n}" for n in range(20)))
    book.document("trains", "book early", "second class")
    number = await _own(world, tenant)
    found = await _verified(world, tenant, number, "second class", "trains")
    assert {**_check(found, "ndcg")} == {"passed": True, "of": 1, "old": 1.0, "new": 1.0, "threshold": 0.95}
    found = await _verified(world, tenant, number, "leave 3", "leave", str(ids[0]))
    assert _check(found, "ndcg")["of"] == 2, "of each kind"
    with psycopg.connect(world.superuser_url) as connection:
        turned = "UPDATE memoryd.kb_vectors SET embedding = (embedding::vector * %s::vector)::halfvec WHERE generation = %s"
        connection.execute(turned, (str([-1] * B.card.dimension), number))
    found = await _verified(world, tenant, number, "second class", "trains")
    assert _check(found, "ndcg")["passed"] is False, "the worst model is found out"
    # And stays so until the same is asked again.
    again = await _verified(world, tenant, number, "")
    assert (_check(again, "ndcg"), again.passed) == (_check(found, "ndcg"), False)


async def test_closed_versions_and_drafts_take_no_places(world: World, tenant: Tenant) -> None:
    book = Handbook(world, tenant)
    book.document("old", *("second class" for _ in range(60)), since=1, until=2)
    book.document("draft", *("second class" for _ in range(60)), since=3)
    book.document("trains", "second class, please")
    number = await _own(world, tenant)
    found = await _verified(world, tenant, number, "second class", "trains")
    assert _check(found, "ndcg")["old"] == 1.0
    assert _check(found, "self_match")["of"] == 1, "nor are they sampled"
    for gone in ("old", "draft"):
        found = await _verified(world, tenant, number, "second class", gone)
        assert _check(found, "ndcg")["among_them"] == gone


async def test_a_list_of_wrong_ids_does_not_pass(world: World, tenant: Tenant) -> None:
    await tenant.say(*TEXTS[:20])
    number = await _own(world, tenant)
    found = await _verified(world, tenant, number, "memory number 3", "no-such-memory")
    assert not found.passed
    assert _check(found, "ndcg")["questions_without_an_answer"] == 1


async def test_tenants_are_sampled_from_everywhere(world: World, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memoryd.generations.verify._SAMPLES", 4)
    tenants = [await world.tenant() for _ in range(12)]
    for one in tenants:
        await one.say("the same")
    await world.generations.create(world.operator, "b", ScopeKind.INSTALLATION, knowledge_base=None)
    await world.work()
    generation = (await world.generations.get(world.operator, 2)).generation
    ids = sorted(one.scope.tenant_id for one in tenants)
    sampled = [one.tenant_id for one in await world.verifier._sampled(generation, ids)]
    assert len(sampled) == 4
    assert set(sampled) != set(ids[:4])
    assert sampled == [one.tenant_id for one in await world.verifier._sampled(generation, ids)]
