"""Snapshots, loss, expiry and the worker's rounds, on a real Valkey and a real folder."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from memoryd.errors import Conflict, NotFound, StoreUnavailable
from memoryd.sessions.archive import SnapshotCorrupt, decode
from memoryd.sessions.model import AutoCommit, Birth, CheckpointWish, Expected, NewMessage, Restored
from memoryd.sessions.ports import SnapshotRecord, Target, TenantSettings
from memoryd.sessions.snapshots import KEPT
from memoryd.stores.objects import ObstoreObjects
from memoryd.stores.redis import Redis, Reply
from memoryd.stores.redis_server import Command
from retrieval.scope import Scope
from tests.sessions.conftest import LIMITS, tenant
from tests.sessions.whole import INTERVAL_S, Whole, files, folder


@pytest.fixture
def whole(redis: Redis, tmp_path: Path) -> Whole:
    return Whole(redis, tenant(), folder(tmp_path))


async def test_a_lost_session_comes_back_whole_and_says_so(whole: Whole) -> None:
    sessions, scope = whole.sessions, whole.scope
    message = NewMessage(
        "m1", "agent", True, '{"role":"user","content":"a \\u0041\\n\\"","recorded_at":"2026-05-01T00:00:00+00:00"}'
    )
    await sessions.append(scope, "s", [message], Birth(user_id="u", ttl_s=500), None)
    await sessions.put_state(scope, "s", "k:1", {"x": ["ü|:"]}, Expected(), None)
    point = await sessions.checkpoint(scope, "s", CheckpointWish(4, "l", {}), None)
    await sessions.record_effect(scope, "s", "e", 1)
    await sessions.put_state(scope, "s", "k:1", 2, Expected(), None)
    taken = await whole.lifecycle.snapshot(scope, "s")
    before = await sessions.get(scope, "s")
    await whole.lose_redis()
    whole.clock.pass_(3)
    after = await sessions.get(scope, "s")
    assert after.restored_from is not None
    assert (after.restored_from.snapshot_id, after.restored_from.taken_at) == (taken.snapshot_id, taken.taken_at)
    assert (after.restored_from.restored_at, after.restored_from.lost) == (whole.clock.now(), True)
    for name in ("user_id", "agents", "ttl_s", "created_at", "messages", "size", "state_size", "incarnation", "space"):
        assert getattr(after, name) == getattr(before, name), name
    assert await whole.said("s") == ['a A\n"']
    assert (await sessions.get_state(scope, "s", "k:1")).value == 2
    assert (await sessions.get_effect(scope, "s", "e")).value == 1
    again = await sessions.append(scope, "s", [message], Birth(), None)
    assert (again.placed[0].position, again.placed[0].created) == (1, False)
    await sessions.restore(scope, "s", point.checkpoint_id, None)
    assert (await sessions.get_state(scope, "s", "k:1")).value == {"x": ["ü|:"]}
    for index in (
        {"user_id": "u", "agent_id": None},
        {"user_id": None, "agent_id": "agent"},
        {"user_id": None, "agent_id": None},
    ):
        page = await whole.lifecycle.page(scope, cursor=None, limit=5, **index)
        assert [one.session_id for one in page.sessions] == ["s"]


async def test_a_position_that_was_lost_is_not_given_out_again(whole: Whole) -> None:
    await whole.say("s", "a", "b")
    await whole.lifecycle.snapshot(whole.scope, "s")
    lost = (await whole.say("s", "lost"))[0]
    await whole.lose_redis()
    # A write comes first: it continues what was, and does not begin anew.
    new = (await whole.say("s", "c"))[0]
    assert new > lost
    assert await whole.said("s") == ["a", "b", "c"]
    assert (await whole.commit(whole.scope, "s")).created == 3


async def test_a_damaged_snapshot_is_passed_over_and_named(whole: Whole, tmp_path: Path) -> None:
    await whole.say("s", "a")
    older = await whole.lifecycle.snapshot(whole.scope, "s")
    whole.clock.pass_(1)
    await whole.say("s", "b")
    damaged = await whole.lifecycle.snapshot(whole.scope, "s")
    path = tmp_path / damaged.object_key
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    whole.clock.pass_(1)
    await whole.say("s", "c")
    missing = await whole.lifecycle.snapshot(whole.scope, "s")
    (tmp_path / missing.object_key).unlink()
    await whole.lose_redis()
    assert await whole.said("s") == ["a"]
    origin = (await whole.sessions.get(whole.scope, "s")).restored_from
    assert origin is not None
    assert (origin.snapshot_id, origin.skipped) == (older.snapshot_id, (missing.snapshot_id, damaged.snapshot_id))
    assert origin.lost
    await whole.lose_redis()
    (tmp_path / older.object_key).write_bytes(b"memoryd-session 2 sha256=" + b"0" * 64 + b"\n")
    with pytest.raises(SnapshotCorrupt):
        await whole.said("s")
    with pytest.raises(SnapshotCorrupt):
        await whole.say("s", "over what was")
    await whole.lifecycle.delete(whole.scope, "s")
    assert files(tmp_path) == []


async def test_a_snapshot_of_another_session_or_tenant_is_refused(whole: Whole, tmp_path: Path) -> None:
    await whole.say("s", "a")
    record = await whole.lifecycle.snapshot(whole.scope, "s")
    data = (tmp_path / record.object_key).read_bytes()
    assert decode(whole.scope.tenant_id, "s", data)
    for tenant_id, session_id in ((tenant().tenant_id, "s"), (whole.scope.tenant_id, "t")):
        with pytest.raises(SnapshotCorrupt):
            decode(tenant_id, session_id, data)
    for broken in (b"", data[:-1], data[:40], data + b"x", data.replace(b" 1 ", b" 2 ", 1)):
        with pytest.raises(SnapshotCorrupt):
            decode(whole.scope.tenant_id, "s", broken)


async def test_rounds_snapshot_what_changed_and_keep_a_few(whole: Whole, tmp_path: Path) -> None:
    for number in range(KEPT + 2):
        await whole.say("s", f"{number}")
        assert (await whole.rounds.run()).snapshots == 0  # not yet: writes that follow each other share a snapshot
        whole.clock.pass_(INTERVAL_S / 2)
        assert (await whole.rounds.run()).snapshots == 1
        assert (await whole.rounds.run()).snapshots == 0  # nothing changed
    assert len(files(tmp_path)) == KEPT
    await whole.lose_redis()
    assert await whole.said("s") == ["0", "1", "2", "3", "4"]


async def test_what_changes_while_it_is_written_is_written_again(whole: Whole) -> None:
    await whole.say("s", "a")
    image = await whole.life.image(whole.scope, Target("s", whole.clock.now()))
    await whole.say("s", "b")
    assert await whole.life.settle(whole.scope, image)
    whole.clock.pass_(INTERVAL_S)
    assert (await whole.rounds.run()).snapshots == 1


async def test_who_read_a_session_before_its_loss_does_not_settle_what_was_written_since(whole: Whole) -> None:
    await whole.say("s", "a")
    await whole.lifecycle.snapshot(whole.scope, "s")
    await whole.say("s", "lost")
    before = await whole.life.image(whole.scope, Target("s", whole.clock.now()))
    await whole.lose_redis()
    await whole.say("s", "b")  # as many writes after the snapshot as the image has
    await whole.life.settle(whole.scope, before)
    with pytest.raises(Conflict):
        await whole.life.evict(whole.scope, before.session, now=whole.clock.now(), only_due=False)
    whole.clock.pass_(INTERVAL_S)
    assert (await whole.rounds.run()).snapshots == 1
    await whole.lose_redis()
    assert await whole.said("s") == ["a", "b"]


async def test_an_expired_session_goes_after_its_snapshot_and_comes_back(whole: Whole) -> None:
    await whole.say("s", "a", "b")
    whole.clock.pass_(LIMITS.ttl_s - 1)
    assert (await whole.rounds.run()).expired == 0
    whole.clock.pass_(1)
    report = await whole.rounds.run()
    assert (report.expired, report.committed, report.failed) == (1, 0, 0)
    page = await whole.lifecycle.page(whole.scope, user_id=None, agent_id=None, cursor=None, limit=5)
    assert page.sessions == ()
    keys = await whole.redis.command("KEYS", f"*{whole.scope.tenant_id}*")
    assert keys == []
    # Nothing was lost, so positions go on where they were.
    assert await whole.say("s", "c") == [3]
    origin = (await whole.sessions.get(whole.scope, "s")).restored_from
    assert origin is not None
    assert not origin.lost
    # From here on something may be lost again, and that is seen.
    await whole.lose_redis()
    assert (await whole.say("s", "d"))[0] > 3
    assert await whole.said("s") == ["a", "b", "d"]


async def test_a_session_in_use_is_not_evicted(whole: Whole) -> None:
    await whole.say("s", "a")
    whole.clock.pass_(LIMITS.ttl_s)
    image = await whole.life.image(whole.scope, Target("s", whole.clock.now()))
    await whole.say("s", "b")
    with pytest.raises(Conflict):
        await whole.life.evict(whole.scope, image.session, now=whole.clock.now(), only_due=True)
    assert (await whole.rounds.run()).expired == 0
    assert await whole.said("s") == ["a", "b"]


async def test_without_an_object_store_nothing_is_dropped(redis: Redis) -> None:
    whole = Whole(redis, tenant(), None)
    await whole.say("s", "a")
    whole.clock.pass_(LIMITS.ttl_s + 1)
    assert (await whole.rounds.run()).stuck == 1
    assert await whole.said("s") == ["a"]
    with pytest.raises(Conflict):
        await whole.lifecycle.snapshot(whole.scope, "s")


async def test_automatic_commits_follow_the_tenant_and_the_session(whole: Whole) -> None:
    scope = whole.scope
    await whole.lifecycle.configure(scope, TenantSettings(AutoCommit.EXPIRY, 100))
    await whole.say("plain", "plain")
    await whole.say("idle", "idle")
    await whole.sessions.configure(scope, "idle", ttl_s=None, auto=AutoCommit.IDLE, clear=False, once=None)
    await whole.say("never", "never")
    await whole.sessions.configure(scope, "never", ttl_s=None, auto=AutoCommit.OFF, clear=False, once=None)
    whole.clock.pass_(99)
    assert (await whole.rounds.run()).committed == 0
    whole.clock.pass_(1)
    assert (await whole.rounds.run()).committed == 1
    assert whole.memory.texts == ["idle"]
    whole.clock.pass_(LIMITS.ttl_s)
    report = await whole.rounds.run()
    assert (report.committed, report.expired) == (1, 3)
    assert sorted(whole.memory.texts) == ["idle", "plain"]
    # What was committed once is not committed again by a session that came back.
    await whole.say("plain", "more")
    assert (await whole.commit(scope, "plain")).created == 1


async def test_a_failing_commit_keeps_the_session(whole: Whole) -> None:
    await whole.lifecycle.configure(whole.scope, TenantSettings(AutoCommit.EXPIRY, 100))
    await whole.say("s", "a")
    whole.memory.broken = True
    whole.clock.pass_(LIMITS.ttl_s + 1)
    report = await whole.rounds.run()
    assert (report.expired, report.failed) == (0, 1)
    whole.memory.broken = False
    whole.clock.pass_(60)
    report = await whole.rounds.run()
    assert (report.expired, report.committed) == (1, 1)


async def test_a_commit_that_died_in_the_middle_repeats_itself_without_doubles(whole: Whole) -> None:
    await whole.say("s", *(f"turn {number}" for number in range(450)))
    progress = whole.commit._progress.commit
    calls = 0

    async def dying(*given: object) -> bool:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError("killed")
        return await progress(*given)  # type: ignore[arg-type]

    whole.commit._progress.commit = dying  # type: ignore[method-assign, assignment]
    with pytest.raises(OSError, match="killed"):
        await whole.commit(whole.scope, "s")
    done = await whole.commit(whole.scope, "s")
    assert (done.created, done.duplicates) == (50, 200)
    assert whole.memory.texts == [f"turn {number}" for number in range(450)]


async def test_positions_that_redis_gave_out_again_are_committed_too(whole: Whole) -> None:
    """A power cut may take the last second from Redis, and leave what was committed of it."""
    await whole.say("s", "a")
    target = Target("s", whole.clock.now())
    before = await whole.life.image(whole.scope, target)
    await whole.say("s", "b")
    assert (await whole.commit(whole.scope, "s")).created == 2
    await whole.lose_redis()
    origin = Restored(UUID(int=0), whole.clock.now(), whole.clock.now(), ())
    assert await whole.life.load(whole.scope, target, before.parts, origin)
    assert await whole.say("s", "c") == [2]
    done = await whole.commit(whole.scope, "s")
    assert (done.created, done.duplicates) == (1, 1)
    assert whole.memory.texts == ["a", "b", "c"]


async def test_a_snapshot_that_cannot_be_recorded_leaves_no_object(whole: Whole, tmp_path: Path) -> None:
    """As when the tenant was deleted while it was written: nobody would ever find the object."""
    await whole.say("s", "a")

    async def refuse(scope: Scope, record: SnapshotRecord) -> None:
        raise Conflict("what this belongs to was deleted meanwhile")

    whole.records.add = refuse  # type: ignore[method-assign]
    with pytest.raises(Conflict):
        await whole.lifecycle.snapshot(whole.scope, "s")
    assert files(tmp_path) == []


async def test_old_snapshots_are_erased_and_living_sessions_keep_one(whole: Whole, tmp_path: Path) -> None:
    for name in ("dead", "alive"):
        await whole.say(name, "a", birth=Birth(ttl_s=100 if name == "dead" else 100 * 86_400))
    whole.clock.pass_(101)
    await whole.rounds.run()
    before = await whole.lifecycle.snapshots(whole.scope, "alive")
    whole.clock.pass_(timedelta(days=91).total_seconds())
    report = await whole.rounds.run()
    assert report.failed == 0
    with pytest.raises(NotFound):
        await whole.lifecycle.snapshots(whole.scope, "dead")
    after = await whole.lifecycle.snapshots(whole.scope, "alive")
    assert len(after) == 1
    assert after[0].snapshot_id != before[0].snapshot_id
    assert len(files(tmp_path)) == 1


async def test_an_object_store_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch, redis: Redis) -> None:
    for name, value in {
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    whole = Whole(redis, tenant(), ObstoreObjects("s3://bucket/prefix", timeout_s=1))
    await whole.say("s", "a")
    with pytest.raises(StoreUnavailable):
        await whole.lifecycle.snapshot(whole.scope, "s")
    whole.clock.pass_(LIMITS.ttl_s + 1)
    report = await whole.rounds.run()
    assert (report.expired, report.failed) == (0, 2)
    assert await whole.said("s") == ["a"]


async def test_a_session_that_is_written_to_while_it_is_read_is_read_as_it_is_at_one_moment(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    await whole.say("s", "a")
    together = whole.redis.together

    async def meanwhile(commands: Sequence[Command], *, atomic: bool) -> list[Reply]:
        if atomic:
            return await together(commands, atomic=True)
        begun = await together(commands[:1], atomic=False)
        await whole.say("s", "b")
        return begun + await together(commands[1:], atomic=False)

    monkeypatch.setattr(whole.redis, "together", meanwhile)
    image = await whole.life.image(whole.scope, Target("s", whole.clock.now()))
    parts = {part.name: part.values for part in image.parts}
    assert (image.session.head, image.session.revision, parts["messages"][::2]) == (2, 2, ("1", "2"))
