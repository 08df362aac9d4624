"""What the worker does about generations: fill new ones, find what is missing, verify them, and clear up behind retired ones.

Everything is insert-only and goes on behind a mark: killed at any moment, the next worker repeats at most one batch. One worker
at a time is at a generation, by a lease that is renewed as long as it works.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID, uuid4

from memoryd.generations.model import Generation, Mark, Registered, State, Step
from memoryd.generations.owed import asked_for
from memoryd.generations.ports import Asked, Items, Models, Purging, Report, Unembedded, Work
from memoryd.generations.refusals import Refusals
from retrieval.errors import MemorydError
from retrieval.filters import JsonValue
from retrieval.inference.tokenizer import estimated_tokens
from retrieval.ports import Embedder

log = logging.getLogger(__name__)

# So many items are looked at, and as far as they have no vector embedded and stored, before the mark moves: a second or two.
BATCH = 64
_PAGE = 200
# A round ends after so long, so that a stop is noticed and other generations have their turn.
_ROUND_S = 120.0
# What a writer holds when its turn comes is looked at again after this.
_AGAIN_S = 0.2
# Thrice while a lease lasts.
_RENEW_S = 15.0
_PASSES = 50

Verify = Callable[[Generation, Asked | None], Awaitable[Report]]
Keep = Callable[[int, Report, JsonValue], Awaitable[object]]


class _Over(Exception):
    """The lease is another's, or the generation was paused or retired: somebody else goes on, or nobody."""


@dataclass(frozen=True, slots=True)
class Hands:
    """What the rounds work with. ``keep`` stores the report of a verification, and with it the
    note that it was made for."""

    work: Work
    purging: Purging
    items: Items
    models: Models
    verify: Verify
    keep: Keep


