"""Redis servers that are gone, hang, or are in no state to answer: named as that, and nothing else is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from redis.exceptions import ResponseError

from memoryd.errors import StoreUnavailable, WorkingMemoryUnavailable
from memoryd.sessions.ports import Target
from memoryd.stores.redis import Redis
from memoryd.stores.redis_erasure import RedisEraser
from tests.sessions.conftest import Clock, Working, build, tenant


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
