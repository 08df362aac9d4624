"""What the inner ring needs from the world. Adapters live in :mod:`memoryd.stores` and :mod:`retrieval.inference`.

Vectors are float32 arrays of shape ``(n, dimension)``, L2-normalised, so an inner product is a cosine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

from retrieval.filters import Filters, JsonValue, Scalar
from retrieval.scope import Scope
from retrieval.temporal import Interval

if TYPE_CHECKING:
    from asyncio import Future

    from retrieval.vectors import Vectors

CHUNK: Final = "knowledge"
"""The kind of an item that is a chunk of a document, beside the kinds of memories."""

DOCUMENT = "document"
"""The source type of a chunk."""


class Lane(StrEnum):
    """Which queue a piece of inference waits in. What is in the background is bulk that nobody waits for: of a model on this
    processor it takes half of the threads, whether others want the rest or not."""

    INTERACTIVE = "interactive"
    BULK = "bulk"
    BACKGROUND = "background"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What must be the same for two vectors to be comparable."""

    name: str
    revision: str
    dimension: int
    max_tokens: int
    query_prefix: str = ""
    passage_prefix: str = ""


class Embedder(Protocol):
    """Turns text into vectors. Raises :class:`retrieval.errors.InferenceError`.

    ``owner`` says whose work it is (a tenant): owners that wait in one lane take turns by tokens, and none may fill it.
    """

    @property
    def card(self) -> ModelCard:
        """The model's description; constant for the life of the object."""

    async def embed_queries(self, texts: Sequence[str], *, owner: UUID | None = None) -> Vectors:
        """Vectors of questions (query prefix applied), on the interactive lane."""

    async def embed_passages(self, texts: Sequence[str], *, lane: Lane = Lane.BULK, owner: UUID | None = None) -> Vectors:
        """Vectors of passages (passage prefix applied). Texts beyond ``card.max_tokens`` are cut: split them first."""


class Reranker(Protocol):
    """Scores (query, passage) pairs. Raises :class:`retrieval.errors.InferenceError`."""

    async def score(self, query: str, passages: Sequence[str], *, owner: UUID | None = None) -> Sequence[float]:
        """One relevance in ``[0, 1]`` (sigmoid of the logit) a passage, in the order given. ``owner``: as of an embedder."""

    def estimate_ms(self, query: str, passages: Sequence[str]) -> float:
        """Expected milliseconds of :meth:`score`, from measured throughput; cheap to call."""


class TokenCounter(Protocol):
    """Counts tokens exactly as one named tokenizer does, without special tokens."""

    @property
    def name(self) -> str:
        """The name it goes by in requests, such as ``o200k_base``."""

    def count(self, text: str) -> int:
        """Number of tokens of ``text``."""


@dataclass(frozen=True, slots=True)
class ArmHit:
    """One passage that an arm found. ``score`` is the arm's own: a cosine, a BM25 score."""

    memory_id: UUID
    pid: int
    score: float


