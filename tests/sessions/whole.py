"""All session use cases on a real Valkey, for tests that lose it, let sessions expire, and look at what comes back."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from memoryd.sessions.commit import Commit
from memoryd.sessions.lifecycle import Lifecycle
from memoryd.sessions.model import Birth, Limits, NewMessage
from memoryd.sessions.ports import Objects, SessionRecords, SummaryWriter
from memoryd.sessions.rounds import SessionReport, SessionRounds
from memoryd.sessions.snapshots import Snapshots
from memoryd.sessions.summary import Summaries
from memoryd.sessions.window import Windows
from memoryd.sessions.working import Finder, Sessions
from memoryd.stores.objects import ObstoreObjects
from memoryd.stores.redis import Redis
from memoryd.stores.sessions.checkpoints import RedisCheckpoints
from memoryd.stores.sessions.effects import RedisEffects
from memoryd.stores.sessions.life import RedisLife
from memoryd.stores.sessions.messages import RedisMessages
from memoryd.stores.sessions.progress import RedisProgress
from memoryd.stores.sessions.scripts import Scripts
from memoryd.stores.sessions.state import RedisState
from retrieval.packing import TokenizerRegistry
from retrieval.scope import Scope
from tests.sessions.conftest import LIMITS, Clock
from tests.sessions.fakes import Embedder, Memory, Records

INTERVAL_S = 60


@dataclass
class Tenants:
    """Some tenants."""

    some: list[UUID]

    async def tenants(self, after: UUID | None, limit: int) -> list[UUID]:
        rest = self.some[self.some.index(after) + 1 :] if after else self.some
        return rest[:limit]


class Rounds(SessionRounds):
    """All rounds of the worker, one after the other."""

    async def run(self) -> SessionReport:
        """What they did together."""
        return together([await self.save(), await self.tend(), await self.summarise()])


def together(reports: Sequence[SessionReport]) -> SessionReport:
    """Sums of what rounds did."""
    return SessionReport(**{one.name: sum(getattr(report, one.name) for report in reports) for one in fields(SessionReport)})


@dataclass
class Whole:
    """Everything, of one tenant."""

    redis: Redis
    scope: Scope
    objects: Objects | None
    clock: Clock = field(default_factory=Clock)
    records: SessionRecords = field(default_factory=Records)
    memory: Memory = field(default_factory=Memory)
    embedder: Embedder = field(default_factory=Embedder)
    writer: SummaryWriter | None = None
    limits: Limits = LIMITS

    def __post_init__(self) -> None:
        scripts = Scripts(self.redis, ttl_s=self.limits.ttl_s)
        self.messages = RedisMessages(scripts, self.limits)
        self.life, self.progress = RedisLife(scripts), RedisProgress(scripts)
        self.snapshots = Snapshots(self.life, self.records, self.objects, self.limits, self.clock)
        finder = Finder(self.snapshots.recover, self.clock)
        self.sessions = Sessions(
            finder,
            self.messages,
            RedisState(scripts, self.limits),
            RedisEffects(scripts, self.limits),
            RedisCheckpoints(scripts, self.limits),
            self.limits,
        )
        self.lifecycle = Lifecycle(finder, self.messages, self.life, self.snapshots, self.records)
        self.commit = Commit(finder, self.messages, self.progress, self.memory, self.clock)
        self.summaries = Summaries(self.messages, self.progress, self.embedder, self.writer, self.clock)
        self.windows = Windows(finder, self.messages, TokenizerRegistry())
        self.tenants = Tenants([self.scope.tenant_id])
        self.rounds = Rounds(
            self.tenants,
            self.messages,
            self.life,
            self.snapshots,
            self.commit,
            self.summaries,
            self.records,
            self.clock,
            snapshot_interval=timedelta(seconds=INTERVAL_S),
            retention=timedelta(days=90),
        )

    async def say(self, session_id: str, *texts: str, birth: Birth | None = None) -> list[int]:
        """Positions of new messages of the user with these texts."""
        at = self.clock.now().isoformat()
        messages = [NewMessage(None, None, False, f'{{"role":"user","content":"{text}","recorded_at":"{at}"}}') for text in texts]
        done = await self.sessions.append(self.scope, session_id, messages, birth or Birth(), None)
        return [one.position for one in done.placed]

    async def said(self, session_id: str) -> list[str]:
        page = await self.sessions.read(self.scope, session_id, limit=500)
        return [str(one.payload["content"]) for one in page.messages]

    async def lose_redis(self) -> None:
        """Everything of this tenant is gone from Redis."""
        cursor: object = b"0"
        while True:
            answer = await self.redis.command("SCAN", cursor if isinstance(cursor, bytes) else b"0", "COUNT", 1000)
            assert isinstance(answer, list)
            cursor, keys = answer
            assert isinstance(keys, list)
            own = [key for key in keys if isinstance(key, bytes) and str(self.scope.tenant_id).encode() in key]
            if own:
                await self.redis.command("DEL", *own)
            if cursor == b"0":
                return


def files(root: Path) -> list[Path]:
    """What lies in a folder of objects."""
    return [path for path in root.rglob("*") if path.is_file()]


def folder(path: Path) -> ObstoreObjects:
    """Objects below a folder."""
    return ObstoreObjects(str(path), timeout_s=5)
