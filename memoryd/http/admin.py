"""``/v1/spaces``, ``/v1/keys`` (a tenant's admin key) and ``/v1/admin/tenants`` (the operator's)."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from memoryd.access.service import KeyWish
from memoryd.errors import InvalidRequest
from memoryd.http.caller import Caller, Once, Uses, operator
from memoryd.http.problems import documented
from memoryd.http.schemas.admin import (
    KeyIn,
    KeyPage,
    NewKeyOut,
    NewTenantOut,
    RotateIn,
    SpaceIn,
    SpaceOut,
    SpacePage,
    TenantIn,
    TenantOut,
    TenantPage,
    TenantPatch,
)
from memoryd.http.views import from_cursor, key_out, new_key_out, space_out, tenant_out, to_cursor
from retrieval.scope import Action, Scope

router = APIRouter(prefix="/v1", tags=["administration"])
operator_router = APIRouter(prefix="/v1/admin", tags=["operator"], dependencies=[Depends(operator)])

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=400)]


@router.post("/spaces", status_code=201, responses=documented(409), operation_id="create_space")
async def create_space(body: SpaceIn, scope: Caller, use: Uses, once: Once) -> SpaceOut:
    """Make a space on purpose; the first write to a space makes it too. Safe to repeat: a taken name answers 409."""
    return space_out(await use.spaces.create(scope, body.name, body.description, once))


@router.get("/spaces", responses=documented(), operation_id="list_spaces")
async def list_spaces(scope: Caller, use: Uses, limit: Limit = 50, cursor: Cursor = None) -> SpacePage:
    """Spaces by name; a confined key sees its own."""
    after = from_cursor(cursor) if cursor else ""
    if "\0" in after:
        raise InvalidRequest("cursor: not one that this service gave out")
    spaces = await use.spaces.list(scope, after=after, limit=limit + 1)
    more = len(spaces) > limit
    return SpacePage(
        spaces=[space_out(space) for space in spaces[:limit]],
        next_cursor=to_cursor(spaces[limit - 1].name) if more else None,
    )


@router.post("/keys", status_code=201, responses=documented(409), operation_id="create_key")
async def create_key(body: KeyIn, scope: Caller, use: Uses, once: Once) -> NewKeyOut:
    """Make a key. Its text is in this answer and nowhere else."""
    return new_key_out(await use.keys.create(scope, _wish(body), once))


@router.get("/keys", responses=documented(), operation_id="list_keys")
async def list_keys(scope: Caller, use: Uses, limit: Limit = 50, cursor: Cursor = None) -> KeyPage:
    """Keys in order of creation, without their secrets."""
    keys = await use.keys.list(scope, after=_uuid(cursor), limit=limit + 1)
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
async def revoke_key(key_id: UUID, scope: Caller, use: Uses, _once: Once) -> None:
    """End a key at once. Safe to repeat, with an Idempotency-Key or without."""
    await use.keys.revoke(scope, key_id)


@operator_router.post("/tenants", status_code=201, responses=documented(409), operation_id="create_tenant")
async def create_tenant(body: TenantIn, use: Uses, once: Once) -> NewTenantOut:
    """Make a tenant with a `default` space and a first key that may do everything."""
    tenant, key = await use.tenants.create(body.name, once)
    return NewTenantOut.model_validate(tenant_out(tenant).model_dump() | {"key": new_key_out(key)})


@operator_router.get("/tenants", responses=documented(), operation_id="list_tenants")
async def list_tenants(use: Uses, limit: Limit = 50, cursor: Cursor = None) -> TenantPage:
    """Tenants in order of creation."""
    tenants = await use.tenants.list(after=_uuid(cursor), limit=limit + 1)
    more = len(tenants) > limit
    return TenantPage(
        tenants=[tenant_out(tenant) for tenant in tenants[:limit]],
        next_cursor=to_cursor(str(tenants[limit - 1].tenant_id)) if more else None,
    )


@operator_router.get("/tenants/{tenant_id}", responses=documented(404), operation_id="get_tenant")
async def get_tenant(tenant_id: UUID, use: Uses) -> TenantOut:
    """One tenant."""
    return tenant_out(await use.tenants.get(tenant_id))


@operator_router.patch("/tenants/{tenant_id}", responses=documented(404), operation_id="patch_tenant")
async def patch_tenant(tenant_id: UUID, body: TenantPatch, use: Uses, _once: Once) -> TenantOut:
    """Suspend a tenant: all its keys stop working at once. Or let it go on. Safe to repeat."""
    return tenant_out(await use.tenants.suspend(tenant_id, suspended=body.suspended))


@operator_router.post(
    "/tenants/{tenant_id}/keys", status_code=201, responses=documented(404, 409), operation_id="create_tenant_key"
)
async def create_tenant_key(tenant_id: UUID, body: KeyIn, use: Uses, once: Once) -> NewKeyOut:
    """Make a key for a tenant: a second one, or the way back in when it lost its last."""
    tenant = await use.tenants.get(tenant_id)
    scope = Scope(tenant.tenant_id, "operator", frozenset(Action))
    return new_key_out(await use.keys.create(scope, _wish(body), once))


def _wish(body: KeyIn) -> KeyWish:
    spaces = None if body.spaces is None else frozenset(body.spaces)
    return KeyWish(body.name, frozenset(body.actions), spaces, body.expires_at)


def _uuid(cursor: str | None) -> UUID | None:
    if cursor is None:
        return None
    try:
        return UUID(from_cursor(cursor))
    except ValueError as error:
        raise InvalidRequest("cursor: not one that this service gave out") from error