class Rebuild:
    """The worker's rounds over generations."""

    def __init__(self, hands: Hands, *, round_s: float = _ROUND_S, renew_s: float = _RENEW_S) -> None:
        self._hands = hands
        self._round_s = round_s
        self._renew_s = renew_s
        self._id = uuid4()

    async def run(self) -> int:
        """Work until nothing is due or the round is over; how often something due was done. What fails waits for the next."""
        ends = time.monotonic() + self._round_s
        done = 0
        while time.monotonic() < ends:
            before = done
            for found in await self._hands.work.due():
                # As it stands now: another worker may have been at it since, and its mark is the one to go on from.
                leased = await self._hands.work.lease(found.generation.number, self._id)
                if leased is not None:
                    done += await self._tend(leased, ends)
            if done == before:
                break
        return done

    async def _tend(self, found: Registered, ends: float) -> bool:
        """Do what is due for one; true when it went well, so that more may be due."""
        number, failure, refusals = found.generation.number, None, Refusals()
        try:
            await self._leased(number, self._step(found, ends, refusals))
        except _Over:
            log.info("generation %d is not worked on any more: paused, retired, or another worker's", number)
        except MemorydError as error:
            failure = f"{error.code}: {error}"
            log.warning("generation %d cannot go on: %s", number, failure)
        except Exception as error:  # noqa: BLE001 - a vector that the database refuses, say: the others have their turn
            failure = f"internal: {type(error).__name__}"
            log.warning("generation %d cannot go on: %s", number, type(error).__name__)
        finally:
            # Not shielded from a kill, only from a cancellation: a lease that stays ends by itself.
            with suppress(MemorydError):
                await self._hands.work.release(number, self._id, failure or refusals.told)
        return failure is None

    async def _leased(self, number: int, step: Coroutine[None, None, None]) -> None:
        """Do it, and renew the lease meanwhile: to count everything, or to verify, takes longer than a lease lasts."""
        task = asyncio.ensure_future(step)
        try:
            while not (await asyncio.wait({task}, timeout=self._renew_s))[0]:
                try:
                    if await self._hands.work.lease(number, self._id) is None and not task.done():
                        raise _Over
                except MemorydError as error:
                    log.warning("the lease of generation %d cannot be renewed: %s", number, error)
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _step(self, found: Registered, ends: float, refusals: Refusals) -> None:
        generation = found.generation
        if generation.state is State.RETIRED:
            await self._purge(generation)
        elif generation.tenant_id is not None and not await self._hands.items.tenants(generation, None, 1):
            await self._hands.purging.gone(generation.number)
        elif generation.state is State.BUILDING:
            await self._fill(found, ends, refusals)
        else:
            await self._complete(found, refusals)

    async def _fill(self, found: Registered, ends: float, refusals: Refusals) -> None:
        """The backfill, from the mark on, until the round is over."""
        generation, mark = found.generation, found.mark
        refusals.go_on(found.failure)
        model = await self._hands.models.of(generation)
        if found.progress.total is None:
            total = [await self._hands.items.count(generation, tenant_id) async for tenant_id in self._tenants(generation, None)]
            await self._hands.work.began(generation.number, sum(total))
        async for at in self._places(generation, mark):
            while True:
                began = time.monotonic()
                looked, missing = await self._hands.items.page(generation, at, BATCH)
                if not looked:
                    break
                stored, tokens = await self._store(generation, model, at, missing, refusals)
                at = Mark(at.tenant_id, at.kind, looked[-1])
                step = Step(len(looked), stored, tokens, time.monotonic() - began)
                if not await self._hands.work.advanced(generation.number, self._id, at, step):
                    raise _Over
                if time.monotonic() > ends:
                    return
        await self._hands.work.moved(generation.number, State.BUILDING, State.CATCHING_UP)

    async def _complete(self, found: Registered, refusals: Refusals) -> None:
        """Find what is missing, and measure where that is due: in one step, so that what is refused is told beside the report."""
        generation = found.generation
        number, state = generation.number, generation.state
        unmeasured = state is State.VERIFYING and found.report is None
        verifying = state is State.CATCHING_UP or unmeasured or found.owed is not None
        if not verifying:
            refusals.go_on(found.failure)
        if not await self._reconcile(generation, refusals, verifying=verifying) or not verifying:
            return
        if state is State.CATCHING_UP and not await self._hands.work.moved(number, state, State.VERIFYING):
            return
        report = await self._hands.verify(generation, asked_for(found.owed))
        await self._hands.keep(number, report, found.owed)

    async def _reconcile(self, generation: Generation, refusals: Refusals, *, verifying: bool) -> bool:
        """Look at every item again until none is without a vector but what the model refuses, and then close what writers noted
        before. ``verifying``: of every tenant, and not only of those with such a note; what was refused once may be taken now.

        False when some still are: writers hold them for longer than this waits, and the next round looks again. What is refused
        is not tried again before a verification is asked for: the gate counts anew, and does not let the generation pass without.
        """
        model = await self._hands.models.of(generation)
        whole = True
        async for tenant_id in self._tenants(generation, None):
            gap = await self._hands.items.gap(generation, tenant_id)
            if not verifying and not gap:
                continue
            for _ in range(_PASSES):
                if not await self._pass(generation, model, tenant_id, refusals):
                    break
                await asyncio.sleep(_AGAIN_S)
            else:
                whole = False
                continue
            if refusals and not verifying and generation.state is not State.LIVE:  # what serves passes no gate any more
                await self._hands.work.measure(generation.number)
            if gap:
                await self._hands.items.close_gap(generation, tenant_id, gap)
        return whole

    async def _pass(self, generation: Generation, model: Embedder, tenant_id: UUID, refusals: Refusals) -> int:
        """One look at all items of a tenant; how many had no vector and were not refused."""
        without = 0
        for kind in generation.kinds:
            at = Mark(tenant_id, kind, 0)
            while True:
                looked, missing = await self._hands.items.page(generation, at, 8 * BATCH if not without else BATCH)
                if not looked:
                    break
                missing = [one for one in missing if not refusals.has(at, one)]
                for start in range(0, len(missing), BATCH):
                    stored, cost = await self._store(generation, model, at, missing[start : start + BATCH], refusals)
                    step = Step(0, stored, cost, 0.0)
                    if not await self._hands.work.caught_up(generation.number, self._id, step):
                        raise _Over
                without += sum(not refusals.has(at, one) for one in missing)
                at = Mark(tenant_id, kind, looked[-1])
                if not missing and not await self._hands.work.caught_up(generation.number, self._id, Step()):
                    raise _Over
        return without

    async def _store(
        self, generation: Generation, model: Embedder, at: Mark, missing: list[Unembedded], refusals: Refusals
    ) -> tuple[int, int]:
        """Embed and insert; how many went in, and how many tokens they have, estimated."""
        taken, vectors = await refusals.embedded(model, at, missing) if missing else ([], None)
        if vectors is None or not taken:
            return 0, 0
        stored = await self._hands.items.store(generation, at.tenant_id, at.kind, [one.pid for one in taken], vectors)
        return stored, sum(estimated_tokens(one.text, model.card.max_tokens) for one in taken)

    async def _purge(self, generation: Generation) -> None:
        async for tenant_id in self._tenants(generation, None):
            while await self._hands.purging.erase(generation.number, tenant_id):
                pass
        await self._hands.purging.purged(generation.number)

    async def _places(self, generation: Generation, mark: Mark | None) -> AsyncIterator[Mark]:
        """Where each tenant's items of each kind begin, from the mark on."""
        kinds = list(generation.kinds)
        if mark is not None:
            yield mark
            for kind in kinds[kinds.index(mark.kind) + 1 :]:
                yield Mark(mark.tenant_id, kind, 0)
        async for tenant_id in self._tenants(generation, None if mark is None else mark.tenant_id):
            for kind in kinds:
                yield Mark(tenant_id, kind, 0)

    async def _tenants(self, generation: Generation, after: UUID | None) -> AsyncIterator[UUID]:
        while page := await self._hands.items.tenants(generation, after, _PAGE):
            for tenant_id in page:
                yield tenant_id
            after = page[-1]
