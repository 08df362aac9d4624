"""Measures what the gate judges: counts, samples embedded again, and the same questions put to the old and the new generation."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from uuid import UUID

import numpy as np

from memoryd.generations.embedders import Embedders
from memoryd.generations.gate import NEIGHBOURS, SHOWN, Figures, Judged, Neighbours, Unknown, report
from memoryd.generations.model import Generation, ItemKind
from memoryd.generations.ports import Asked, Counted, Evidence, Items, Models, Report, Sampled
from retrieval.inference.tokenizer import estimated_tokens
from retrieval.ports import Embedder, Lane

_PAGE = 200
# Of one tenant and kind at most, and of all: each is embedded once, and searched for exactly in both generations.
_OF_A_TENANT = 16
_SAMPLES = 128
_QUESTIONS = 32
# A question is about so long.
_QUESTION_CHARACTERS = 160
_DEEP = 50


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
        after: UUID | None = None
        while page := await self._items.tenants(generation, after, _PAGE):
            counted += [await self._evidence.counted(generation, tenant_id) for tenant_id in page]
            after = page[-1]
        sampled = await self._sampled(generation, [one.tenant_id for one in counted if one.vectors])
        lacking: list[str] = []
        for one in counted:
            if one.vectors < one.items and len(lacking) < SHOWN:
                lacking += await self._evidence.lacking(generation, one.tenant_id, SHOWN - len(lacking))
        cosines = await self._cosines(model, sampled)
        questions = sampled[:: max(1, len(sampled) // _QUESTIONS)][:_QUESTIONS]
        neighbours = [found for one in questions if (found := await self._neighbours(generation, model, one)) is not None]
        judged, unknown = await self._judged(generation, model, asked) if asked is not None else ([], [])
        most = model.card.max_tokens
        cut = sum(estimated_tokens(one.text, most + 1) > most for one in sampled)
        return report(Figures(counted, cosines, neighbours, judged, unknown, cut, lacking))

    async def _sampled(self, generation: Generation, tenants: Sequence[UUID]) -> list[Sampled]:
        """Items of tenants from everywhere among all, the same ones each time; the fewer of each, the more tenants there are."""
        sampled: list[Sampled] = []
        limit = max(1, min(_OF_A_TENANT, _SAMPLES // max(1, len(tenants))))
        for tenant_id in sorted(tenants, key=lambda one: sha256(b"%d:%s" % (generation.number, one.bytes)).digest()):
            if len(sampled) >= _SAMPLES:
                break
            sampled += await self._evidence.sample(generation, tenant_id, limit)
        return sampled

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

    async def _judged(self, generation: Generation, model: Embedder, asked: Asked) -> tuple[list[Judged], list[Unknown]]:
        """Of each question and each kind of item that answers it what both find, and answers that are not there.

        Kinds are judged apart, as recall searches them apart: a document does not have to come before memories.
        """
        judged: list[Judged] = []
        unknown: list[Unknown] = []
        for one in asked.labelled:
            known: set[str] = set()
            for kind in generation.kinds:
                names = await self._evidence.named(generation, asked.tenant_id, kind, sorted(one.relevant))
                if names:
                    judged.append(await self._ranked(generation, model, asked.tenant_id, kind, one.query, names))
                known |= set(names.values())
            if lost := sorted(one.relevant - known):
                unknown.append(Unknown(lost, whole=not known))
        return judged, unknown

    async def _ranked(
        self, generation: Generation, model: Embedder, tenant_id: UUID, kind: ItemKind, query: str, names: Mapping[str, str]
    ) -> Judged:
        found: list[list[str]] = []
        for of in (await self._serving(generation, tenant_id, kind), (generation, model)):
            pids = await self._found(*of, tenant_id, kind, query, _DEEP, within=generation) if of is not None else []
            owners = await self._evidence.owners(tenant_id, kind, pids)
            found.append([names.get(owners[pid], owners[pid]) for pid in pids if pid in owners])
        return Judged(frozenset(names.values()), *found)

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
