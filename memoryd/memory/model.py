"""What the memory use cases speak about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from uuid import UUID

from retrieval.filters import JsonValue

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from retrieval.vectors import Vectors


class Kind(StrEnum):
    """The layers of long-term memory, in the field's terms."""

    EPISODIC = "episodic"
    SEMANTIC = "semantic"
    PREFERENCE = "preference"
    PROCEDURAL = "procedural"


class Change(StrEnum):
    """What made a revision."""

    CREATED = "created"
    UPDATED = "updated"
    REVERTED = "reverted"
    SUPERSEDED = "superseded"
    DELETED = "deleted"


class Outcome(StrEnum):
    """What became of a memory that was sent."""

    CREATED = "created"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Content:
    """What a memory says and of whom: everything a revision can change."""

    kind: Kind
    text: str
    speaker: str | None
    role: str | None
    user_id: str | None
    agent_id: str | None
    session_id: str | None
    event_time: datetime | None
    valid_from: datetime | None
    valid_to: datetime | None
    source_type: str
    source_uri: str | None
    confidence: float
    topics: tuple[str, ...]
    metadata: Mapping[str, JsonValue]
    supersedes: UUID | None


@dataclass(frozen=True, slots=True)
class Draft:
    """A memory as a caller sent it, addressed to a space by name."""

    space: str
    external_id: str | None
    content: Content


@dataclass(frozen=True, slots=True)
class Passage:
    """A span of a text, ready to be indexed. ``vectors`` by the number of the generation, shape ``(dimension,)``; there are none
    where the previous revision's are kept.

    ``terms`` are distinct and sorted, ``tfs`` says how often each is said, ``length`` how many were said in all. Arrays, since
    a request may carry millions.
    """

    span: tuple[int, int]
    length: int
    terms: NDArray[np.int64]
    tfs: NDArray[np.int16]
    facets: NDArray[np.int64]
    vectors: Mapping[int, Vectors]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A draft with its id, its identity and its passages: all that a transaction needs."""

    memory_id: UUID
    space_id: UUID
    external_id: str | None
    identity: bytes
    content: Content
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """The answer for one draft."""

    memory_id: UUID
    external_id: str | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of a memory, with who made it, when, and why."""

    memory_id: UUID
    revision: int
    space_id: UUID
    space: str
    external_id: str | None
    seq: int
    action: Change
    actor: str
    reason: str | None
    created_at: datetime
    recorded_at: datetime
    retired_at: datetime | None
    deleted_at: datetime | None
    superseded_by: UUID | None
    live: bool
    content: Content


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's Idempotency-Key with the SHA-256 of method, path and body."""

    key: str
    fingerprint: bytes
