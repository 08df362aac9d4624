"""The part of the composition root that builds embedding generations, for the API and for the worker."""

from datetime import timedelta
from functools import partial
from uuid import UUID

from memoryd.generations.embedders import Embedders
from memoryd.generations.ports import Models, Report
from memoryd.generations.rebuild import Hands, Rebuild
from memoryd.generations.service import Generations
from memoryd.generations.verify import Verifier
from memoryd.memory.ports import Clock
from memoryd.models import card_of
from memoryd.settings import Settings
from memoryd.stores.database import Database
from memoryd.stores.generation_evidence import PgGenerationEvidence
from memoryd.stores.generation_items import PgGenerationItems
from memoryd.stores.generation_registry import PgRegistry, as_operator
from memoryd.stores.generation_work import PgGenerationWork
from memoryd.stores.knowledge.bases import PgBases
from retrieval.filters import JsonValue
from retrieval.scope import Scope

# A verification that takes longer is left to the worker; whoever asked looks again.
_PATIENCE_S = 20.0


class _Bases:
    """Knowledge bases by name."""

    def __init__(self, database: Database) -> None:
        self._bases = PgBases(database)

    async def id_of(self, scope: Scope, name: str) -> UUID:
        """Raises ``NotFound``."""
        return (await self._bases.get(scope, name)).kb_id


def generations(settings: Settings, db: Database, embedders: Embedders, models: Models, clock: Clock) -> Generations:
    """The use cases of the API."""
    verifier = Verifier(embedders, models, PgGenerationItems(db), PgGenerationEvidence(db))
    patience_s = min(_PATIENCE_S, settings.request_timeout_s / 2)
    cards = partial(card_of, settings)
    registry = PgRegistry(db, idempotency_ttl=timedelta(seconds=settings.idempotency_ttl_s))
    return Generations(registry, embedders, verifier, cards, _Bases(db), clock, patience_s=patience_s)


def rebuild(db: Database, embedders: Embedders, models: Models, clock: Clock) -> Rebuild:
    """The worker's rounds."""
    work, items, registry = PgGenerationWork(db), PgGenerationItems(db), PgRegistry(db)

    async def keep(number: int, report: Report, answers: JsonValue) -> None:
        now = clock.now()
        await registry.keep_report(as_operator(now, "worker"), number, report | {"at": now.isoformat()}, answers=answers)

    verifier = Verifier(embedders, models, items, PgGenerationEvidence(db))
    return Rebuild(Hands(work, work, items, models, verifier, keep))
