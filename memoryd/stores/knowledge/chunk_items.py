"""Reads the chunks behind pids, as pinned versions have them."""

from collections.abc import Sequence

from psycopg.rows import TupleRow

from memoryd.stores.arrays import int8s
from memoryd.stores.database import Database
from memoryd.stores.knowledge.chunk_sql import PINS, pinned, visible
from retrieval.ports import CHUNK, DOCUMENT, Citation, Following, Item, Query, Turn
from retrieval.scope import Scope

_READ = f"""
SELECT c.chunk_id, c.pid, k.kb_id, k.seq, b.name, d.document_id, d.title, d.media_type, d.source_uri, d.metadata, d.stored_at,
       c.ordinal, c.prefix, c.text, c.span_start, c.span_end, c.page_first, c.page_last, s.path
FROM unnest(%(pids)s::bigint[]) AS wanted(pid)
CROSS JOIN LATERAL (SELECT * FROM kb_chunks WHERE tenant_id = %(tenant)s AND pid = wanted.pid OFFSET 0) c
JOIN {PINS} ON k.kb_id = c.kb_id AND {visible("c")}
JOIN knowledge_bases b ON b.tenant_id = %(tenant)s AND b.kb_id = k.kb_id
CROSS JOIN LATERAL (
    SELECT * FROM kb_documents WHERE tenant_id = %(tenant)s AND document_pid = c.document_pid OFFSET 0) d
CROSS JOIN LATERAL (
    SELECT path FROM kb_sections
    WHERE tenant_id = %(tenant)s AND document_pid = c.document_pid AND ordinal = c.section OFFSET 0) s
WHERE {{where}}
"""


class PgChunkItems:
    """:class:`retrieval.ports.ItemReader` over ``query.pins``. Chunks have no neighbours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, scope: Scope, query: Query, pids: Sequence[int]) -> dict[int, Item]:
        """Items by pid, the pins and their filters applied once more; pids of passages are of no chunk."""
        if not pids:
            return {}
        where = pinned(query.pins)
        params = where.params | {"tenant": scope.tenant_id, "pids": int8s(list(pids))}
        sql = _READ.format(where=where.where or "true")
        return {item.pid: item for item in map(_item, await self._database.read(scope, sql, params))}

    async def following(self, scope: Scope, query: Query, pids: Sequence[int], *, turns: int) -> list[Following]:
        """Nothing: a document's next chunk is found by itself."""
        return []

    async def preceding(self, scope: Scope, query: Query, pids: Sequence[int]) -> dict[int, Turn]:
        """Nothing: what stands before a chunk is said by its prefix."""
        return {}


def _item(row: TupleRow) -> Item:
    (chunk_id, pid, kb_id, seq, name, document_id, title, media_type, source_uri, metadata, stored_at, *rest) = row
    (ordinal, prefix, text, start, end, page_first, page_last, path) = rest
    return Item(
        memory_id=chunk_id,
        revision=seq,
        pid=pid,
        span=(0, len(text)),
        space_id=kb_id,
        external_id=document_id,
        kind=CHUNK,
        text=text,
        speaker=None,
        user_id=None,
        agent_id=None,
        session_id=None,
        event_time=None,
        occurred_at=stored_at,
        seq=ordinal,
        recorded_at=stored_at,
        valid_from=None,
        valid_to=None,
        source_type=DOCUMENT,
        source_uri=source_uri,
        confidence=1.0,
        topics=(),
        metadata=metadata,
        superseded_by=None,
        citation=Citation(
            kb=name,
            version=seq,
            document_id=document_id,
            title=title,
            media_type=media_type,
            section=tuple(path),
            pages=None if page_first is None else (page_first, page_first if page_last is None else page_last),
            span=(start, end),
            prefix=prefix,
        ),
    )
