"""The worker's rounds where there is much to do, where something fails or is killed, and where somebody else acts between."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from memoryd.errors import NotFound, StoreUnavailable, WorkingMemoryUnavailable
from memoryd.memory.model import Draft, Idempotency, Written
from memoryd.sessions.model import AutoCommit, Birth
from memoryd.sessions.ports import SnapshotRecord, Target, TenantSettings
from memoryd.sessions.snapshots import KEPT
from memoryd.stores.redis import Redis
from retrieval.scope import Scope
from tests.sessions.conftest import LIMITS, tenant
from tests.sessions.fakes import Memory, Records
from tests.sessions.whole import INTERVAL_S, Whole, files, folder


class Killed(BaseException):
    """The process ends here."""


class Counting:
    """Objects in memory, which know how many were written at the same time."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.now = self.most = 0
        self.refused: set[str] = set()

    async def put(self, key: str, data: bytes) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        self.kept[key] = data

    async def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            if key in self.refused:
                raise StoreUnavailable("denied")
            self.kept.pop(key, None)

    async def clear(self, prefix: str) -> None:
        await self.delete([key for key in self.kept if key.startswith(prefix)])


class Picky(Memory):
    """Takes nothing that is bad."""

    async def __call__(self, scope: Scope, drafts: Sequence[Draft], idempotency: Idempotency | None) -> list[Written]:
        if any("bad" in draft.content.text for draft in drafts):
            raise OSError("bad")
        return await super().__call__(scope, drafts, idempotency)


@pytest.fixture
def whole(redis: Redis, tmp_path: Path) -> Whole:
    return Whole(redis, tenant(), folder(tmp_path))


async def made(whole: Whole, names: Sequence[str], text: str = "a") -> None:
    for start in range(0, len(names), 50):
        await asyncio.gather(*(whole.say(name, text) for name in names[start : start + 50]))


async def test_one_round_snapshots_all_that_are_due_a_few_at_once(redis: Redis) -> None:
    objects, records = Counting(), Records()
    whole = Whole(redis, tenant(), objects, records=records)
    others = [Whole(redis, tenant(), objects, clock=whole.clock, records=records) for _ in range(20)]
    await made(whole, [f"s{number}" for number in range(1_000)])
    for other in others:
        await made(other, ["a", "b", "c"])
        whole.tenants.some.append(other.scope.tenant_id)
    whole.clock.pass_(INTERVAL_S / 2)
    report = await whole.rounds.save()
    assert (report.snapshots, report.failed) == (1_060, 0)
    assert 2 <= objects.most <= 8
    await whole.lose_redis()
    assert await whole.said("s999") == ["a"]
    assert (await whole.rounds.save()).snapshots == 0


async def test_a_session_that_cannot_be_written_holds_up_no_other(redis: Redis) -> None:
    objects = Counting()
    whole = Whole(redis, tenant(), objects)
    await made(whole, [f"bad{number}" for number in range(220)])
    whole.clock.pass_(1)
    await whole.say("good", "a")
    whole.clock.pass_(INTERVAL_S)
    image = whole.life.image

    async def broken(scope: Scope, target: Target) -> object:
        if target.session_id.startswith("bad"):
            raise ValueError("broken")
        return await image(scope, target)

    whole.life.image = broken  # type: ignore[method-assign, assignment]
    report = await whole.rounds.save()
    assert (report.snapshots, report.failed) == (1, 220)
    assert (await whole.rounds.save()).failed == 0
    whole.life.image = image  # type: ignore[method-assign]
    whole.clock.pass_(INTERVAL_S / 2)
    assert (await whole.rounds.save()).snapshots == 220


async def test_a_round_ends_where_redis_takes_no_writes(whole: Whole) -> None:
    await made(whole, [f"s{number}" for number in range(200)])
    whole.clock.pass_(INTERVAL_S)

    async def refuse(*given: object) -> bool:
        raise WorkingMemoryUnavailable("full")

    whole.life.settle = refuse  # type: ignore[method-assign, assignment]
    whole.life.postpone = refuse  # type: ignore[method-assign, assignment]
    assert (await whole.rounds.save()).failed == 200


async def test_expired_sessions_that_stay_hold_up_no_other(redis: Redis) -> None:
    """Without an object store they stay for good, and are committed all the same."""
    whole = Whole(redis, tenant(), None)
    await whole.lifecycle.configure(whole.scope, TenantSettings(AutoCommit.EXPIRY, 100))
    await made(whole, [f"s{number}" for number in range(250)])
    whole.clock.pass_(LIMITS.ttl_s + 1)
    report = await whole.rounds.tend()
    assert (report.committed, report.stuck, report.failed) == (250, 250, 0)
    assert (await whole.rounds.tend()).stuck == 0
    whole.clock.pass_(600)
    assert (await whole.rounds.tend()).stuck == 250


