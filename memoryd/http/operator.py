"""``/v1/admin``: the tenants of the installation, with the operator's key."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from memoryd.http.admin import Cursor, Limit, wish
from memoryd.http.caller import Operating, Uses, operator
from memoryd.http.cursors import after_id, to_cursor, whole
from memoryd.http.fields import Name
from memoryd.http.problems import documented
from memoryd.http.schemas.admin import (
    KeyIn,
    NewKeyOut,
    NewTenantOut,
    OperatorLogPage,
    TenantIn,
    TenantOut,
    TenantPage,
    TenantPatch,
)
from memoryd.http.strict import StrictRoute
from memoryd.http.views import new_key_out, operator_entry_out, tenant_out

router = APIRouter(prefix="/v1/admin", tags=["operator"], dependencies=[Depends(operator)], route_class=StrictRoute)


@router.post("/tenants", status_code=201, responses=documented(404, 409), operation_id="create_tenant")
async def create_tenant(body: TenantIn, use: Uses, operation: Operating) -> NewTenantOut:
    """Make a tenant with a `default` space and a first key that may do everything."""
    tenant, key = await use.tenants.create(body.name, operation)
    return NewTenantOut.model_validate(tenant_out(tenant).model_dump() | {"key": new_key_out(key)})


@router.get("/tenants", responses=documented(), operation_id="list_tenants")
async def list_tenants(use: Uses, limit: Limit = 50, cursor: Cursor = None) -> TenantPage:
    """Tenants in order of creation."""
    tenants = await use.tenants.list(after=after_id(cursor), limit=limit + 1)
    more = len(tenants) > limit
    return TenantPage(
        tenants=[tenant_out(tenant) for tenant in tenants[:limit]],
        next_cursor=to_cursor(str(tenants[limit - 1].tenant_id)) if more else None,
    )


@router.get("/tenants/{tenant_id}", responses=documented(404), operation_id="get_tenant")
async def get_tenant(tenant_id: UUID, use: Uses) -> TenantOut:
    """One tenant."""
    return tenant_out(await use.tenants.get(tenant_id))


@router.patch("/tenants/{tenant_id}", responses=documented(404, 409), operation_id="patch_tenant")
async def patch_tenant(tenant_id: UUID, body: TenantPatch, use: Uses, operation: Operating) -> TenantOut:
    """Suspend a tenant: all its keys stop working at once. Or let it go on. Safe to repeat."""
    return tenant_out(await use.tenants.suspend(tenant_id, operation, suspended=body.suspended))


@router.delete("/tenants/{tenant_id}", status_code=204, responses=documented(404, 409), operation_id="delete_tenant")
async def delete_tenant(
    tenant_id: UUID,
    use: Uses,
    operation: Operating,
    confirm: Annotated[Name, Query(description="The tenant's name: this cannot be undone")],
) -> None:
    """Erase a tenant with all its memories, keys and its audit log.

    Its keys stop at once. Rows go in bounded transactions; should that take longer than a request may (504), send it again
    and it goes on. What remains is the operator's log of it, without content.
    """
    await use.tenants.delete(tenant_id, confirm, operation)


@router.post("/tenants/{tenant_id}/keys", status_code=201, responses=documented(404, 409), operation_id="create_tenant_key")
async def create_tenant_key(tenant_id: UUID, body: KeyIn, use: Uses, operation: Operating) -> NewKeyOut:
    """Make a key for a tenant: a second one, or the way back in when it lost its last."""
    return new_key_out(await use.tenants.create_key(tenant_id, wish(body), operation))


@router.get("/audit", responses=documented(), operation_id="list_operator_log")
async def list_operator_log(
    use: Uses,
    tenant_id: Annotated[UUID | None, Query(description="Also of one that is gone")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> OperatorLogPage:
    """What the operator did, newest first."""
    entries = await use.audit.operator_page(tenant_id=tenant_id, before=whole(cursor), limit=limit + 1)
    return OperatorLogPage(
        entries=[operator_entry_out(entry) for entry in entries[:limit]],
        next_cursor=to_cursor(str(entries[limit - 1].entry_id)) if len(entries) > limit else None,
    )
