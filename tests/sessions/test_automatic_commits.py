"""Commits that the worker makes by itself: of sessions that are idle, also when it dies on the way, and beside restores."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from memoryd.errors import WorkingMemoryUnavailable
from memoryd.memory.model import Draft, Idempotency, Written
from memoryd.sessions.model import AutoCommit, CheckpointWish, Page
from memoryd.sessions.ports import LEAST_IDLE_S, Target, TenantSettings
from memoryd.stores.redis import Redis
from retrieval.scope import Scope
from tests.sessions.conftest import tenant
from tests.sessions.whole import Whole, folder


@pytest.fixture
def whole(redis: Redis, tmp_path: Path) -> Whole:
    return Whole(redis, tenant(), folder(tmp_path))


async def test_idle_is_for_sessions_that_were_quiet_already(whole: Whole) -> None:
    scope = whole.scope
    for name in ("one", "other", "third"):
        await whole.say(name, name)
    whole.clock.pass_(900)
    assert (await whole.rounds.tend()).committed == 0
    await whole.sessions.configure(scope, "one", ttl_s=None, auto=AutoCommit.IDLE, clear=False, once=None)
    assert (await whole.rounds.tend()).committed == 1
    assert whole.memory.texts == ["one"]
    await whole.lifecycle.configure(scope, TenantSettings(AutoCommit.IDLE, 2_000))
    assert (await whole.rounds.tend()).committed == 0
    await whole.lifecycle.configure(scope, TenantSettings(AutoCommit.IDLE, 900))
    assert (await whole.rounds.tend()).committed == 2
    # Nothing is left to look at.
    assert await whole.life.waiting(scope, "uncommitted", whole.clock.now() + timedelta(days=1), 9) == []


async def test_a_session_that_is_written_to_is_not_looked_at_and_settings_are_read_once(whole: Whole) -> None:
    looks, settings = 0, whole.records.settings

    async def counted(scope: Scope) -> TenantSettings:
        nonlocal looks
        looks += 1
        return await settings(scope)

    for name in ("one", "other", "third"):
        await whole.say(name, name)
    whole.records.settings = counted  # type: ignore[method-assign]
    whole.clock.pass_(LEAST_IDLE_S - 1)
    await whole.rounds.tend()
    assert looks == 0
    whole.clock.pass_(1)
    await whole.rounds.tend()
    assert looks == 2  # and once more at the end, as they may have changed
    assert not await whole.life.waiting(whole.scope, "uncommitted", whole.clock.now(), 9)


async def test_settings_that_change_while_sessions_are_looked_at_are_obeyed_in_the_next_round(whole: Whole) -> None:
    settings = whole.records.settings

    async def changing(scope: Scope) -> TenantSettings:
        found = await settings(scope)
        whole.records.settings = settings  # type: ignore[method-assign]
        await whole.lifecycle.configure(whole.scope, TenantSettings(AutoCommit.IDLE, 60))
        return found

    await whole.say("s", "a")
    whole.clock.pass_(900)
    whole.records.settings = changing  # type: ignore[method-assign]
    assert (await whole.rounds.tend()).committed == 0
    assert (await whole.rounds.tend()).committed == 1


async def test_settings_can_be_changed_while_redis_is_gone(whole: Whole) -> None:
    async def refuse(scope: Scope) -> None:
        raise WorkingMemoryUnavailable("gone")

    await whole.say("s", "a")
    await whole.rounds.tend()
    whole.life.reconsider = refuse  # type: ignore[method-assign]
    await whole.lifecycle.configure(whole.scope, TenantSettings(AutoCommit.IDLE, 60))
    whole.clock.pass_(3_600)
    await whole.sessions.read(whole.scope, "s")
    assert (await whole.rounds.tend()).committed == 1


async def test_an_idle_commit_that_died_after_its_first_page_goes_on(whole: Whole) -> None:
    await whole.lifecycle.configure(whole.scope, TenantSettings(AutoCommit.IDLE, 60))
    await whole.say("s", *(f"turn {number}" for number in range(450)))
    remember, calls = whole.memory.__call__, 0

    async def dying(scope: Scope, drafts: Sequence[Draft], idempotency: Idempotency | None) -> list[Written]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError("killed")
        return await remember(scope, drafts, idempotency)

    whole.commit._remember = dying
    whole.clock.pass_(60)
    assert (await whole.rounds.tend()).failed == 1
    whole.clock.pass_(60)
    assert (await whole.rounds.tend()).failed == 0
    assert whole.memory.texts == [f"turn {number}" for number in range(450)]


def between(whole: Whole, number: int, act: Callable[[], Awaitable[object]]) -> None:
    """``act`` just before the read of that number."""
    read, count = whole.messages.read, 0

    async def reading(*given: object, **named: object) -> Page:
        nonlocal count
        count += 1
        if count == number:
            await act()
        return await read(*given, **named)  # type: ignore[arg-type]

    whole.messages.read = reading  # type: ignore[method-assign]


async def test_a_restore_beside_a_commit_hides_nothing_from_the_next_one(whole: Whole) -> None:
    sessions, scope = whole.sessions, whole.scope
    await whole.say("s", "a")
    point = await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)
    await whole.say("s", "b", "c")
    undo: list[UUID] = []

    async def restore() -> None:
        undo.append((await sessions.restore(scope, "s", point.checkpoint_id, None)).undo)

    between(whole, 2, restore)
    assert (await whole.commit(scope, "s")).created == 1
    await sessions.restore(scope, "s", undo[0], None)
    assert (await whole.commit(scope, "s")).created == 2
    assert whole.memory.texts == ["a", "b", "c"]


async def test_a_restore_that_sets_aside_all_that_was_to_be_committed(whole: Whole) -> None:
    sessions, scope = whole.sessions, whole.scope
    await whole.say("s", "a")
    await whole.commit(scope, "s")
    point = await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)
    await whole.say("s", "b")
    between(whole, 2, lambda: sessions.restore(scope, "s", point.checkpoint_id, None))
    done = await whole.commit(scope, "s")
    assert (done.created, done.through) == (0, 1)


async def test_a_restore_at_the_end_of_a_commit_is_seen_by_the_next_round(whole: Whole) -> None:
    sessions, scope = whole.sessions, whole.scope
    await whole.lifecycle.configure(scope, TenantSettings(AutoCommit.IDLE, 60))
    await whole.say("s", "a")
    point = await sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)
    await whole.say("s", "b")
    undo = (await sessions.restore(scope, "s", point.checkpoint_id, None)).undo
    await whole.commit(scope, "s")
    page = await sessions.read(scope, "s")
    await sessions.restore(scope, "s", undo, None)
    # The end of a commit that looked before this restore: nothing was left then.
    assert await whole.progress.commit(scope, Target("s", whole.clock.now()), page.session, page.session.committed)
    whole.clock.pass_(60)
    assert (await whole.rounds.tend()).committed == 1
    assert whole.memory.texts == ["a", "b"]
