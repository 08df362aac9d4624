"""``/v1/sessions``: list, settings, snapshots, commit, delete."""

from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from memoryd.errors import InvalidRequest
from memoryd.http.caller import Again, Caller, Once
from memoryd.http.cursors import from_cursor, to_cursor
from memoryd.http.problems import documented
from memoryd.http.schemas.sessions import (
    CommitIn,
    CommitOut,
    SessionContextOut,
    SessionOut,
    SessionPageOut,
    SessionPatch,
    SessionSettings,
    Short,
    SnapshotOut,
    SnapshotsOut,
)
from memoryd.http.session_views import event_text, session_out, snapshot_out, window_out
from memoryd.http.sessions import SessionId, Sessions
from memoryd.http.streams import event_stream
from memoryd.http.strict import StrictRoute
from memoryd.sessions.ports import TenantSettings
from retrieval.packing import DEFAULT_TOKENIZER

DEFAULT_TOKENS = 4_000
MOST_TOKENS = 200_000
_HIGHEST = 2**52  # no position is above it

router = APIRouter(prefix="/v1", tags=["sessions"], route_class=StrictRoute)


@router.get("/sessions", responses=documented(), operation_id="list_sessions")
async def list_sessions(
    scope: Caller,
    use: Sessions,
    user_id: Annotated[Short | None, Query()] = None,
    agent_id: Annotated[Short | None, Query(description="Sessions in which this agent said something")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=1_000)] = None,
) -> SessionPageOut:
    """Sessions that have not ended, newest first: one that expired ends with the worker's next round."""
    at = None if cursor is None else from_cursor(cursor)
    page = await use.lifecycle.page(scope, user_id=user_id, agent_id=agent_id, cursor=at, limit=limit)
    return SessionPageOut(
        sessions=[session_out(one) for one in page.sessions],
        next_cursor=None if page.next_cursor is None else to_cursor(page.next_cursor),
    )


@router.get("/sessions/{session_id}", responses=documented(404), operation_id="get_session")
async def get_session(session_id: SessionId, scope: Caller, use: Sessions) -> SessionOut:
    """A session as it stands; `restored_from` says whether it was read back from a snapshot."""
    return session_out(await use.working.get(scope, session_id))


@router.patch("/sessions/{session_id}", responses=documented(404), operation_id="patch_session")
async def patch_session(session_id: SessionId, body: SessionPatch, scope: Caller, use: Sessions, once: Once) -> SessionOut:
    """Change how long it lives, and whether the worker commits it."""
    clear = "auto_commit" in body.model_fields_set and body.auto_commit is None
    return session_out(
        await use.working.configure(scope, session_id, ttl_s=body.ttl_s, auto=body.auto_commit, clear=clear, once=once)
    )


@router.delete("/sessions/{session_id}", status_code=204, responses=documented(404, 409), operation_id="delete_session")
async def delete_session(session_id: SessionId, scope: Caller, use: Sessions) -> None:
    """Erase a session and its snapshots, for good. What was committed stays in long-term memory."""
    await use.lifecycle.delete(scope, session_id)


@router.post("/sessions/{session_id}/snapshots", status_code=201, responses=documented(404, 409), operation_id="make_snapshot")
async def make_snapshot(session_id: SessionId, scope: Caller, use: Sessions) -> SnapshotOut:
    """Copy the session to object storage now; the worker does so at intervals."""
    return snapshot_out(await use.lifecycle.snapshot(scope, session_id))


@router.get("/sessions/{session_id}/snapshots", responses=documented(), operation_id="list_snapshots")
async def list_snapshots(session_id: SessionId, scope: Caller, use: Sessions) -> SnapshotsOut:
    """What is kept, newest first."""
    return SnapshotsOut(snapshots=[snapshot_out(one) for one in await use.lifecycle.snapshots(scope, session_id)])


@router.post("/sessions/{session_id}/commit", responses=documented(404, 409), operation_id="commit_session")
async def commit(session_id: SessionId, scope: Caller, use: Sessions, body: CommitIn | None = None) -> CommitOut:
    """Make episodic memories of the visible messages that were not committed yet; safe to repeat."""
    roles = frozenset((body or CommitIn()).roles)
    done = await use.commit(scope, session_id, roles)
    return CommitOut(created=done.created, duplicates=done.duplicates, passed_over=done.passed_over, through=done.through)


@router.get("/sessions/{session_id}/context", responses=documented(404), operation_id="session_context")
async def context(
    session_id: SessionId,
    scope: Caller,
    use: Sessions,
    budget_tokens: Annotated[int, Query(ge=0, le=MOST_TOKENS)] = DEFAULT_TOKENS,
    tokenizer: Annotated[str, Query(min_length=1, max_length=256)] = DEFAULT_TOKENIZER,
) -> SessionContextOut:
    """Pinned messages, a summary of what fell out of the window, and the newest messages that fit: never over the budget."""
    return window_out(await use.windows(scope, session_id, budget=budget_tokens, tokenizer=tokenizer), budget_tokens)


@router.get(
    "/sessions/{session_id}/events",
    response_class=StreamingResponse,
    responses=documented(404) | {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    operation_id="session_events",
)
async def events(
    session_id: SessionId,
    scope: Caller,
    use: Sessions,
    still: Again,
    after: Annotated[int | None, Query(ge=0, le=_HIGHEST, description="Default: only what is new")] = None,
    last_event_id: Annotated[str | None, Header(max_length=20, pattern="^[0-9]+$")] = None,
) -> StreamingResponse:
    """Server-sent events: `message` (the id is the position), `restore` (with the ranges that are visible), `gone`. Comes to an
    end after a while; a client that sends `Last-Event-ID`, as browsers do, misses nothing."""
    start = after if last_event_id is None else int(last_event_id)
    if start is not None and start > _HIGHEST:
        raise InvalidRequest("Last-Event-ID: not one that this service gave out")
    opened = await use.events.open(scope, session_id, start, still)
    return event_stream(opened, event_text)


@router.get("/session-settings", responses=documented(), operation_id="get_session_settings")
async def get_settings(scope: Caller, use: Sessions) -> SessionSettings:
    """What the tenant's sessions do unless they say otherwise."""
    found = await use.lifecycle.settings(scope)
    return SessionSettings(auto_commit=found.auto_commit, idle_s=found.idle_s)


@router.put("/session-settings", responses=documented(), operation_id="put_session_settings")
async def put_settings(body: SessionSettings, scope: Caller, use: Sessions) -> SessionSettings:
    """Change it; needs the action `admin`."""
    await use.lifecycle.configure(scope, TenantSettings(body.auto_commit, body.idle_s))
    return body
