"""Reading one version of a knowledge base: what is visible at its number."""

from uuid import UUID

from psycopg.rows import TupleRow

from memoryd.errors import NotFound
from memoryd.knowledge.model import Chunk, Document, Pin, ReadySection
from memoryd.stores.database import Database
from retrieval.scope import Scope

_AT = """
d.tenant_id = %(tenant)s AND d.kb_id = %(kb)s AND d.complete
    AND d.from_seq <= %(seq)s AND (d.to_seq IS NULL OR d.to_seq > %(seq)s)
"""
_DOCUMENT_COLUMNS = """d.document_id, d.title, d.media_type, d.source_uri, d.metadata, encode(d.content_hash, 'hex'), d.bytes,
    d.pages, d.characters, d.chunks, d.tokens, d.warnings, d.from_seq, d.stored_at"""
_DOCUMENTS = f"""
SELECT {_DOCUMENT_COLUMNS} FROM kb_documents d
WHERE {_AT} AND d.document_id > %(after)s ORDER BY d.document_id LIMIT %(limit)s
"""
_DOCUMENT = f"SELECT {_DOCUMENT_COLUMNS}, d.object_key FROM kb_documents d WHERE {_AT} AND d.document_id = %(document)s"
_CHUNK_COLUMNS = """c.chunk_id, c.ordinal, c.section, s.path, c.prefix, c.text, c.kind, c.span_start, c.span_end, c.page_first,
    c.page_last, c.tokens, encode(c.hash, 'hex')"""
_SECTION = "JOIN kb_sections s ON s.tenant_id = %(tenant)s AND s.document_pid = c.document_pid AND s.ordinal = c.section"
_CHUNKS = f"""
SELECT {_CHUNK_COLUMNS}
FROM kb_documents d
JOIN kb_chunks c ON c.tenant_id = %(tenant)s AND c.document_pid = d.document_pid
{_SECTION}
WHERE {_AT} AND d.document_id = %(document)s AND c.ordinal > %(after)s ORDER BY c.ordinal LIMIT %(limit)s
"""
_CHUNK = f"""
SELECT {_CHUNK_COLUMNS}, s.ordinal, s.text, s.span_start, s.span_end, s.page_first, s.page_last, s.tokens, {_DOCUMENT_COLUMNS}
FROM kb_chunks c
JOIN kb_documents d ON d.tenant_id = %(tenant)s AND d.document_pid = c.document_pid
{_SECTION}
WHERE c.tenant_id = %(tenant)s AND c.chunk_id = %(chunk)s AND {_AT}
"""
_WIDTH = 13


class PgDocuments:
    """:class:`memoryd.knowledge.ports.DocumentReader` on PostgreSQL. A pin was given to who may read it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def documents(self, scope: Scope, pin: Pin, *, after: str | None, limit: int) -> list[Document]:
        """By document id."""
        rows = await self._database.read(scope, _DOCUMENTS, _params(scope, pin) | {"after": after or "", "limit": limit})
        return [_document(row) for row in rows]

    async def document(self, scope: Scope, pin: Pin, document_id: str) -> Document:
        """Raises ``NotFound``."""
        return _document((await self._one(scope, pin, document_id))[:-1])

    async def chunks(self, scope: Scope, pin: Pin, document_id: str, *, after: int, limit: int) -> list[Chunk]:
        """In order, those with an ordinal above ``after``."""
        params = _params(scope, pin) | {"document": document_id, "after": after, "limit": limit}
        return [_chunk(row) for row in await self._database.read(scope, _CHUNKS, params)]

    async def section(self, scope: Scope, pin: Pin, chunk_id: UUID) -> tuple[Chunk, ReadySection, Document]:
        """A chunk with the section it is of. Raises ``NotFound``."""
        rows = await self._database.read(scope, _CHUNK, _params(scope, pin) | {"chunk": chunk_id})
        if not rows:
            raise NotFound("no such chunk in this version")
        chunk = _chunk(rows[0][:_WIDTH])
        ordinal, text, *rest = rows[0][_WIDTH : _WIDTH + 7]
        return chunk, ReadySection(ordinal, chunk.path, text, *rest), _document(rows[0][_WIDTH + 7 :])

    async def object_key(self, scope: Scope, pin: Pin, document_id: str) -> str | None:
        """Where its original lies. Raises ``NotFound``."""
        key: str | None = (await self._one(scope, pin, document_id))[-1]
        return key

    async def _one(self, scope: Scope, pin: Pin, document_id: str) -> TupleRow:
        rows = await self._database.read(scope, _DOCUMENT, _params(scope, pin) | {"document": document_id})
        if not rows:
            raise NotFound("no such document in this version")
        return rows[0]


def _params(scope: Scope, pin: Pin) -> dict[str, object]:
    return {"tenant": scope.tenant_id, "kb": pin.kb_id, "seq": pin.seq}


def _document(row: TupleRow) -> Document:
    (document_id, title, media_type, uri, metadata, content, size, pages, characters, chunks, tokens, warnings, since, at) = row
    return Document(
        document_id=document_id,
        title=title,
        media_type=media_type,
        source_uri=uri,
        metadata=metadata,
        content_hash=content,
        size=size,
        pages=pages,
        characters=characters,
        chunks=chunks,
        tokens=tokens,
        warnings=tuple(warnings),
        from_seq=since,
        stored_at=at,
    )


def _chunk(row: TupleRow) -> Chunk:
    chunk_id, ordinal, section, path, prefix, text, kind, start, end, first, last, tokens, content = row
    pages = None if first is None else (first, first if last is None else last)
    return Chunk(chunk_id, ordinal, section, tuple(path), prefix, text, kind, (start, end), pages, tokens, content)
