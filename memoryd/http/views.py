"""From the use cases' results to the bodies of answers."""

from collections.abc import Mapping
from typing import cast

from pydantic import JsonValue as PydanticJson

from memoryd.access.model import AuditEntry, OperatorEntry, Space, Tenant
from memoryd.access.service import NewKey
from memoryd.http.schemas.admin import AuditEntryOut, KeyOut, NewKeyOut, OperatorEntryOut, SpaceOut, TenantOut
from memoryd.http.schemas.common import SourceOut
from memoryd.http.schemas.knowledge_search import CitationOut
from memoryd.http.schemas.memories import MemoryOut, RevisionOut
from memoryd.http.schemas.recall import (
    ArmOut,
    ContextItemOut,
    ContextOut,
    DroppedOut,
    ExplainOut,
    HitOut,
    IntervalOut,
    MessageOut,
    RecallOut,
)
from memoryd.memory.context import Context
from memoryd.memory.model import Kind, Revision
from memoryd.memory.recall import Recalled
from memoryd.memory.reranking import StoredReranking
from retrieval.filters import JsonValue
from retrieval.ports import CHUNK, Citation
from retrieval.search import Explanation, Hit


def memory_out(revision: Revision) -> MemoryOut:
    """A memory as it stands."""
    return MemoryOut.model_validate(_fields(revision))


def revision_out(revision: Revision) -> RevisionOut:
    """One state, with who made it and why."""
    extra = {
        "action": revision.action,
        "actor": revision.actor,
        "reason": revision.reason,
        "retired_at": revision.retired_at,
    }
    return RevisionOut.model_validate(_fields(revision) | extra)


def _fields(revision: Revision) -> dict[str, object]:
    content = revision.content
    return {
        "id": revision.memory_id,
        "external_id": revision.external_id,
        "space": revision.space,
        "kind": content.kind,
        "text": content.text,
        "speaker": content.speaker,
        "role": content.role,
        "user_id": content.user_id,
        "agent_id": content.agent_id,
        "session_id": content.session_id,
        "event_time": content.event_time,
        "valid_from": content.valid_from,
        "valid_to": content.valid_to,
        "topics": list(content.topics),
        "confidence": content.confidence,
        "source": SourceOut(type=content.source_type, uri=content.source_uri),
        "metadata": content.metadata,
        "supersedes": content.supersedes,
        "superseded_by": revision.superseded_by,
        "revision": revision.revision,
        "created_at": revision.created_at,
        "updated_at": revision.recorded_at,
    }


def recall_out(recalled: Recalled, *, explain: bool, most: int) -> RecallOut:
    """Hits with everything they carry, but at most so many characters of each text."""
    result = recalled.result
    return RecallOut(
        hits=[_hit_out(hit, recalled.spaces[hit.item.space_id], explain=explain, most=most) for hit in result.hits],
        degraded=list(dict.fromkeys(result.degraded)),
        timings_ms={name: round(value, 3) for name, value in result.timings_ms.items()},
        understood=[IntervalOut(phrase=i.phrase, start=i.start, end=i.end) for i in result.intervals],
        reranked=result.reranked,
    )


def _hit_out(hit: Hit, space: str, *, explain: bool, most: int) -> HitOut:
    item = hit.item
    start, end = window(len(item.text), item.span, most)
    return HitOut.model_construct(
        id=item.memory_id,
        external_id=item.external_id,
        space=space,
        kind=Kind(item.kind) if item.citation is None else CHUNK,
        text=item.text[start:end],
        truncated=end - start < len(item.text),
        text_span=(start, end),
        score=hit.score,
        speaker=item.speaker,
        user_id=item.user_id,
        agent_id=item.agent_id,
        session_id=item.session_id,
        event_time=item.event_time,
        valid_from=item.valid_from,
        valid_to=item.valid_to,
        topics=list(item.topics),
        confidence=item.confidence,
        source=SourceOut(type=item.source_type, uri=item.source_uri),
        metadata=plain_json(item.metadata),
        revision=item.revision,
        recorded_at=item.recorded_at,
        passage=item.span,
        knowledge=None if item.citation is None else _citation_out(item.citation, item.source_uri),
        explain=explain_out(hit.explanation) if explain else None,
    )


def _citation_out(citation: Citation, uri: str | None) -> CitationOut:
    return CitationOut(
        kb=citation.kb,
        version=citation.version,
        document_id=citation.document_id,
        title=citation.title,
        section=list(citation.section),
        pages=citation.pages,
        span=citation.span,
        media_type=citation.media_type,
        uri=uri,
    )


