"""Sessions on a real cluster of three servers: every slot reached, slots that move, a server that dies."""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner
from redis.crc import key_slot

from memoryd.cli.main import cli
from memoryd.embedded import programs
from memoryd.embedded.ports import Ports
from memoryd.errors import NotFound, StoreUnavailable, WorkingMemoryUnavailable
from memoryd.sessions.events import EventKind, Events
from memoryd.sessions.model import Birth, CheckpointWish
from memoryd.sessions.ports import Target
from memoryd.sessions.working import Finder
from memoryd.stores.redis import Redis
from memoryd.stores.redis_cluster import is_cluster
from memoryd.stores.redis_erasure import RedisEraser
from memoryd.stores.sessions.messages import RedisMessages
from memoryd.stores.sessions.progress import RedisProgress
from memoryd.stores.sessions.waiter import RedisWaiter
from tests.sessions.conftest import LIMITS, Clock, Working, build, good, no_snapshot, tenant
from tests.sessions.whole import Whole, folder
from tests.stack import Stack

_SLOTS = 16_384


@dataclass
class Node:
    """One server, a plain connection to it, and the slots it begins with."""

    port: int
    process: subprocess.Popen[bytes]
    redis: Redis
    slots: range
    name: str = ""

    async def says(self, *command: str | int) -> str:
        answer = await self.redis.command(*command)
        return answer.decode() if isinstance(answer, bytes) else str(answer)

    async def comes_to(self, word: str, *command: str) -> None:
        """Wait until it answers with this in it."""
        async with asyncio.timeout(30):
            while True:
                try:
                    if word in await self.says(*command):
                        return
                except WorkingMemoryUnavailable:
                    pass
                await asyncio.sleep(0.05)


def slot(tenant_id: UUID) -> int:
    return key_slot(str(tenant_id).encode())


def tenant_on(node: Node) -> UUID:
    return next(one for one in iter(uuid4, None) if slot(one) in node.slots)


def url(*nodes: Node) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes)


def started(program: Path, home: Path, port: int, bus: int) -> subprocess.Popen[bytes]:
    home.mkdir()
    options = {
        "bind": "127.0.0.1", "port": port, "cluster-port": bus, "cluster-enabled": "yes", "cluster-node-timeout": 2000,
        "cluster-require-full-coverage": "no", "dir": home, "save": "", "logfile": "log",
    }  # fmt: skip
    return subprocess.Popen([str(program), *(word for name, value in options.items() for word in (f"--{name}", str(value)))])


