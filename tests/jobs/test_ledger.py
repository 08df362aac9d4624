"""Jobs as their callers make, see and command them; the sweeper; backoff."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memoryd.errors import Forbidden, IdempotencyKeyReused, InvalidRequest, NotFound, StoreUnavailable, WrongState
from memoryd.jobs.decide import decide
from memoryd.jobs.model import MAX_ITEMS, Command, Counters, ItemState, JobItem, JobState, NewItem, NewJob, Outcome, Wish
from memoryd.jobs.ports import Control
from memoryd.jobs.retry import Retries
from memoryd.jobs.sweep import Sweeper
from memoryd.memory.model import Idempotency
from memoryd.settings import Settings
from memoryd.stores.database import Database
from retrieval.scope import Action
from tests.jobs.conftest import KIND, Bench, Clock, Handler, Reminders, bench_of, new_tenant
from tests.jobs.outcomes import giving
from tests.stack import Stack

ONE = NewJob(KIND, {}, [NewItem("a", {})])


async def test_a_request_that_is_repeated_makes_one_job(bench: Bench) -> None:
    once = Idempotency("key", b"1" * 32)
    first = await bench.jobs.create(bench.scope, ONE, once)
    again = await bench.jobs.create(bench.scope, ONE, once)
    assert (first.job_id, len(await bench.jobs.page(bench.scope, limit=10))) == (again.job_id, 1)
    with pytest.raises(IdempotencyKeyReused):
        await bench.jobs.create(bench.scope, ONE, Idempotency("key", b"2" * 32))


async def test_a_command_that_is_repeated_is_obeyed_once(bench: Bench) -> None:
    job_id, once = await bench.make("bad"), Idempotency("retry", b"1" * 32)
    bad = Handler({"bad": giving(Outcome(ItemState.FAILED, "empty"))})
    await bench.run(bad)
    assert (await bench.jobs.act(bench.scope, job_id, Command.RETRY, once)).state is JobState.QUEUED
    await bench.run(bad)
    # The first answer was lost: without its key this would be a second retry.
    assert (await bench.jobs.act(bench.scope, job_id, Command.RETRY, once)).state is JobState.FAILED
    assert len(bad.done) == 2


async def test_an_item_knows_that_it_was_begun_before_whatever_counts_as_an_attempt(bench: Bench) -> None:
    async def once_more(item: JobItem, control: Control) -> Outcome:
        seen.append((item.attempts, item.begun_before))
        return Outcome(ItemState.FAILED, "empty")

    job_id, seen = await bench.make("a"), list[tuple[int, bool]]()
    handler = Handler({"a": once_more})
    await bench.run(handler)
    bench.clock.pass_(1)
    await bench.act(job_id, Command.RETRY)
    claim = await bench.runner(handler).claim(bench.scope.tenant_id)
    assert claim is not None
    await bench.desk.next(claim, bench.clock.now())
    await bench.desk.let_go(claim, bench.clock.now())
    await bench.run(handler)
    assert seen == [(1, False), (1, True)]


async def test_what_an_earlier_attempt_counted_is_taken_back_where_it_is_gone(bench: Bench) -> None:
    async def begun_anew(item: JobItem, control: Control) -> Outcome:
        if item.attempts == 1:
            await control.checkpoint(chunks=3, tokens=30)
            raise StoreUnavailable("for now")
        await control.checkpoint(chunks=-item.chunks, tokens=-item.tokens)
        await control.checkpoint(chunks=2, tokens=20)
        seen.append((await bench.job(job_id)).counters)
        return Outcome(ItemState.SUCCEEDED, chunks=4, tokens=40)

    job_id, seen = await bench.make("a"), list[Counters]()
    handler = Handler({"a": begun_anew})
    await bench.run(handler)
    assert (await bench.job(job_id)).counters.chunks == 3
    bench.clock.pass_(2)
    await bench.run(handler)
    seen.append((await bench.job(job_id)).counters)
    assert [(one.chunks, one.tokens) for one in seen] == [(2, 20), (4, 40)]


async def test_ten_thousand_items_and_no_more(bench: Bench) -> None:
    items = [NewItem(f"d{number}", {"text": "x" * 100, "n": number}) for number in range(MAX_ITEMS)]
    job = await bench.jobs.create(bench.scope, NewJob(KIND, {"publish": True}, items))
    assert (job.counters.items, job.payload) == (MAX_ITEMS, {"publish": True})
    page = await bench.jobs.items(bench.scope, job.job_id, after=MAX_ITEMS - 3, limit=10)
    assert [one.document_id for one in page] == [f"d{MAX_ITEMS - 2}", f"d{MAX_ITEMS - 1}"]
    with pytest.raises(InvalidRequest):
        await bench.jobs.create(bench.scope, NewJob(KIND, {}, [*items, items[0]]))
    claim = await bench.runner(Handler()).claim(bench.scope.tenant_id)
    assert claim is not None
    first = await bench.desk.next(claim, bench.clock.now())
    assert getattr(first, "source", None) == {"text": "x" * 100, "n": 0}
    await bench.act(job.job_id, Command.CANCEL)


async def test_a_job_is_there_also_when_nobody_could_be_told(bench: Bench) -> None:
    bench.courier.up = False
    job_id = await bench.make("a")
    assert await bench.run(Handler()) == 1
    assert (await bench.job(job_id)).state is JobState.SUCCEEDED


async def test_pages_of_jobs_and_their_filters(bench: Bench) -> None:
    kb_id = uuid4()
    made = [(await bench.jobs.create(bench.scope, replace(ONE, kb_id=kb_id if n else None))).job_id for n in range(3)]
    made.sort()
    pages = [await bench.jobs.page(bench.scope, limit=2), await bench.jobs.page(bench.scope, before=made[1], limit=2)]
    assert [[one.job_id for one in page] for page in pages] == [[made[2], made[1]], [made[0]]]
    assert len(await bench.jobs.page(bench.scope, kb_id=kb_id, limit=9)) == 2
    await bench.act(made[2], Command.PAUSE)
    found = await bench.jobs.page(bench.scope, state=JobState.PAUSED, limit=9)
    assert [one.job_id for one in found] == [made[2]]
    await bench.act(made[2], Command.CANCEL)
    (item,) = await bench.jobs.items(bench.scope, made[2], state=ItemState.CANCELLED, limit=9)
    assert (item.document_id, await bench.jobs.items(bench.scope, made[2], state=ItemState.QUEUED, limit=9)) == ("a", [])


async def test_a_confined_key_sees_the_jobs_of_its_spaces_only(bench: Bench) -> None:
    inside, outside, neither = await bench.make("a", space="in"), await bench.make("b", space="out"), await bench.make("c")
    async with bench.database.transaction(bench.scope) as connection:
        await connection.execute("UPDATE job_items SET dead = true, state = 'failed'")
    key = bench.confined("in")
    assert [one.job_id for one in await bench.jobs.page(key, limit=9)] == [inside]
    assert [one.item.job_id for one in await bench.jobs.dead_letters(key, limit=9)] == [inside]
    assert len(await bench.jobs.dead_letters(bench.scope, limit=9)) == 3
    for job_id in (outside, neither, uuid4()):
        with pytest.raises(NotFound):
            await bench.jobs.get(key, job_id)
        with pytest.raises(NotFound):
            await bench.jobs.items(key, job_id, limit=9)
        with pytest.raises(NotFound):
            await bench.jobs.replay(key, job_id)
        for command in Command:
            with pytest.raises(NotFound):
                await bench.jobs.act(key, job_id, command)
    for space in ("out", None):
        with pytest.raises(NotFound):
            await bench.jobs.create(key, replace(ONE, space=space))


async def test_another_tenant_sees_and_changes_nothing(bench: Bench, stack: Stack, database: Database) -> None:
    job_id = await bench.make("a")
    other = bench_of(database, new_tenant(stack), Clock(), Reminders())
    assert (await other.jobs.page(other.scope, limit=9), await other.run(Handler())) == ([], 0)
    with pytest.raises(NotFound):
        await other.jobs.act(other.scope, job_id, Command.CANCEL)
    assert await other.desk.waiting(other.scope.tenant_id, other.clock.now()) is None
    assert (await bench.job(job_id)).state is JobState.QUEUED


async def test_a_key_needs_the_action(bench: Bench) -> None:
    job_id = await bench.make("a")
    reader, writer = (replace(bench.scope, actions=frozenset({one})) for one in (Action.READ, Action.WRITE))
    with pytest.raises(Forbidden):
        await bench.jobs.create(reader, ONE)
    with pytest.raises(Forbidden):
        await bench.jobs.act(reader, job_id, Command.CANCEL)
    with pytest.raises(Forbidden):
        await bench.jobs.replay(reader, job_id)
    with pytest.raises(Forbidden):
        await bench.jobs.get(writer, job_id)


async def test_what_is_done_to_jobs_is_in_the_audit_log(bench: Bench) -> None:
    job_id = await bench.make("a", "b")
    for command in (Command.PAUSE, Command.PAUSE, Command.RESUME, Command.CANCEL):
        await bench.act(job_id, command)
    sql = "SELECT action, object_type, object_ids, detail FROM audit_log WHERE tenant_id = %(t)s ORDER BY audit_id"
    rows = await bench.database.read(bench.scope, sql, {"t": bench.scope.tenant_id})
    assert [row[0] for row in rows] == ["job.create", "job.pause", "job.resume", "job.cancel"]
    assert rows[0][1:] == ("job", [job_id], {"kind": KIND, "items": 2})


class OneTenant:
    def __init__(self, *tenants: UUID) -> None:
        self._tenants = sorted(tenants)

    async def tenants(self, after: UUID | None, limit: int) -> list[UUID]:
        return [one for one in self._tenants if after is None or one > after][:limit]


async def test_the_sweeper_reminds_of_what_nobody_holds(bench: Bench) -> None:
    sweeper = Sweeper(bench.desk, OneTenant(bench.scope.tenant_id), bench.courier, bench.clock, retention=timedelta(days=1))
    assert await sweeper.run() == 0
    jobs = [await bench.make("a"), await bench.make("b")]
    bench.courier.sent.clear()  # the queue was flushed
    assert (await sweeper.run(), bench.courier.sent) == (1, [(jobs[0], 0.0)])
    runner = bench.runner(Handler())
    assert await runner.claim(bench.scope.tenant_id)
    assert await runner.claim(bench.scope.tenant_id)
    assert await sweeper.run() == 0  # they are held
    bench.clock.pass_(29)
    assert await sweeper.run() == 0
    bench.clock.pass_(2)
    assert await sweeper.run() == 1  # their workers died
    await bench.run(Handler())
    assert await sweeper.run() == 0


async def test_jobs_that_ended_are_forgotten_in_time(bench: Bench) -> None:
    old, other = [await bench.make("a") for _ in range(25)], await bench.make("b")
    await bench.act(other, Command.PAUSE)
    await bench.run(Handler())
    bench.clock.pass_(86_400 + 1)
    recent = await bench.make("c")
    await bench.run(Handler())
    sweeper = Sweeper(bench.desk, OneTenant(bench.scope.tenant_id), bench.courier, bench.clock, retention=timedelta(days=1))
    await sweeper.run()
    assert {one.job_id for one in await bench.jobs.page(bench.scope, limit=99)} == {other, recent}
    with pytest.raises(NotFound):
        await bench.job(old[0])


@given(st.integers(1, 200), st.floats(0, 0.999), st.floats(0, 1_000))
def test_waits_grow_up_to_a_cap_and_never_come_before_what_was_asked(attempt: int, chance: float, asked: float) -> None:
    retries = Retries(8, base_s=2, factor=3, cap_s=300, chance=lambda: chance)
    full = min(300.0, 2 * 3.0 ** min(attempt - 1, 60))
    wait = retries.wait_s(attempt, at_least_s=asked)
    assert max(asked, full / 2) <= wait <= max(asked, full)


def test_a_store_that_is_away_for_half_an_hour_makes_no_dead_letters() -> None:
    attempts: int = Settings.model_fields["jobs_attempts"].default
    retries = Retries(attempts, chance=lambda: 0.0)
    assert sum(retries.wait_s(one) for one in range(1, attempts)) > 1800


_S, _C = JobState, Command
ALLOWED = {
    (_S.QUEUED, _C.PAUSE): _S.PAUSED,
    (_S.RUNNING, _C.PAUSE): _S.PAUSED,
    (_S.QUEUED, _C.CANCEL): _S.CANCELLED,
    (_S.RUNNING, _C.CANCEL): _S.CANCELLED,
    (_S.PAUSED, _C.CANCEL): _S.CANCELLED,
    (_S.PAUSED, _C.RESUME): _S.QUEUED,
    (_S.PARTIAL, _C.RETRY): _S.QUEUED,
    (_S.FAILED, _C.RETRY): _S.QUEUED,
}
SO_ALREADY = {(_S.PAUSED, _C.PAUSE), (_S.CANCELLED, _C.CANCEL), (_S.QUEUED, _C.RESUME), (_S.RUNNING, _C.RESUME)}


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("command", Command)
def test_commands_by_state(state: JobState, command: Command) -> None:
    if (state, command) in ALLOWED:
        change = decide(state, None, command, held=False)
        assert change is not None
        assert change.state is ALLOWED[state, command]
    elif (state, command) in SO_ALREADY:
        assert decide(state, None, command, held=False) is None
    else:
        with pytest.raises(WrongState):
            decide(state, None, command, held=False)


def test_a_held_job_is_asked_and_a_cancel_is_not_taken_back() -> None:
    for command, wish in ((_C.PAUSE, Wish.PAUSE), (_C.CANCEL, Wish.CANCEL)):
        change = decide(_S.RUNNING, None, command, held=True)
        assert change is not None
        assert (change.state, change.wish, change.drop) == (_S.RUNNING, wish, False)
    change = decide(_S.RUNNING, Wish.PAUSE, _C.CANCEL, held=True)
    assert change is not None
    assert change.wish is Wish.CANCEL
    for command in (_C.PAUSE, _C.RESUME):
        with pytest.raises(WrongState, match="being cancelled"):
            decide(_S.RUNNING, Wish.CANCEL, command, held=True)
