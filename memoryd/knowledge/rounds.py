"""The worker's round over knowledge bases: give up the versions that retention does not keep, and clear what they leave."""

import logging
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from memoryd.knowledge.ports import Bases
from memoryd.knowledge.versioning import Versioning
from memoryd.memory.ports import Clock
from retrieval.errors import MemorydError
from retrieval.scope import Action, Scope

log = logging.getLogger(__name__)

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
        given_up = 0
        after: UUID | None = None
        while page := await self._tenants.tenants(after, _PAGE):
            for tenant_id in page:
                given_up += await self._tenant(Scope(tenant_id, "worker", frozenset(Action), request_id="collection"))
            after = page[-1]
        return given_up

    async def _tenant(self, scope: Scope) -> int:
        given_up = 0
        name: str | None = None
        try:
            while page := await self._bases.page(scope, after=name, limit=_PAGE):
                for base in page:
                    name = base.name
                    given_up += len((await self._versions.collected(scope, base, self._clock.now())).versions)
        except MemorydError as error:
            log.warning("collection in a knowledge base of tenant %s failed: %s", scope.tenant_id, error.code)
        return given_up
