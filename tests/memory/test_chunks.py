"""Chunks as they are opened: where each stands in its section."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

from ingestion.chunk import Chunker, Chunking, Section
from ingestion.document import BlockKind, render_document
from memoryd.access.service import SpaceService
from memoryd.knowledge.model import Chunk, Document, Pin, ReadySection
from memoryd.memory.chunks import Chunks
from memoryd.memory.sources import Sources
from retrieval.scope import Action, Scope
from tests.ingestion.chunk.documents import ByteTokenizer, blocks_of

SCOPE = Scope(UUID(int=1), "key", frozenset({Action.READ}), None)
DOCUMENT = Document("d", "D", None, None, {}, "", 1, None, 1, 1, 1, (), 1, datetime(2026, 1, 1, tzinfo=UTC))


class Live:
    """:class:`memoryd.memory.sources.Versions` of one version."""

    async def resolve(self, scope: Scope, name: str, selector: str) -> Pin:
        return Pin(UUID(int=2), name, "default", 1)


@dataclass
class Cut:
    """:class:`memoryd.memory.chunks.Sections` of a document; a chunk's id is its ordinal."""

    sections: list[Section]

    async def section(self, scope: Scope, pin: Pin, chunk_id: UUID) -> tuple[Chunk, ReadySection, Document]:
        one, found = next((one, found) for found in self.sections for one in found.chunks if one.ordinal == chunk_id.int)
        span = one.start, one.end
        chunk = Chunk(chunk_id, one.ordinal, found.ordinal, found.path, one.prefix, one.text, one.kind, span, None, 1, "")
        return chunk, ReadySection(found.ordinal, found.path, found.text, found.start, found.end, None, None, 1), DOCUMENT


async def test_a_chunk_is_found_in_its_section_though_it_shows_a_header_or_stands_there_twice() -> None:
    header = "| name | value |\n| --- | --- |\n"
    rows = [f"| entry number {n} | the value {n} |" for n in range(200)]
    said = "Everybody asks the office in writing. " * 20
    paragraph = BlockKind.PARAGRAPH
    blocks = blocks_of((paragraph, said), (paragraph, said), (BlockKind.TABLE, header + "\n".join(rows)))
    text = render_document(blocks)
    chunker = Chunker(ByteTokenizer(), Chunking(max_tokens=300, overlap_tokens=0), readable=500)
    sections = list(chunker.sections(blocks))
    chunks = Chunks(Sources(cast("SpaceService", None), Live()), Cut(sections))
    every = [(one, section) for section in sections for one in section.chunks]
    assert any(section.text != text[section.start : section.end] for section in sections)  # begins with the header again
    assert any(section.text.count(one.text) > 1 for one, section in every)
    assert sum(one.text not in section.text for one, section in every) > 5
    for one, section in every:
        shown, at = await chunks.text(SCOPE, "kb", "1", UUID(int=one.ordinal), in_section=True)
        assert shown.text == section.text
        assert shown.text[at:].startswith(text[one.start : one.end])
        assert len(shown.text) - at == section.end - one.start
        alone, at = await chunks.text(SCOPE, "kb", "1", UUID(int=one.ordinal), in_section=False)
        assert (alone.text, at) == (one.text, 0)
