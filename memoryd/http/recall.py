"""``/v1/recall`` and ``/v1/context``: find, and pack into a budget."""

from fastapi import APIRouter

from memoryd.http.caller import Caller, Uses
from memoryd.http.knowledge_search import source
from memoryd.http.problems import documented
from memoryd.http.schemas.recall import ContextIn, ContextOut, ExpandIn, FiltersIn, Question, RecallIn, RecallOut
from memoryd.http.schemas.reranking import reranking
from memoryd.http.session_views import window_out
from memoryd.http.strict import StrictRoute
from memoryd.http.views import context_out, recall_out
from memoryd.memory.context import ContextRequest
from memoryd.memory.recall import RecallRequest
from retrieval.filters import Filters

router = APIRouter(prefix="/v1", tags=["recall"], route_class=StrictRoute)


@router.post("/recall", responses=documented(404, 410), operation_id="recall")
async def recall(body: RecallIn, scope: Caller, use: Uses) -> RecallOut:
    """Find memories: dense, lexical (BM25) and temporal arms at once, fused, optionally reranked.

    An arm that fails or is too slow is left out and named in `degraded`. With none left there are no hits when it was
    `deadline_ms` that passed, and the answer is a problem (503) when not.
    """
    return recall_out(await use.recall(scope, _request(body)), explain=body.explain, most=body.max_text_chars)


@router.post("/context", responses=documented(404, 410), operation_id="pack_context")
async def pack_context(body: ContextIn, scope: Caller, use: Uses) -> ContextOut:
    """A recall packed into `budget_tokens`, with sources, handles to expand, and an account of what was left out."""
    request = ContextRequest(
        recall=_request(body),
        budget_tokens=body.budget_tokens,
        tokenizer=body.tokenizer,
        order=body.order,
        format=body.format,
        section_budgets={str(kind): tokens for kind, tokens in body.sections.items()},
        must_include=tuple(body.must_include),
    )
    if body.session_id is None:
        return context_out(await use.contexts.pack(scope, request), body.budget_tokens, explain=body.explain)
    joined = await use.joint(scope, request, body.session_id, body.session_tokens)
    out = context_out(joined.context, body.budget_tokens, explain=body.explain)
    out.text, out.used_tokens, out.degraded = joined.text, joined.tokens, list(joined.degraded)
    if joined.window is not None:
        out.session = window_out(joined.window, joined.window.tokens)
    return out


@router.post("/context/expand", responses=documented(404, 410), operation_id="expand_context")
async def expand_context(body: ExpandIn, scope: Caller, use: Uses) -> ContextOut:
    """More of an item: its next rendition, or with its full text shown already, the turns around it; of a chunk, its section."""
    context = await use.contexts.expand(scope, body.handle, body.budget_tokens, body.tokenizer)
    return context_out(context, body.budget_tokens, explain=False)


def _request(body: Question) -> RecallRequest:
    return RecallRequest(
        query=body.query,
        spaces=None if body.spaces is None else tuple(body.spaces),
        filters=_filters(body.filters, body),
        limit=body.limit,
        rerank=reranking(body.rerank),
        arms=None if body.arms is None else tuple(dict.fromkeys(body.arms)),
        fusion=body.fusion,
        query_time=body.query_time,
        deadline_ms=body.deadline_ms,
        sources=None if body.sources is None else tuple(source(one) for one in body.sources),
    )


def _filters(given: FiltersIn, body: Question) -> Filters:
    return Filters(
        user_id=given.user_id,
        agent_id=given.agent_id,
        session_id=given.session_id,
        kinds=tuple(given.kinds),
        source_types=tuple(given.source_types),
        topics_any=tuple(given.topics_any),
        topics_all=tuple(given.topics_all),
        metadata=tuple(sorted(given.metadata.items())),
        min_confidence=given.min_confidence,
        event_after=given.event_after,
        event_before=given.event_before,
        created_after=given.created_after,
        created_before=given.created_before,
        as_of=body.as_of,
        known_at=body.known_at,
    )
