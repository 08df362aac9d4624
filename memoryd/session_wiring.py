"""The part of the composition root that builds working memory, for the API and for the worker."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from memoryd.errors import WorkingMemoryUnavailable
from memoryd.memory.ports import Clock
from memoryd.memory.remember import Remember
from memoryd.sessions.commit import Commit
from memoryd.sessions.events import Events
from memoryd.sessions.lifecycle import Lifecycle
from memoryd.sessions.model import Limits
from memoryd.sessions.repeats import Repeats
from memoryd.sessions.rounds import SessionRounds
from memoryd.sessions.services import SessionServices
from memoryd.sessions.snapshots import Snapshots
from memoryd.sessions.summary import Summaries
from memoryd.sessions.window import Windows
from memoryd.sessions.working import Finder, Sessions
from memoryd.sessions.worklists import Tenants
from memoryd.settings import Settings
from memoryd.stores.chat import ChatSummaryWriter
from memoryd.stores.database import Database
from memoryd.stores.objects import ObstoreObjects
from memoryd.stores.redis import Redis
from memoryd.stores.sessions.checkpoints import RedisCheckpoints
from memoryd.stores.sessions.effects import RedisEffects
from memoryd.stores.sessions.life import RedisLife
from memoryd.stores.sessions.messages import RedisMessages
from memoryd.stores.sessions.progress import RedisProgress
from memoryd.stores.sessions.records import PgSessionRecords
from memoryd.stores.sessions.scripts import Scripts
from memoryd.stores.sessions.state import RedisState
from memoryd.stores.sessions.waiter import RedisWaiter
from retrieval.packing import TokenizerRegistry
from retrieval.ports import Embedder

log = logging.getLogger(__name__)

_HEARTBEAT_S = 15.0
# A stream ends before the request's own time limit would cut it off.
_STREAM_SHARE = 0.8


def limits(settings: Settings) -> Limits:
    """What a session may hold."""
    return Limits(
        message_bytes=settings.session_max_message_bytes,
        messages=settings.session_max_messages,
        session_bytes=settings.session_max_bytes,
        value_bytes=settings.session_max_value_bytes,
        state_bytes=settings.session_max_state_bytes,
        checkpoints=settings.session_checkpoints,
        ttl_s=settings.session_ttl_s,
    )


def objects(settings: Settings) -> ObstoreObjects | None:
    """The object store, where one is configured."""
    where = settings.object_store
    return ObstoreObjects(where, timeout_s=settings.object_store_timeout_s) if where else None


@dataclass(frozen=True, slots=True)
class _Base:
    """What API and worker share."""

    scripts: Scripts
    messages: RedisMessages
    life: RedisLife
    progress: RedisProgress
    records: PgSessionRecords
    snapshots: Snapshots
    finder: Finder


def _base(settings: Settings, db: Database, redis: Redis, clock: Clock) -> _Base:
    some = limits(settings)
    scripts = Scripts(redis, ttl_s=some.ttl_s)
    life, records = RedisLife(scripts), PgSessionRecords(db)
    snapshots = Snapshots(life, records, objects(settings), some, clock)
    finder = Finder(snapshots.recover, clock)
    return _Base(scripts, RedisMessages(scripts, some), life, RedisProgress(scripts), records, snapshots, finder)


async def _look(redis: Redis) -> None:
    """Warn of a Redis that drops parts of sessions."""
    with suppress(WorkingMemoryUnavailable):  # it may come later
        if policy := await redis.eviction():
            log.warning("Redis drops parts of sessions when its memory is full (%s): set maxmemory-policy noeviction", policy)


@asynccontextmanager
async def open_sessions(
    settings: Settings, db: Database, redis: Redis, remember: Remember, tokenizers: TokenizerRegistry, clock: Clock
) -> AsyncIterator[SessionServices]:
    """The use cases of the API."""
    base, some = _base(settings, db, redis, clock), limits(settings)
    if settings.redis_url is None:
        raise AssertionError  # there is a client, so there is a URL
    await _look(redis)
    blocking = Redis(
        settings.redis_url.get_secret_value(),
        timeout_s=_HEARTBEAT_S + settings.redis_timeout_s,
        connections=settings.session_streams,
    )
    working = Sessions(
        base.finder,
        base.messages,
        RedisState(base.scripts, some),
        RedisEffects(base.scripts, some),
        RedisCheckpoints(base.scripts, some),
        some,
    )
    try:
        yield SessionServices(
            working=working,
            repeats=Repeats(base.finder, base.messages, working, clock),
            lifecycle=Lifecycle(base.finder, base.messages, base.life, base.snapshots, base.records),
            commit=Commit(base.finder, base.messages, base.progress, remember, clock),
            windows=Windows(base.finder, base.messages, tokenizers),
            events=Events(
                # Who listens only, and comes back again and again, is not to keep beginning what ended by itself.
                Finder(partial(base.snapshots.recover, expired=False), clock),
                base.messages,
                RedisWaiter(blocking),
                clock,
                streams=settings.session_streams,
                heartbeat_s=_HEARTBEAT_S,
                lifetime_s=settings.request_timeout_s * _STREAM_SHARE,
            ),
            clock=clock,
        )
    finally:
        await blocking.close()


@asynccontextmanager
async def open_rounds(
    settings: Settings, db: Database, redis: Redis, remember: Remember, embedder: Embedder, tenants: Tenants, clock: Clock
) -> AsyncIterator[SessionRounds]:
    """The worker's rounds over sessions."""
    base = _base(settings, db, redis, clock)
    await _look(redis)
    async with AsyncExitStack() as stack:
        writer = None
        if settings.chat_url:
            key = settings.chat_key.get_secret_value() if settings.chat_key else None
            writer = ChatSummaryWriter(settings.chat_url, model=settings.chat_model, key=key, timeout_s=settings.chat_timeout_s)
            stack.push_async_callback(writer.close)
        yield SessionRounds(
            tenants,
            base.messages,
            base.life,
            base.snapshots,
            Commit(base.finder, base.messages, base.progress, remember, clock),
            Summaries(base.messages, base.progress, embedder, writer, clock),
            base.records,
            clock,
            snapshot_interval=timedelta(seconds=settings.session_snapshot_interval_s),
            retention=timedelta(days=settings.session_retention_days),
        )


def round_interval_s(settings: Settings) -> int:
    """Seconds between rounds: after the half interval that a session waits and a sixth until the next round, a third is left
    for writing."""
    return max(1, min(10, settings.session_snapshot_interval_s // 6))
