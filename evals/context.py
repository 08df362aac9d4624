"""Evidence in the context: memoryd's packing against filling the same budget with whole hits."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence, Set
from dataclasses import dataclass

from evals.client import ContextAnswer, Recall
from evals.datasets import Query
from evals.loading import Loaded, documents_of
from evals.naive import Overflow, naive_fill
from evals.report import Cell, Table
from retrieval.ports import TokenCounter

BUDGETS = (256, 512, 1024, 2048)
# More than the largest budget holds, so that the naive fill never runs out of hits first.
CANDIDATES = 100
_WHOLE = frozenset({"full", "excerpt"})
_CONCURRENCY = 2


@dataclass(frozen=True, slots=True)
class Seen:
    """What one method showed for one question: any evidence, all of it, its share, and tokens used."""

    any_evidence: bool
    all_evidence: bool
    share: float
    tokens: int


def judge(shown: Set[str], relevant: Set[str], tokens: int) -> Seen:
    """``shown`` are the documents whose words a reader of the context sees. ``relevant`` is not empty."""
    found = len(shown & relevant)
    return Seen(found > 0, found == len(relevant), found / len(relevant), tokens)


def shown_ids(answer: ContextAnswer, *, whole: bool = False) -> list[str]:
    """Memories whose text is in the context, merged neighbours included; a pointer shows none.

    With ``whole``, gists do not count either: an extract may have left out the very sentence that matters.
    """
    return [
        memory_id
        for item in answer.items
        if (item.rendition in _WHOLE if whole else item.rendition != "pointer")
        for memory_id in (item.id, *item.merged)
    ]


async def measure(loaded: Loaded, queries: Sequence[Query], counter: TokenCounter, *, label: str, rerank: str) -> Table:
    """A row a budget and method. All methods get the same ranking: same limit, same ``rerank``."""
    slots = asyncio.Semaphore(1 if rerank == "on" else _CONCURRENCY)

    async def one(query: Query) -> dict[tuple[int, str], Seen]:
        async with slots:
            return await compare(loaded, query, counter, rerank=rerank)

    answers = await asyncio.gather(*(one(query) for query in queries))
    rows: list[tuple[Cell, ...]] = []
    for key in answers[0] if answers else ():
        seen = [answer[key] for answer in answers]
        means = (sum(column) / len(seen) for column in _columns(seen))
        rows.append((*key, len(seen), *means, max(one.tokens for one in seen)))
    return Table(
        title=f"Context: {label}, rerank {rerank}",
        columns=("budget", "method", "queries", "any", "all", "share", "mean tokens", "max tokens"),
        rows=tuple(rows),
        note="any / all: questions with one piece / every piece of evidence visible in the context. "
        "'whole' counts only items shown as excerpt or full. The naive fills take the same ranking's "
        f"whole texts, without headers or fences; tokens are {counter.name}'s.",
    )


async def compare(loaded: Loaded, query: Query, counter: TokenCounter, *, rerank: str) -> dict[tuple[int, str], Seen]:
    """One question at every budget, by ``(budget, method)``."""
    request = Recall(query.text, loaded.spaces[query.namespace], limit=CANDIDATES, rerank=rerank)
    relevant = loaded.dataset.relevant[query.id]
    hits = (await loaded.client.recall(request)).hits
    texts = [hit.text for hit in hits]
    found: dict[tuple[int, str], Seen] = {}
    for budget in BUDGETS:
        packed = await loaded.client.context(request, budget_tokens=budget, tokenizer=counter.name)
        if counter.count(packed.text) > budget:
            raise AssertionError(f"a context of {counter.count(packed.text)} tokens passed its budget of {budget}")
        for method, whole in (("memoryd", False), ("memoryd, whole", True)):
            documents = set(documents_of(loaded, shown_ids(packed, whole=whole)))
            found[budget, method] = judge(documents, relevant, packed.used_tokens)
        for overflow in Overflow:
            taken = naive_fill(texts, budget, counter, overflow)
            documents = set(documents_of(loaded, [hits[index].id for index in taken]))
            used = counter.count("\n".join(texts[index] for index in taken))
            found[budget, f"naive top-k, {overflow}"] = judge(documents, relevant, used)
    return found


def _columns(seen: Sequence[Seen]) -> tuple[list[float], ...]:
    return (
        [float(one.any_evidence) for one in seen],
        [float(one.all_evidence) for one in seen],
        [one.share for one in seen],
        [float(one.tokens) for one in seen],
    )