@pytest.fixture
async def nodes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Node]]:
    folder = tmp_path_factory.mktemp("cluster")
    program, ports = programs.valkey_server(folder, None), Ports(folder / "ports.json")
    made: list[Node] = []
    with ExitStack() as stack:
        for number in range(3):
            port, bus = ports.pick(f"{number}"), ports.pick(f"bus {number}")
            process = started(program, folder / f"{number}", port, bus)
            stack.callback(process.wait)
            stack.callback(process.kill)
            slots = range(_SLOTS * number // 3, _SLOTS * (number + 1) // 3)
            node = Node(port, process, Redis(f"redis://127.0.0.1:{port}", timeout_s=2), slots)
            made.append(node)
            await node.comes_to("PONG", "PING")
            await node.says("CLUSTER", "ADDSLOTSRANGE", slots[0], slots[-1])
            await node.says("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for other in made[:-1]:
                await other.says("CLUSTER", "MEET", "127.0.0.1", port, bus)
            node.name = await node.says("CLUSTER", "MYID")
        for node in made:
            await node.comes_to(f"cluster_slots_ok:{_SLOTS}", "CLUSTER", "INFO")
            await node.comes_to("cluster_state:ok", "CLUSTER", "INFO")
        yield made
        for node in made:
            await node.redis.close()


@pytest.fixture
async def cluster(nodes: list[Node]) -> AsyncIterator[Redis]:
    """Told of one server, it finds the others."""
    client = Redis(url(nodes[1]), timeout_s=2)
    yield client
    await client.close()


async def test_sessions_of_many_tenants_on_all_servers(nodes: list[Node], cluster: Redis) -> None:
    scopes = [tenant(tenant_id=tenant_on(node)) for node in nodes for _ in range(3)]
    for scope in scopes:
        working = build(cluster, Clock(), scope)
        assert await working.say("s", "a", "b") == [1, 2]
        point = await working.sessions.checkpoint(scope, "s", CheckpointWish(None, None, {}), None)
        await working.say("s", "c")
        await working.sessions.restore(scope, "s", point.checkpoint_id, None)
        assert await working.said("s") == ["a", "b"]
        image = await working.life.image(scope, Target("s", working.clock.now()))
        assert len(next(part.values for part in image.parts if part.name == "messages")) == 6
        page = await working.life.page(scope, user_id=None, agent_id=None, cursor=None, limit=5)
        assert [one.session_id for one in page.sessions] == ["s"]
        assert await working.life.waiting(scope, "dirty", working.clock.now(), 5) == ["s"]
    for node in nodes:
        await node.says("SCRIPT", "FLUSH")
    for scope in scopes:
        assert await build(cluster, Clock(), scope).say("s", "d") == [4]
    assert (await cluster.ping()).endswith("a cluster of 3")
    assert "0" not in [await node.says("DBSIZE") for node in nodes]
    for scope in scopes:
        await RedisEraser(cluster).erase(scope.tenant_id)
        with pytest.raises(NotFound):
            await build(cluster, Clock(), scope).said("s")
    assert [await node.says("DBSIZE") for node in nodes] == ["0", "0", "0"]


async def test_a_session_expires_and_comes_back(nodes: list[Node], cluster: Redis, tmp_path: Path) -> None:
    for node in nodes:
        whole = Whole(cluster, tenant(tenant_id=tenant_on(node)), folder(tmp_path))
        await whole.say("s", *(f"A sentence of some length, number {n}." for n in range(10)), birth=Birth(user_id="u"))
        report = await whole.rounds.run()
        assert (report.summarised, report.failed) == (1, 0)
        whole.clock.pass_(LIMITS.ttl_s + 1)
        report = await whole.rounds.run()
        assert (report.expired, report.failed) == (1, 0)
        assert await node.says("DBSIZE") == "0"
        assert len(await whole.said("s")) == 10


async def test_a_stream_waits_at_the_server_that_has_the_session(nodes: list[Node], cluster: Redis) -> None:
    for node in nodes:
        working = build(cluster, Clock(), tenant(tenant_id=tenant_on(node)))
        await working.say("s", "a")
        messages = RedisMessages(working.scripts, LIMITS)
        finder, waiter = Finder(no_snapshot, working.clock), RedisWaiter(cluster)
        events = Events(finder, messages, waiter, working.clock, streams=4, heartbeat_s=1.5, lifetime_s=5)
        stream = await events.open(working.scope, "s", None, good)
        assert (await anext(stream)).kind is EventKind.BEGIN

        async def soon(working: Working = working) -> None:
            await asyncio.sleep(0.2)
            await working.say("s", "b")

        _, event = await asyncio.gather(soon(), anext(stream))
        assert event.kind is EventKind.MESSAGE, "a wait at another server would end with a heartbeat"


async def test_calls_follow_a_slot_that_moves(nodes: list[Node], cluster: Redis) -> None:
    source, target, _ = nodes
    other = tenant(tenant_id=tenant_on(source))
    await build(cluster, Clock(), other).say("s", "stays")
    moving = tenant(tenant_id=tenant_on(source))
    working = build(cluster, Clock(), moving)
    number = slot(moving.tenant_id)
    await target.says("CLUSTER", "SETSLOT", number, "IMPORTING", source.name)
    await source.says("CLUSTER", "SETSLOT", number, "MIGRATING", target.name)
    for call in (
        working.say("s", "a"),
        RedisProgress(working.scripts).summary(moving, Target("s", working.clock.now())),
        working.life.image(moving, Target("s", working.clock.now())),
    ):
        with pytest.raises(WorkingMemoryUnavailable):
            await call
    for node in (target, source):
        await node.says("CLUSTER", "SETSLOT", number, "NODE", target.name)
    assert await working.say("s", "a", "b") == [1, 2]
    image = await working.life.image(moving, Target("s", working.clock.now()))
    assert image.session.head == 2
    assert await build(cluster, Clock(), other).said("s") == ["stays"]
    # One that still has the old map, and one that is made now.
    assert await working.said("s") == ["a", "b"]
    fresh = Redis(url(source), timeout_s=2)
    try:
        assert await build(fresh, Clock(), moving).said("s") == ["a", "b"]
    finally:
        await fresh.close()


async def test_a_server_that_dies_takes_no_other_with_it(nodes: list[Node]) -> None:
    dead, *alive = nodes
    cluster = Redis(url(*nodes), timeout_s=2)
    try:
        working = [build(cluster, Clock(), tenant(tenant_id=tenant_on(node))) for node in nodes]
        for one in working:
            await one.say("s", "a")
        dead.process.kill()
        dead.process.wait()
        lost, *kept = working
        until = time.monotonic() + 5  # longer than the cluster needs to notice
        while time.monotonic() < until:
            with pytest.raises(WorkingMemoryUnavailable):
                async with asyncio.timeout(4):
                    await lost.say("s", "b")
            for one in kept:
                assert await one.said("s") == ["a"]
            await asyncio.sleep(0.2)
        for node in alive:
            node.process.kill()
            node.process.wait()
        with pytest.raises(StoreUnavailable):
            async with asyncio.timeout(4):
                await cluster.ping()
    finally:
        await cluster.close()


async def test_a_replica_takes_over(nodes: list[Node], tmp_path: Path) -> None:
    lost = nodes[0]
    ports = Ports(tmp_path / "ports.json")
    port, bus = ports.pick("replica"), ports.pick("bus")
    process = started(programs.valkey_server(tmp_path, None), tmp_path / "replica", port, bus)
    replica = Node(port, process, Redis(f"redis://127.0.0.1:{port}", timeout_s=2), lost.slots)
    cluster = Redis(url(*nodes), timeout_s=2)
    working = build(cluster, Clock(), tenant(tenant_id=tenant_on(lost)))
    try:
        await replica.comes_to("PONG", "PING")
        await nodes[1].says("CLUSTER", "MEET", "127.0.0.1", port, bus)
        await replica.comes_to(lost.name, "CLUSTER", "NODES")
        await replica.says("CLUSTER", "REPLICATE", lost.name)
        await replica.comes_to("master_link_status:up", "INFO", "replication")
        await working.say("s", "a")
        await replica.comes_to(await lost.says("DBSIZE"), "DBSIZE")
        lost.process.kill()
        lost.process.wait()
        async with asyncio.timeout(30):
            while True:
                try:
                    await working.say("s", "b")
                    break
                except WorkingMemoryUnavailable:
                    await asyncio.sleep(0.1)
        assert await working.said("s") == ["a", "b"]
    finally:
        await cluster.close()
        await replica.redis.close()
        process.kill()
        process.wait()


async def test_a_server_that_hangs_is_given_up_on(nodes: list[Node]) -> None:
    hanging = nodes[0]
    cluster = Redis(url(*nodes), timeout_s=0.5)
    lost, *kept = [build(cluster, Clock(), tenant(tenant_id=tenant_on(node))) for node in nodes]
    try:
        for one in (lost, *kept):
            await one.say("s", "a")
        hanging.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(WorkingMemoryUnavailable):
            await lost.say("s", "b")
        assert time.monotonic() - began < 5
        assert await kept[0].said("s") == ["a"]
        hanging.process.send_signal(signal.SIGCONT)
        assert "a" in await lost.said("s")
    finally:
        await cluster.close()


async def test_a_server_that_is_no_cluster_is_named(stack: Stack) -> None:
    client = Redis(stack.redis_url.replace("redis://", "redis+cluster://"), timeout_s=1)
    try:
        with pytest.raises(StoreUnavailable):
            await client.ping()
    finally:
        await client.close()


def test_the_worker_needs_a_queue_that_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMORYD_REDIS_URL", "redis+cluster://127.0.0.1:1")
    done = CliRunner().invoke(cli, ["worker"])
    assert done.exit_code == 1
    assert "MEMORYD_JOBS_REDIS_URL" in done.output


def test_urls() -> None:
    assert [is_cluster(one) for one in ("redis://h", "redis+cluster://h", "rediss+cluster://h:1,i:2")] == [False, True, True]
    with pytest.raises(ValueError, match="databases"):
        Redis("redis+cluster://h:7000/3", timeout_s=1)
