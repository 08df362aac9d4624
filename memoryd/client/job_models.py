"""What the service answers about jobs."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from memoryd.client.models import Model

JobState = Literal["queued", "running", "paused", "succeeded", "partial", "failed", "cancelled"]
ItemState = Literal["queued", "running", "succeeded", "unchanged", "failed", "cancelled"]


class Counters(Model):
    """Of ``items``, how many ended how; chunks, tokens and bytes that were stored so far."""

    items: int
    succeeded: int
    unchanged: int
    failed: int
    cancelled: int
    chunks: int
    tokens: int
    bytes: int

    @property
    def ended(self) -> int:
        """Items that are through, however they ended."""
        return self.succeeded + self.unchanged + self.failed + self.cancelled


class Rates(Model):
    """By the time that workers held the job; ``None`` before there was any."""

    items: float | None = None
    chunks: float | None = None
    tokens: float | None = None


class Failure(Model):
    """Why a job failed beyond its items, or what it waits for."""

    code: str
    detail: str


class Job(Model):
    """A job as it stands. ``wish``: what a worker does at its next checkpoint; ``eta_s``: seconds of work that are left."""

    id: UUID
    kind: str
    kb_id: UUID | None = None
    space: str | None = None
    state: JobState
    wish: Literal["pause", "cancel"] | None = None
    revision: int
    counters: Counters
    per_second: Rates
    eta_s: float | None = None
    error: Failure | None = None
    created_by: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    updated_at: datetime

    @property
    def final(self) -> bool:
        """Nothing happens any more, unless somebody asks for a retry."""
        return self.state not in {"queued", "running", "paused"}


class JobPage(Model):
    """Jobs, newest first."""

    jobs: list[Job]
    next_cursor: str | None = None


class JobItem(Model):
    """What became of one document. ``dead``: it failed for having been tried as often as may be."""

    item: int
    document_id: str
    state: ItemState
    attempts: int
    reason: str | None = None
    detail: str | None = None
    chunks: int
    tokens: int
    bytes: int
    pages: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    retry_at: datetime | None = None
    dead: bool


class JobItemPage(Model):
    """Items in their order."""

    items: list[JobItem]
    next_cursor: str | None = None
