"""Beginning documents in a draft, several in one trip: most are new to their knowledge base, or as they were."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from uuid import UUID

from psycopg.types.json import Jsonb

from memoryd.errors import StoreUnavailable
from memoryd.jobs.ports import NotYet
from memoryd.knowledge.model import NewDocument, Overtaken, Staging
from memoryd.stores.database import Database
from memoryd.stores.jobs.order import NOT_OVERTAKEN, OVERTAKEN, overtaken
from memoryd.stores.knowledge.locks import BEGINNING, BEGUN, naming
from memoryd.stores.knowledge.revisions import LIVE, OF_DRAFT, REVISIONS, revisions
from memoryd.stores.trips import Cursor
from memoryd.together import Company, Together
from retrieval.scope import Scope

_DOCUMENTS = """
INSERT INTO kb_documents (tenant_id, kb_id, document_id, from_seq, content_hash, settings_hash, title, media_type, source_uri,
    metadata, object_key, bytes, stored_at)
SELECT %(tenant)s, %(kb)s, q.document, v.seq, decode(q.content, 'hex'), decode(q.settings, 'hex'), q.title, q.media_type, q.uri,
    coalesce(q.metadata, '{}'), q.key, q.size, %(now)s
FROM jsonb_to_recordset(%(rows)s::jsonb) AS q(document text, content text, settings text, title text, media_type text, uri text,
        metadata jsonb, key text, size bigint)
    CROSS JOIN"""
INSERT = f"{_DOCUMENTS} (SELECT %(seq)s::bigint AS seq) v RETURNING document_pid"
"""Documents (``rows``, see :func:`row`) into the draft of that number."""
# Behind ``BEGINNING``, in the same trip. The subquery with its limit is asked document by document: as an anti-join, of which
# the planner expects little where most knowledge bases are small, all of a large one would be read.
_INSERT_NEW = f"""
{_DOCUMENTS} (SELECT {BEGUN} AS seq) v
WHERE v.seq IS NOT NULL AND (
    SELECT 1 FROM kb_documents d
    WHERE d.tenant_id = %(tenant)s AND d.kb_id = %(kb)s AND d.document_id = q.document AND {OF_DRAFT} LIMIT 1) IS NULL
    AND {NOT_OVERTAKEN}
RETURNING document_id, document_pid
"""
_SENT = (BEGINNING, OVERTAKEN, REVISIONS, _INSERT_NEW, LIVE)


class Beginning(Enum):
    """How a document was not begun: nothing is to be done, for it stands; more is to be done; there is no draft."""

    STANDS = "stands"
    OTHERWISE = "otherwise"
    NO_DRAFT = "no draft"


@dataclass(frozen=True, slots=True)
class _Asked:
    scope: Scope
    kb_id: UUID
    document: NewDocument
    now: datetime
    by: UUID | None


class Beginnings:
    """Begins documents that are new to what their draft has."""

    def __init__(self, database: Database, company: Company) -> None:
        self._database = database
        self._together = Together(self._begun, company, final=StoreUnavailable)

    async def begun(
        self, scope: Scope, kb_id: UUID, document: NewDocument, now: datetime, by: UUID | None
    ) -> Staging | Beginning | Overtaken | NotYet:
        """Together with others that the same job begins at the same time."""
        return await self._together.ask((scope.tenant_id, scope.spaces, kb_id, by), _Asked(scope, kb_id, document, now, by))

    async def _begun(self, key: tuple[Hashable, ...], asked: Sequence[_Asked]) -> list[Staging | Beginning | Overtaken | NotYet]:
        # Of two of one id the second is begun when the first was.
        first = {one.document.document_id: one for one in reversed(asked)}
        scope, kb_id = asked[0].scope, asked[0].kb_id
        params = naming(scope, kb_id) | {
            "documents": sorted(first),
            "rows": Jsonb([row(one.document) for one in first.values()]),
            "now": max(one.now for one in asked),
            "by": asked[0].by,
        }
        # Sent again, it finds what it inserted among the revisions. It waits for the disk: a number that a crash of the server
        # took back would be another document's next, and what is written to it with that.
        looked = await self._database.at_once(scope, [(one, params) for one in _SENT])
        return await _told(asked, first, kb_id, *looked)


async def _told(
    asked: Sequence[_Asked],
    first: dict[str, _Asked],
    kb_id: UUID,
    draft: Cursor,
    others: Cursor,
    of_draft: Cursor,
    inserted: Cursor,
    live: Cursor,
) -> list[Staging | Beginning | Overtaken | NotYet]:
    found = await draft.fetchone()
    there = defaultdict(list)
    for one in await revisions(live if found is None else of_draft):
        there[one.document_id].append(one)
    pids: dict[str, int] = dict(await inserted.fetchall())
    of_others = await overtaken(others)

    def told(one: _Asked) -> Staging | Beginning | Overtaken | NotYet:
        document_id = one.document.document_id
        if first[document_id] is not one:
            return Beginning.OTHERWISE
        if found is not None and document_id in pids:
            return Staging(kb_id, found[0], pids[document_id], 0)
        if document_id in of_others:
            return of_others[document_id]
        if [revision.stands(one.document) for revision in there[document_id]] == [True]:
            return Beginning.STANDS
        return Beginning.NO_DRAFT if found is None else Beginning.OTHERWISE

    return [told(one) for one in asked]


def row(document: NewDocument) -> dict[str, object]:
    """A document that is begun, as JSON."""
    return {
        "document": document.document_id,
        "content": document.content_hash.hex(),
        "settings": document.settings_hash.hex(),
        "title": document.title,
        "media_type": document.media_type,
        "uri": document.source_uri,
        "metadata": None if document.metadata is None else dict(document.metadata),
        "key": document.object_key,
        "size": document.size,
    }
