"""One round of maintenance over all tenants. Every step is idempotent and may be killed at any moment."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from memoryd.memory.ports import Clock

log = logging.getLogger(__name__)

_PAGE = 200
# Of one tenant's vectors or leftovers in one round: the others have theirs too.
_BATCHES = 100
# Building a graph takes a core of the database. It rests for half of the time that each batch took: a third of the core stays
# free, and more of it when the machine is busy, since batches then take longer.
_REST = 0.5
# Looking for leftovers costs two transactions a tenant: for a thousand tenants, a tenth of a core when done in every round.
_SWEEP = timedelta(minutes=1)


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
        self._swept: datetime | None = None

    async def run(self) -> RoundReport:
        """One round. A tenant that fails is counted and logged, and does not stop the others."""
        report = RoundReport()
        now = self._clock.now()
        sweeps = self._swept is None or now - self._swept >= _SWEEP
        after: UUID | None = None
        while page := await self._store.tenants(after, _PAGE):
            for tenant_id in page:
                report.tenants += 1
                try:
                    await self._index(tenant_id, report)
                    if sweeps:
                        await self._sweep(tenant_id, report)
                except Exception as error:  # noqa: BLE001 - one tenant must not stop the others; it is counted
                    report.failed += 1
                    log.warning("maintenance of tenant %s failed: %s", tenant_id, type(error).__name__)
            after = page[-1]
        if sweeps:
            self._swept = now
        if report.indexed or report.expired:
            log.info("maintenance: indexed %d vectors, forgot %d keys", report.indexed, report.expired)
        return report

    async def _index(self, tenant_id: UUID, report: RoundReport) -> None:
        loop = asyncio.get_running_loop()
        step = self._store.index_tail
        for _ in range(_BATCHES):
            began = loop.time()
            moved = await step(tenant_id)
            if not moved:
                return
            report.indexed += moved
            await asyncio.sleep(_REST * (loop.time() - began))
            step = self._store.finish_tail

    async def _sweep(self, tenant_id: UUID, report: RoundReport) -> None:
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
