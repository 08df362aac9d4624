"""Redis servers that are gone, hang, or are in no state to answer: named as that, and nothing else is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from redis.exceptions import ResponseError

from memoryd.errors import StoreUnavailable, WorkingMemoryUnavailable
from memoryd.sessions.model import AutoCommit, Expected
from memoryd.sessions.ports import Target
from memoryd.sessions.snapshots import Reason
from memoryd.stores.redis import Redis
from memoryd.stores.redis_erasure import RedisEraser
from retrieval.packing import DEFAULT_TOKENIZER
from tests.sessions.conftest import LIMITS, Clock, Working, build, tenant
from tests.sessions.whole import Whole, folder


async def test_a_server_that_is_gone_is_named_within_the_timeout() -> None:
    gone = Redis("redis://127.0.0.1:1/0", timeout_s=0.5)
    alone = build(gone, Clock(), tenant())
    try:
        async with asyncio.timeout(3):
            with pytest.raises(WorkingMemoryUnavailable) as error:
                await alone.say("s", "a")
    finally:
        await gone.close()
    assert error.value.retry_after_s


async def test_a_server_that_lacks_replicas_refuses_writes_for_the_moment(working: Working) -> None:
    await working.say("s", "a")
    working.clock.pass_(1_800)
    await working.redis.command("CONFIG", "SET", "min-replicas-to-write", 1)
    try:
        with pytest.raises(WorkingMemoryUnavailable):
            await working.say("s", "b")
        with pytest.raises(WorkingMemoryUnavailable):
            await working.sessions.read(working.scope, "s")  # it would renew the session
    finally:
        await working.redis.command("CONFIG", "SET", "min-replicas-to-write", 0)
    assert await working.said("s") == ["a"]


@asynccontextmanager
async def full(redis: Redis) -> AsyncIterator[None]:
    """A server that has no memory left."""
    await redis.command("CONFIG", "SET", "maxmemory", 1)
    try:
        yield
    finally:
        await redis.command("CONFIG", "SET", "maxmemory", 0)


async def test_what_expires_leaves_a_server_whose_memory_is_full(redis: Redis, tmp_path: Path) -> None:
    whole = Whole(redis, tenant(), folder(tmp_path))
    for name in ("plain", "committed"):
        await whole.say(name, "a")
    await whole.sessions.configure(whole.scope, "committed", ttl_s=None, auto=AutoCommit.EXPIRY, clear=False, once=None)
    whole.clock.pass_(LIMITS.ttl_s + 1)
    async with full(redis):
        with pytest.raises(WorkingMemoryUnavailable):
            await whole.say("other", "a")
        report = await whole.rounds.run()
        assert (report.expired, report.committed, report.failed) == (2, 1, 0)
        assert not await whole.life.present(whole.scope, ["plain", "committed"])
    assert await whole.said("plain") == ["a"]


async def test_a_server_whose_memory_is_full_is_read_and_renews(redis: Redis, tmp_path: Path) -> None:
    whole = Whole(redis, tenant(), folder(tmp_path))
    await whole.say("s", "a")
    await whole.sessions.put_state(whole.scope, "s", "k", 1, Expected(), None)
    whole.clock.pass_(LIMITS.ttl_s - 1)
    async with full(redis):
        assert await whole.said("s") == ["a"]
        whole.clock.pass_(LIMITS.ttl_s - 1)
        assert len(await whole.sessions.state(whole.scope, "s")) == 1
        assert (await whole.windows(whole.scope, "s", budget=100, tokenizer=DEFAULT_TOKENIZER)).messages
        report = await whole.rounds.run()
        assert (report.expired, report.snapshots, report.failed) == (0, 1, 0)
        await whole.lifecycle.delete(whole.scope, "s")


async def test_nothing_is_read_back_into_a_server_whose_memory_is_full(redis: Redis, tmp_path: Path) -> None:
    whole = Whole(redis, tenant(), folder(tmp_path))
    await whole.say("s", "a")
    await whole.snapshots.take(whole.scope, "s", Reason.REQUEST)
    await whole.lose_redis()
    async with full(redis):
        with pytest.raises(WorkingMemoryUnavailable):
            await whole.said("s")
        assert not await whole.life.present(whole.scope, ["s"])
    assert await whole.said("s") == ["a"]


async def test_what_cannot_be_done_while_memory_is_full_goes_behind_the_others(redis: Redis) -> None:
    whole = Whole(redis, tenant(), None)
    await whole.say("s", "a")
    whole.clock.pass_(LIMITS.ttl_s + 1)
    async with full(redis):
        assert (await whole.rounds.tend()).stuck == 1
        assert not await whole.life.waiting(whole.scope, "due", whole.clock.now(), 1)


@asynccontextmanager
async def answering(error: str) -> AsyncIterator[Redis]:
    """A server that answers every command so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                for _ in range(int((await reader.readuntil())[1:])):
                    await reader.readexactly(int((await reader.readuntil())[1:]) + 2)
                writer.write(f"-{error}\r\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    redis = Redis(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", timeout_s=2)
    try:
        yield redis
    finally:
        await redis.close()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    "error",
    [
        "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk.",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "CLUSTERDOWN The cluster is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "MOVED 866 127.0.0.1:7001",
        "LOADING Valkey is loading the dataset in memory",
        "READONLY You can't write against a read only replica.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "ERR Error running script (call to f_a): @user_script:3: @user_script: 3: -NOREPLICAS Not enough good replicas to write.",
    ],
)
async def test_a_server_in_trouble_is_named_and_nothing_else_is(error: str) -> None:
    async with answering(error) as troubled:
        alone = build(troubled, Clock(), tenant())
        for call in (
            alone.say("s", "a"),
            alone.life.image(alone.scope, Target("s", alone.clock.now())),
            alone.life.page(alone.scope, user_id=None, agent_id=None, cursor=None, limit=1),
            alone.life.waiting(alone.scope, "due", alone.clock.now(), 1),
            RedisEraser(troubled).erase(alone.scope.tenant_id),
        ):
            with pytest.raises(WorkingMemoryUnavailable):
                await call
        with pytest.raises(StoreUnavailable):
            await troubled.ping()


async def test_a_bug_of_ours_is_not_called_trouble_of_the_server() -> None:
    async with answering("WRONGTYPE Operation against a key holding the wrong kind of value") as server:
        alone = build(server, Clock(), tenant())
        with pytest.raises(ResponseError):
            await alone.say("s", "a")
        with pytest.raises(ResponseError) as error:
            await alone.life.image(alone.scope, Target("s", alone.clock.now()))
    assert "HGETALL" not in str(error.value)  # what was sent is nobody's business


async def test_a_server_that_does_not_answer_is_given_up_on() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    silent = Redis(f"redis://127.0.0.1:{port}/0", timeout_s=0.3)
    try:
        async with asyncio.timeout(3):
            with pytest.raises(WorkingMemoryUnavailable):
                await build(silent, Clock(), tenant()).say("s", "a")
    finally:
        await silent.close()
        server.close()
        await server.wait_closed()


async def test_scripts_that_the_server_forgot_are_sent_again(working: Working) -> None:
    await working.say("s", "a")
    await working.redis.command("SCRIPT", "FLUSH")
    await working.say("s", "b")
    assert await working.said("s") == ["a", "b"]
