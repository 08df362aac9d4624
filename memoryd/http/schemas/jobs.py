"""Bodies of jobs."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from memoryd.http.fields import Whole
from memoryd.http.schemas.common import Body
from memoryd.jobs.model import MAX_ITEMS, ItemState, JobState, Wish


class CountersOut(BaseModel):
    """Of `items`, how many ended how; what is missing to `items` is still to come. Chunks, tokens and bytes are of what was
    stored so far."""

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


class RatesOut(BaseModel):
    """By the time that workers held the job; null before there was any."""

    items: float | None = None
    chunks: float | None = None
    tokens: float | None = None


class FailureOut(BaseModel):
    """Why the job failed beyond its items, or what is being waited for."""

    code: str
    detail: str


class JobOut(BaseModel):
    """A job as it stands."""

    id: UUID
    kind: str = Field(examples=["ingest"])
    kb: str | None = Field(None, description="The knowledge base's name when the job was ordered")
    kb_id: UUID | None = None
    space: str | None = None
    publish: bool = Field(False, description="It publishes when it is through and no document failed")
    note: str | None = Field(None, description="Of the version that it publishes")
    version: int | None = Field(
        None, description="That it published; null also where nothing differed, or another job published what it did"
    )
    state: JobState
    wish: Wish | None = Field(None, description="What a worker does at its next checkpoint")
    revision: int = Field(description="Grows with every change; the id of its events")
    counters: CountersOut
    per_second: RatesOut
    eta_s: float | None = Field(None, description="Seconds of work that are left, without waiting for other jobs")
    error: FailureOut | None = None
    created_by: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    updated_at: datetime

    @property
    def final(self) -> bool:
        """See :attr:`memoryd.jobs.model.JobState.final`."""
        return self.state.final


class JobPage(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobOut]
    next_cursor: str | None = None


class JobItemOut(BaseModel):
    """What became of one document."""

    item: int
    document_id: str
    state: ItemState
    attempts: int
    reason: str | None = Field(None, description="A stable code; see docs/jobs.md", examples=["encrypted"])
    detail: str | None = None
    chunks: int
    tokens: int
    bytes: int
    pages: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    retry_at: datetime | None = Field(None, description="When it is tried again")
    dead: bool = Field(description="It failed for having been tried as often as may be")


class JobItemPage(BaseModel):
    """Items in their order."""

    items: list[JobItemOut]
    next_cursor: str | None = None


class DeadLetterOut(JobItemOut):
    """An item that was tried as often as may be."""

    job_id: UUID
    kind: str
    kb_id: UUID | None = None


class DeadLetterPage(BaseModel):
    """Dead letters, oldest job first."""

    dead_letters: list[DeadLetterOut]
    next_cursor: str | None = None


class ReplayIn(Body):
    """Which dead letters of a job to queue again."""

    job_id: UUID
    items: list[Annotated[Whole, Field(ge=0, le=MAX_ITEMS - 1)]] | None = Field(
        None, min_length=1, max_length=MAX_ITEMS, description="null: all of them"
    )


class ReplayOut(BaseModel):
    """How many were queued again, and the job."""

    replayed: int
    job: JobOut
