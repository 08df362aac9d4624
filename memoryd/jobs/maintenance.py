"""One round of maintenance over all tenants. Every step is idempotent and may be killed at any moment."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from memoryd.memory.ports import Clock

log = logging.getLogger(__name__)

_PAGE = 200
# Of one tenant's leftovers in one round: the others have theirs too.
_BATCHES = 100


class MaintenanceStore(Protocol):
    """What a round needs of the stores."""

    async def tenants(self, after: UUID | None, limit: int) -> list[UUID]: ...
    async def index_tail(self, tenant_id: UUID) -> int: ...
    async def finish_tail(self, tenant_id: UUID) -> int: ...
    async def forget_terms(self, tenant_id: UUID) -> int: ...
    async def expire_idempotency(self, tenant_id: UUID, now: datetime, ttl: timedelta) -> int: ...


@dataclass(slots=True)
class RoundReport:
    """What a round did."""

    tenants: int = 0
    indexed: int = 0
    expired: int = 0
    forgotten: int = 0
    failed: int = 0


class Maintenance:
    """Moves the vectors of large tenants into the HNSW index, and forgets old idempotency keys."""

    def __init__(self, store: MaintenanceStore, clock: Clock, *, idempotency_ttl: timedelta) -> None:
        self._store = store
        self._clock = clock
        self._ttl = idempotency_ttl

    async def run(self) -> RoundReport:
        """One round. A tenant that fails is counted and logged, and does not stop the others."""
        report = RoundReport()
        after: UUID | None = None
        while page := await self._store.tenants(after, _PAGE):
            for tenant_id in page:
                report.tenants += 1
                try:
                    await self._tenant(tenant_id, report)
                except Exception as error:  # noqa: BLE001 - one tenant must not stop the others; it is counted
                    report.failed += 1
                    log.warning("maintenance of tenant %s failed: %s", tenant_id, type(error).__name__)
            after = page[-1]
        if report.indexed or report.expired:
            log.info("maintenance: indexed %d vectors, forgot %d keys", report.indexed, report.expired)
        return report

    async def _tenant(self, tenant_id: UUID, report: RoundReport) -> None:
        step = await self._store.index_tail(tenant_id)
        while step:
            report.indexed += step
            step = await self._store.finish_tail(tenant_id)
        for _ in range(_BATCHES):
            forgotten = await self._store.forget_terms(tenant_id)
            report.forgotten += forgotten
            if not forgotten:
                break
        for _ in range(_BATCHES):
            expired = await self._store.expire_idempotency(tenant_id, self._clock.now(), self._ttl)
            report.expired += expired
            if not expired:
                break
