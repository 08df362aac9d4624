"""Where a recall looks: the spaces, and the versions of knowledge bases that it reads from beginning to end."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from memoryd.access.model import Space
from memoryd.access.service import SpaceService
from memoryd.errors import InvalidRequest, NotFound
from memoryd.knowledge.model import LIVE, Pin
from memoryd.memory.reranking import Reranking, agreed
from retrieval.filters import Filters, Scalar
from retrieval.ports import PinnedSource, Query
from retrieval.scope import Scope
from retrieval.sources import together


@dataclass(frozen=True, slots=True)
class SpaceSource:
    """The memories of a space; at most ``limit`` of its hits."""

    space: str
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class KnowledgeSource:
    """A version of a knowledge base (``live``, a number, a tag); at most ``limit`` of its hits, of documents whose metadata has
    all of ``metadata``, and of ``documents`` any; an empty one holds for all."""

    name: str
    selector: str = LIVE
    limit: int | None = None
    metadata: tuple[tuple[str, Scalar], ...] = ()
    documents: tuple[str, ...] = ()


Source = SpaceSource | KnowledgeSource


class Versions(Protocol):
    """The part of :class:`memoryd.knowledge.ports.Versions` that reading needs."""

    async def resolve(self, scope: Scope, name: str, selector: str) -> Pin:
        """``selector``: ``live``, a number, or a tag. Raises ``NotFound`` and for a collected version ``VersionGone``."""


@dataclass(frozen=True, slots=True)
class Where:
    """What is searched. ``names`` are those of the spaces by id; a knowledge base's id has the name of its space.

    ``caps``: at most so many hits, by the same ids. ``rerank``: what the spaces say of it.
    """

    query: Query
    names: Mapping[UUID, str]
    caps: Mapping[UUID, int] = field(default_factory=dict)
    rerank: Reranking | None = None


class Sources:
    """Finds out what is searched; a version is chosen once for the whole request."""

    def __init__(self, spaces: SpaceService, versions: Versions) -> None:
        self._spaces = spaces
        self._versions = versions

    async def of_spaces(self, scope: Scope, names: list[str] | None, filters: Filters) -> Where:
        """Memories of these spaces; ``None``: of all that the key may use. Raises ``SpaceNotFound``."""
        spaces = await self._spaces.readable(scope, names)
        found = {space.space_id: space.name for space in spaces.values()}
        return Where(Query(tuple(sorted(found)), filters), found, rerank=_rerank(spaces.values()))

    async def of(self, scope: Scope, sources: tuple[Source, ...], filters: Filters) -> Where:
        """These sources alone. Raises ``InvalidRequest``, ``SpaceNotFound``, ``NotFound``, ``VersionGone``."""
        spaces = [one for one in sources if isinstance(one, SpaceSource)]
        bases = [one for one in sources if isinstance(one, KnowledgeSource)]
        if len({one.space for one in spaces}) < len(spaces) or len({one.name for one in bases}) < len(bases):
            raise InvalidRequest("sources: one is named twice")
        if not spaces and filters.selective:
            raise InvalidRequest("filters, as_of and known_at choose memories, and no space is among the sources")
        known = await self._spaces.readable(scope, [one.space for one in spaces]) if spaces else {}
        pins = await together([self.pin(scope, one.name, one.selector) for one in bases])
        names = {space.space_id: space.name for space in known.values()} | {pin.kb_id: pin.space for pin in pins}
        caps = {known[one.space].space_id: one.limit for one in spaces if one.limit is not None}
        caps |= {pin.kb_id: one.limit for one, pin in zip(bases, pins, strict=True) if one.limit is not None}
        pinned = [PinnedSource(pin.kb_id, pin.seq, one.metadata, one.documents) for one, pin in zip(bases, pins, strict=True)]
        query = Query(tuple(sorted(space.space_id for space in known.values())), filters, tuple(pinned))
        return Where(query, names, caps, _rerank(known.values()))

    async def pin(self, scope: Scope, name: str, selector: str) -> Pin:
        """One version. Raises ``NotFound``, also outside the key's spaces, and ``VersionGone``."""
        pin = await self._versions.resolve(scope, name, selector)
        if not scope.may_use(pin.space):
            raise NotFound("no such knowledge base")
        return pin


def _rerank(spaces: Iterable[Space]) -> Reranking | None:
    return agreed(space.rerank for space in spaces)
