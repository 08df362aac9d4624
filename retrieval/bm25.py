"""BM25 proper: weights, inverse document frequencies and a reference scorer; no storage.

The formula is ``rank_bm25.BM25Okapi``'s: Robertson and Zaragoza, *The Probabilistic Relevance Framework: BM25
and Beyond* (2009), with rank-bm25's floor for terms that more than half of the texts have::

    score(q, d) = Σ over the tokens t of q:  idf(t) · tf·(k1 + 1) / (tf + k1·(1 − b + b·|d| / average length))
    idf(t)      = ln(N − df + ½) − ln(df + ½);  where negative:  epsilon · (mean idf of the whole vocabulary)

One departure: where that mean is not positive (one or two texts, or near-identical ones) BM25Okapi's scores
turn zero or negative and a better match ranks lower. There every term gets Lucene's idf, which is always
positive: ln(1 + (N − df + ½) / (df + ½)).

The floor matters in conversations, where each speaker's name is in half of the turns: on LoCoMo-dev it gives
nDCG@10 .526 and Lucene's idf .520; SciFact does not care (.698 either way).
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Term = TypeVar("Term", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Bm25Params:
    """``k1`` saturates the term frequency, ``b`` weighs length, ``epsilon`` scales the commonest terms' idf.

    The defaults are the round values that serve conversations and abstracts best: nDCG@10 on LoCoMo-dev and
    SciFact-train .526 and .698 (k1 1.2, b .75: .513 and .695; k1 .9, b .4: .527 and .696).
    """

    k1: float = 1.2
    b: float = 0.4
    epsilon: float = 0.25

    def __post_init__(self) -> None:
        if self.k1 < 0 or not 0 <= self.b <= 1 or self.epsilon < 0:
            raise ValueError("BM25 needs k1 >= 0, 0 <= b <= 1 and epsilon >= 0")


DEFAULT_PARAMS = Bm25Params()


@dataclass(frozen=True, slots=True)
class CorpusStatistics(Generic[Term]):
    """What BM25 needs to know of one space: counts, and document frequencies of at least the query's terms.

    ``total_length`` is in tokens. ``mean_idf`` is :func:`mean_idf` of the *whole* vocabulary, also where
    ``document_frequencies`` holds the query's terms only.
    """

    documents: int
    total_length: int
    document_frequencies: Mapping[Term, int]
    mean_idf: float

    @property
    def average_length(self) -> float:
        """Tokens a text; 0 in an empty space."""
        return self.total_length / self.documents if self.documents else 0.0

    @classmethod
    def of(cls, texts: Iterable[Sequence[Term]]) -> "CorpusStatistics[Term]":
        """The statistics of ``texts``, each a sequence of tokens."""
        frequencies: Counter[Term] = Counter()
        documents = total = 0
        for tokens in texts:
            documents += 1
            total += len(tokens)
            frequencies.update(set(tokens))
        return cls(documents, total, frequencies, mean_idf(documents, Counter(frequencies.values())))


def raw_idf(document_frequency: int, documents: int) -> float:
    """Robertson and Spärck Jones' idf: negative for a term that more than half of the texts have."""
    return math.log(documents - document_frequency + 0.5) - math.log(document_frequency + 0.5)


def mean_idf(documents: int, histogram: Mapping[int, int]) -> float:
    """The mean :func:`raw_idf` of a vocabulary, from how many terms have each document frequency.

    A histogram of a space has few rows (most terms are rare), so this is cheap to keep and to recompute.
    """
    terms = sum(histogram.values())
    if not terms:
        return 0.0
    return math.fsum(count * raw_idf(df, documents) for df, count in histogram.items()) / terms


def idf(document_frequency: int, documents: int, mean: float, params: Bm25Params = DEFAULT_PARAMS) -> float:
    """The weight of a term that ``document_frequency`` of ``documents`` texts have; 0 when none has it."""
    if document_frequency <= 0:
        return 0.0
    if mean <= 0:
        return math.log1p((documents - document_frequency + 0.5) / (document_frequency + 0.5))
    weight = raw_idf(document_frequency, documents)
    return params.epsilon * mean if weight < 0 else weight


def term_weight(frequency: int, length: int, average_length: float, params: Bm25Params = DEFAULT_PARAMS) -> float:
    """The document's side of one term, in ``[0, k1 + 1]``; ``length`` and ``average_length`` in tokens."""
    if frequency <= 0:
        return 0.0
    relative = length / average_length if average_length > 0 else 1.0
    return frequency * (params.k1 + 1) / (frequency + params.k1 * (1 - params.b + params.b * relative))


def query_weights(
    query: Iterable[Term], statistics: CorpusStatistics[Term], params: Bm25Params = DEFAULT_PARAMS
) -> dict[Term, float]:
    """The query's side: idf times occurrences in the query, for the terms that the space has.

    The inner product with the documents' :func:`term_weight` is the BM25 score.
    """
    weights: dict[Term, float] = {}
    for term, occurrences in Counter(query).items():
        df = statistics.document_frequencies.get(term, 0)
        if df > 0:
            weights[term] = occurrences * idf(df, statistics.documents, statistics.mean_idf, params)
    return weights


def score(
    query: Iterable[Term],
    text: Sequence[Term],
    statistics: CorpusStatistics[Term],
    params: Bm25Params = DEFAULT_PARAMS,
) -> float:
    """The BM25 score of one tokenised text: the reference that indexes are tested against."""
    frequencies = Counter(text)
    average = statistics.average_length
    return math.fsum(
        weight * term_weight(frequencies[term], len(text), average, params)
        for term, weight in query_weights(query, statistics, params).items()
    )
