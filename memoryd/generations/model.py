"""What the use cases of generations speak about."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from retrieval.filters import JsonValue


class State(StrEnum):
    """Where a generation is in its life, in order."""

    BUILDING = "building"
    CATCHING_UP = "catching_up"
    VERIFYING = "verifying"
    LIVE = "live"
    DRAINING = "draining"
    RETIRED = "retired"


class ScopeKind(StrEnum):
    """What a generation is over."""

    INSTALLATION = "installation"
    TENANT = "tenant"
    KNOWLEDGE_BASE = "knowledge_base"


class ItemKind(StrEnum):
    """What has vectors: passages of memories, and chunks of documents. In the order in which a backfill takes them."""

    PASSAGES = "passages"
    CHUNKS = "chunks"


@dataclass(frozen=True, slots=True)
class Generation:
    """A model's vectors: comparable with each other, and with nothing else.

    ``tenant_id`` ``None``: of the whole installation; ``kb_id``: of one knowledge base alone. ``replaced``: the generation that
    was live before it in its scope.
    """

    number: int
    model: str
    revision: str
    dimension: int
    query_prefix: str = ""
    passage_prefix: str = ""
    state: State = State.LIVE
    tenant_id: UUID | None = None
    kb_id: UUID | None = None
    replaced: int | None = None

    @property
    def scope(self) -> ScopeKind:
        """What it is over."""
        if self.kb_id is not None:
            return ScopeKind.KNOWLEDGE_BASE
        return ScopeKind.INSTALLATION if self.tenant_id is None else ScopeKind.TENANT

    def covers(self, kb_id: UUID | None) -> bool:
        """True when it has the vectors of this knowledge base, or of memories (``None``)."""
        return self.kb_id is None or self.kb_id == kb_id

    @property
    def kinds(self) -> tuple[ItemKind, ...]:
        """What it has vectors of."""
        return (ItemKind.CHUNKS,) if self.kb_id is not None else tuple(ItemKind)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a backfill is: the last item that was looked at."""

    tenant_id: UUID
    kind: ItemKind
    pid: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one batch of a backfill did. ``tokens`` are estimated, ``busy_s`` the seconds that it took."""

    looked_at: int = 0
    embedded: int = 0
    tokens: int = 0
    busy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the backfill is. ``total`` ``None``: not counted yet."""

    total: int | None
    done: int
    embedded: int
    tokens: int
    busy_s: float

    @property
    def per_second(self) -> float | None:
        """Items a second while it worked."""
        return self.done / self.busy_s if self.busy_s > 0 else None

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens a second while it worked."""
        return self.tokens / self.busy_s if self.busy_s > 0 else None

    @property
    def eta_s(self) -> float | None:
        """Seconds of work that are left, as far as can be told."""
        rate = self.per_second
        return None if self.total is None or not rate else max(0, self.total - self.done) / rate


@dataclass(frozen=True, slots=True)
class Registered:
    """A generation with everything that is kept of it."""

    generation: Generation
    progress: Progress
    mark: Mark | None
    paused: bool
    failure: str | None
    gaps: bool
    report: Mapping[str, JsonValue] | None
    forced: str | None
    created_by: str | None
    created_at: datetime
    live_at: datetime | None
    drained_at: datetime | None
    retired_at: datetime | None
    purged_at: datetime | None

    @property
    def owed(self) -> JsonValue:
        """The note of a verification that the worker is to do (:mod:`memoryd.generations.owed`)."""
        return None if self.report is None or self.generation.state is State.RETIRED else self.report.get("owed")

    @property
    def passed(self) -> bool:
        """True when the last verification found nothing wrong."""
        return self.report is not None and self.report.get("passed") is True


@dataclass(frozen=True, slots=True)
class NewGeneration:
    """A generation to be made."""

    model: str
    revision: str
    dimension: int
    query_prefix: str
    passage_prefix: str
    tenant_id: UUID | None
    kb_id: UUID | None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: the operator (``tenant_id`` ``None``), or a tenant's key."""

    tenant_id: UUID | None
    principal: str
    request_id: str
    at: datetime
