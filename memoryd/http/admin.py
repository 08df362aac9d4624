"""``/v1/spaces``, ``/v1/keys`` and ``/v1/audit``: a tenant's own administration, with its admin key."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query

from memoryd.access.model import AuditQuery, Keep, SpaceChange
from memoryd.access.service import KeyWish
from memoryd.http.caller import Caller, Once, Uses
from memoryd.http.cursors import after_id, from_cursor, to_cursor, whole
from memoryd.http.fields import Identifier, Name, Time
from memoryd.http.problems import documented
from memoryd.http.schemas.admin import AuditPage, KeyIn, KeyPage, NewKeyOut, RotateIn, SpaceIn, SpaceOut, SpacePage, SpacePatch
from memoryd.http.schemas.reranking import reranking
from memoryd.http.strict import StrictRoute
from memoryd.http.views import audit_out, key_out, new_key_out, space_out

router = APIRouter(prefix="/v1", tags=["administration"], route_class=StrictRoute)

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=400)]


@router.post("/spaces", status_code=201, responses=documented(409), operation_id="create_space")
async def create_space(body: SpaceIn, scope: Caller, use: Uses, once: Once) -> SpaceOut:
    """Make a space on purpose; the first write to a space makes it too. Safe to repeat: a taken name answers 409."""
    rerank = None if body.rerank is None else reranking(body.rerank)
    return space_out(await use.spaces.create(scope, body.name, body.description, once, rerank=rerank))


@router.get("/spaces", responses=documented(), operation_id="list_spaces")
async def list_spaces(scope: Caller, use: Uses, limit: Limit = 50, cursor: Cursor = None) -> SpacePage:
    """Spaces by name; a confined key sees its own."""
    after = from_cursor(cursor) if cursor else ""
    spaces = await use.spaces.list(scope, after=after, limit=limit + 1)
    more = len(spaces) > limit
    return SpacePage(
        spaces=[space_out(space) for space in spaces[:limit]],
        next_cursor=to_cursor(spaces[limit - 1].name) if more else None,
    )


@router.patch("/spaces/{name}", responses=documented(404), operation_id="update_space")
async def update_space(name: Annotated[Name, Path()], body: SpacePatch, scope: Caller, use: Uses, once: Once) -> SpaceOut:
    """Change a space's description, or what `rerank: auto` means for its recalls."""
    given = body.model_fields_set
    rerank = None if body.rerank is None else reranking(body.rerank)
    change = SpaceChange(
        description=body.description if "description" in given else Keep.AS_IS,
        rerank=rerank if "rerank" in given else Keep.AS_IS,
    )
    return space_out(await use.spaces.change(scope, name, change, once))


@router.post("/keys", status_code=201, responses=documented(409), operation_id="create_key")
async def create_key(body: KeyIn, scope: Caller, use: Uses, once: Once) -> NewKeyOut:
    """Make a key. Its text is in this answer and nowhere else."""
    return new_key_out(await use.keys.create(scope, wish(body), once))


@router.get("/keys", responses=documented(), operation_id="list_keys")
async def list_keys(scope: Caller, use: Uses, limit: Limit = 50, cursor: Cursor = None) -> KeyPage:
    """Keys in order of creation, without their secrets."""
    keys = await use.keys.list(scope, after=after_id(cursor), limit=limit + 1)
    more = len(keys) > limit
    return KeyPage(
        keys=[key_out(key) for key in keys[:limit]],
        next_cursor=to_cursor(str(keys[limit - 1].record.key_id)) if more else None,
    )


@router.post("/keys/{key_id}/rotate", status_code=201, responses=documented(404, 409), operation_id="rotate_key")
async def rotate_key(key_id: UUID, body: RotateIn, scope: Caller, use: Uses, once: Once) -> NewKeyOut:
    """Make a key with the same rights; the old one ends after `grace_s` seconds."""
    return new_key_out(await use.keys.rotate(scope, key_id, body.grace_s, once))


@router.delete("/keys/{key_id}", status_code=204, responses=documented(404), operation_id="revoke_key")
async def revoke_key(key_id: UUID, scope: Caller, use: Uses, once: Once) -> None:
    """End a key at once. Safe to repeat, with an Idempotency-Key or without."""
    await use.keys.revoke(scope, key_id, once)


@router.get("/audit", responses=documented(), operation_id="list_audit")
async def list_audit(
    scope: Caller,
    use: Uses,
    action: Annotated[Identifier | None, Query(description="Such as `memory.purge`")] = None,
    object_id: Annotated[UUID | None, Query(description="Of a memory, key or space")] = None,
    since: Annotated[Time | None, Query(description="Included")] = None,
    until: Annotated[Time | None, Query(description="Excluded")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> AuditPage:
    """What was done in this tenant and by whom, newest first; ids and counts, never content. Not for confined keys.

    A page of `object_id`, `since` or `until` looks through a part of the log: it may be short or empty and still have a
    `next_cursor`.
    """
    query = AuditQuery(action, object_id, since, until, whole(cursor))
    found = await use.audit.page(scope, query, limit)
    return AuditPage(
        entries=[audit_out(entry) for entry in found.entries],
        next_cursor=None if found.before is None else to_cursor(str(found.before)),
    )


def wish(body: KeyIn) -> KeyWish:
    """What a new key should be allowed."""
    spaces = None if body.spaces is None else frozenset(body.spaces)
    return KeyWish(body.name, frozenset(body.actions), spaces, body.expires_at)
