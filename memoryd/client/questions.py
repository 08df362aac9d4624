"""A question to memory: what recall and context have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from pydantic import JsonValue

from memoryd.client.memory_models import Kind
from memoryd.client.steps import Query
from memoryd.client.wording import as_json, filled, moment

Arm = Literal["dense", "lexical", "temporal"]
Fusion = Literal["convex", "rrf"]
Rerank = Literal["auto", "off", "on"]
Scalar: TypeAlias = str | bool | int | float | None


@dataclass(frozen=True, slots=True)
class Reranking:
    """Rerank, and so: ``depth`` hits are read, for about ``budget_ms``. What is not said is as the installation has it; another
    ``model`` than the installation's is refused."""

    depth: int | None = None
    budget_ms: float | None = None
    model: str | None = None

    def body(self) -> dict[str, JsonValue]:
        """As it is sent."""
        return filled({"depth": self.depth, "budget_ms": self.budget_ms, "model": self.model})


def reranking(given: "Rerank | Reranking") -> JsonValue:
    """As it is sent; an empty object says to rerank, as the installation does."""
    return given.body() if isinstance(given, Reranking) else given


@dataclass(frozen=True, slots=True)
class Filters:
    """Which memories: all conditions hold together; ranges are half-open, ``[after, before)``. Times have an offset."""

    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    kinds: Sequence[Kind] = ()
    source_types: Sequence[str] = ()
    topics_any: Sequence[str] = ()
    topics_all: Sequence[str] = ()
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    min_confidence: float | None = None
    event_after: datetime | None = None
    event_before: datetime | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    def body(self) -> dict[str, JsonValue]:
        """As a recall takes them. Raises ``Unsayable``."""
        lists = {name: list(getattr(self, name)) for name in _LISTS}
        return filled(
            {name: getattr(self, name) for name in _SCALARS} | lists | {"metadata": dict(self.metadata)} | self._times()
        )

    def query(self) -> Query:
        """As a list of memories takes them: what can have several values is repeated. Raises ``Unsayable``."""
        values: dict[str, str | int | Sequence[str]] = {
            name: str(value) for name in _SCALARS if (value := getattr(self, name)) is not None
        }
        for name, asked in _LISTS.items():
            if given := getattr(self, name):
                values[asked] = [str(one) for one in given]
        values |= {name: value for name, value in self._times().items() if isinstance(value, str)}
        # As JSON, so that a text that looks like a number stays a text.
        return values | {f"metadata.{name}": as_json(value) for name, value in self.metadata.items()}

    def _times(self) -> dict[str, JsonValue]:
        return {name: moment(name, getattr(self, name)) for name in _TIMES}


_SCALARS = ("user_id", "agent_id", "session_id", "min_confidence")
_TIMES = ("event_after", "event_before", "created_after", "created_before")
# By what a list of memories calls them.
_LISTS = {"kinds": "kind", "source_types": "source_type", "topics_any": "topics_any", "topics_all": "topics_all"}


@dataclass(frozen=True, slots=True)
class KbSource:
    """A knowledge base to look in: ``name`` or ``name@live``, ``name@7``, ``name@tag``. ``limit``: most of its hits."""

    kb: str
    limit: int | None = None
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    document_ids: Sequence[str] = ()

    def body(self) -> dict[str, JsonValue]:
        """As it is sent."""
        filters = filled({"metadata": dict(self.metadata), "document_ids": list(self.document_ids)})
        return filled({"kb": self.kb, "limit": self.limit, "filters": filters})


@dataclass(frozen=True, slots=True)
class SpaceSource:
    """The memories of a space to look in."""

    space: str
    limit: int | None = None

    def body(self) -> dict[str, JsonValue]:
        """As it is sent."""
        return filled({"space": self.space, "limit": self.limit})


_ALL = Filters()


@dataclass(frozen=True, slots=True)
class Question:
    """``sources``: look in these alone, instead of ``spaces``. ``query_time``: the "now" of phrases such as "last week".
    ``as_of``: what was true then; ``known_at``: what the service knew then. Times have an offset."""

    query: str
    spaces: Sequence[str] | None = None
    sources: Sequence[KbSource | SpaceSource] | None = None
    filters: Filters = _ALL
    limit: int = 10
    rerank: Rerank | Reranking = "auto"
    explain: bool = False
    query_time: datetime | None = None
    as_of: datetime | None = None
    known_at: datetime | None = None
    deadline_ms: float | None = None
    arms: Sequence[Arm] | None = None
    fusion: Fusion = "convex"

    def body(self) -> dict[str, JsonValue]:
        """As it is sent. Raises ``Unsayable``."""
        said: dict[str, JsonValue] = {"rerank": reranking(self.rerank)}
        # An empty list is sent too, to be refused: left out, it would be everything that the key may use.
        said |= {} if self.spaces is None else {"spaces": list(self.spaces)}
        said |= {} if self.sources is None else {"sources": [one.body() for one in self.sources]}
        said |= {} if self.arms is None else {"arms": list(self.arms)}
        return said | filled(
            {
                "query": self.query,
                "filters": self.filters.body(),
                "limit": self.limit,
                "explain": self.explain,
                "query_time": moment("query_time", self.query_time),
                "as_of": moment("as_of", self.as_of),
                "known_at": moment("known_at", self.known_at),
                "deadline_ms": self.deadline_ms,
                "fusion": self.fusion,
            }
        )


def question(given: str | Question) -> Question:
    """Words alone are a question too."""
    return Question(given) if isinstance(given, str) else given
