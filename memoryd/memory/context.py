"""The use cases of ``POST /v1/context`` and ``/v1/context/expand``: a recall, packed into a token budget."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from memoryd.access.service import require
from memoryd.errors import NotFound, StoreUnavailable
from memoryd.memory.candidates import of_hit, of_revision
from memoryd.memory.chunks import Chunks, Cited, cited
from memoryd.memory.handles import ChunkHandle, Handle, Handles
from memoryd.memory.model import Revision
from memoryd.memory.ports import NOW, Clock, MemoryReader, Moment
from memoryd.memory.recall import Recall, Recalled, RecallRequest
from memoryd.threads import QUICK
from retrieval.packing import (
    Candidate,
    DroppedItem,
    DropReason,
    Format,
    Order,
    Packed,
    PackedItem,
    PackRequest,
    Rendition,
    TokenizerRegistry,
    more,
    pack,
    query_terms,
)
from retrieval.ports import TokenCounter
from retrieval.scope import Action, Scope
from retrieval.search import Hit

CANDIDATES = 100
"""Hits that compete for the budget."""

# Turns shown around an item that was expanded from its full text.
_NEIGHBOURS = 3
# What is packed however late it is. It takes a few milliseconds.
_AT_LEAST = 10
# A generous guess at what packing takes, so that it need not be measured while it runs: milliseconds a candidate, and a
# character of one.
_MS_A_CANDIDATE = 0.5
_MS_A_CHARACTER = 0.00015


@dataclass(frozen=True, slots=True)
class ContextRequest:
    """What the model should see. ``must_include`` are memories that are shown whatever they score.

    ``shown`` are external ids of what it sees already: those are left out.
    """

    recall: RecallRequest
    budget_tokens: int
    tokenizer: str
    order: Order = Order.BEST_FIRST
    format: Format = Format.TEXT
    section_budgets: Mapping[str, int] | None = None
    must_include: tuple[UUID, ...] = ()
    shown: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Context:
    """The packed text with its manifest, a handle for each item, the recall it came from, and where chunks stand.

    ``degraded`` names the arms and stages that are missing or did less than they would have with more time.
    """

    packed: Packed
    tokenizer: str
    handles: Mapping[str, str]
    hits: Mapping[str, Hit]
    recalled: Recalled | None
    degraded: tuple[str, ...] = ()
    cited: Mapping[str, Cited] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Origin:
    """Which revision of which space an item shows, and where in it the passage begins that was found."""

    space: str
    revision: int
    matched_at: int = 0


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the handles of one answer have in common."""

    terms: tuple[str, ...] = ()
    at: Moment = NOW


