"""Reading the logs of what was done."""

from uuid import UUID

from memoryd.access.model import AuditFound, AuditQuery, OperatorEntry
from memoryd.access.ports import AuditLog
from memoryd.access.service import require
from memoryd.errors import Forbidden
from retrieval.scope import Action, Scope


class AuditService:
    """What was done in a tenant, for its own admin keys; and what the operator did, for the operator."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    async def page(self, scope: Scope, query: AuditQuery, limit: int) -> AuditFound:
        """Newest first. Raises ``Forbidden`` for a confined key: an entry does not say which spaces its objects are in."""
        require(scope, Action.ADMIN)
        if scope.spaces is not None:
            raise Forbidden("the audit log is the whole tenant's; it needs a key that is not confined to spaces")
        return await self._log.audit_page(scope, query, limit)

    async def operator_page(self, *, tenant_id: UUID | None, before: int | None, limit: int) -> list[OperatorEntry]:
        """What the operator did, newest first."""
        return await self._log.operator_page(tenant_id=tenant_id, before=before, limit=limit)
