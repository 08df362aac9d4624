"""From knowledge bases to the bodies of answers."""

from collections.abc import Sequence
from urllib.parse import quote

from ingestion.chunk import Chunking
from memoryd.http.cursors import to_diff_cursor, to_version_cursor
from memoryd.http.schemas.knowledge import (
    BaseOut,
    ChunkingIn,
    ChunkingOut,
    ChunkingPatch,
    ChunkOut,
    ChunkPage,
    CollectedOut,
    CountsOut,
    DiffOut,
    DocumentChangeOut,
    DocumentOut,
    DocumentPage,
    VersionOut,
)
from memoryd.knowledge.model import Chunk, ChunkingChange, Collected, Counts, Diff, Document, KnowledgeBase, Pin, Version


def chunking(body: ChunkingIn) -> Chunking:
    """The settings that were asked for."""
    return Chunking(body.strategy, body.max_tokens, body.overlap_tokens)


def chunking_change(body: ChunkingPatch | None) -> ChunkingChange:
    """Those of the settings that are to change."""
    return ChunkingChange() if body is None else ChunkingChange(body.strategy, body.max_tokens, body.overlap_tokens)


def base_out(base: KnowledgeBase) -> BaseOut:
    """A knowledge base."""
    cut = base.chunking
    return BaseOut(
        id=base.kb_id,
        name=base.name,
        space=base.space,
        description=base.description,
        chunking=ChunkingOut(strategy=cut.strategy, max_tokens=cut.max_tokens, overlap_tokens=cut.overlap_tokens),
        retain=base.retain,
        live=base.live_seq,
        newest=base.newest_seq,
        created_at=base.created_at,
        updated_at=base.updated_at,
    )


def version_out(version: Version) -> VersionOut:
    """A version."""
    return VersionOut(
        version=version.seq,
        state=version.state,
        live=version.live,
        tags=list(version.tags),
        base=version.base_seq,
        documents=version.documents,
        chunks=version.chunks,
        tokens=version.tokens,
        manifest=version.manifest,
        note=version.note,
        created_at=version.created_at,
        published_at=version.published_at,
        published_by=version.published_by,
    )


def diff_out(diff: Diff) -> DiffOut:
    """What differs."""
    return DiffOut(
        before=diff.before,
        after=diff.after,
        documents=_counts(diff.documents),
        chunks=_counts(diff.chunks),
        changes=[
            DocumentChangeOut(
                document_id=one.document_id,
                change=one.change,
                chunks_added=one.chunks_added,
                chunks_removed=one.chunks_removed,
            )
            for one in diff.changes
        ],
        next_cursor=to_diff_cursor(diff.before, diff.after, diff.changes[-1].document_id) if diff.more and diff.changes else None,
    )


def _counts(counts: Counts) -> CountsOut:
    return CountsOut(added=counts.added, removed=counts.removed, changed=counts.changed, unchanged=counts.unchanged)


def collected_out(done: Collected) -> CollectedOut:
    """What went."""
    return CollectedOut(versions=list(done.versions), documents=done.documents, chunks=done.chunks)


def document_out(document: Document) -> DocumentOut:
    """A document."""
    return DocumentOut(
        document_id=document.document_id,
        title=document.title,
        media_type=document.media_type,
        uri=document.source_uri,
        metadata=dict(document.metadata),
        sha256=document.content_hash,
        bytes=document.size,
        pages=document.pages,
        characters=document.characters,
        chunks=document.chunks,
        tokens=document.tokens,
        warnings=list(document.warnings),
        since=document.from_seq,
        stored_at=document.stored_at,
    )


def document_page(pin: Pin, found: Sequence[Document], limit: int) -> DocumentPage:
    """Of ``limit + 1`` documents, the page."""
    return DocumentPage(
        version=pin.seq,
        documents=[document_out(one) for one in found[:limit]],
        next_cursor=to_version_cursor(pin.seq, found[limit - 1].document_id) if len(found) > limit else None,
    )


def chunk_page(pin: Pin, document_id: str, found: Sequence[Chunk], limit: int) -> ChunkPage:
    """Of ``limit + 1`` chunks, the page."""
    return ChunkPage(
        version=pin.seq,
        document_id=document_id,
        chunks=[_chunk(one) for one in found[:limit]],
        next_cursor=to_version_cursor(pin.seq, str(found[limit - 1].ordinal)) if len(found) > limit else None,
    )


def _chunk(chunk: Chunk) -> ChunkOut:
    return ChunkOut(
        id=chunk.chunk_id,
        ordinal=chunk.ordinal,
        section=list(chunk.path),
        prefix=chunk.prefix,
        text=chunk.text,
        kind=chunk.kind,
        span=chunk.span,
        pages=chunk.pages,
        tokens=chunk.tokens,
        sha256=chunk.hash,
    )


def disposition(name: str) -> str:
    """A ``Content-Disposition`` for a download (RFC 6266): never rendered in place."""
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"
