"""What goes into a packing and what comes out of it.

All values are plain and immutable; token figures are in the tokenizer that :func:`retrieval.packing.pack` was given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, TypedDict


class Rendition(StrEnum):
    """How much of an item is shown, from least to most."""

    POINTER = "pointer"
    GIST = "gist"
    EXCERPT = "excerpt"
    FULL = "full"


class Order(StrEnum):
    """In which order the groups of items are laid out."""

    BEST_FIRST = "best_first"
    EDGES = "edges"
    CHRONOLOGICAL = "chronological"


class Format(StrEnum):
    """The shape of what the model is given."""

    TEXT = "text"
    MESSAGES = "messages"
    JSON = "json"


class DropReason(StrEnum):
    """Why a candidate is not in the context.

    Two are its caller's: ``OUT_OF_TIME``, never looked at for want of time, and ``SHOWN_ALREADY``, by another section.
    """

    OVER_BUDGET = "over_budget"
    SECTION_BUDGET = "section_budget"
    NEAR_DUPLICATE = "near_duplicate"
    MERGED = "merged"
    EMPTY = "empty"
    OUT_OF_TIME = "out_of_time"
    SHOWN_ALREADY = "shown_already"


class Span(NamedTuple):
    """A half-open range of characters of the source text."""

    start: int
    end: int


class Message(TypedDict):
    """One chat message."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that may be shown. ``score`` is its relevance, at least 0, comparable within one request.

    ``position`` is the place inside the session or document: turns of one session and time, and chunks, which have no time, are
    laid out by it under one header.
    ``subject`` is whom it is about: shown where a request has candidates about several, and never merged with another's.
    ``trust`` is a short label for the reader, such as ``"untrusted"``; ``confidence`` is in ``[0, 1]``. ``origin`` names the
    place in a document (its title, the headings, the pages) and stands in the header instead of a day. ``matched_at`` is the
    character at which the passage begins that was found: where no word of the query tells what to show, that is shown.
    """

    id: str
    text: str
    score: float
    kind: str = "episodic"
    section: str = ""
    subject: str | None = None
    speaker: str | None = None
    event_time: datetime | None = None
    source_type: str | None = None
    source_uri: str | None = None
    session_id: str | None = None
    position: int | None = None
    external_id: str | None = None
    trust: str | None = None
    confidence: float = 1.0
    must_include: bool = False
    origin: tuple[str, ...] = ()
    matched_at: int = 0


@dataclass(frozen=True, slots=True)
class PackRequest:
    """What the caller wants.

    ``section_budgets`` maps a section's name to the tokens reserved for it: its items are served within that first,
    and what a section leaves unused spills over to everything else. ``term_weights`` maps lower-case words or stems of
    the query to their importance (IDF, say); without it the query's own words weigh the same.
    """

    budget_tokens: int
    query: str = ""
    order: Order = Order.BEST_FIRST
    format: Format = Format.TEXT
    section_budgets: Mapping[str, int] = field(default_factory=dict)
    term_weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.budget_tokens < 0 or any(tokens < 0 for tokens in self.section_budgets.values()):
            raise ValueError("a token budget cannot be negative")


@dataclass(frozen=True, slots=True)
class PackedItem:
    """One shown item.

    ``tokens`` counts its own line; the headers and the fence around it are shared. ``spans`` are the ranges of the
    source text that are shown (none for a pointer). ``merged`` are candidates this one stands for.
    """

    id: str
    external_id: str | None
    citation: int
    rendition: Rendition
    tokens: int
    why: str
    section: str
    subject: str | None
    source_type: str | None
    source_uri: str | None
    spans: tuple[Span, ...]
    merged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DroppedItem:
    """One candidate that is not shown; ``of`` is the candidate that stands for it, if any."""

    id: str
    external_id: str | None
    reason: DropReason
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Packed:
    """The context and its manifest.

    ``text`` is the whole of what is shown: for ``json`` the serialised document, for ``messages`` the contents joined
    by line feeds. ``used_tokens`` is its exact count; ``messages`` adds :data:`retrieval.packing.MESSAGE_TOKENS` for
    each message. ``value`` is what the packing maximised: that of ``must_include`` items first, then of the others.
    """

    text: str
    used_tokens: int
    items: tuple[PackedItem, ...]
    dropped: tuple[DroppedItem, ...]
    messages: tuple[Message, ...] = ()
    value: tuple[float, float] = (0.0, 0.0)
