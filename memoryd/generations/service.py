"""The use cases of generations: create, look at, pause, resume, verify, cut over, roll back, retire."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol
from uuid import UUID

from memoryd.errors import Forbidden, GateFailed, InvalidRequest, WrongState
from memoryd.generations.embedders import Embedders
from memoryd.generations.gate import lacks
from memoryd.generations.model import Actor, NewGeneration, Registered, ScopeKind, State
from memoryd.generations.owed import owing, shown
from memoryd.generations.ports import Asked, Labelled, Registry
from memoryd.generations.verify import Verifier
from memoryd.memory.model import Idempotency
from memoryd.memory.ports import Clock
from retrieval.errors import ModelNotFound
from retrieval.ports import ModelCard
from retrieval.scope import Action, Scope

OPERATOR = "operator"
_VERIFIABLE = (State.VERIFYING, State.LIVE, State.DRAINING)

CardOf = Callable[[str, bool], Awaitable[ModelCard]]
"""The description of a model by its name; the second says whether the operator asks. Raises ``InferenceError``."""


class Bases(Protocol):
    """Where knowledge bases are found by name."""

    async def id_of(self, scope: Scope, name: str) -> UUID:
        """Raises ``NotFound``."""


class Generations:
    """What an operator may do to generations of the installation, and a tenant's admin key to its own."""

    def __init__(
        self,
        registry: Registry,
        embedders: Embedders,
        verifier: Verifier,
        card_of: CardOf,
        bases: Bases,
        clock: Clock,
        *,
        patience_s: float = 20.0,
    ) -> None:
        self._registry = registry
        self._embedders = embedders
        self._verifier = verifier
        self._card_of = card_of
        self._bases = bases
        self._clock = clock
        self._patience_s = patience_s

    def operator(self, request_id: str) -> Actor:
        """The operator, by this request."""
        return Actor(None, OPERATOR, request_id, self._clock.now())

    def tenant(self, scope: Scope) -> Actor:
        """A tenant's key. Raises ``Forbidden`` unless it administrates the whole tenant."""
        if Action.ADMIN not in scope.actions or scope.spaces is not None:
            raise Forbidden("generations need a key with the action 'admin' that is not confined to spaces")
        return Actor(scope.tenant_id, scope.principal, scope.request_id, self._clock.now())

    async def create(
        self, actor: Actor, model: str, kind: ScopeKind, *, knowledge_base: str | None, idempotency: Idempotency | None = None
    ) -> Registered:
        """Begin to embed everything in a scope with another model, beside what serves. A repeated request finds what it made.

        Raises ``InferenceUnavailable``, ``InvalidRequest``, ``Forbidden``, ``NotFound``, ``Conflict``.
        """
        kb_id = None
        if (kind is ScopeKind.INSTALLATION) != (actor.tenant_id is None):
            raise Forbidden("a generation of the installation is the operator's to make, any other a tenant's own")
        if (kind is ScopeKind.KNOWLEDGE_BASE) != (knowledge_base is not None):
            raise InvalidRequest("knowledge_base: must be named for a generation of one, and for no other")
        # Whatever has become of the model and the knowledge base: a repeated request needs neither.
        if idempotency is not None and (made := await self._registry.earlier(actor, idempotency)) is not None:
            return made
        if knowledge_base is not None and actor.tenant_id is not None:
            owner = Scope(actor.tenant_id, actor.principal, frozenset({Action.READ}), request_id=actor.request_id)
            kb_id = await self._bases.id_of(owner, knowledge_base)
        try:
            card = await self._card_of(model, actor.tenant_id is None)
        except ModelNotFound as error:
            raise InvalidRequest(f"model: {error}") from error
        new = NewGeneration(
            card.name, card.revision, card.dimension, card.query_prefix, card.passage_prefix, actor.tenant_id, kb_id
        )
        return await self._changed(await self._registry.add(actor, new, idempotency=idempotency))

    async def page(self, actor: Actor, *, after: int, limit: int) -> list[Registered]:
        """By number; a tenant sees its own, and of the installation's what they are."""
        return [_as_seen(one, actor) for one in await self._registry.page(actor, after=after, limit=limit)]

    async def get(self, actor: Actor, number: int) -> Registered:
        """Raises ``NotFound``."""
        return _as_seen(await self._registry.get(actor, number), actor)

    async def pause(self, actor: Actor, number: int) -> Registered:
        """The worker leaves it alone; writers go on writing to it. Raises ``NotFound``, ``WrongState``."""
        return await self._registry.set_paused(actor, number, paused=True)

    async def resume(self, actor: Actor, number: int) -> Registered:
        """The worker goes on where it was. Raises ``NotFound``, ``WrongState``."""
        return await self._registry.set_paused(actor, number, paused=False)

    async def verify(self, actor: Actor, number: int, labelled: Sequence[Labelled] = ()) -> Registered:
        """Measure now, and keep the report; what takes longer than a request may is left to the worker, and so is what lacks
        vectors: it tries again to embed these items, and measures then. ``labelled`` questions are a tenant's own.

        Raises ``NotFound``, ``Forbidden``, ``InferenceUnavailable``, ``WrongState`` before it has caught up, or where it is
        paused and the worker would have to.
        """
        found = await self._own(actor, number)
        if labelled and actor.tenant_id is None:
            raise InvalidRequest("queries: labelled questions need a tenant's key, and a generation of that tenant")
        state = found.generation.state
        if state not in _VERIFIABLE:
            raise WrongState(f"generation {number} is {state}: it can be verified when it has caught up", state.value)
        asked = Asked(actor.tenant_id, labelled) if labelled and actor.tenant_id is not None else None
        self._embedders.forget()
        try:
            async with asyncio.timeout(self._patience_s) as limit:
                report = await self._verifier(found.generation, asked)
        except TimeoutError:
            if not limit.expired():
                raise
            if found.paused:
                paused = f"generation {number} is paused, and takes the worker to verify: resume it"
                raise WrongState(paused, state.value) from None
            return await self._registry.owe_report(actor, number, owing(asked))
        kept = await self._registry.keep_report(actor, number, report | {"at": self._clock.now().isoformat()})
        if found.paused or not lacks(report):
            return kept
        return await self._registry.owe_report(actor, number, owing(asked))

    async def cut_over(self, actor: Actor, number: int, *, forced: str | None) -> Registered:
        """Reads are answered from it from now on; what it replaces drains. Asked again, it is so already.

        Raises ``GateFailed`` unless its verification passed or ``forced`` says why not; ``NotFound``, ``Forbidden``,
        ``WrongState``, ``Conflict``.
        """
        found = await self._own(actor, number)
        if found.generation.state is State.LIVE:
            return found
        if found.generation.state in (State.VERIFYING, State.DRAINING) and not found.passed and forced is None:
            what = "did not pass its verification"
            if found.report is None or found.owed is not None:
                what = "is still to be verified"
            raise GateFailed(f"generation {number} {what}; `force` with a reason goes on all the same", shown(found.report))
        live = [one.generation.number for one in await self._siblings(actor, found) if one.generation.state is State.LIVE]
        return await self._changed(await self._registry.cut_over(actor, number, before=live[0] if live else None, forced=forced))

    async def roll_back(self, actor: Actor, number: int, *, forced: str | None) -> Registered:
        """What it replaced is live again, and it drains. Asked again, it is so already.

        Raises ``NotFound``, ``Forbidden``, ``WrongState``, ``Conflict``.
        """
        return await self._changed(await self._registry.roll_back(actor, number, forced=forced))

    async def retire(self, actor: Actor, number: int) -> Registered:
        """Give it up: nothing is written to it any more, and its vectors go. Raises ``NotFound``, ``WrongState`` when live."""
        return await self._changed(await self._registry.retire(actor, number))

    async def _own(self, actor: Actor, number: int) -> Registered:
        """One that the actor may change, with everything that was measured. Raises ``NotFound``, ``Forbidden``."""
        found = await self._registry.get(actor, number)
        if found.generation.tenant_id is None and actor.tenant_id is not None:
            raise Forbidden("a generation of the installation needs the operator's key")
        return found

    async def _siblings(self, actor: Actor, of: Registered) -> list[Registered]:
        """All of its scope."""
        found: list[Registered] = []
        after = 0
        while page := await self._registry.page(actor, after=after, limit=200):
            found += page
            after = page[-1].generation.number
        where = (of.generation.tenant_id, of.generation.kb_id)
        return [one for one in found if (one.generation.tenant_id, one.generation.kb_id) == where]

    async def _changed(self, found: Registered) -> Registered:
        """This process sees it at once."""
        self._embedders.forget()
        return found


def _as_seen(found: Registered, actor: Actor) -> Registered:
    """What is measured over all tenants is the operator's."""
    if actor.tenant_id is None or found.generation.tenant_id is not None:
        return found
    progress = replace(found.progress, total=None, done=0, embedded=0, tokens=0, busy_s=0.0)
    return replace(found, progress=progress, mark=None, failure=None, gaps=False, report=None, forced=None, created_by=None)