async def test_commits_that_fail_hold_up_no_other(redis: Redis) -> None:
    whole = Whole(redis, tenant(), Counting(), memory=Picky())
    await whole.lifecycle.configure(whole.scope, TenantSettings(AutoCommit.EXPIRY, 100))
    await made(whole, [f"s{number}" for number in range(220)], "bad")
    whole.clock.pass_(1)
    await whole.say("good", "a")
    whole.clock.pass_(LIMITS.ttl_s + 1)
    report = await whole.rounds.tend()
    assert (report.expired, report.failed) == (1, 220)
    assert whole.memory.texts == ["a"]


async def test_what_redis_lost_is_listed_and_committed_though_nobody_asks_for_it(redis: Redis) -> None:
    whole = Whole(redis, tenant(), Counting())
    await whole.lifecycle.configure(whole.scope, TenantSettings(AutoCommit.EXPIRY, 100))
    await whole.say("ended", "a")
    whole.clock.pass_(LIMITS.ttl_s + 1)
    assert (await whole.rounds.tend()).expired == 1
    await made(whole, [f"s{number}" for number in range(250)])
    whole.clock.pass_(INTERVAL_S)
    assert (await whole.rounds.save()).snapshots == 250
    await whole.lose_redis()
    whole.clock.pass_(600)
    assert (await whole.rounds.tend()).reclaimed == 0
    whole.clock.pass_(3_000)
    # So many at a time, the next a minute later, until all are there.
    reports = []
    for seconds in (0, 1, 60, 60):
        whole.clock.pass_(seconds)
        reports.append(await whole.rounds.tend())
    assert [(report.reclaimed, report.failed) for report in reports] == [(200, 0), (0, 0), (50, 0), (0, 0)]
    listed = await whole.lifecycle.page(whole.scope, user_id=None, agent_id=None, cursor=None, limit=300)
    assert len(listed.sessions) == 250
    whole.clock.pass_(LIMITS.ttl_s + 1)
    report = await whole.rounds.tend()
    assert (report.reclaimed, report.committed, report.expired, report.failed) == (0, 250, 250, 0)
    whole.clock.pass_(3_600)
    assert (await whole.rounds.tend()).reclaimed == 0


async def test_sessions_that_cannot_be_read_back_hold_up_no_other(redis: Redis) -> None:
    objects = Counting()
    whole = Whole(redis, tenant(), objects)
    await made(whole, [f"s{number:02d}" for number in range(40)])
    whole.clock.pass_(INTERVAL_S)
    await whole.rounds.save()
    await whole.lose_redis()
    get, lost = objects.get, {f"s{number:02d}" for number in range(25)}
    keys = {one.object_key for name in lost for one in await whole.records.snapshots(whole.scope, name, 9)}

    async def refuse(key: str) -> bytes | None:
        if key in keys:
            raise StoreUnavailable("not for you")
        return await get(key)

    objects.get = refuse  # type: ignore[method-assign]
    reports = []
    for _ in range(4):
        whole.clock.pass_(60)
        reports.append(await whole.rounds.tend())
    # The first walk gives up twice after ten in a row, and goes on where it was.
    assert [(report.reclaimed, report.failed) for report in reports] == [(0, 10), (0, 10), (15, 5), (0, 0)]


async def test_a_snapshot_does_not_go_while_it_is_all_there_is_of_a_session_that_lives(redis: Redis) -> None:
    whole = Whole(redis, tenant(), Counting())
    await made(whole, ["s"])
    whole.clock.pass_(INTERVAL_S)
    await whole.rounds.save()
    await whole.lose_redis()
    whole.clock.pass_(timedelta(days=91).total_seconds())
    await whole.rounds.tend()
    assert (await whole.sessions.get(whole.scope, "s")).messages == 1
    (kept,) = await whole.records.snapshots(whole.scope, "s", 9)
    assert kept.taken_at == whole.clock.now()
    # One that nobody can read is no reason to keep it.
    await whole.lose_redis()
    whole.objects.kept[kept.object_key] = b"torn"  # type: ignore[union-attr]
    whole.clock.pass_(timedelta(days=91).total_seconds())
    await whole.rounds.tend()
    assert await whole.records.snapshots(whole.scope, "s", 9) == []


