"""The worker's round over knowledge bases: give up the versions that retention does not keep, and clear what they leave."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from memoryd.attempts import attempted
from memoryd.knowledge.model import KnowledgeBase
from memoryd.knowledge.ports import Bases
from memoryd.knowledge.versioning import Versioning
from memoryd.memory.ports import Clock
from retrieval.scope import Action, Scope

_PAGE = 200


class Tenants(Protocol):
    """Every tenant of the installation, by page."""

    async def tenants(self, after: UUID | None, limit: int) -> Sequence[UUID]: ...


class Collection:
    """Garbage collection in every knowledge base of every tenant, one after the other."""

    def __init__(self, tenants: Tenants, bases: Bases, versions: Versioning, clock: Clock) -> None:
        self._tenants = tenants
        self._bases = bases
        self._versions = versions
        self._clock = clock

    async def run(self) -> int:
        """One round; how many versions were given up. A knowledge base that fails is logged, and the others have their turn."""
        given_up: list[int] = []
        after: UUID | None = None
        while page := await self._tenants.tenants(after, _PAGE):
            for tenant_id in page:
                scope = Scope(tenant_id, "worker", frozenset(Action), request_id="collection")
                await attempted(f"collection for tenant {tenant_id}", self._tenant(scope, given_up))
            after = page[-1]
        return sum(given_up)

    async def _tenant(self, scope: Scope, given_up: list[int]) -> None:
        name: str | None = None
        while page := await self._bases.page(scope, after=name, limit=_PAGE):
            for base in page:
                await attempted(f"collection in knowledge base {base.kb_id}", self._base(scope, base, given_up))
            name = page[-1].name

    async def _base(self, scope: Scope, base: KnowledgeBase, given_up: list[int]) -> None:
        given_up.append(len((await self._versions.collected(scope, base, self._clock.now())).versions))
