"""Jobs on a real PostgreSQL, with a clock that tests move and handlers that do what a test says."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from memoryd.database_wiring import database as service_database
from memoryd.jobs.model import Command, ItemState, Job, JobItem, NewItem, NewJob, Outcome
from memoryd.jobs.ports import Control, ItemHandler
from memoryd.jobs.retry import Retries
from memoryd.jobs.runner import Runner, RunPolicy
from memoryd.jobs.service import Jobs
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.jobs.desk import PgDesk
from memoryd.stores.jobs.ledger import PgLedger
from memoryd.together import Company
from retrieval.scope import Action, Scope
from tests.stack import Stack

KIND = "test"
ATTEMPTS = 3
POLICY = RunPolicy(
    retries=Retries(ATTEMPTS, base_s=2, factor=2, cap_s=60, chance=lambda: 1.0),
    slice_s=60,
    lease=timedelta(seconds=30),
    per_tenant=2,
    stall_s=60,
)


@dataclass
class Clock:
    at: datetime = field(default_factory=lambda: datetime(2026, 5, 1, 12, tzinfo=UTC))

    def now(self) -> datetime:
        return self.at

    def pass_(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Reminders:
    """A courier that keeps what it was given. ``up`` false: it is down."""

    sent: list[tuple[UUID, float]] = field(default_factory=list)
    up: bool = True

    async def enqueue(self, tenant_id: UUID, job_id: UUID, delay_s: float = 0.0) -> bool:
        if self.up:
            self.sent.append((job_id, delay_s))
        return self.up

    async def reachable(self) -> bool:
        return self.up


Work = Callable[[JobItem, Control], Awaitable[Outcome | None]]


@dataclass
class Handler:
    """Notes what it was called for, and does ``work`` of the document's name, else succeeds with two chunks."""

    work: dict[str, Work] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    ends: list[Job] = field(default_factory=list)
    at_end: Callable[[], None] = lambda: None
    scopes: list[Scope] = field(default_factory=list)

    async def process(self, scope: Scope, job: Job, item: JobItem, control: Control) -> Outcome:
        self.scopes.append(scope)
        self.done.append(item.document_id)
        if item.document_id in self.work:
            outcome = await self.work[item.document_id](item, control)
            if outcome is not None:
                return outcome
        await control.checkpoint(chunks=2, tokens=10)
        return Outcome(ItemState.SUCCEEDED, chunks=2, tokens=10, size=100, pages=1)

    async def finished(self, scope: Scope, job: Job) -> None:
        self.ends.append(job)
        self.at_end()


@dataclass
class Bench:
    """One tenant's jobs, as a caller and as a worker see them."""

    database: Database
    clock: Clock
    scope: Scope
    courier: Reminders
    jobs: Jobs
    desk: PgDesk
    ledger: PgLedger
    company: Company

    def runner(self, handler: ItemHandler, policy: RunPolicy = POLICY, *, passed: Callable[[], float] = time.monotonic) -> Runner:
        handlers = {KIND: handler}
        return Runner(self.desk, self.courier, handlers, self.clock, policy, company=self.company, passed=passed)

    async def make(self, *documents: str, space: str | None = None, payload: str = "") -> UUID:
        items = [NewItem(one, {"name": one}) for one in documents]
        return (await self.jobs.create(self.scope, NewJob(KIND, {"p": payload}, items, space=space))).job_id

    async def run(self, handler: ItemHandler, policy: RunPolicy = POLICY) -> int:
        """Turns until nothing can be claimed; how many."""
        runner, turns = self.runner(handler, policy), 0
        while claim := await runner.claim(self.scope.tenant_id):
            await runner.work(claim)
            turns += 1
        return turns

    async def job(self, job_id: UUID) -> Job:
        return await self.jobs.get(self.scope, job_id)

    async def act(self, job_id: UUID, command: Command) -> Job:
        return await self.jobs.act(self.scope, job_id, command)

    async def states(self, job_id: UUID) -> list[ItemState]:
        return [one.state for one in await self.jobs.items(self.scope, job_id, limit=100)]

    async def items(self, job_id: UUID) -> list[JobItem]:
        return await self.jobs.items(self.scope, job_id, limit=100)

    def confined(self, *spaces: str) -> Scope:
        return replace(self.scope, spaces=frozenset(spaces))


@pytest.fixture(scope="session")
async def database(settings: Settings) -> AsyncIterator[Database]:
    opened = service_database(settings)
    await opened.open()
    yield opened
    await opened.close()


def new_tenant(stack: Stack) -> UUID:
    tenant_id = uuid4()
    with psycopg.connect(stack.superuser_url) as connection:
        connection.execute("INSERT INTO memoryd.tenants (tenant_id, name) VALUES (%s, %s)", (tenant_id, f"jobs-{tenant_id}"))
    return tenant_id


def bench_of(database: Database, tenant_id: UUID, clock: Clock, courier: Reminders) -> Bench:
    ledger = PgLedger(database)
    scope = Scope(tenant_id, "key:tester", frozenset({Action.READ, Action.WRITE}))
    company = Company()
    desk = PgDesk(database, attempts=ATTEMPTS, company=company)
    return Bench(database, clock, scope, courier, Jobs(ledger, courier, clock), desk, ledger, company)


@pytest.fixture
def bench(stack: Stack, database: Database) -> Bench:
    return bench_of(database, new_tenant(stack), Clock(), Reminders())
