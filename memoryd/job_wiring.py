"""The part of the composition root that builds jobs, for the API and for the worker."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from memoryd.jobs.courier import ArqCourier, NoCourier
from memoryd.jobs.events import JobEvents
from memoryd.jobs.ports import ItemHandler
from memoryd.jobs.retry import Retries
from memoryd.jobs.runner import Runner, RunPolicy
from memoryd.jobs.service import Jobs
from memoryd.jobs.services import JobServices
from memoryd.jobs.sweep import Sweeper
from memoryd.jobs.work import Collecting, JobWork
from memoryd.memory.ports import Clock
from memoryd.sessions.worklists import Tenants
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.jobs.desk import PgDesk
from memoryd.stores.jobs.ledger import PgLedger
from memoryd.stores.redis_cluster import is_cluster
from memoryd.together import Company

_HEARTBEAT_S = 15.0
# A stream ends before the request's own time limit would cut it off.
_STREAM_SHARE = 0.8


@asynccontextmanager
async def open_job_services(settings: Settings, db: Database, clock: Clock) -> AsyncIterator[JobServices]:
    """The use cases of the API. Without a server for the queue they work too; workers then hear of jobs from the sweeper."""
    ledger = PgLedger(db)
    events = JobEvents(
        ledger,
        streams=settings.session_streams,
        heartbeat_s=_HEARTBEAT_S,
        lifetime_s=settings.request_timeout_s * _STREAM_SHARE,
    )
    async with _courier(settings) as courier:
        yield JobServices(Jobs(ledger, courier, clock), events)


@asynccontextmanager
async def open_job_work(
    settings: Settings,
    db: Database,
    tenants: Tenants,
    handlers: Mapping[str, ItemHandler],
    clock: Clock,
    *,
    company: Company,
    collecting: Collecting | None = None,
) -> AsyncIterator[JobWork]:
    """What the worker needs: it takes jobs of the kinds that ``handlers`` has while the context is open. ``company``: of what is
    worked on side by side, for stores that do things together."""
    desk = PgDesk(db, attempts=settings.jobs_attempts, company=company)
    policy = RunPolicy(
        retries=Retries(settings.jobs_attempts),
        slice_s=settings.jobs_slice_s,
        lease=timedelta(seconds=settings.jobs_lease_s),
        per_tenant=settings.jobs_per_tenant,
        stall_s=settings.jobs_stall_s,
        at_once=settings.jobs_at_once,
    )
    async with _courier(settings) as courier:
        runner = Runner(desk, courier, handlers, clock, policy, company=company)
        sweeper = Sweeper(desk, tenants, courier, clock, retention=timedelta(days=settings.jobs_retention_days))
        sweep_s = settings.jobs_sweep_interval_s
        async with JobWork(runner, sweeper, collecting, slots=settings.jobs_slots, sweep_s=sweep_s).running() as work:
            yield work


@asynccontextmanager
async def _courier(settings: Settings) -> AsyncIterator[ArqCourier | NoCourier]:
    url = settings.jobs_redis_url or settings.redis_url
    if url is None or is_cluster(url.get_secret_value()):
        yield NoCourier()
        return
    courier = ArqCourier(url.get_secret_value(), timeout_s=settings.redis_timeout_s)
    try:
        yield courier
    finally:
        await courier.close()
