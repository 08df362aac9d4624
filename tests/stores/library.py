"""A tenant with memories whose vectors the test chooses: for the indexes, without a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import numpy as np

from memoryd.access.service import SpaceService
from memoryd.access.tenants import TenantService
from memoryd.clock import SystemClock
from memoryd.ids import uuid7
from memoryd.memory.identity import identity
from memoryd.memory.model import Content, Kind, Passage, Prepared
from memoryd.stores.access import PgAccess
from memoryd.stores.database import Database
from memoryd.stores.tenants import PgTenants
from memoryd.stores.terms import facet_terms
from memoryd.stores.units import PgUnits
from retrieval.scope import Action, Scope
from retrieval.vectors import Vectors

DIMENSION = 384
CLOCK = SystemClock()


@dataclass(frozen=True)
class Library:
    """One tenant with one space."""

    database: Database
    scope: Scope
    space: UUID
    generation: int

    async def add(self, vectors: Vectors, *, users: Sequence[str], buckets: Sequence[int]) -> list[UUID]:
        """A memory a vector, with ``user_id`` and ``metadata.bucket``; ids in the order given."""
        ids: list[UUID] = []
        for start in range(0, len(vectors), 1000):
            part = slice(start, start + 1000)
            prepared = [
                self._prepared(vector, user, bucket)
                for vector, user, bucket in zip(vectors[part], users[part], buckets[part], strict=True)
            ]
            async with PgUnits(self.database, CLOCK).begin(self.scope, None) as unit:
                ids += [one.memory_id for one in await unit.insert(prepared)]
        return ids

    def _prepared(self, vector: Vectors, user: str, bucket: int) -> Prepared:
        content = Content(
            kind=Kind.SEMANTIC,
            text=f"item {uuid4()}",
            speaker=None,
            role=None,
            user_id=user,
            agent_id=None,
            session_id=None,
            event_time=None,
            valid_from=None,
            valid_to=None,
            source_type="test",
            source_uri=None,
            confidence=1.0,
            topics=(),
            metadata={"bucket": bucket},
            supersedes=None,
        )
        facets = np.array(facet_terms(self.space, (), content.metadata), dtype=np.int64)
        term = np.array([hash(content.text) % 2**62], dtype=np.int64)
        passage = Passage((0, len(content.text)), 2, term, np.ones(1, dtype=np.int16), facets, {self.generation: vector})
        return Prepared(uuid7(), self.space, None, identity(content, None, CLOCK.now()), content, (passage,))


async def new_library(database: Database, generation: int) -> Library:
    """A fresh tenant."""
    tenants = TenantService(PgTenants(database, idempotency_ttl=timedelta(days=1)), CLOCK)
    tenant, _ = await tenants.create(f"library-{uuid4().hex[:8]}", tenants.operation("test"))
    scope = Scope(tenant.tenant_id, "test", frozenset(Action))
    spaces = await SpaceService(PgAccess(database), CLOCK).readable(scope, None)
    return Library(database, scope, spaces["default"].space_id, generation)


def clustered(count: int, *, seed: int) -> Vectors:
    """Unit vectors in 60 clumps, as texts are: harder for a filtered graph than uniform noise.

    The clumps are the same for every seed, so that a question has neighbours, and tenants with different seeds have theirs
    side by side.
    """
    centres = np.random.default_rng(0).normal(size=(60, DIMENSION))
    rng = np.random.default_rng([1, seed])
    vectors = centres[rng.integers(60, size=count)] + 0.7 * rng.normal(size=(count, DIMENSION))
    unit: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit
