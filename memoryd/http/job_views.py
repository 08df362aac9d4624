"""Jobs as answers show them."""

from memoryd.http.schemas.jobs import CountersOut, DeadLetterOut, FailureOut, JobItemOut, JobOut, RatesOut
from memoryd.jobs.events import Event, EventKind
from memoryd.jobs.model import DeadLetter, ItemState, Job, JobItem


def job_out(job: Job) -> JobOut:
    """A job."""
    counters = job.counters
    return JobOut(
        id=job.job_id,
        kind=job.kind,
        kb=_text(job, "kb"),
        kb_id=job.kb_id,
        space=job.space,
        publish=job.payload.get("publish") is True,
        note=_text(job, "note"),
        version=version if isinstance(version := job.payload.get("version"), int) else None,
        state=job.state,
        wish=job.wish,
        revision=job.revision,
        counters=CountersOut(
            items=counters.items,
            succeeded=counters.succeeded,
            unchanged=counters.unchanged,
            failed=counters.failed,
            cancelled=counters.cancelled,
            chunks=counters.chunks,
            tokens=counters.tokens,
            bytes=counters.size,
        ),
        per_second=RatesOut(
            items=job.per_second(counters.ended), chunks=job.per_second(counters.chunks), tokens=job.per_second(counters.tokens)
        ),
        eta_s=job.eta_s,
        error=None if job.error is None else FailureOut(code=job.error.code, detail=job.error.detail),
        created_by=job.created_by,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        updated_at=job.updated_at,
    )


def _text(job: Job, name: str) -> str | None:
    """What its order says there, if it does."""
    said = job.payload.get(name)
    return said if isinstance(said, str) else None


def item_out(item: JobItem) -> JobItemOut:
    """An item."""
    return JobItemOut(
        item=item.item,
        document_id=item.document_id,
        state=item.state,
        attempts=item.attempts,
        reason=item.reason,
        detail=item.detail,
        chunks=item.chunks,
        tokens=item.tokens,
        bytes=item.size,
        pages=item.pages,
        started_at=item.started_at,
        finished_at=item.finished_at,
        retry_at=item.not_before if item.state is ItemState.QUEUED and item.reason else None,
        dead=item.dead,
    )


def letter_out(letter: DeadLetter) -> DeadLetterOut:
    """A dead letter."""
    shown = item_out(letter.item).model_dump()
    return DeadLetterOut(job_id=letter.item.job_id, kind=letter.kind, kb_id=letter.kb_id, **shown)


def event_text(event: Event) -> str:
    """An event as it goes over the wire."""
    if event.kind is EventKind.HEARTBEAT:
        return ": heartbeat\n\n"
    return f"id: {event.job.revision}\nevent: {event.kind}\ndata: {job_out(event.job).model_dump_json()}\n\n"
