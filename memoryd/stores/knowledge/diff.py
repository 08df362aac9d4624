"""What differs between two versions. Rows that both have are not looked at: it costs what differs, and the list of documents."""

from uuid import UUID

from memoryd.errors import NotFound, VersionGone
from memoryd.knowledge.model import Change, Counts, Diff, DocumentChange, VersionState
from memoryd.stores.database import Database
from memoryd.stores.knowledge.locks import THERE, naming
from memoryd.stores.trips import Connection
from retrieval.scope import Scope

_STATES = f"""
SELECT v.seq, v.state FROM knowledge_bases b JOIN kb_versions v ON v.tenant_id = b.tenant_id AND v.kb_id = b.kb_id
WHERE b.tenant_id = %(tenant)s AND b.kb_id = %(kb)s AND {THERE} AND v.seq IN (%(before)s, %(after)s)
"""
_OF = """
SELECT document_pid, document_id, chunks FROM kb_documents
WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s AND complete AND from_seq <= %(seq)s AND (to_seq IS NULL OR to_seq > %(seq)s)
"""
_SAID = "{0}.content_hash, {0}.settings_hash, {0}.title, {0}.media_type, {0}.source_uri, {0}.metadata"
_PAIRS = f"""
WITH pairs AS MATERIALIZED (
    SELECT document_id, b.document_pid AS old, a.document_pid AS new, coalesce(b.chunks, 0) AS old_chunks
    FROM ({_OF.replace("%(seq)s", "%(before)s")}) b FULL JOIN ({_OF.replace("%(seq)s", "%(after)s")}) a USING (document_id)),
differing AS MATERIALIZED (
    SELECT p.document_id, p.old, p.new,
        CASE WHEN p.old IS NULL THEN 'added' WHEN p.new IS NULL THEN 'removed'
             WHEN ({_SAID.format("x")}) IS DISTINCT FROM ({_SAID.format("y")}) THEN 'changed' END AS change
    FROM pairs p
    LEFT JOIN kb_documents x ON x.tenant_id = %(tenant)s AND x.document_pid = p.old
    LEFT JOIN kb_documents y ON y.tenant_id = %(tenant)s AND y.document_pid = p.new
    WHERE p.old IS DISTINCT FROM p.new)
"""
# A chunk of a document is what it says; said twice it counts twice.
_CHUNKS = """
SELECT s.document_id, sum(greatest(s.new - s.old, 0)) AS added, sum(greatest(s.old - s.new, 0)) AS removed
FROM (SELECT q.document_id, c.hash, count(*) FILTER (WHERE c.document_pid = q.new) AS new,
          count(*) FILTER (WHERE c.document_pid = q.old) AS old
      FROM {of} q JOIN kb_chunks c ON c.tenant_id = %(tenant)s AND c.document_pid IN (q.old, q.new)
      GROUP BY q.document_id, c.hash) s
GROUP BY s.document_id
"""
_COUNTS = f"""
{_PAIRS}
SELECT (SELECT count(*) FROM pairs), (SELECT coalesce(sum(old_chunks), 0)::bigint FROM pairs),
    count(*) FILTER (WHERE change = 'added'), count(*) FILTER (WHERE change = 'removed'),
    count(*) FILTER (WHERE change = 'changed'),
    (SELECT coalesce(sum(k.added), 0)::bigint FROM ({_CHUNKS.format(of="differing")}) k),
    (SELECT coalesce(sum(k.removed), 0)::bigint FROM ({_CHUNKS.format(of="differing")}) k)
FROM differing
"""
_DIFFERS = f"{_PAIRS} SELECT EXISTS (SELECT FROM differing WHERE change IS NOT NULL)"
_PAGE = f"""
{_PAIRS},
page AS MATERIALIZED (
    SELECT * FROM differing WHERE change IS NOT NULL AND document_id > %(cursor)s ORDER BY document_id LIMIT %(limit)s)
SELECT p.document_id, p.change, coalesce(k.added, 0)::bigint, coalesce(k.removed, 0)::bigint
FROM page p LEFT JOIN ({_CHUNKS.format(of="page")}) k USING (document_id) ORDER BY p.document_id
"""


async def differs(connection: Connection, scope: Scope, kb_id: UUID, before: int, after: int) -> bool:
    """Whether a document was added, removed or changed on the way from one version to another."""
    params = naming(scope, kb_id) | {"before": before, "after": after}
    ((found,),) = await (await connection.execute(_DIFFERS, params)).fetchall()
    return bool(found)


async def diff(database: Database, scope: Scope, kb_id: UUID, before: int, after: int, *, cursor: str | None, limit: int) -> Diff:
    """``before`` 0 is the empty version; either may be the draft. Changes after document id ``cursor``.

    A document is changed when its bytes, the way they were cut, its title, URI or metadata are others. Raises ``NotFound``,
    ``VersionGone``.
    """
    params = naming(scope, kb_id) | {"before": before, "after": after, "cursor": cursor or "", "limit": limit + 1}
    states, counts, page = await database.read_all(scope, [(_STATES, params), (_COUNTS, params), (_PAGE, params)])
    known: dict[int, str] = dict(states)
    for seq in (before, after):
        if seq != 0 and seq not in known:
            raise NotFound("no such version")
        if known.get(seq) == VersionState.COLLECTED:
            raise VersionGone("this version was collected: what only it had is erased")
    documents, old_chunks, added, removed, changed, new_chunks, lost_chunks = counts[0]
    return Diff(
        before,
        after,
        Counts(added, removed, changed, documents - added - removed - changed),
        Counts(new_chunks, lost_chunks, 0, old_chunks - lost_chunks),
        tuple(DocumentChange(document_id, Change(change), *chunks) for document_id, change, *chunks in page[:limit]),
        more=len(page) > limit,
    )