@dataclass(frozen=True, slots=True)
class PinnedSource:
    """One version of a knowledge base, and which of its documents: those whose metadata has all of ``metadata``, and of
    ``documents`` (their own ids) any; an empty one holds for all."""

    kb_id: UUID
    seq: int
    metadata: tuple[tuple[str, Scalar], ...] = ()
    documents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """Where to look: memories of the spaces that the filters let through, and chunks of the pinned knowledge bases, each named
    once. One of the two may be empty; the filters speak of memories only.

    ``facets`` is what adapters have worked out of topics and metadata, by filters and spaces: the arms of one question, which
    are asked at once, do so once. A copy with other spaces shares it.
    """

    spaces: tuple[UUID, ...]
    filters: Filters
    pins: tuple[PinnedSource, ...] = ()
    facets: dict[tuple[Filters, tuple[UUID, ...]], Future[list[list[int]]]] = field(
        default_factory=dict, compare=False, repr=False
    )


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a chunk stands: the version of the knowledge base (by name) and the place in the document.

    ``section`` are headings from the outermost in, ``pages`` the first and last (from 1), ``span`` characters of the
    document's text. ``prefix`` is what is embedded, indexed and reranked in front of the chunk, and not shown as its text.
    """

    kb: str
    version: int
    document_id: str
    title: str | None
    media_type: str | None
    section: tuple[str, ...]
    pages: tuple[int, int] | None
    span: tuple[int, int]
    prefix: str


@dataclass(frozen=True, slots=True)
class Item:
    """A memory as recall returns it, with the passage that matched as a span of ``text``; or a chunk, which has a citation.

    Of a chunk, ``memory_id`` is its own id, ``revision`` the version, ``space_id`` the knowledge base, ``external_id`` the
    document, ``seq`` its place in it, and the metadata the document's; the passage is the whole text.
    """

    memory_id: UUID
    revision: int
    pid: int
    span: tuple[int, int]
    space_id: UUID
    external_id: str | None
    kind: str
    text: str
    speaker: str | None
    user_id: str | None
    agent_id: str | None
    session_id: str | None
    event_time: datetime | None
    occurred_at: datetime
    seq: int
    recorded_at: datetime
    valid_from: datetime | None
    valid_to: datetime | None
    source_type: str
    source_uri: str | None
    confidence: float
    topics: tuple[str, ...]
    metadata: Mapping[str, JsonValue]
    superseded_by: UUID | None
    citation: Citation | None = None


class DenseIndex(Protocol):
    """Nearest passages by inner product of normalised vectors."""

    async def search(self, scope: Scope, query: Query, vector: Vectors, *, limit: int) -> list[ArmHit]:
        """Best first, at most ``limit``. ``vector`` has shape ``(dimension,)``."""


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """The vectors of one model, comparable with each other and with nothing else: what embeds questions for them, and the index
    that has them."""

    number: int
    embedder: Embedder
    index: DenseIndex


class Serving(Protocol):
    """Which vectors one request is answered from. It says the same for its whole life."""

    async def memories(self) -> VectorSpace:
        """Those of memories."""

    async def of(self, query: Query) -> list[tuple[VectorSpace, Query]]:
        """The query cut into parts that one space answers."""


class VectorSpaces(Protocol):
    """The vectors that there are. Raises :class:`retrieval.errors.MemorydError`."""

    async def serving(self, scope: Scope) -> Serving:
        """What serves at this moment; asked once a request."""


class LexicalIndex(Protocol):
    """BM25 over the live passages of the searched spaces."""

    async def search(self, scope: Scope, query: Query, text: str, *, limit: int) -> list[ArmHit]:
        """Best first, at most ``limit``; empty when no term of ``text`` survives analysis."""


class TemporalIndex(Protocol):
    """Memories whose event time lies in an interval."""

    async def search(self, scope: Scope, query: Query, interval: Interval, *, limit: int) -> list[ArmHit]:
        """Newest first, at most ``limit``."""


class ItemReader(Protocol):
    """Reads what the arms found."""

    async def read(self, scope: Scope, query: Query, pids: Sequence[int]) -> dict[int, Item]:
        """Items by pid. What the filters exclude, or was deleted meanwhile, is missing."""

    async def following(self, scope: Scope, query: Query, pids: Sequence[int], *, turns: int) -> list[Following]:
        """The next ``turns`` turns of the same session after each pid, among those that ``query`` lets through.

        Nothing for a pid without a session. What the filters exclude, or was not known at ``known_at``, is as if it had
        never been said: it is no neighbour and takes no neighbour's place.
        """

    async def preceding(self, scope: Scope, query: Query, pids: Sequence[int]) -> dict[int, Turn]:
        """The turn before each pid in its session, among those that ``query`` lets through; missing for the first."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What was said, or its first ``candidates.PREVIOUS_CHARACTERS``, and by whom."""

    speaker: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Following:
    """``pid`` of memory ``memory_id`` comes ``distance`` turns after ``after_pid`` in its session."""

    after_pid: int
    distance: int
    pid: int
    memory_id: UUID
