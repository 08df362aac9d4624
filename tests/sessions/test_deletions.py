"""Deletions of sessions beside snapshots, losses and readers: what is deleted stays deleted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from memoryd.errors import NotFound, StoreUnavailable
from memoryd.sessions.model import Session
from memoryd.sessions.ports import Changed, SessionGone
from memoryd.sessions.snapshots import Reason
from memoryd.stores.redis import Redis
from retrieval.scope import Scope
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
