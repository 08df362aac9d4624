"""The revisions of a document that the draft of its knowledge base has to do with."""

from dataclasses import dataclass

from memoryd.knowledge.model import NewDocument
from retrieval.filters import JsonValue

OF_DRAFT = "(d.to_seq = v.seq OR d.to_seq IS NULL AND (d.complete OR d.from_seq = v.seq))"
# The open one, the one that is being written, and the one that the draft closed.
REVISIONS = f"""
SELECT document_pid, d.from_seq, d.to_seq, d.complete, content_hash, settings_hash, d.chunks, title, source_uri, metadata,
    object_key
FROM kb_versions v JOIN kb_documents d ON d.tenant_id = v.tenant_id AND d.kb_id = v.kb_id
WHERE v.tenant_id = %(tenant)s AND v.kb_id = %(kb)s AND v.state = 'draft' AND d.document_id = %(document)s
    AND {OF_DRAFT}
FOR UPDATE OF d
"""


@dataclass(frozen=True, slots=True)
class Revision:
    """A row of :data:`REVISIONS`."""

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
