"""Measures what the gate judges: counts, samples embedded again, and the same questions put to the old and the new generation."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from memoryd.generations.embedders import Embedders
from memoryd.generations.gate import NEIGHBOURS, Figures, Judged, Neighbours, report
from memoryd.generations.model import Generation, ItemKind
from memoryd.generations.ports import Counted, Evidence, Items, Labelled, Models, Report, Sampled
from retrieval.inference.tokenizer import estimated_tokens
from retrieval.ports import Embedder, Lane

_PAGE = 200
# Of one tenant, and of all: each is embedded once, and searched for exactly in both generations.
_OF_A_TENANT = 16
_SAMPLES = 128
_QUESTIONS = 32
# A question is about so long.
_QUESTION_CHARACTERS = 160
_DEEP = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """What to verify with beside the samples: a tenant's questions with their answers."""

    tenant_id: UUID
    labelled: Sequence[Labelled]


class Verifier:
    """Reads and embeds; the verdict is the gate's."""

    def __init__(self, embedders: Embedders, models: Models, items: Items, evidence: Evidence) -> None:
        self._embedders = embedders
        self._models = models
        self._items = items
        self._evidence = evidence

    async def __call__(self, generation: Generation, asked: Asked | None = None) -> Report:
        """The report. Raises ``InferenceUnavailable`` where a model cannot be had, ``StoreUnavailable``."""
        model = await self._models.of(generation)
        counted: list[Counted] = []
        sampled: list[Sampled] = []
        after: UUID | None = None
        while page := await self._items.tenants(generation, after, _PAGE):
            for tenant_id in page:
                one = await self._evidence.counted(generation, tenant_id)
                counted.append(one)
                if one.vectors and len(sampled) < _SAMPLES:
                    sampled += await self._evidence.sample(generation, tenant_id, _OF_A_TENANT)
            after = page[-1]
        cosines = await self._cosines(model, sampled)
        questions = sampled[:: max(1, len(sampled) // _QUESTIONS)][:_QUESTIONS]
        neighbours = [found for one in questions if (found := await self._neighbours(generation, model, one)) is not None]
        judged = [] if asked is None else [await self._judged(generation, model, asked.tenant_id, one) for one in asked.labelled]
        most = model.card.max_tokens
        cut = sum(estimated_tokens(one.text, most + 1) > most for one in sampled)
        return report(Figures(counted, cosines, neighbours, judged, cut))

    async def _cosines(self, model: Embedder, sampled: Sequence[Sampled]) -> list[float]:
        if not sampled:
            return []
        made = await model.embed_passages([one.text for one in sampled], lane=Lane.BACKGROUND)
        stored = np.stack([one.vector for one in sampled])
        return [float(cosine) for cosine in (np.asarray(made) * stored).sum(axis=1)]

    async def _neighbours(self, generation: Generation, model: Embedder, one: Sampled) -> Neighbours | None:
        """What both find for the beginning of an item; ``None`` when there is no other generation to compare it with."""
        question = one.text[:_QUESTION_CHARACTERS]
        serving = await self._serving(generation, one.tenant_id, one.kind)
        if serving is None:
            return None
        old, old_model = serving
        return Neighbours(
            await self._found(old, old_model, one.tenant_id, one.kind, question, NEIGHBOURS, within=generation),
            await self._found(generation, model, one.tenant_id, one.kind, question, NEIGHBOURS, within=generation),
        )

    async def _judged(self, generation: Generation, model: Embedder, tenant_id: UUID, one: Labelled) -> Judged:
        names = await self._evidence.named(generation, tenant_id, sorted(one.relevant))
        found: dict[bool, list[str]] = {}
        for new in (False, True):
            found[new] = []
            for kind in generation.kinds:
                serving = (generation, model) if new else await self._serving(generation, tenant_id, kind)
                if serving is not None:
                    pids = await self._found(*serving, tenant_id, kind, one.query, _DEEP, within=generation)
                    found[new] += [names.get(pid, f"#{pid}") for pid in pids]
        return Judged(frozenset(names.values()), found[False], found[True])

    async def _serving(self, generation: Generation, tenant_id: UUID, kind: ItemKind) -> tuple[Generation, Embedder] | None:
        """What reads of these items are answered from now, unless it is this generation itself."""
        kb_id = generation.kb_id if kind is ItemKind.CHUNKS else None
        serving, model = await self._embedders.serving(tenant_id, kb_id)
        return None if serving.number == generation.number else (serving, model)

    async def _found(
        self, of: Generation, model: Embedder, tenant_id: UUID, kind: ItemKind, text: str, limit: int, *, within: Generation
    ) -> list[int]:
        (vector,) = await model.embed_queries([text], owner=tenant_id)
        return await self._evidence.nearest(of, tenant_id, kind, vector, limit, kb_id=within.kb_id)