def window(length: int, passage: tuple[int, int], most: int) -> tuple[int, int]:
    """The ``most`` of ``length`` characters to show: around the passage, or its beginning when it alone is longer."""
    if length <= most:
        return 0, length
    start, end = passage
    around = max(0, most - (end - start)) // 2
    first = min(max(0, start - around), length - most)
    return first, first + most


def plain_json(metadata: Mapping[str, JsonValue]) -> dict[str, PydanticJson]:
    """The same object: what the store read as JSON, under pydantic's name for it."""
    return {key: cast("PydanticJson", value) for key, value in metadata.items()}


def explain_out(explanation: Explanation) -> ExplainOut:
    """Rank and score per arm, fusion, boost, rerank."""
    names = dict.fromkeys((*explanation.ranks, *explanation.scores))
    return ExplainOut(
        arms={n: ArmOut(rank=explanation.ranks.get(n), score=explanation.scores.get(n)) for n in names},
        fused=explanation.fused,
        parts=dict(explanation.parts),
        temporal=explanation.temporal,
        rerank=explanation.rerank,
        via_neighbour=explanation.via_neighbour,
    )


def context_out(context: Context, budget_tokens: int, *, explain: bool) -> ContextOut:
    """The packed text with its manifest."""
    packed = context.packed
    result = context.recalled.result if context.recalled else None
    return ContextOut(
        text=packed.text,
        messages=[MessageOut(role=m["role"], content=m["content"]) for m in packed.messages] or None,
        used_tokens=packed.used_tokens,
        budget_tokens=budget_tokens,
        tokenizer=context.tokenizer,
        items=[
            ContextItemOut(
                id=item.id,
                external_id=item.external_id,
                citation=item.citation,
                rendition=item.rendition,
                tokens=item.tokens,
                why=item.why,
                section=item.section,
                user_id=item.subject,
                source=SourceOut(type=item.source_type or "", uri=item.source_uri),
                spans=[(span.start, span.end) for span in item.spans],
                merged=list(item.merged),
                handle=context.handles[item.id],
                knowledge=_citation_out(cited.citation, cited.uri) if (cited := context.cited.get(item.id)) else None,
                explain=explain_out(context.hits[item.id].explanation) if explain and item.id in context.hits else None,
            )
            for item in packed.items
        ],
        dropped=[DroppedOut(id=d.id, external_id=d.external_id, reason=d.reason, of=d.of) for d in packed.dropped],
        degraded=list(context.degraded),
        timings_ms={name: round(value, 3) for name, value in result.timings_ms.items()} if result else {},
    )


def space_out(space: Space) -> SpaceOut:
    """A space."""
    rerank = None if space.rerank is None else StoredReranking(space.rerank).written()
    return SpaceOut(id=space.space_id, name=space.name, description=space.description, rerank=rerank, created_at=space.created_at)


def key_out(key: NewKey) -> KeyOut:
    """A key without its secret."""
    return KeyOut.model_validate(_key_fields(key))


def new_key_out(key: NewKey) -> NewKeyOut:
    """A key just made."""
    return NewKeyOut.model_validate(_key_fields(key) | {"key": key.text})


def _key_fields(key: NewKey) -> dict[str, object]:
    record = key.record
    return {
        "id": record.key_id,
        "name": record.name,
        "prefix": key.prefix,
        "actions": sorted(record.actions),
        "spaces": None if record.spaces is None else sorted(record.spaces),
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "revoked_at": record.revoked_at,
        "last_used_at": record.last_used_at,
        "rotated_from": record.rotated_from,
    }


def tenant_out(tenant: Tenant) -> TenantOut:
    """A tenant."""
    return TenantOut(
        id=tenant.tenant_id,
        name=tenant.name,
        created_at=tenant.created_at,
        suspended_at=tenant.suspended_at,
        deleted_at=tenant.deleted_at,
    )


def audit_out(entry: AuditEntry) -> AuditEntryOut:
    """An entry of a tenant's audit log."""
    return AuditEntryOut(
        id=entry.audit_id,
        at=entry.at,
        principal=entry.principal,
        action=entry.action,
        object_type=entry.object_type,
        object_ids=list(entry.object_ids),
        request_id=entry.request_id,
        detail=plain_json(entry.detail),
    )


def operator_entry_out(entry: OperatorEntry) -> OperatorEntryOut:
    """An entry of the operator's log."""
    return OperatorEntryOut(
        id=entry.entry_id,
        at=entry.at,
        action=entry.action,
        tenant_id=entry.tenant_id,
        request_id=entry.request_id,
        detail=plain_json(entry.detail),
    )
