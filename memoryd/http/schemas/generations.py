"""Bodies of embedding generations."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field, JsonValue

from memoryd.generations.model import ScopeKind, State
from memoryd.http.fields import Identifier, Text
from memoryd.http.schemas.common import Body

MOST_QUESTIONS = 200


class GenerationIn(Body):
    """Another model, and what it is to be for."""

    model: Identifier = Field(description="A known model's name", examples=["sentence-transformers/all-MiniLM-L6-v2"])
    scope: ScopeKind | None = Field(None, description="Default: with the operator's key `installation`, else `tenant`")
    knowledge_base: Identifier | None = Field(None, description="Its name, with the scope `knowledge_base`")


class QuestionIn(Body):
    """A question with what answers it."""

    query: Text
    relevant: list[Identifier] = Field(min_length=1, max_length=100, description="Of memories (id or external id), of documents")


class VerifyIn(Body):
    """What to verify with beside samples."""

    queries: list[QuestionIn] = Field(default_factory=list, max_length=MOST_QUESTIONS)


class MoveIn(Body):
    """Whether to go on where the service advises against it."""

    force: Identifier | None = Field(None, description="Why: it is kept, and in the audit log")


class ProgressOut(BaseModel):
    """How far the backfill is. Rates and time left are of the time that a worker was at it."""

    total: int | None = Field(None, description="Items (passages of memories, chunks of documents); null: not counted yet")
    done: int = Field(description="Items that were looked at")
    embedded: int = Field(description="Of these, embedded by the worker and not by whoever wrote them")
    tokens: int = Field(description="Of what the worker embedded, estimated")
    items_per_second: float | None = None
    tokens_per_second: float | None = None
    eta_s: float | None = None


class GenerationOut(BaseModel):
    """A generation as it stands. Of the installation's, a tenant's key sees what they are, and not how they go."""

    number: int
    model: str
    revision: str
    dimension: int
    scope: ScopeKind
    tenant_id: UUID | None = None
    knowledge_base_id: UUID | None = None
    state: State
    paused: bool
    progress: ProgressOut
    incomplete: bool = Field(
        description="A writer could not embed for it: the worker is about to, and it does not go live before"
    )
    failure: str | None = Field(None, description="Why the worker cannot go on at present")
    report: dict[str, JsonValue] | None = Field(None, description="Of the last verification; see docs/generations.md")
    measuring: bool = Field(False, description="The worker is to verify it again: until then the report does not pass")
    forced: str | None = None
    replaced: int | None = Field(None, description="What was live before it in its scope")
    created_by: str | None = None
    created_at: datetime
    live_at: datetime | None = None
    drained_at: datetime | None = None
    retired_at: datetime | None = None
    purged_at: datetime | None = None

    @property
    def ready(self) -> bool:
        """It has caught up and was verified, or it is past that; and it is not being verified again."""
        verified = self.state is State.VERIFYING and self.report is not None
        return not self.measuring and (verified or self.state in {State.LIVE, State.DRAINING, State.RETIRED})

    @property
    def passed(self) -> bool:
        """Its last verification found nothing wrong."""
        return self.report is not None and self.report.get("passed") is True


class GenerationPage(BaseModel):
    """Generations by number."""

    generations: list[GenerationOut]
    next_cursor: str | None = None
