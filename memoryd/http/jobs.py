"""``/v1/jobs`` and ``/v1/dead-letters``: how jobs go on, and what they are told."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse

from memoryd.errors import InvalidRequest
from memoryd.http.admin import Cursor, Limit
from memoryd.http.caller import Again, Caller, Once, Uses
from memoryd.http.cursors import after_id, from_cursor, to_cursor
from memoryd.http.job_views import event_text, item_out, job_out, letter_out
from memoryd.http.knowledge import Knowledge
from memoryd.http.problems import documented
from memoryd.http.schemas.jobs import DeadLetterPage, JobItemPage, JobOut, JobPage, ReplayIn, ReplayOut
from memoryd.http.schemas.knowledge import BaseName
from memoryd.http.streams import event_stream
from memoryd.http.strict import StrictRoute
from memoryd.jobs.model import MAX_ITEMS, Command, ItemState, JobState
from memoryd.jobs.services import JobServices

_HIGHEST = 2**52  # no revision is above it

router = APIRouter(prefix="/v1", tags=["jobs"], route_class=StrictRoute)


async def job_services(use: Uses) -> JobServices:
    """The use cases of jobs."""
    return use.jobs


Jobs = Annotated[JobServices, Depends(job_services)]


@router.get("/jobs", responses=documented(404), operation_id="list_jobs")
async def list_jobs(
    scope: Caller,
    jobs: Jobs,
    knowledge: Knowledge,
    state: Annotated[JobState | None, Query()] = None,
    kb: Annotated[BaseName | None, Query(description="Of the knowledge base of this name")] = None,
    kb_id: Annotated[UUID | None, Query(description="Of a knowledge base, also of one that was deleted")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JobPage:
    """Jobs, newest first; a confined key sees those of its spaces."""
    if kb is not None:
        if kb_id is not None:
            raise InvalidRequest("kb and kb_id exclude each other")
        kb_id = (await knowledge.bases.get(scope, kb)).kb_id
    found = await jobs.use.page(scope, state=state, kb_id=kb_id, before=after_id(cursor), limit=limit + 1)
    return JobPage(
        jobs=[job_out(job) for job in found[:limit]],
        next_cursor=to_cursor(str(found[limit - 1].job_id)) if len(found) > limit else None,
    )


@router.get("/jobs/{job_id}", responses=documented(404), operation_id="get_job")
async def get_job(job_id: UUID, scope: Caller, jobs: Jobs) -> JobOut:
    """A job as it stands: state, counters, rates, time left."""
    return job_out(await jobs.use.get(scope, job_id))


@router.get("/jobs/{job_id}/items", responses=documented(404), operation_id="list_job_items")
async def list_job_items(
    job_id: UUID,
    scope: Caller,
    jobs: Jobs,
    state: Annotated[ItemState | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> JobItemPage:
    """What became of each document, in the order they were given."""
    after = -1 if cursor is None else _number(from_cursor(cursor))
    found = await jobs.use.items(scope, job_id, state=state, after=after, limit=limit + 1)
    return JobItemPage(
        items=[item_out(item) for item in found[:limit]],
        next_cursor=to_cursor(str(found[limit - 1].item)) if len(found) > limit else None,
    )


@router.get(
    "/jobs/{job_id}/events",
    response_class=StreamingResponse,
    responses=documented(404) | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    operation_id="job_events",
)
async def events(
    job_id: UUID,
    scope: Caller,
    jobs: Jobs,
    still: Again,
    after: Annotated[int | None, Query(ge=0, le=_HIGHEST, description="A revision; default: how it stands, then on")] = None,
    last_event_id: Annotated[str | None, Header(max_length=20, pattern="^[0-9]+$")] = None,
) -> StreamingResponse:
    """Server-sent events: `state` first and whenever it changes, `progress` once a second at most; both carry the job, and the id
    is its revision. Ends with the final state, or after a while; a client that sends `Last-Event-ID`, as browsers do, goes on."""
    start = after if last_event_id is None else int(last_event_id)
    if start is not None and start > _HIGHEST:
        raise InvalidRequest("Last-Event-ID: not one that this service gave out")
    opened = await jobs.events.open(scope, job_id, start, still)
    return event_stream(opened, event_text)


@router.post("/jobs/{job_id}/cancel", responses=documented(404, 409), operation_id="cancel_job")
async def cancel(job_id: UUID, scope: Caller, jobs: Jobs, once: Once) -> JobOut:
    """Stop for good: what has not begun is cancelled, what a worker has begun stops at its next checkpoint."""
    return job_out(await jobs.use.act(scope, job_id, Command.CANCEL, once))


@router.post("/jobs/{job_id}/pause", responses=documented(404, 409), operation_id="pause_job")
async def pause(job_id: UUID, scope: Caller, jobs: Jobs, once: Once) -> JobOut:
    """Stop at the next checkpoint, and keep everything."""
    return job_out(await jobs.use.act(scope, job_id, Command.PAUSE, once))


@router.post("/jobs/{job_id}/resume", responses=documented(404, 409), operation_id="resume_job")
async def resume(job_id: UUID, scope: Caller, jobs: Jobs, once: Once) -> JobOut:
    """Go on where it was paused."""
    return job_out(await jobs.use.act(scope, job_id, Command.RESUME, once))


@router.post("/jobs/{job_id}/retry", responses=documented(404, 409), operation_id="retry_job")
async def retry(job_id: UUID, scope: Caller, jobs: Jobs, once: Once) -> JobOut:
    """Do the failed documents of a `partial` or `failed` job again, and no others."""
    return job_out(await jobs.use.act(scope, job_id, Command.RETRY, once))


@router.get("/dead-letters", responses=documented(), operation_id="list_dead_letters")
async def list_dead_letters(scope: Caller, jobs: Jobs, limit: Limit = 50, cursor: Cursor = None) -> DeadLetterPage:
    """Documents that were tried as often as may be, of all jobs that the key may see."""
    after = None
    if cursor is not None:
        job_id, _, item = from_cursor(cursor).partition(" ")
        try:
            after = UUID(job_id), _number(item)
        except ValueError as error:
            raise InvalidRequest("cursor: not one that this service gave out") from error
    found = await jobs.use.dead_letters(scope, after=after, limit=limit + 1)
    last = found[limit - 1].item if len(found) > limit else None
    return DeadLetterPage(
        dead_letters=[letter_out(letter) for letter in found[:limit]],
        next_cursor=None if last is None else to_cursor(f"{last.job_id} {last.item}"),
    )


@router.post("/dead-letters/replay", responses=documented(404, 409), operation_id="replay_dead_letters")
async def replay(body: ReplayIn, scope: Caller, jobs: Jobs, once: Once) -> ReplayOut:
    """Queue dead letters of a job again, with all their attempts."""
    replayed = await jobs.use.replay(scope, body.job_id, body.items, once)
    return ReplayOut(replayed=replayed, job=job_out(await jobs.use.get(scope, body.job_id)))


def _number(text: str) -> int:
    """The number of an item in a cursor. Raises ``InvalidRequest``."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ITEMS)):
        return int(text)
    raise InvalidRequest("cursor: not one that this service gave out")
