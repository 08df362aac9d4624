"""Evidence in the context: memoryd's packing against filling the same budget with whole hits."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from evals.answers import AnswerWords
from evals.client import ContextAnswer, Hit, Recall
from evals.datasets import Query
from evals.loading import Loaded, documents_of
from evals.naive import SEPARATOR, Form, Overflow, naive_fill
from evals.report import Cell, Table
from retrieval.analysis import Analyzer
from retrieval.ports import TokenCounter

BUDGETS = (256, 512, 1024, 2048)
# More than the largest budget holds, so that the naive fill never runs out of hits first.
CANDIDATES = 100
_WHOLE = frozenset({"full", "excerpt"})
_CONCURRENCY = 2
_WORDS = re.compile(r"\W+")
_ANSWERS = AnswerWords(Analyzer())
_FILLS = (
    (Form.HIT, Overflow.STOP),
    (Form.HIT, Overflow.SKIP),
    (Form.LABELLED, Overflow.SKIP),
    (Form.WORDS, Overflow.SKIP),
)


_NOTE = (
    "any / all: questions with one / every piece of evidence visible in the context; share: the part of all evidence "
    "visible; answer words: the part of the right answer's different words (stems, without stop words) that stand anywhere "
    "in the context, which is what none of the following readings can flatter. Three readings of memoryd's context, from "
    "lenient to strict: 'gist counts' takes every item that is more than a pointer as shown, though a gist may have left "
    "out the sentence that matters; 'full or excerpt' leaves gists out; 'verbatim' ignores the manifest and wants every "
    "word of the evidence's text in the context, in order. The naive fills take whole texts of the same ranking (limit, "
    "arms, fusion and reranking are the same), without fences and citations: 'hits' as they are stored, with date, time of "
    "day and speaker before each turn; 'day and speaker' with '[8 May 2023] Caroline: ' there, the least that tells who "
    "and when; 'bare words' with neither, so that a reader knows no dates and no names. 'stop' ends at the first that does "
    "not fit, 'skip' goes on with shorter ones. Tokens are {counter}'s. A degraded answer counts as one that shows nothing."
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one method showed for one question: any evidence, all of it, its share, and tokens used.

    ``answer`` is the share of the answer's words, ``None`` where there is no answer. ``degraded``: an arm or the reranker
    was missing, so nothing of it counts.
    """

    any_evidence: bool
    all_evidence: bool
    share: float
    tokens: int
    answer: float | None = None
    degraded: bool = False


def judge(shown: Set[str], relevant: Set[str], tokens: int, answer: float | None = None) -> Seen:
    """``shown`` are the documents whose words a reader of the context sees. ``relevant`` is not empty."""
    found = len(shown & relevant)
    return Seen(found > 0, found == len(relevant), found / len(relevant), tokens, answer)


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


def verbatim(context: str, evidence: Mapping[str, str]) -> set[str]:
    """Ids of the texts that stand in ``context`` word for word; case and punctuation aside (a fence may escape some)."""
    words = f" {_normal(context)} "
    return {key for key, text in evidence.items() if f" {_normal(text)} " in words}


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
        means = (sum(column) / len(column) if column else None for column in _columns(seen))
        rows.append((*key, len(seen), *means, max(one.tokens for one in seen), sum(one.degraded for one in seen)))
    return Table(
        title=f"Context: {label}, rerank {rerank}",
        columns=("budget", "method", "queries", "any", "all", "share", "answer words", "mean tokens", "max tokens", "degraded"),
        rows=tuple(rows),
        note=_NOTE.format(counter=counter.name),
    )


async def compare(loaded: Loaded, query: Query, counter: TokenCounter, *, rerank: str) -> dict[tuple[int, str], Seen]:
    """One question at every budget, by ``(budget, method)``."""
    request = Recall(query.text, loaded.spaces[query.namespace], limit=CANDIDATES, rerank=rerank)
    relevant = loaded.dataset.relevant[query.id]
    answer = await loaded.client.recall(request)
    found: dict[tuple[int, str], Seen] = {}
    for budget in BUDGETS:
        packed = await loaded.client.context(request, budget_tokens=budget, tokenizer=counter.name)
        if counter.count(packed.text) > budget:
            raise AssertionError(f"a context of {counter.count(packed.text)} tokens passed its budget of {budget}")
        shown = {
            "memoryd, gist counts": set(documents_of(loaded, shown_ids(packed))),
            "memoryd, full or excerpt": set(documents_of(loaded, shown_ids(packed, whole=True))),
            "memoryd, verbatim": verbatim(packed.text, {key: loaded.said[key] for key in relevant}),
        }
        words = _share(query, packed.text)
        for method, documents in shown.items():
            found[budget, method] = _unless(packed.degraded, judge(documents, relevant, packed.used_tokens, words))
        for form, overflow in _FILLS:
            seen = _filled(loaded, answer.hits, query, budget, counter, form, overflow)
            found[budget, f"naive {form}, {overflow}"] = _unless(answer.degraded, seen)
    return found


def _filled(
    loaded: Loaded, hits: Sequence[Hit], query: Query, budget: int, counter: TokenCounter, form: Form, overflow: Overflow
) -> Seen:
    documents = [loaded.documents[hit.id] for hit in hits]
    known = {Form.HIT: None, Form.LABELLED: loaded.labelled, Form.WORDS: loaded.said}[form]
    texts = [hit.text if known is None else known[document] for hit, document in zip(hits, documents, strict=True)]
    taken = naive_fill(texts, budget, counter, overflow)
    text = SEPARATOR.join(texts[index] for index in taken)
    shown = {documents[index] for index in taken}
    return judge(shown, loaded.dataset.relevant[query.id], counter.count(text), _share(query, text))


def _share(query: Query, text: str) -> float | None:
    return None if query.answer is None else _ANSWERS.share(query.answer, text)


def _unless(degraded: Sequence[str], seen: Seen) -> Seen:
    if not degraded:
        return seen
    return Seen(False, False, 0.0, seen.tokens, None if seen.answer is None else 0.0, degraded=True)


def _normal(text: str) -> str:
    return _WORDS.sub(" ", text.lower()).strip()


def _columns(seen: Iterable[Seen]) -> tuple[list[float], ...]:
    seen = list(seen)
    return (
        [float(one.any_evidence) for one in seen],
        [float(one.all_evidence) for one in seen],
        [one.share for one in seen],
        [one.answer for one in seen if one.answer is not None],
        [float(one.tokens) for one in seen],
    )
