import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from retrieval.bm25 import (
    Bm25Params,
    CorpusStatistics,
    idf,
    mean_idf,
    query_weights,
    raw_idf,
    score,
    term_weight,
)

words = st.sampled_from(list("abcdefghijkl"))
texts = st.lists(st.lists(words, min_size=1, max_size=12), min_size=1, max_size=12)
queries = st.lists(words | st.just("never-seen"), max_size=8)
parameters = st.builds(Bm25Params, k1=st.floats(0, 3), b=st.floats(0, 1), epsilon=st.floats(0, 1))


@given(texts, queries, parameters)
def test_equals_rank_bm25_okapi(corpus: list[list[str]], query: list[str], params: Bm25Params) -> None:
    statistics = CorpusStatistics.of(corpus)
    assume(statistics.mean_idf > 0)
    # rank-bm25 divides zero by zero where k1 vanishes and a text lacks the term.
    assume(params.k1 > 0.01)
    assume(params.b < 0.99)
    reference = BM25Okapi(corpus, k1=params.k1, b=params.b, epsilon=params.epsilon)
    expected = reference.get_scores(query)
    assert [score(query, text, statistics, params) for text in corpus] == pytest.approx(list(expected), abs=1e-9)


@given(texts, queries, parameters)
def test_a_match_always_counts(corpus: list[list[str]], query: list[str], params: Bm25Params) -> None:
    """Also in spaces of one or two texts, where BM25Okapi's own scores are zero or negative."""
    assume(params.epsilon > 1e-3)
    statistics = CorpusStatistics.of(corpus)
    for text in corpus:
        value = score(query, text, statistics, params)
        assert value >= 0
        matched = set(query) & set(text)
        if any(raw_idf(statistics.document_frequencies[t], statistics.documents) != 0 for t in matched):
            assert value > 0
        if not matched:
            assert value == 0


@given(texts, queries)
def test_statistics_of_the_query_terms_suffice(corpus: list[list[str]], query: list[str]) -> None:
    whole = CorpusStatistics.of(corpus)
    part = CorpusStatistics(
        whole.documents,
        whole.total_length,
        {t: df for t, df in whole.document_frequencies.items() if t in query},
        whole.mean_idf,
    )
    assert [score(query, text, part) for text in corpus] == [score(query, text, whole) for text in corpus]


@given(st.integers(1, 50), st.integers(1, 200), st.floats(1, 200), parameters)
def test_weight_is_bounded_and_grows_with_frequency(frequency: int, length: int, average: float, params: Bm25Params) -> None:
    weight = term_weight(frequency, length, average, params)
    assert 0 < weight <= params.k1 + 1
    assert term_weight(frequency + 1, length, average, params) >= weight
    assert term_weight(frequency, length + 1, average, params) <= weight


@given(st.integers(1, 1000), st.data())
def test_rarer_is_never_lighter_below_half(documents: int, data: st.DataObject) -> None:
    df = data.draw(st.integers(1, documents))
    more = data.draw(st.integers(df, documents))
    if raw_idf(more, documents) >= 0:
        assert idf(df, documents, 1.0) >= idf(more, documents, 1.0)


def test_by_hand() -> None:
    statistics = CorpusStatistics.of([["red", "fox"], ["red", "red", "hen"], ["blue", "hen"], ["owl"]])
    assert statistics.average_length == 2.0
    params = Bm25Params(k1=1.2, b=0.75)
    owl = math.log(3.5 / 1.5)
    assert score(["owl"], ["owl"], statistics, params) == pytest.approx(owl * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 0.5)))
    assert query_weights(["owl", "owl", "emu"], statistics) == {"owl": pytest.approx(2 * owl)}


def test_empty_space_and_empty_query() -> None:
    empty: CorpusStatistics[str] = CorpusStatistics.of([])
    assert empty.average_length == 0
    assert mean_idf(0, {}) == 0
    assert score(["a"], ["a"], empty) == 0
    assert score([], ["a"], CorpusStatistics.of([["a"], ["b"]])) == 0


@pytest.mark.parametrize(("k1", "b", "epsilon"), [(-1, 0.5, 0.25), (1, 1.5, 0.25), (1, 0.5, -0.1)])
def test_refuses_parameters_without_meaning(k1: float, b: float, epsilon: float) -> None:
    with pytest.raises(ValueError, match="BM25 needs"):
        Bm25Params(k1, b, epsilon)