class Contexts:
    """Packs contexts and expands their handles."""

    def __init__(
        self,
        recall: Recall,
        reader: MemoryReader,
        handles: Handles,
        tokenizers: TokenizerRegistry,
        clock: Clock,
        chunks: Chunks,
    ) -> None:
        self._recall = recall
        self._reader = reader
        self._handles = handles
        self._tokenizers = tokenizers
        self._clock = clock
        self._chunks = chunks

    def begun(self, request: ContextRequest) -> ContextRequest:
        """The same, with its time running from now on."""
        return replace(request, recall=replace(request.recall, deadline=self._recall.deadline(request.recall)))

    async def pack(self, scope: Scope, request: ContextRequest) -> Context:
        """Raises ``UnknownTokenizer``, ``BudgetTooSmall``, ``NotFound`` and what a recall raises."""
        counter = self._tokenizers.counter(request.tokenizer)
        asked = replace(self.begun(request).recall, limit=CANDIDATES)
        at = Moment(asked.filters.as_of, asked.filters.known_at)
        wanted = await self._wanted(scope, request.must_include, at)
        recalled = await self._recall(scope, asked)
        hits = {str(hit.item.memory_id): hit for hit in recalled.result.hits}
        scores = {key: max(hit.score, 0.0) for key, hit in hits.items()}
        matched = {key: hit.item.span[0] for key, hit in hits.items()}
        candidates = [
            of_revision(one, score=scores.get(key, 0.0), must_include=True, matched_at=matched.get(key, 0))
            for key, one in wanted.items()
        ]
        candidates += [of_hit(hit) for key, hit in hits.items() if key not in wanted]
        of_chunks = {key: found for key, hit in hits.items() if (found := cited(hit.item, recalled.spaces)) is not None}
        ours = request.shown  # external ids of memories: a document's may be the same
        seen = [one for one in candidates if one.external_id in ours and one.id not in of_chunks and not one.must_include]
        candidates = [one for one in candidates if one.external_id not in ours or one.id in of_chunks or one.must_include]
        looked_at, late = _in_time(candidates, len(wanted) + _AT_LEAST, recalled.deadline.left_ms)
        packing = PackRequest(
            budget_tokens=request.budget_tokens,
            query=asked.query,
            order=request.order,
            format=request.format,
            section_budgets=request.section_budgets or {},
        )
        # Packing is pure computation of a few milliseconds: not on the event loop.
        packed = await QUICK.run(pack, packing, looked_at, counter)
        left_out = (*_dropped(seen, DropReason.SHOWN_ALREADY), *_dropped(late, DropReason.OUT_OF_TIME))
        packed = replace(packed, dropped=(*packed.dropped, *left_out))
        origins: dict[str, _Origin | Cited] = {
            key: of_chunks.get(key) or _Origin(recalled.spaces[hit.item.space_id], hit.item.revision, matched[key])
            for key, hit in hits.items()
        }
        origins |= {key: _Origin(one.space, one.revision, matched.get(key, 0)) for key, one in wanted.items()}
        handles = self._issue(scope, packed, origins, _Asked(query_terms(asked.query), at))
        degraded = dict.fromkeys((*recalled.result.degraded, *(("packing",) if late else ())))
        return Context(packed, counter.name, handles, hits, recalled, tuple(degraded), of_chunks)

    async def expand(self, scope: Scope, text: str, budget_tokens: int, tokenizer: str) -> Context:
        """More of a handle's memory than it showed, or with its full text shown, the turns around it; of a chunk, its section.

        It is the revision or version that was shown, whatever became of it since. Raises ``UnknownTokenizer``,
        ``HandleInvalid``, ``HandleExpired``, ``NotFound`` (deleted or purged meanwhile), ``VersionGone``, and
        ``BudgetTooSmall`` when there is more but the budget does not hold it.
        """
        require(scope, Action.READ)
        counter = self._tokenizers.counter(tokenizer)
        handle = self._handles.read(scope, text, self._clock.now())
        if isinstance(handle, ChunkHandle):
            return await self._expand_chunk(scope, handle, budget_tokens, counter)
        revision = await self.revision(scope, handle.memory_id, handle.revision, handle.at)
        if revision.space != handle.space:
            raise NotFound("no such memory")
        shown = of_revision(revision, score=1.0, matched_at=handle.matched_at)
        turns = [revision]
        if handle.rendition == Rendition.FULL:
            turns += await self._reader.neighbours(scope, revision, before=_NEIGHBOURS, after=_NEIGHBOURS, at=handle.at)
        if len(turns) > 1:
            # The nearer, the better; the scores only have to fall.
            near = [of_revision(turn, score=0.9**n) for n, turn in enumerate(_nearest_first(revision, turns[1:]), 1)]
            packed = await QUICK.run(_around, shown, near, PackRequest(budget_tokens, order=Order.CHRONOLOGICAL), counter)
        else:
            packed = await QUICK.run(
                more, shown, counter, budget_tokens=budget_tokens, seen_chars=handle.seen_chars, terms=handle.terms
            )
        origins = {str(turn.memory_id): _Origin(turn.space, turn.revision) for turn in turns}
        origins[shown.id] = _Origin(revision.space, revision.revision, handle.matched_at)
        return Context(packed, counter.name, self._issue(scope, packed, origins, _Asked(handle.terms, handle.at)), {}, None)

    async def chunk(self, scope: Scope, kb: str, version: str, chunk_id: UUID, *, in_section: bool) -> tuple[Candidate, int]:
        """A chunk by its name, or the section around it, and where in that it begins. Raises ``NotFound``, ``VersionGone``."""
        require(scope, Action.READ)
        return await self._chunks.text(scope, kb, version, chunk_id, in_section=in_section)

    async def revision(self, scope: Scope, memory_id: UUID, number: int | None = None, at: Moment = NOW) -> Revision:
        """A memory's head, or the revision of that number. One that was deleted since is shown no more, unless it was asked
        for as of before that. Raises ``NotFound``."""
        require(scope, Action.READ)
        if number is None:
            head = await self._reader.get(scope, memory_id)
            found = [] if head is None else [head]
        else:
            found = await self._reader.history(scope, memory_id, before=number + 1, limit=1)
            found = [one for one in found if one.revision == number]
            found = [one for one in found if one.deleted_at is None or (at.known_at is not None and at.known_at < one.deleted_at)]
        if not found or not scope.may_use(found[0].space):
            raise NotFound("no such memory")
        return found[0]

    async def _expand_chunk(self, scope: Scope, handle: ChunkHandle, budget_tokens: int, counter: TokenCounter) -> Context:
        shown, found = await self._chunks.open(scope, handle)
        packed = await QUICK.run(
            more, shown, counter, budget_tokens=budget_tokens, seen_chars=handle.seen_chars, terms=handle.terms
        )
        of_chunks = {shown.id: found}
        handles = self._issue(scope, packed, of_chunks, _Asked(handle.terms))
        return Context(packed, counter.name, handles, {}, None, cited=of_chunks)

    async def _wanted(self, scope: Scope, ids: Sequence[UUID], at: Moment) -> dict[str, Revision]:
        """What must be shown. It takes from the caller's time but is not cut off by it: a context without it is none."""
        require(scope, Action.READ)
        if not ids:
            return {}
        try:
            async with asyncio.timeout(self._recall.patience_s):
                found = await self._reader.get_many(scope, ids, at)
        except TimeoutError as error:
            raise StoreUnavailable("must_include was not read in time") from error
        if len(found) < len(set(ids)):
            raise NotFound("must_include: no such memory")
        return {str(memory_id): found[memory_id] for memory_id in ids}

    def _issue(self, scope: Scope, packed: Packed, origins: Mapping[str, _Origin | Cited], asked: _Asked) -> dict[str, str]:
        now = self._clock.now()
        handles = {}
        for item in packed.items:
            seen = sum(end - start for start, end in item.spans)
            made_of = origins[item.id]
            handle = (
                made_of.handle(item, seen, asked.terms) if isinstance(made_of, Cited) else _handle(item, made_of, seen, asked)
            )
            handles[item.id] = self._handles.issue(scope, handle, now)
        return handles


