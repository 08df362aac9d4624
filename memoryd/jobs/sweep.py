"""Finds jobs that could go on and that nobody holds: the courier lost them, or a worker died."""

from datetime import datetime, timedelta
from uuid import UUID

from memoryd.attempts import attempted, each
from memoryd.jobs.ports import Courier, Waiting
from memoryd.memory.ports import Clock
from memoryd.sessions.worklists import Tenants

_TENANTS = 200
_AT_ONCE = 4
# Old jobs are looked for as seldom as they become old.
_FORGET_EVERY = timedelta(minutes=10)


class Sweeper:
    """One round looks once at every tenant. A tenant needs one reminder however many of its jobs wait: a worker that is
    reminded goes on until none does. Jobs that ended ``retention`` ago are forgotten."""

    def __init__(self, waiting: Waiting, tenants: Tenants, courier: Courier, clock: Clock, *, retention: timedelta) -> None:
        self._waiting = waiting
        self._tenants = tenants
        self._courier = courier
        self._clock = clock
        self._retention = retention
        self._forgot: datetime | None = None

    async def courier_is_away(self) -> bool:
        """Then reminders reach nobody, and rounds that are due by it are not run."""
        return not await self._courier.reachable()

    async def run(self, courier: Courier | None = None) -> int:
        """How many reminders were sent, with ``courier`` by that one. A tenant that fails is logged, and does not stop the
        others."""
        courier = courier or self._courier
        now = self._clock.now()
        forgets = self._forgot is None or now - self._forgot >= _FORGET_EVERY
        sent = 0

        async def look(tenant_id: UUID) -> None:
            nonlocal sent
            job_id = await self._waiting.waiting(tenant_id, now)
            if job_id is not None:
                sent += await courier.enqueue(tenant_id, job_id)
            while forgets and await self._waiting.forget(tenant_id, now - self._retention):
                pass

        async def looked(tenant_id: UUID) -> None:
            await attempted(f"the sweep over jobs of tenant {tenant_id}", look(tenant_id))

        after: UUID | None = None
        while page := await self._tenants.tenants(after, _TENANTS):
            await each(page, looked, _AT_ONCE)
            after = page[-1]
        if forgets:
            self._forgot = now
        return sent
