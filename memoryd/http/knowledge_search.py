"""``POST /v1/knowledge-bases/{name}/search``, and the sources of a recall."""

from typing import Annotated

from fastapi import APIRouter, Path

from memoryd.http.caller import Caller, Uses
from memoryd.http.problems import documented
from memoryd.http.schemas.knowledge import BaseName
from memoryd.http.schemas.knowledge_search import KbSourceIn, KnowledgeFiltersIn, KnowledgeSearchIn, SourceIn
from memoryd.http.schemas.recall import RecallOut
from memoryd.http.schemas.reranking import reranking
from memoryd.http.strict import StrictRoute
from memoryd.http.views import recall_out
from memoryd.knowledge.model import LIVE
from memoryd.memory.recall import RecallRequest
from memoryd.memory.sources import KnowledgeSource, Source, SpaceSource
from retrieval.filters import Filters
from retrieval.search import Arm

router = APIRouter(prefix="/v1/knowledge-bases", tags=["knowledge"], route_class=StrictRoute)


@router.post("/{name}/search", responses=documented(404, 410), operation_id="search_knowledge")
async def search_knowledge(name: Annotated[BaseName, Path()], body: KnowledgeSearchIn, scope: Caller, use: Uses) -> RecallOut:
    """Search one version of a knowledge base, as a recall with it as the only source does."""
    request = RecallRequest(
        query=body.query,
        spaces=None,
        filters=Filters(),
        limit=body.limit,
        rerank=reranking(body.rerank),
        arms=(Arm.DENSE, Arm.LEXICAL) if body.arms is None else tuple(Arm(arm) for arm in dict.fromkeys(body.arms)),
        fusion=body.fusion,
        deadline_ms=body.deadline_ms,
        sources=(_knowledge(name, body.version, None, body.filters),),
    )
    return recall_out(await use.recall(scope, request), explain=body.explain, most=body.max_text_chars)


def source(given: SourceIn) -> Source:
    """One source of a recall, as the use case takes it."""
    if isinstance(given, KbSourceIn):
        name, _, selector = given.kb.partition("@")
        return _knowledge(name, selector or LIVE, given.limit, given.filters)
    return SpaceSource(given.space, given.limit)


def _knowledge(name: str, selector: str, limit: int | None, filters: KnowledgeFiltersIn) -> KnowledgeSource:
    metadata = tuple(sorted(filters.metadata.items()))
    return KnowledgeSource(name, selector, limit, metadata, tuple(dict.fromkeys(filters.document_ids)))
