"""The revisions of documents that the draft of their knowledge base has to do with."""

from dataclasses import dataclass

from memoryd.knowledge.model import NewDocument
from memoryd.stores.knowledge.locks import IN_SPACES
from memoryd.stores.trips import Cursor
from retrieval.filters import JsonValue

_SAID = "d.complete, d.content_hash, d.settings_hash, d.chunks, d.title, d.source_uri, d.metadata, d.object_key"
OF_DRAFT = "(d.to_seq = v.seq OR d.to_seq IS NULL AND (d.complete OR d.from_seq = v.seq))"
# Of each the open one, the one that is being written, and the one that the draft closed. Document by document: the planner would
# rather read a whole knowledge base, of which it expects little where most are small.
REVISIONS = f"""
SELECT d.document_id, d.document_pid, d.from_seq, d.to_seq, {_SAID}
FROM kb_versions v CROSS JOIN unnest(%(documents)s::text[]) AS q(document) CROSS JOIN LATERAL (
    SELECT d.* FROM kb_documents d
    WHERE d.tenant_id = %(tenant)s AND d.kb_id = %(kb)s AND d.document_id = q.document AND {OF_DRAFT} FOR UPDATE) d
WHERE v.tenant_id = %(tenant)s AND v.kb_id = %(kb)s AND v.state = 'draft'
"""
# Without a draft: the one that a draft would have if it were begun now. Document by document, as well.
LIVE = f"""
SELECT d.document_id, d.document_pid, d.from_seq, NULL::bigint, {_SAID}
FROM knowledge_bases b CROSS JOIN unnest(%(documents)s::text[]) AS q(document) CROSS JOIN LATERAL (
    SELECT * FROM kb_documents k
    WHERE k.tenant_id = %(tenant)s AND k.kb_id = %(kb)s AND k.document_id = q.document AND k.complete
        AND k.from_seq <= b.live_seq AND (k.to_seq IS NULL OR k.to_seq > b.live_seq) LIMIT 1) d
WHERE b.tenant_id = %(tenant)s AND b.kb_id = %(kb)s AND {IN_SPACES}
    AND NOT EXISTS (
        SELECT FROM kb_versions v WHERE v.tenant_id = b.tenant_id AND v.kb_id = b.kb_id AND v.state = 'draft')
"""


@dataclass(frozen=True, slots=True)
class Revision:
    """A row of :data:`REVISIONS` or :data:`LIVE`."""

    document_id: str
    document_pid: int
    from_seq: int
    to_seq: int | None
    complete: bool
    content_hash: bytes
    settings_hash: bytes
    chunks: int
    title: str | None
    source_uri: str | None
    metadata: dict[str, JsonValue]
    object_key: str | None

    def same(self, document: NewDocument) -> bool:
        """Made of the same bytes in the same way."""
        return (self.content_hash, self.settings_hash) == (document.content_hash, document.settings_hash)

    def stands(self, document: NewDocument) -> bool:
        """There is nothing to write of ``document``: it was ingested, and with all that it says about itself."""
        kept = self.object_key is not None or document.object_key is None
        return self.complete and self.to_seq is None and self.same(document) and self.described(document) and kept

    def described(self, document: NewDocument) -> bool:
        """Already says all that ``document`` says about itself; what that leaves out stays."""
        said = ((document.title, self.title), (document.source_uri, self.source_uri), (document.metadata, self.metadata))
        return all(new is None or new == old for new, old in said)


async def revisions(cursor: Cursor) -> list[Revision]:
    """What :data:`REVISIONS` or :data:`LIVE` found."""
    return [Revision(*row) for row in await cursor.fetchall()]
