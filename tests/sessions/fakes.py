"""What stands beside Redis in tests of sessions: records and objects in memory, a long-term memory, an embedder."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import numpy as np

from memoryd.ids import uuid7
from memoryd.memory.model import Draft, Idempotency, Outcome, Written
from memoryd.sessions.ports import SnapshotRecord, TenantSettings
from retrieval.ports import Lane, ModelCard
from retrieval.scope import Scope
from retrieval.vectors import Vectors


@dataclass
class Records:
    """:class:`memoryd.sessions.ports.SessionRecords`."""

    kept: dict[tuple[UUID, UUID], SnapshotRecord] = field(default_factory=dict)
    by_tenant: dict[UUID, TenantSettings] = field(default_factory=dict)

    async def add(self, scope: Scope, record: SnapshotRecord) -> None:
        self.kept[scope.tenant_id, record.snapshot_id] = record

    async def snapshots(self, scope: Scope, session_id: str, limit: int) -> list[SnapshotRecord]:
        own = [one for (tenant, _), one in self.kept.items() if tenant == scope.tenant_id and one.session_id == session_id]
        return sorted(own, key=lambda one: (one.taken_at, one.snapshot_id), reverse=True)[:limit]

    async def remove(self, scope: Scope, snapshots: Sequence[UUID]) -> None:
        for one in snapshots:
            self.kept.pop((scope.tenant_id, one), None)

    async def finish(self, scope: Scope, snapshot_id: UUID) -> None:
        key = scope.tenant_id, snapshot_id
        if key in self.kept:
            self.kept[key] = replace(self.kept[key], final=self.kept[key].leaps == 0)

    async def end(self, scope: Scope, session_id: str) -> None:
        for key, one in self.kept.items():
            if (key[0], one.session_id) == (scope.tenant_id, session_id):
                self.kept[key] = replace(one, final=True)

    async def restored(self, scope: Scope, snapshot_id: UUID, leaps: int) -> None:
        key = scope.tenant_id, snapshot_id
        if key in self.kept:
            self.kept[key] = replace(self.kept[key], final=False, leaps=max(leaps, self.kept[key].leaps))

    async def outdated(self, scope: Scope, before: datetime, limit: int, *, skip: int) -> list[SnapshotRecord]:
        old = [one for (tenant, _), one in self.kept.items() if tenant == scope.tenant_id and one.taken_at < before]
        return sorted(old, key=lambda one: (one.taken_at, one.snapshot_id))[skip : skip + limit]

    async def unfinished(self, scope: Scope, after: str, limit: int) -> list[str]:
        names = sorted({one.session_id for (tenant, _), one in self.kept.items() if tenant == scope.tenant_id})
        newest = {name: (await self.snapshots(scope, name, 1))[0] for name in names if name > after}
        return [name for name, one in newest.items() if not one.final][:limit]

    async def settings(self, scope: Scope) -> TenantSettings:
        return self.by_tenant.get(scope.tenant_id, TenantSettings())

    async def configure(self, scope: Scope, settings: TenantSettings) -> None:
        self.by_tenant[scope.tenant_id] = settings


@dataclass
class Memory:
    """:class:`memoryd.sessions.ports.Remembering`: a memory each external id."""

    drafts: dict[str, Draft] = field(default_factory=dict)
    broken: bool = False

    async def __call__(self, scope: Scope, drafts: Sequence[Draft], idempotency: Idempotency | None) -> list[Written]:
        if self.broken:
            raise OSError("down")
        written = []
        for draft in drafts:
            key = f"{scope.tenant_id}:{draft.space}:{draft.external_id}"
            outcome = Outcome.DUPLICATE if key in self.drafts else Outcome.CREATED
            self.drafts.setdefault(key, draft)
            written.append(Written(uuid7(), draft.external_id, outcome))
        return written

    @property
    def texts(self) -> list[str]:
        return [draft.content.text for draft in self.drafts.values()]


class Embedder:
    """A bag of words in 256 dimensions: the same words, the same direction."""

    card = ModelCard("words", "1", 256, 512)

    async def embed_queries(self, texts: Sequence[str], *, owner: UUID | None = None) -> Vectors:
        return await self.embed_passages(texts)

    async def embed_passages(self, texts: Sequence[str], *, lane: Lane = Lane.BULK, owner: UUID | None = None) -> Vectors:
        vectors = np.zeros((len(texts), 256), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, hashlib.sha256(word.encode()).digest()[0]] += 1
        normed: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return normed
