"""Chunks of documents in a context: what is cited of them, and what there is more of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from memoryd.errors import NotFound
from memoryd.knowledge.model import Chunk, Document, Pin, ReadySection
from memoryd.memory.handles import ChunkHandle
from memoryd.memory.sources import Sources
from retrieval.packing import Candidate, PackedItem, Rendition
from retrieval.ports import CHUNK, DOCUMENT, Citation, Item
from retrieval.scope import Scope


class Sections(Protocol):
    """The part of :class:`memoryd.knowledge.ports.DocumentReader` that expanding needs."""

    async def section(self, scope: Scope, pin: Pin, chunk_id: UUID) -> tuple[Chunk, ReadySection, Document]:
        """A chunk with the section it is of. Raises ``NotFound``."""


@dataclass(frozen=True, slots=True)
class Cited:
    """Where a shown text stands; ``in_section``: it is the section around the chunk, not the chunk."""

    citation: Citation
    kb_id: UUID
    space: str
    uri: str | None
    in_section: bool = False

    def handle(self, item: PackedItem, seen_chars: int, terms: tuple[str, ...]) -> ChunkHandle:
        """What shows more of it than ``item`` does."""
        return ChunkHandle(
            chunk_id=UUID(item.id),
            space=self.space,
            rendition=item.rendition,
            kb_id=self.kb_id,
            kb=self.citation.kb,
            version=self.citation.version,
            in_section=self.in_section,
            seen_chars=seen_chars,
            terms=terms,
        )


def cited(item: Item, spaces: Mapping[UUID, str]) -> Cited | None:
    """Where a hit stands; ``None`` for a memory."""
    if item.citation is None:
        return None
    return Cited(item.citation, item.space_id, spaces[item.space_id], item.source_uri)


def origin(citation: Citation) -> tuple[str, ...]:
    """The place in words: the document, the headings below its title, the pages."""
    document = citation.title or citation.document_id
    headings = citation.section[1:] if citation.section[:1] == (document,) else citation.section
    parts = [document]
    if headings:
        parts.append(" › ".join(headings))
    if citation.pages is not None:
        first, last = citation.pages
        parts.append(f"page {first}" if first == last else f"pages {first}–{last}")
    return tuple(parts)


class Chunks:
    """Opens what a handle is of, in the version that was shown, whatever is live by now."""

    def __init__(self, sources: Sources, reader: Sections) -> None:
        self._sources = sources
        self._reader = reader

    async def text(self, scope: Scope, kb: str, version: str, chunk_id: UUID, *, in_section: bool) -> tuple[Candidate, int]:
        """A chunk by its name, or the section around it, and where in that it begins. Raises ``NotFound``, ``VersionGone``."""
        pin = await self._sources.pin(scope, kb, version)
        chunk, section, document = await self._reader.section(scope, pin, chunk_id)
        shown, _ = _shown(pin, chunk, section, document, in_section=in_section)
        return shown, shown.matched_at

    async def open(self, scope: Scope, handle: ChunkHandle) -> tuple[Candidate, Cited]:
        """The chunk, or where all of it was shown, the section that it stands in. Raises ``NotFound``, ``VersionGone``."""
        pin = await self._sources.pin(scope, handle.kb, str(handle.version))
        if pin.kb_id != handle.kb_id:
            raise NotFound("no such knowledge base")
        chunk, section, document = await self._reader.section(scope, pin, handle.chunk_id)
        in_section = handle.in_section or handle.rendition == Rendition.FULL
        return _shown(pin, chunk, section, document, in_section=in_section)


def _shown(pin: Pin, chunk: Chunk, section: ReadySection, document: Document, *, in_section: bool) -> tuple[Candidate, Cited]:
    citation = Citation(
        kb=pin.name,
        version=pin.seq,
        document_id=document.document_id,
        title=document.title,
        media_type=document.media_type,
        section=section.path,
        pages=_pages(section) if in_section else chunk.pages,
        span=(section.start, section.end) if in_section else chunk.span,
        prefix=chunk.prefix,
    )
    shown = Candidate(
        id=str(chunk.chunk_id),
        text=section.text if in_section else chunk.text,
        score=1.0,
        kind=CHUNK,
        section=CHUNK,
        source_type=DOCUMENT,
        source_uri=document.source_uri,
        external_id=document.document_id,
        origin=origin(citation),
        matched_at=_begins(chunk, section) if in_section else 0,
    )
    return shown, Cited(citation, pin.kb_id, pin.space, document.source_uri, in_section)


def _begins(chunk: Chunk, section: ReadySection) -> int:
    """Where a chunk begins in its section's text: by the spans, as its own text may show a header that stands far above."""
    header = len(section.text) - (section.end - section.start)  # of a table that an earlier section began
    return max(0, header) + max(0, chunk.span[0] - section.start)


def _pages(section: ReadySection) -> tuple[int, int] | None:
    if section.page_first is None:
        return None
    return section.page_first, section.page_first if section.page_last is None else section.page_last