async def test_while_redis_is_away_nothing_counts_as_lost(whole: Whole) -> None:
    async def refuse(*given: object) -> frozenset[str]:
        raise WorkingMemoryUnavailable("gone")

    await whole.say("s", "a")
    await whole.lifecycle.snapshot(whole.scope, "s")
    whole.life.present = refuse  # type: ignore[method-assign, assignment]
    report = await whole.rounds.tend()
    assert (report.reclaimed, report.failed) == (0, 1)
    assert (await whole.sessions.get(whole.scope, "s")).restored_from is None
    whole.clock.pass_(60)
    assert (await whole.rounds.tend()).failed == 1, "it is tried again soon"


async def test_where_nothing_can_be_erased_everything_else_goes_on(redis: Redis) -> None:
    objects = Counting()
    whole = Whole(redis, tenant(), objects)
    for number in range(KEPT + 1):
        await whole.say("s", f"{number}")
        record = await whole.lifecycle.snapshot(whole.scope, "s")
        objects.refused.add(record.object_key)
        whole.clock.pass_(1)
    whole.clock.pass_(LIMITS.ttl_s)
    report = await whole.rounds.tend()
    assert (report.expired, report.failed) == (1, 0)
    # One that can be erased is, whatever comes before it; and sessions that expire go.
    await whole.say("t", "a")
    await whole.lifecycle.snapshot(whole.scope, "t")
    whole.clock.pass_(timedelta(days=91).total_seconds())
    report = await whole.rounds.tend()
    assert report.expired == 1
    assert report.failed > 0
    left = {
        record.session_id
        for record in await whole.records.outdated(whole.scope, whole.clock.now() - timedelta(days=90), 9, skip=0)
    }
    assert left == {"s"}


async def test_an_object_that_a_killed_writer_left_goes_with_its_session(whole: Whole, tmp_path: Path) -> None:
    add = whole.records.add

    async def killed(scope: Scope, record: SnapshotRecord) -> None:
        raise Killed

    for name in ("s", "t", "ended"):
        await whole.say(name, "secret", birth=Birth(ttl_s=100 if name == "ended" else None))
        whole.records.add = killed  # type: ignore[method-assign]
        with pytest.raises(Killed):
            await whole.lifecycle.snapshot(whole.scope, name)
        whole.records.add = add  # type: ignore[method-assign]
    assert len(files(tmp_path)) == 3
    (files(tmp_path)[0].parent / "half.mds#1").write_bytes(b"written by half")
    await whole.lifecycle.snapshot(whole.scope, "s")
    for name in ("s", "t"):
        await whole.lifecycle.delete(whole.scope, name)
    left = files(tmp_path)
    whole.clock.pass_(101)
    assert (await whole.rounds.tend()).expired == 1
    assert len(files(tmp_path)) == len(left) + 1
    whole.clock.pass_(timedelta(days=91).total_seconds())
    assert (await whole.rounds.tend()).failed == 0
    assert files(tmp_path) == []


async def test_an_object_of_a_session_that_is_nowhere_else_can_be_deleted(whole: Whole, tmp_path: Path) -> None:
    add = whole.records.add

    async def killed(scope: Scope, record: SnapshotRecord) -> None:
        raise Killed

    whole.records.add = killed  # type: ignore[method-assign]
    for name in ("lost", "kept"):
        await whole.say(name, "secret", birth=Birth(space="blue"))
        with pytest.raises(Killed):
            await whole.lifecycle.snapshot(whole.scope, name)
    whole.records.add = add  # type: ignore[method-assign]
    written = files(tmp_path)
    # Of a session that is there, but not for this key, nothing goes.
    red = replace(whole.scope, spaces=frozenset({"red"}))
    with pytest.raises(NotFound):
        await whole.lifecycle.delete(red, "kept")
    assert files(tmp_path) == written
    await whole.lose_redis()
    with pytest.raises(NotFound):
        await whole.lifecycle.delete(whole.scope, "lost")
    (left,) = files(tmp_path)
    with pytest.raises(NotFound):
        await whole.lifecycle.delete(whole.scope, "kept")
    assert left in written
    assert files(tmp_path) == []


async def test_a_session_that_came_back_while_it_was_evicted_leaps(whole: Whole) -> None:
    """What is said between its return and the end of its eviction is not in the snapshot."""
    finish = whole.records.finish

    async def late(scope: Scope, snapshot_id: UUID) -> None:
        assert (await whole.say("s", "lost"))[0] > 1
        await finish(scope, snapshot_id)

    await whole.say("s", "a")
    whole.clock.pass_(LIMITS.ttl_s + 1)
    whole.records.finish = late  # type: ignore[method-assign]
    assert (await whole.rounds.tend()).expired == 1
    lost = (await whole.sessions.get(whole.scope, "s")).head
    await whole.lose_redis()
    assert (await whole.say("s", "b"))[0] > lost
