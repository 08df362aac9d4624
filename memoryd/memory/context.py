"""The use cases of ``POST /v1/context`` and ``/v1/context/expand``: a recall, packed into a token budget."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from memoryd.access.service import require
from memoryd.errors import NotFound
from memoryd.memory.handles import Handle, Handles
from memoryd.memory.model import Revision
from memoryd.memory.ports import Clock, MemoryReader
from memoryd.memory.recall import Recall, Recalled, RecallRequest
from retrieval.packing import (
    Candidate,
    Format,
    Order,
    Packed,
    PackRequest,
    Rendition,
    TokenizerRegistry,
    pack,
)
from retrieval.scope import Action, Scope
from retrieval.search import Hit

CANDIDATES = 100
"""Hits that compete for the budget."""

# Turns shown around an item that was expanded from its full text.
_NEIGHBOURS = 3


@dataclass(frozen=True, slots=True)
class ContextRequest:
    """What the model should see. ``must_include`` are memories that are shown whatever they score."""

    recall: RecallRequest
    budget_tokens: int
    tokenizer: str
    order: Order = Order.BEST_FIRST
    format: Format = Format.TEXT
    section_budgets: Mapping[str, int] | None = None
    must_include: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """The packed text with its manifest, a handle for each item, and the recall it came from."""

    packed: Packed
    tokenizer: str
    handles: Mapping[str, str]
    hits: Mapping[str, Hit]
    recalled: Recalled | None


class Contexts:
    """Packs contexts and expands their handles."""

    def __init__(
        self, recall: Recall, reader: MemoryReader, handles: Handles, tokenizers: TokenizerRegistry, clock: Clock
    ) -> None:
        self._recall = recall
        self._reader = reader
        self._handles = handles
        self._tokenizers = tokenizers
        self._clock = clock

    async def pack(self, scope: Scope, request: ContextRequest) -> Context:
        """Raises ``UnknownTokenizer``, ``BudgetTooSmall``, ``NotFound`` and what a recall raises."""
        counter = self._tokenizers.counter(request.tokenizer)
        wanted = await self._wanted(scope, request.must_include)
        recalled = await self._recall(scope, replace(request.recall, limit=CANDIDATES))
        hits = {str(hit.item.memory_id): hit for hit in recalled.result.hits}
        candidates = [_candidate(hit, wanted) for hit in hits.values()]
        candidates += [_of_revision(revision) for key, revision in wanted.items() if key not in hits]
        packing = PackRequest(
            budget_tokens=request.budget_tokens,
            query=request.recall.query,
            order=request.order,
            format=request.format,
            section_budgets=request.section_budgets or {},
        )
        # Packing is pure computation of a few milliseconds: not on the event loop.
        packed = await asyncio.to_thread(pack, packing, candidates, counter)
        spaces = {key: recalled.spaces[hit.item.space_id] for key, hit in hits.items()}
        spaces |= {key: revision.space for key, revision in wanted.items()}
        return Context(packed, counter.name, self._issue(scope, packed, spaces), hits, recalled)

    async def expand(self, scope: Scope, text: str, budget_tokens: int, tokenizer: str) -> Context:
        """The next rendition of a handle's memory, or with its full text shown, the turns around it."""
        require(scope, Action.READ)
        counter = self._tokenizers.counter(tokenizer)
        handle = self._handles.read(scope, text, self._clock.now())
        revision = await self._reader.get(scope, handle.memory_id)
        if revision is None:
            raise NotFound("no such memory")
        candidates = [replace(_of_revision(revision), must_include=False)]
        if handle.rendition == Rendition.FULL:
            around = await self._reader.neighbours(scope, handle.memory_id, before=_NEIGHBOURS, after=_NEIGHBOURS)
            candidates += [replace(_of_revision(turn), score=0.9, must_include=False) for turn in around]
        packing = PackRequest(budget_tokens=budget_tokens, order=Order.CHRONOLOGICAL)
        packed = await asyncio.to_thread(pack, packing, candidates, counter)
        spaces = {str(revision.memory_id): revision.space} | {c.id: revision.space for c in candidates}
        return Context(packed, counter.name, self._issue(scope, packed, spaces), {}, None)

    async def _wanted(self, scope: Scope, ids: Sequence[UUID]) -> dict[str, Revision]:
        require(scope, Action.READ)
        found = {}
        for memory_id in dict.fromkeys(ids):
            revision = await self._reader.get(scope, memory_id)
            if revision is None:
                raise NotFound("must_include: no such memory")
            found[str(memory_id)] = revision
        return found

    def _issue(self, scope: Scope, packed: Packed, spaces: Mapping[str, str]) -> dict[str, str]:
        now = self._clock.now()
        return {
            item.id: self._handles.issue(scope, Handle(UUID(item.id), spaces[item.id], item.rendition), now)
            for item in packed.items
        }


def _candidate(hit: Hit, wanted: Mapping[str, Revision]) -> Candidate:
    item = hit.item
    return Candidate(
        id=str(item.memory_id),
        text=item.text,
        score=max(hit.score, 0.0),
        kind=item.kind,
        section=item.kind,
        speaker=item.speaker,
        event_time=item.event_time,
        source_type=item.source_type,
        source_uri=item.source_uri,
        session_id=item.session_id,
        position=item.seq,
        external_id=item.external_id,
        confidence=item.confidence,
        must_include=str(item.memory_id) in wanted,
    )


def _of_revision(revision: Revision) -> Candidate:
    content = revision.content
    return Candidate(
        id=str(revision.memory_id),
        text=content.text,
        score=1.0,
        kind=content.kind,
        section=content.kind,
        speaker=content.speaker,
        event_time=content.event_time,
        source_type=content.source_type,
        source_uri=content.source_uri,
        session_id=content.session_id,
        position=revision.seq,
        external_id=revision.external_id,
        confidence=content.confidence,
        must_include=True,
    )
