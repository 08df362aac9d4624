"""``/v1/memories``: write, read, list, change, forget."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from memoryd.access.service import require
from memoryd.errors import InvalidRequest, NotFound
from memoryd.http.caller import Caller, IfMatch, Once, Uses
from memoryd.http.cursors import to_cursor, whole
from memoryd.http.document import VERSIONED
from memoryd.http.fields import Name, Reason
from memoryd.http.pages import filled
from memoryd.http.problems import documented
from memoryd.http.schemas.memories import (
    HistoryPage,
    MemoryIn,
    MemoryOut,
    MemoryPage,
    MessageIn,
    PatchIn,
    RememberBody,
    RememberMemories,
    RememberMessages,
    RememberOut,
    RevertIn,
    WrittenOut,
)
from memoryd.http.selection import At, Selected
from memoryd.http.strict import OPEN_QUERY, StrictRoute
from memoryd.http.views import memory_out, revision_out
from memoryd.memory.model import Content, Draft, Kind
from memoryd.memory.ports import Page
from retrieval.scope import Action

router = APIRouter(prefix="/v1/memories", tags=["memories"], route_class=StrictRoute)

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=200)]


@router.post("", status_code=201, responses=documented(404, 409), operation_id="remember")
async def remember(body: RememberBody, scope: Caller, use: Uses, once: Once) -> RememberOut:
    """Store one or up to 1,000 memories, or the turns of a conversation.

    When this answers, they are durable and the next recall finds them. What was stored before is answered as `duplicate`.
    """
    written = await use.remember(scope, _drafts(body), once)
    return RememberOut(results=[WrittenOut(id=one.memory_id, external_id=one.external_id, status=one.outcome) for one in written])


@router.get("", responses=documented(404), operation_id="list_memories", openapi_extra={OPEN_QUERY: "metadata."})
async def list_memories(
    scope: Caller,
    use: Uses,
    filters: Selected,
    space: Annotated[Name | None, Query(description="Default: all that the key may use")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> MemoryPage:
    """Memories in the order they arrived: the live ones, or those of another moment.

    The filters are a recall's: what can have several values is repeated (`kind=semantic&kind=preference`), and metadata is
    `metadata.<key>=<value>`. A number, `true`, `false`, `null` and a quoted string are read as JSON, anything else as text.
    """
    require(scope, Action.READ)
    spaces = await use.spaces.readable(scope, None if space is None else [space])
    ids = [one.space_id for one in spaces.values()]

    async def read(after: int | None, most: int) -> Page:
        return await use.reader.page(scope, ids, filters, after=after, limit=most)

    page = await filled(read, lambda one: one.seq, start=whole(cursor), limit=limit)
    return MemoryPage(
        memories=[memory_out(one) for one in page.revisions],
        next_cursor=None if page.next_seq is None else to_cursor(str(page.next_seq)),
    )


@router.get("/{memory_id}", responses=documented(404) | VERSIONED, operation_id="get_memory")
async def get_memory(memory_id: UUID, scope: Caller, use: Uses, at: At, response: Response) -> MemoryOut:
    """One memory. `ETag` is its revision. At another moment: what was known, and true, of it then; 404 if nothing was."""
    require(scope, Action.READ)
    revision = await use.reader.get(scope, memory_id, at)
    if revision is None:
        raise NotFound("no such memory")
    response.headers["ETag"] = f'"{revision.revision}"'
    return memory_out(revision)


@router.patch("/{memory_id}", responses=documented(404, 409, 412) | VERSIONED, operation_id="patch_memory")
async def patch_memory(
    memory_id: UUID, body: PatchIn, scope: Caller, use: Uses, once: Once, match: IfMatch, response: Response
) -> MemoryOut:
    """Change some fields: a new revision. The old one stays in the history, and for `known_at`."""
    revision = await use.revise.patch(scope, memory_id, _edit(body), reason=body.reason, if_match=match, idempotency=once)
    response.headers["ETag"] = f'"{revision.revision}"'
    return memory_out(revision)


@router.delete("/{memory_id}", status_code=204, responses=documented(404, 409, 412), operation_id="forget")
async def forget(
    memory_id: UUID,
    scope: Caller,
    use: Uses,
    once: Once,
    match: IfMatch,
    purge: Annotated[bool, Query(description="Erase every revision, passage and vector; cannot be undone")] = False,
    reason: Annotated[Reason | None, Query()] = None,
) -> None:
    """Take a memory out of recall; `revert` brings it back. With `purge=true`, erase it."""
    await use.revise.delete(scope, memory_id, purge=purge, reason=reason, if_match=match, idempotency=once)


@router.get("/{memory_id}/history", responses=documented(404), operation_id="get_history")
async def history(memory_id: UUID, scope: Caller, use: Uses, at: At, limit: Limit = 50, cursor: Cursor = None) -> HistoryPage:
    """Every revision, newest first, with who made it and why; also of a deleted memory.

    With `known_at` the history as it was then; with `as_of` only revisions that say what was true then.
    """
    require(scope, Action.READ)

    async def read(before: int | None, most: int) -> Page:
        found = await use.reader.history(scope, memory_id, before=before, limit=most + 1, at=at)
        return Page(tuple(found[:most]), found[most - 1].revision if len(found) > most else None)

    page = await filled(read, lambda one: one.revision, start=whole(cursor), limit=limit)
    if not page.revisions:
        raise NotFound("no such memory")
    return HistoryPage(
        revisions=[revision_out(one) for one in page.revisions],
        next_cursor=None if page.next_seq is None else to_cursor(str(page.next_seq)),
    )


@router.post("/{memory_id}/revert", responses=documented(404, 409, 412) | VERSIONED, operation_id="revert_memory")
async def revert(
    memory_id: UUID, body: RevertIn, scope: Caller, use: Uses, once: Once, match: IfMatch, response: Response
) -> MemoryOut:
    """Make an earlier revision's content current again, as a new revision; undoes deletion and supersession too."""
    revision = await use.revise.revert(scope, memory_id, body.revision, reason=body.reason, if_match=match, idempotency=once)
    response.headers["ETag"] = f'"{revision.revision}"'
    return memory_out(revision)


