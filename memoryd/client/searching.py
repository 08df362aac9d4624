"""The operation that searches one knowledge base."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import JsonValue

from memoryd.client.bases import BASES
from memoryd.client.core import asked, path
from memoryd.client.memory_models import Recall
from memoryd.client.operation import Operation, Operations
from memoryd.client.questions import Rerank, Reranking, Scalar, reranking
from memoryd.client.steps import Request, Steps
from memoryd.client.wording import filled


class SearchOperations(Operations):
    """Knowledge bases beside memories are searched with the ``sources`` of a recall."""

    @Operation
    def search(
        self,
        name: str,
        query: str,
        *,
        version: int | str = "live",
        limit: int = 10,
        metadata: Mapping[str, Scalar] | None = None,
        document_ids: Sequence[str] = (),
        rerank: Rerank | Reranking = "auto",
        explain: bool = False,
        arms: Sequence[Literal["dense", "lexical"]] | None = None,
        deadline_ms: float | None = None,
    ) -> Steps[Recall]:
        """Chunks of one version; of documents with this metadata, and of these documents alone where some are named."""
        filters = filled({"metadata": dict(metadata or {}), "document_ids": list(document_ids)})
        body: dict[str, JsonValue] = {"rerank": reranking(rerank)} | ({} if arms is None else {"arms": list(arms)})
        body |= filled(
            {
                "query": query,
                "version": str(version),
                "limit": limit,
                "filters": filters,
                "explain": explain,
                "deadline_ms": deadline_ms,
            }
        )
        return (yield from asked(Recall, Request("POST", path(BASES, name, "search"), body=body), self.retries))
