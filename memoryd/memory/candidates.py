"""What is found and read, as candidates for a context."""

from memoryd.memory.chunks import origin
from memoryd.memory.model import Revision
from retrieval.packing import Candidate
from retrieval.search import Hit


def of_hit(hit: Hit) -> Candidate:
    """A memory or a chunk that was found, with the passage that matched."""
    item = hit.item
    return Candidate(
        id=str(item.memory_id),
        text=item.text,
        score=max(hit.score, 0.0),
        kind=item.kind,
        section=item.kind,
        subject=item.user_id,
        speaker=item.speaker,
        event_time=item.event_time,
        source_type=item.source_type,
        source_uri=item.source_uri,
        session_id=item.session_id if item.citation is None else f"{item.space_id} {item.external_id}",
        position=item.seq,
        external_id=item.external_id,
        confidence=item.confidence,
        origin=() if item.citation is None else origin(item.citation),
        matched_at=item.span[0],
    )


def of_revision(revision: Revision, *, score: float = 1.0, must_include: bool = False, matched_at: int = 0) -> Candidate:
    """A memory as one revision of it says."""
    content = revision.content
    return Candidate(
        id=str(revision.memory_id),
        text=content.text,
        score=score,
        kind=content.kind,
        section=content.kind,
        subject=content.user_id,
        speaker=content.speaker,
        event_time=content.event_time,
        source_type=content.source_type,
        source_uri=content.source_uri,
        session_id=content.session_id,
        position=revision.seq,
        external_id=revision.external_id,
        confidence=content.confidence,
        must_include=must_include,
        matched_at=matched_at,
    )
