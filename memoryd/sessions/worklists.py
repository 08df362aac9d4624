"""Walks over the sessions of all tenants that wait in a work list: a few at once, the longest waiting first.

What fails is put behind the others of its list, so that any number of failing sessions holds up nobody.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from memoryd.attempts import attempted, each
from memoryd.memory.ports import Clock
from memoryd.sessions.ports import Changed, LifeStore, SessionGone, Target
from memoryd.sessions.working import Recover
from retrieval.scope import Action, Scope

# Works on one session: ``None`` when that took it off the list, else when to look at it again.
Step = Callable[[Scope, str], Awaitable[datetime | None]]

_TENANTS = 200
_LONG_S = 1.0


class Tenants(Protocol):
    """Every tenant of the installation, by page."""

    async def tenants(self, after: UUID | None, limit: int) -> list[UUID]: ...


@dataclass(frozen=True, slots=True)
class WorkList:
    """``wait``: how long a session stays in it before its turn. ``retry``: from a failure until it may be tried again, beside
    ``wait``. ``at_once``: sessions worked on at the same time. ``batch``: most of one tenant before the others have their turn.
    """

    name: str
    at_once: int
    batch: int
    wait: timedelta = timedelta()
    retry: timedelta = timedelta()


@dataclass(slots=True)
class _Pass:
    """What one pass over all tenants did. ``moved``: sessions that left their list or went back in it. ``more``: it left some
    that could be worked on at once."""

    waiting: list[tuple[Scope, str]] = field(default_factory=list)
    moved: int = 0
    failed: int = 0
    more: bool = False


class Walks:
    """Walks over tenants, and over their sessions."""

    def __init__(self, tenants: Tenants, life: LifeStore, recover: Recover, clock: Clock) -> None:
        self._tenants = tenants
        self._life = life
        self._recover = recover
        self._clock = clock

    async def pages(self) -> AsyncIterator[Sequence[Scope]]:
        """What the worker may do for each tenant, by page."""
        after: UUID | None = None
        while page := await self._tenants.tenants(after, _TENANTS):
            yield [Scope(tenant_id, "worker", frozenset({Action.READ, Action.WRITE, Action.DELETE})) for tenant_id in page]
            after = page[-1]

    async def drain(self, work: WorkList, step: Step) -> int:
        """Work until nobody waits; answers how many steps failed. What fails is logged and stops nothing else."""
        clock, failed = asyncio.get_running_loop().time, 0
        while True:
            began = clock()
            one = await self._pass(work, step)
            failed += one.failed
            # After a short pass nobody waited for long: who came meanwhile is left to the next round, which comes soon.
            # Where Redis takes no writes, the next pass would find the same sessions.
            if not one.moved or not (one.more or clock() - began > _LONG_S):
                return failed

    async def _pass(self, work: WorkList, step: Step) -> _Pass:
        found = _Pass()
        async for scopes in self.pages():
            await each(scopes, lambda scope: self._look(found, work, scope), work.at_once)
            waiting, found.waiting = found.waiting, []
            await each(waiting, lambda one: self._turn(found, work, step, *one), work.at_once)
        return found

    async def _look(self, found: _Pass, work: WorkList, scope: Scope) -> None:
        if not await attempted(round_of(scope), self._found(found, work, scope)):
            found.failed += 1

    async def _found(self, found: _Pass, work: WorkList, scope: Scope) -> None:
        ids = await self._life.waiting(scope, work.name, self._clock.now() - work.wait, work.batch)
        found.waiting += [(scope, one) for one in ids]
        found.more = found.more or len(ids) == work.batch

    async def _turn(self, found: _Pass, work: WorkList, step: Step, scope: Scope, session_id: str) -> None:
        moved = await attempted(round_of(scope), self._worked(found, work, step, scope, session_id))
        if not moved:
            found.failed += 1
            # Where this fails too, it keeps its place.
            until = self._clock.now() + work.retry
            moved = await attempted(round_of(scope), self._life.postpone(scope, session_id, work.name, until))
        found.moved += moved

    async def _worked(self, found: _Pass, work: WorkList, step: Step, scope: Scope, session_id: str) -> None:
        try:
            until = await step(scope, session_id)
        except SessionGone as gone:
            try:
                await self._life.forget(scope, Target(session_id, self._clock.now()))
            except Changed:
                # Something of it is there, but not its messages: its turn comes again when it is whole.
                if not await self._recover(scope, session_id):
                    raise gone from None
                until = self._clock.now() + work.retry
            else:
                return
        except Changed:
            until = self._clock.now() + work.retry  # it goes on
        if until is not None:
            found.more = found.more or until <= self._clock.now() - work.wait
            await self._life.postpone(scope, session_id, work.name, until)


def round_of(scope: Scope) -> str:
    """As the log names it."""
    return f"a session round of tenant {scope.tenant_id}"
