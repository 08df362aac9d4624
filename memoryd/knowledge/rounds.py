"""The worker's round over knowledge bases: give up the versions that retention does not keep, and clear what they leave."""

import logging
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from memoryd.knowledge.model import KnowledgeBase
from memoryd.knowledge.ports import Bases
from memoryd.knowledge.versioning import Versioning
from memoryd.memory.ports import Clock
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
                scope = Scope(tenant_id, "worker", frozenset(Action), request_id="collection")
                try:
                    given_up += await self._tenant(scope)
                except Exception as error:  # noqa: BLE001 - one tenant must not stop the others
                    log.warning("collection for tenant %s failed: %s", tenant_id, type(error).__name__)
            after = page[-1]
        return given_up

    async def _tenant(self, scope: Scope) -> int:
        given_up = 0
        name: str | None = None
        while page := await self._bases.page(scope, after=name, limit=_PAGE):
            for base in page:
                given_up += await self._base(scope, base)
            name = page[-1].name
        return given_up

    async def _base(self, scope: Scope, base: KnowledgeBase) -> int:
        try:
            return len((await self._versions.collected(scope, base, self._clock.now())).versions)
        except Exception as error:  # noqa: BLE001 - one knowledge base must not stop the others
            log.warning("collection in knowledge base %s failed: %s", base.kb_id, type(error).__name__)
            return 0
