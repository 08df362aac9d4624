"""Session use cases on a real Valkey, without a model or PostgreSQL, and with a clock that tests move."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from memoryd.sessions.model import Birth, Limits, NewMessage
from memoryd.sessions.working import Finder, Recover, Sessions
from memoryd.stores.redis import Redis
from memoryd.stores.sessions.checkpoints import RedisCheckpoints
from memoryd.stores.sessions.effects import RedisEffects
from memoryd.stores.sessions.life import RedisLife
from memoryd.stores.sessions.messages import RedisMessages
from memoryd.stores.sessions.scripts import Scripts
from memoryd.stores.sessions.state import RedisState
from retrieval.scope import Action, Scope
from tests.stack import Stack

LIMITS = Limits(
    message_bytes=1_000, messages=2_000, session_bytes=200_000, value_bytes=1_000, state_bytes=2_000, checkpoints=5, ttl_s=3_600
)


@dataclass
class Clock:
    at: datetime = field(default_factory=lambda: datetime(2026, 5, 1, 12, tzinfo=UTC))

    def now(self) -> datetime:
        return self.at

    def pass_(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Working:
    """The use cases with what they stand on."""

    sessions: Sessions
    life: RedisLife
    redis: Redis
    scripts: Scripts
    clock: Clock
    scope: Scope

    async def say(self, session_id: str, *texts: str) -> list[int]:
        """Positions of new messages with these payloads."""
        messages = [NewMessage(None, None, False, f'{{"role":"user","content":"{text}"}}') for text in texts]
        done = await self.sessions.append(self.scope, session_id, messages, Birth(), None)
        return [one.position for one in done.placed]

    async def said(self, session_id: str) -> list[str]:
        page = await self.sessions.read(self.scope, session_id, limit=200)
        return [str(one.payload["content"]) for one in page.messages]


def message(text: str, *, client_id: str | None = None, agent_id: str | None = None, pinned: bool = False) -> NewMessage:
    return NewMessage(client_id, agent_id, pinned, f'{{"role":"user","content":"{text}"}}')


def tenant(*, spaces: frozenset[str] | None = None, tenant_id: UUID | None = None) -> Scope:
    return Scope(tenant_id or uuid4(), "tester", frozenset(Action), spaces)


async def good() -> None:
    """A listener's key, asked for again."""


async def no_snapshot(scope: Scope, session_id: str) -> bool:
    return False


def build(redis: Redis, clock: Clock, scope: Scope, limits: Limits = LIMITS, *, recover: Recover | None = None) -> Working:
    scripts = Scripts(redis, ttl_s=limits.ttl_s)
    sessions = Sessions(
        Finder(recover or no_snapshot, clock),
        RedisMessages(scripts, limits),
        RedisState(scripts, limits),
        RedisEffects(scripts, limits),
        RedisCheckpoints(scripts, limits),
        limits,
    )
    return Working(sessions, RedisLife(scripts), redis, scripts, clock, scope)


@asynccontextmanager
async def evicting(redis: Redis, policy: str) -> AsyncIterator[None]:
    """With far more memory than the tests take."""
    await redis.command("CONFIG", "SET", "maxmemory-policy", policy)
    await redis.command("CONFIG", "SET", "maxmemory", 2**34)
    try:
        yield
    finally:
        await redis.command("CONFIG", "SET", "maxmemory", 0)
        await redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")


@pytest.fixture(scope="session")
async def redis(stack: Stack) -> AsyncIterator[Redis]:
    client = Redis(stack.redis_url, timeout_s=5)
    yield client
    await client.close()


@pytest.fixture
def working(redis: Redis) -> Working:
    return build(redis, Clock(), tenant())
