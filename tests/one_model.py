"""An installation with one model, for what embeds."""

from uuid import UUID

from fastapi import FastAPI

from memoryd.generations.catalogue import Catalogue
from memoryd.generations.embedders import Embedders
from memoryd.generations.model import Generation
from memoryd.generations.shelf import ModelShelf, Opened
from retrieval.errors import ModelNotFound
from retrieval.ports import Embedder, ModelCard


class OneGeneration:
    """:class:`memoryd.generations.ports.Catalogues` with one live generation, number 1."""

    def __init__(self, card: ModelCard) -> None:
        self.generation = Generation(1, card.name, card.revision, card.dimension, card.query_prefix, card.passage_prefix)

    async def catalogue(self, tenant_id: UUID) -> Catalogue:
        return Catalogue((self.generation,))

    async def in_use(self) -> list[Generation]:
        return [self.generation]


def one_model(embedder: Embedder) -> Embedders:
    """What embeds with ``embedder`` alone."""
    return Embedders(OneGeneration(embedder.card), ModelShelf(embedder, no_other))


def embedder_of(app: FastAPI) -> Embedder:
    """What an application embeds with, behind every cache."""
    embedder: Embedder = app.state.services.remember._preparer._embedders._shelf._first
    return embedder


async def no_other(name: str) -> Opened:
    """There is no other model."""
    raise ModelNotFound(name)