def _handle(item: PackedItem, made_of: _Origin, seen_chars: int, asked: _Asked) -> Handle:
    return Handle(
        memory_id=UUID(item.id),
        space=made_of.space,
        rendition=item.rendition,
        revision=made_of.revision,
        seen_chars=seen_chars,
        terms=asked.terms,
        at=asked.at,
        matched_at=made_of.matched_at,
    )


def _nearest_first(turn: Revision, others: Sequence[Revision]) -> list[Revision]:
    """The turns around one, which stand in their order, by how many lie between; of two as near the earlier first."""
    place = sum(_said(other) < _said(turn) for other in others) - 0.5
    return [others[i] for i in sorted(range(len(others)), key=lambda i: abs(i - place))]


def _said(turn: Revision) -> tuple[datetime, int]:
    return turn.content.event_time or turn.created_at, turn.seq


def _around(shown: Candidate, near: Sequence[Candidate], request: PackRequest, counter: TokenCounter) -> Packed:
    """The turns around an item with it among them; without it, where it would leave no room for any of them."""
    packed = pack(request, [shown, *near], counter)
    if any(item.id != shown.id and item.rendition is not Rendition.POINTER for item in packed.items):
        return packed
    return pack(request, near, counter)


def _in_time(candidates: Sequence[Candidate], least: int, left_ms: float) -> tuple[Sequence[Candidate], Sequence[Candidate]]:
    """The first candidates, as many as can be packed in the time left but never fewer than ``least``; and the others."""
    for number, candidate in enumerate(candidates):
        left_ms -= _MS_A_CANDIDATE + _MS_A_CHARACTER * len(candidate.text)
        if left_ms < 0 and number >= least:
            return candidates[:number], candidates[number:]
    return candidates, ()


def _dropped(candidates: Sequence[Candidate], reason: DropReason) -> list[DroppedItem]:
    return [DroppedItem(one.id, one.external_id, reason) for one in candidates]
