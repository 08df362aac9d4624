"""What the service answers about embedding generations."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import JsonValue

from memoryd.client.models import Model

GenerationState = Literal["building", "catching_up", "verifying", "live", "draining", "retired"]
GenerationScope = Literal["installation", "tenant", "knowledge_base"]


class GenerationProgress(Model):
    """How far the backfill is. ``total`` ``None``: not counted yet."""

    total: int | None = None
    done: int
    embedded: int
    tokens: int
    items_per_second: float | None = None
    tokens_per_second: float | None = None
    eta_s: float | None = None


class Generation(Model):
    """A generation as it stands. ``incomplete``: it lacks vectors that the worker is about to make."""

    number: int
    model: str
    revision: str
    dimension: int
    scope: GenerationScope
    tenant_id: UUID | None = None
    knowledge_base_id: UUID | None = None
    state: GenerationState
    paused: bool
    progress: GenerationProgress
    incomplete: bool
    failure: str | None = None
    report: dict[str, JsonValue] | None = None
    forced: str | None = None
    replaced: int | None = None
    created_by: str | None = None
    created_at: datetime
    live_at: datetime | None = None
    drained_at: datetime | None = None
    retired_at: datetime | None = None
    purged_at: datetime | None = None

    @property
    def ready(self) -> bool:
        """It has caught up and was verified, or it is past that."""
        return self.state in {"live", "draining", "retired"} or (self.state == "verifying" and self.report is not None)

    @property
    def passed(self) -> bool:
        """Its last verification found nothing wrong."""
        return self.report is not None and self.report.get("passed") is True


class GenerationPage(Model):
    """Generations by number."""

    generations: list[Generation]
    next_cursor: str | None = None
