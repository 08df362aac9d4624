"""Commands of many callers in few round trips, against a real Valkey and against servers that misbehave."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from redis import exceptions
from redis.asyncio.connection import parse_url

from memoryd.errors import WorkingMemoryUnavailable
from memoryd.stores import redis_trips
from memoryd.stores.redis import Redis, Script
from memoryd.stores.redis_trips import Argument, Trips
from tests.stack import Stack

ECHO = "return ARGV[1]"


async def call(trips: Trips, *command: Argument) -> object:
    """The answer to one command."""
    return await trips.ask(command)


@pytest.fixture
async def trips(stack: Stack) -> AsyncIterator[Trips]:
    made = Trips({**parse_url(stack.redis_url), "timeout": 5}, timeout_s=5)
    yield made
    await made.close()


async def test_each_caller_gets_its_own_answer_and_all_share_two_connections(trips: Trips) -> None:
    name = f"trips-{uuid4().hex}"
    for _ in range(2):
        await asyncio.gather(*(call(trips, "CLIENT", "SETNAME", name) for _ in range(200)))
    answers = await asyncio.gather(*(call(trips, "EVAL", ECHO, 0, f"é{number}") for number in range(1_000)))
    assert answers == [f"é{number}".encode() for number in range(1_000)]
    clients = await call(trips, "CLIENT", "LIST")
    assert isinstance(clients, bytes)
    assert 1 <= clients.count(f"name={name} ".encode()) <= 2


async def test_an_error_is_that_callers_alone(trips: Trips) -> None:
    calls = [call(trips, "EVAL", ECHO if number % 3 else "return redis.error_reply('no')", 0, number) for number in range(30)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for number, answer in enumerate(answers):
        assert answer == str(number).encode() if number % 3 else isinstance(answer, exceptions.ResponseError)


async def test_who_gives_up_disturbs_nobody(trips: Trips) -> None:
    slow = "local n = 0 for i = 1, 3000000 do n = n + i end return ARGV[1]"
    given_up = [asyncio.create_task(call(trips, "EVAL", slow, 0, "x")) for _ in range(4)]
    await asyncio.sleep(0.005)
    rest = [asyncio.create_task(call(trips, "EVAL", ECHO, 0, number)) for number in range(100)]
    late = [asyncio.create_task(call(trips, "EVAL", ECHO, 0, "late")) for _ in range(50)]
    await asyncio.sleep(0)
    for task in (*given_up, *late):
        task.cancel()
    assert await asyncio.gather(*rest) == [str(number).encode() for number in range(100)]
    ended = await asyncio.gather(*given_up, *late, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended)
    assert await call(trips, "EVAL", ECHO, 0, "after") == b"after"


async def test_large_commands_and_answers_come_whole(trips: Trips) -> None:
    texts = [letter * 700_000 for letter in "abcdef"]
    assert await asyncio.gather(*(call(trips, "EVAL", ECHO, 0, text) for text in texts)) == [text.encode() for text in texts]


async def test_what_cannot_be_packed_is_refused_before_it_is_sent(trips: Trips) -> None:
    with pytest.raises(UnicodeEncodeError):
        await call(trips, "EVAL", ECHO, 0, "\ud800")
    assert await call(trips, "EVAL", ECHO, 0, "fine") == b"fine"


async def test_a_lost_connection_fails_its_calls_and_the_next_trip_has_a_new_one() -> None:
    met = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        first = met == 1
        while data := await reader.read(65_536):
            for _ in range(data.count(b"ECHO")):
                writer.write(b"+OK\r\n")
                if first:  # one answer, then nothing ever
                    writer.close()
                    return
            if b"CLIENT" in data:
                writer.write(b"+OK\r\n" * data.count(b"CLIENT"))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    trips = Trips({"host": "127.0.0.1", "port": port, "timeout": 5, "lib_name": None, "lib_version": None}, timeout_s=5)
    async with server:
        answers = await asyncio.gather(*(call(trips, "ECHO", number) for number in range(5)), return_exceptions=True)
        assert answers[0] == b"OK"
        assert all(isinstance(answer, exceptions.ConnectionError) for answer in answers[1:])
        assert await call(trips, "ECHO", 6) == b"OK"
        await trips.close()


async def test_a_server_that_hangs_is_not_waited_for() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    options = {
        "host": "127.0.0.1",
        "port": server.sockets[0].getsockname()[1],
        "timeout": 5,
        "lib_name": None,
        "lib_version": None,
    }
    trips = Trips(options, timeout_s=0.2)
    async with server:
        answers = await asyncio.gather(*(call(trips, "ECHO", number) for number in range(3)), return_exceptions=True)
        assert all(isinstance(answer, TimeoutError) for answer in answers)
        await trips.close()


@pytest.mark.parametrize("sure_s", [0.0, 60.0])
async def test_a_connection_that_the_server_closed_while_it_was_idle_fails_nobody(
    trips: Trips, stack: Stack, monkeypatch: pytest.MonkeyPatch, sure_s: float
) -> None:
    own = await call(trips, "CLIENT", "ID")
    assert isinstance(own, int)
    other = Trips({**parse_url(stack.redis_url), "timeout": 5}, timeout_s=5)
    monkeypatch.setattr(redis_trips, "_SURE_S", sure_s)
    assert await call(other, "CLIENT", "KILL", "ID", own) == 1
    await other.close()
    await asyncio.sleep(0.05)
    assert await call(trips, "EVAL", ECHO, 0, "after") == b"after"


async def test_who_waits_is_refused_when_the_connections_close() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    trips = Trips({"host": "127.0.0.1", "port": port, "timeout": 5, "lib_name": None, "lib_version": None}, timeout_s=60)
    async with server:
        calls = [asyncio.create_task(call(trips, "ECHO", number)) for number in range(200)]
        await asyncio.sleep(0.05)
        await trips.close()
        async with asyncio.timeout(5):
            answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, exceptions.ConnectionError) for answer in answers)


async def test_a_young_call_does_not_fail_with_the_old_one_of_its_trip() -> None:
    clock = asyncio.get_running_loop().time
    began = clock()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(b"+OK\r\n" * data.count(b"CLIENT") + b"+PONG\r\n" * data.count(b"PING"))
            if scripts := data.count(b"EVALSHA"):
                await asyncio.sleep(max(0.0, began + 1.5 - clock()))
                writer.write(b":1\r\n" * scripts)
        writer.close()

    async def asked(redis: Redis, after_s: float) -> object:
        await asyncio.sleep(after_s)
        return await redis.run(Script.of("one", "return 1"), ["k"], [])

    server = await asyncio.start_server(stall, "127.0.0.1", 0)
    redis = Redis(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=1)
    async with server:
        # Two trips are under way when the third and the fourth come, which go together when those have failed.
        calls = [asked(redis, after_s) for after_s in (0, 0.02, 0.05, 0.9)]
        *old, young = await asyncio.gather(*calls, return_exceptions=True)
        await redis.close()
    assert all(isinstance(one, WorkingMemoryUnavailable) for one in old)
    assert young == [1]
