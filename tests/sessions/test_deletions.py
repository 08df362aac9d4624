"""Deletions of sessions beside snapshots, losses and readers: what is deleted stays deleted."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memoryd.errors import NotFound, StoreUnavailable
from memoryd.memory.model import Draft, Idempotency, Written
from memoryd.sessions.model import Session
from memoryd.sessions.ports import Changed, SessionGone, Target
from memoryd.sessions.ranges import parse
from memoryd.sessions.snapshots import Reason
from memoryd.sessions.summary import BLOCK, loaded
from memoryd.stores.redis import Redis
from retrieval.scope import Scope
from retrieval.vectors import Vectors
from tests.sessions.conftest import tenant
from tests.sessions.whole import Whole, files, folder


@pytest.fixture
def whole(redis: Redis, tmp_path: Path) -> Whole:
    return Whole(redis, tenant(), folder(tmp_path))


async def test_a_session_deleted_while_its_snapshot_is_written_stays_deleted(whole: Whole, tmp_path: Path) -> None:
    await whole.say("s", "a")
    assert whole.objects is not None
    put = whole.objects.put

    async def slow(key: str, data: bytes) -> None:
        await put(key, data)
        await whole.lifecycle.delete(whole.scope, "s")

    whole.objects.put = slow  # type: ignore[method-assign]
    with pytest.raises(SessionGone):
        await whole.snapshots.take(whole.scope, "s", Reason.PERIODIC)
    assert files(tmp_path) == []
    with pytest.raises(NotFound):
        await whole.said("s")


async def test_what_a_deletion_could_not_erase_does_not_come_back_by_itself(whole: Whole) -> None:
    async def refuse(keys: Sequence[str]) -> None:
        raise StoreUnavailable("away")

    await whole.say("s", "a")
    await whole.lifecycle.snapshot(whole.scope, "s")
    assert whole.objects is not None
    whole.objects.delete = refuse  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await whole.lifecycle.delete(whole.scope, "s")
    # Nor when somebody asked for it while it was marked.
    with pytest.raises(NotFound):
        await whole.said("s")
    await whole.lose_redis()  # the mark of its deletion too
    assert (await whole.rounds.tend()).reclaimed == 0


async def test_a_deletion_that_gave_up_leaves_a_session_that_can_be_lost_and_found(whole: Whole) -> None:
    evict = whole.life.evict

    async def busy(scope: Scope, session: Session, **how: Any) -> None:
        await whole.say("s", "b")
        await evict(scope, session, **how)

    await whole.say("s", "a")
    whole.life.evict = busy  # type: ignore[method-assign]
    with pytest.raises(Changed):
        await whole.lifecycle.delete(whole.scope, "s")
    whole.life.evict = evict  # type: ignore[method-assign]
    said = await whole.said("s")
    await whole.lifecycle.snapshot(whole.scope, "s")
    await whole.lose_redis()
    assert await whole.said("s") == said


async def test_a_snapshot_recorded_during_a_deletion_goes_with_the_others(whole: Whole, tmp_path: Path) -> None:
    await whole.say("s", "a")
    await whole.lifecycle.snapshot(whole.scope, "s")
    evict, tries = whole.life.evict, list[Session]()

    async def meanwhile(scope: Scope, session: Session, **how: Any) -> None:
        tries.append(session)
        if len(tries) == 1:
            await whole.say("s", "b")
            await whole.lifecycle.snapshot(scope, "s")
        await evict(scope, session, **how)

    whole.life.evict = meanwhile  # type: ignore[method-assign]
    await whole.lifecycle.delete(whole.scope, "s")
    assert len(tries) == 2
    assert (files(tmp_path), await whole.records.snapshots(whole.scope, "s", 9)) == ([], [])


async def test_who_reads_a_session_while_it_is_deleted_does_not_bring_it_back(whole: Whole) -> None:
    """Neither one that finds it gone before its snapshots are, nor one that was reading a snapshot already."""
    assert whole.objects is not None
    delete, get = whole.objects.delete, whole.objects.get

    async def deleting(keys: Sequence[str]) -> None:
        with pytest.raises(NotFound):
            await whole.said("s")
        await delete(keys)

    await whole.say("s", "a")
    await whole.lifecycle.snapshot(whole.scope, "s")
    whole.objects.delete = deleting  # type: ignore[method-assign]
    await whole.lifecycle.delete(whole.scope, "s")
    whole.objects.delete = delete  # type: ignore[method-assign]

    async def getting(key: str) -> bytes | None:
        data = await get(key)
        await whole.lifecycle.delete(whole.scope, "t")
        return data

    await whole.say("t", "a")
    await whole.lifecycle.snapshot(whole.scope, "t")
    await whole.lose_redis()
    whole.objects.get = getting  # type: ignore[method-assign]
    with pytest.raises(NotFound):
        await whole.said("t")
    whole.objects.get = get  # type: ignore[method-assign]
    with pytest.raises(NotFound):
        await whole.said("t")
    # A new one of that name is a session like any other.
    await whole.say("t", "b")
    await whole.lifecycle.snapshot(whole.scope, "t")
    await whole.lose_redis()
    assert await whole.said("t") == ["b"]


async def test_a_summary_under_way_does_not_go_into_the_next_session_of_that_name(whole: Whole) -> None:
    embed = whole.embedder.embed_passages

    async def meanwhile(texts: Sequence[str], **how: Any) -> Vectors:
        whole.embedder.embed_passages = embed  # type: ignore[method-assign]
        await whole.lifecycle.delete(whole.scope, "s")
        await whole.say("s", *[f"Bob says something else, number {number}." for number in range(BLOCK)])
        return await embed(texts, **how)

    await whole.say("s", *[f"Alice tells her secret, number {number}." for number in range(BLOCK)])
    whole.embedder.embed_passages = meanwhile  # type: ignore[method-assign]
    assert not await whole.summaries(whole.scope, "s")
    target = Target("s", whole.clock.now())
    assert await whole.progress.summary(whole.scope, target) is None
    assert await whole.summaries(whole.scope, "s")
    summary = loaded(await whole.progress.summary(whole.scope, target))
    assert {line.text[:3] for line in summary.lines} == {"Bob"}


async def test_a_stored_summary_is_of_one_session_of_that_name(whole: Whole) -> None:
    await whole.say("s", *[f"Alice tells something, number {number}." for number in range(BLOCK)])
    await whole.summaries(whole.scope, "s")
    session = await whole.sessions.get(whole.scope, "s")
    stored = await whole.progress.summary(whole.scope, Target("s", whole.clock.now()))
    assert stored is not None
    assert loaded(stored).holds(session)
    assert not loaded(stored).holds(replace(session, incarnation="another"))
    # As it was stored before it said of which.
    old = json.loads(stored)
    del old["incarnation"]
    assert loaded(json.dumps(old)).holds(session)


async def test_a_commit_under_way_commits_nothing_of_the_next_session_of_that_name(whole: Whole) -> None:
    remember, deleted = whole.memory.__call__, False

    async def meanwhile(scope: Scope, drafts: Sequence[Draft], idempotency: Idempotency | None) -> list[Written]:
        nonlocal deleted
        if not deleted:
            deleted = True
            await whole.lifecycle.delete(whole.scope, "s")
            await whole.say("s", "new one", "new two")
        return await remember(scope, drafts, idempotency)

    await whole.say("s", "old one", "old two")
    whole.commit._remember = meanwhile
    done = await whole.commit(whole.scope, "s")
    assert (done.created, done.through) == (2, 2)
    assert whole.memory.texts == ["old one", "old two", "new one", "new two"]


async def test_what_is_not_there_any_more_is_not_noted_as_committed(whole: Whole) -> None:
    """Redis may come back without its last second."""
    await whole.say("s", "one", "two")
    session = await whole.sessions.get(whole.scope, "s")
    target = Target("s", whole.clock.now())
    assert not await whole.progress.commit(whole.scope, target, session, parse("1:3"))
    assert await whole.progress.commit(whole.scope, target, session, parse("1:2"))