def _drafts(body: RememberMemories | RememberMessages) -> list[Draft]:
    if isinstance(body, RememberMemories):
        return [Draft(memory.space, memory.external_id, _content(memory)) for memory in body.memories]
    return [Draft(body.space, message.external_id, _turn(body, message)) for message in body.messages]


def _content(memory: MemoryIn) -> Content:
    return Content(
        kind=memory.kind,
        text=memory.text,
        speaker=None,
        role=None,
        user_id=memory.user_id,
        agent_id=memory.agent_id,
        session_id=memory.session_id,
        event_time=memory.event_time,
        valid_from=memory.valid_from,
        valid_to=memory.valid_to,
        source_type=memory.source.type,
        source_uri=memory.source.uri,
        confidence=memory.confidence,
        topics=tuple(dict.fromkeys(memory.topics)),
        metadata=memory.metadata,
        supersedes=memory.supersedes,
    )


def _turn(body: RememberMessages, message: MessageIn) -> Content:
    return Content(
        kind=Kind.EPISODIC,
        text=message.content,
        speaker=message.name or message.role,
        role=message.role,
        user_id=body.user_id,
        agent_id=body.agent_id,
        session_id=body.session_id,
        event_time=message.event_time or body.event_time,
        valid_from=None,
        valid_to=None,
        source_type=body.source.type,
        source_uri=body.source.uri,
        confidence=body.confidence,
        topics=tuple(dict.fromkeys(body.topics)),
        metadata=body.metadata,
        supersedes=None,
    )


_REQUIRED = ("text", "kind", "topics", "confidence", "source", "metadata")


def _edit(body: PatchIn) -> Callable[[Content], Content]:
    """The change that the named fields make."""
    named = body.model_fields_set - {"reason"}
    for name in _REQUIRED:
        if name in named and getattr(body, name) is None:
            raise InvalidRequest(f"{name}: cannot be null")

    def edit(content: Content) -> Content:
        if "source" in named and body.source is not None:
            content = replace(content, source_type=body.source.type, source_uri=body.source.uri)
        if "topics" in named and body.topics is not None:
            content = replace(content, topics=tuple(dict.fromkeys(body.topics)))
        content = _replaced(content, body, named - {"source", "topics"})
        # Only what the request says can be wrong with it: a supersession may have ended a validity before it began.
        begins, ends = content.valid_from, content.valid_to
        if named & {"valid_from", "valid_to"} and begins and ends and begins >= ends:
            raise InvalidRequest("valid_from must be before valid_to")
        return content

    return edit


def _replaced(content: Content, body: PatchIn, names: set[str]) -> Content:
    return Content(
        kind=body.kind if "kind" in names and body.kind else content.kind,
        text=body.text if "text" in names and body.text else content.text,
        speaker=content.speaker,
        role=content.role,
        user_id=body.user_id if "user_id" in names else content.user_id,
        agent_id=body.agent_id if "agent_id" in names else content.agent_id,
        session_id=body.session_id if "session_id" in names else content.session_id,
        event_time=body.event_time if "event_time" in names else content.event_time,
        valid_from=body.valid_from if "valid_from" in names else content.valid_from,
        valid_to=body.valid_to if "valid_to" in names else content.valid_to,
        source_type=content.source_type,
        source_uri=content.source_uri,
        confidence=body.confidence if body.confidence is not None else content.confidence,
        topics=content.topics,
        metadata=body.metadata if body.metadata is not None else content.metadata,
        supersedes=content.supersedes,
    )
