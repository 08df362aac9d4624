"""What writers embed with, and what a question is embedded with: the catalogue and the models of this process together."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

import numpy as np

from memoryd.generations.catalogue import Catalogue
from memoryd.generations.model import Generation
from memoryd.generations.ports import Catalogues
from memoryd.generations.shelf import ModelShelf
from retrieval.errors import InferenceError
from retrieval.ports import DenseIndex, Embedder, Lane, Query, VectorSpace
from retrieval.scope import Scope
from retrieval.vectors import Vectors

log = logging.getLogger(__name__)

# How long a process goes by what it read: after a cutover, for as long, some questions are still answered from the generation
# before, which writers reach as well. Writers look again in their transaction.
TTL_S = 1.0
_REMEMBERED = 10_000

Made = TypeVar("Made")


class Embedders:
    """The embedders of generations, by tenant."""

    def __init__(self, catalogues: Catalogues, shelf: ModelShelf, *, now: Callable[[], float] = time.monotonic) -> None:
        self._catalogues = catalogues
        self._shelf = shelf
        self._now = now
        self._read: OrderedDict[UUID, tuple[float, Catalogue]] = OrderedDict()

    async def catalogue(self, tenant_id: UUID) -> Catalogue:
        """The generations over a tenant's data, as they were at most a second ago."""
        known = self._read.get(tenant_id)
        if known is not None and self._now() < known[0] + TTL_S:
            return known[1]
        began = self._now()
        found = await self._catalogues.catalogue(tenant_id)
        self._read[tenant_id] = (began, found)
        self._read.move_to_end(tenant_id)
        while len(self._read) > _REMEMBERED:
            self._read.popitem(last=False)
        return found

    def forget(self) -> None:
        """Read the catalogues again when they are asked for next."""
        self._read.clear()

    def missing(self, generation: Generation) -> bool:
        """True when this process cannot embed for a generation at present."""
        return self._shelf.missing(generation)

    async def passages(self, texts: Sequence[str], *, tenant_id: UUID, kb_id: UUID | None, lane: Lane) -> dict[int, Vectors]:
        """Vectors for every generation that a write has to reach, by number; shape ``(len(texts), dimension)`` each.

        A generation whose model cannot be had here, or does not embed them, is left out, unless reads are answered from it.
        Raises ``InferenceError``.
        """
        catalogue = await self.catalogue(tenant_id)
        serving = catalogue.serving(kb_id).number
        generations = catalogue.covering(kb_id)
        if len(generations) == 1:
            # Without tasks, so that the one who asks hears at once what the model refuses.
            embedder = await self._shelf.of(generations[0])
            return {serving: np.asarray(await embedder.embed_passages(texts, lane=lane, owner=tenant_id))}
        found = await asyncio.gather(
            *(self.embed(one, texts, tenant_id=tenant_id, lane=lane, needed=one.number == serving) for one in generations)
        )
        return self.made(generations, found)

    async def serving(self, tenant_id: UUID, kb_id: UUID | None) -> tuple[Generation, Embedder]:
        """What a read is answered from, with its model.

        Where that is not loaded yet (another process has just cut over), what can stand in for it answers meanwhile.
        Raises ``InferenceUnavailable``.
        """
        catalogue = await self.catalogue(tenant_id)
        return await self.choose(catalogue, kb_id)

    async def choose(self, catalogue: Catalogue, kb_id: UUID | None) -> tuple[Generation, Embedder]:
        """As :meth:`serving`, of a catalogue that is at hand."""
        for one in catalogue.candidates(kb_id):
            embedder = self._shelf.ready(one)
            if embedder is not None:
                return one, embedder
            self._shelf.prepare(one)
        first = catalogue.serving(kb_id)
        return first, await self._shelf.of(first)

    async def embed(
        self, generation: Generation, texts: Sequence[str], *, tenant_id: UUID, lane: Lane, needed: bool
    ) -> Vectors | None:
        """Vectors for one generation, shape ``(len(texts), dimension)``; ``None`` when its model cannot be had here, or does not
        embed them, and it is not ``needed``. Raises ``InferenceError``."""
        try:
            embedder = await (self._shelf.of(generation) if needed else self._shelf.soon(generation))
            return np.asarray(await embedder.embed_passages(texts, lane=lane, owner=tenant_id))
        except InferenceError as error:
            if needed:
                raise
            log.warning("generation %d is written without: %s", generation.number, error)
            return None

    def made(self, generations: Sequence[Generation], found: Sequence[Made | None]) -> dict[int, Made]:
        """What was embedded for each generation, by number. A generation without is :meth:`missing` from now on, and not from
        when its model failed: the others may have taken minutes since."""
        for one, vectors in zip(generations, found, strict=True):
            if vectors is None:
                self._shelf.left_out(one)
        return {one.number: vectors for one, vectors in zip(generations, found, strict=True) if vectors is not None}


class Pinned:
    """:class:`retrieval.ports.Serving`: what one request is answered from, by knowledge base and for memories (``None``)."""

    def __init__(
        self,
        catalogue: Catalogue,
        embedders: Embedders,
        index: Callable[[Generation], DenseIndex],
        questions: Callable[[Embedder], Embedder],
    ) -> None:
        self._catalogue = catalogue
        self._embedders = embedders
        self._index = index
        self._questions = questions
        self._chosen: dict[UUID | None, VectorSpace] = {}

    async def memories(self) -> VectorSpace:
        """What recalls of memories are answered from. Raises ``InferenceUnavailable``, ``StoreUnavailable``."""
        return await self._space(None)

    async def of(self, query: Query) -> list[tuple[VectorSpace, Query]]:
        """The query cut by what answers its parts; memories and knowledge bases apart. Raises as :meth:`memories`."""
        found: list[tuple[VectorSpace, Query]] = []
        if query.spaces:
            found.append((await self._space(None), replace(query, pins=())))
        spaces = [(await self._space(pin.kb_id), pin) for pin in query.pins]
        for number in dict.fromkeys(space.number for space, _ in spaces):
            pins = tuple(pin for space, pin in spaces if space.number == number)
            found.append((next(space for space, _ in spaces if space.number == number), replace(query, spaces=(), pins=pins)))
        return found

    async def _space(self, kb_id: UUID | None) -> VectorSpace:
        if kb_id not in self._chosen:
            generation, embedder = await self._embedders.choose(self._catalogue, kb_id)
            self._chosen[kb_id] = VectorSpace(generation.number, self._questions(embedder), self._index(generation))
        return self._chosen[kb_id]


class GenerationSpaces:
    """:class:`retrieval.ports.VectorSpaces` over the generations. ``questions`` gives what embeds questions with a model."""

    def __init__(
        self, embedders: Embedders, index: Callable[[Generation], DenseIndex], questions: Callable[[Embedder], Embedder]
    ) -> None:
        self._embedders = embedders
        self._index = index
        self._questions = questions

    async def serving(self, scope: Scope) -> Pinned:
        """What serves now; it stays so for whoever asked."""
        return Pinned(await self._embedders.catalogue(scope.tenant_id), self._embedders, self._index, self._questions)
