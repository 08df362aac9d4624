"""Searching pinned versions: the scores are the harness's own, and a reader sees one version whatever is written meanwhile."""

import random
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

import numpy as np
import pytest
from rank_bm25 import BM25Okapi

from memoryd.stores.database import Database
from memoryd.stores.generations import Generation
from memoryd.stores.knowledge.chunk_dense import PgChunkDense
from memoryd.stores.knowledge.chunk_items import PgChunkItems
from memoryd.stores.knowledge.chunk_lexical import PgChunkLexical
from retrieval.analysis import Analyzer
from retrieval.bm25 import DEFAULT_PARAMS, CorpusStatistics, score
from retrieval.filters import Filters
from retrieval.ports import ArmHit, PinnedSource, Query
from tests.stores.knowledge.bookcase import Bookcase, Doc, Part, doc, hashed
from tests.stores.library import Library, new_library

WORDS = [f"w{number}" for number in range(60)]
QUESTION = "w1 w2 w7 w30 w59 w1 nothing"

Make = Callable[[], Awaitable[Bookcase]]


@pytest.fixture
async def library(database: Database, generation: Generation) -> Library:
    return await new_library(database, generation.number)


@pytest.fixture
def bookcase(library: Library, generation: Generation) -> Make:
    async def make() -> Bookcase:
        return await Bookcase.make(library.database, library.scope, generation.number, hashed(generation.dimension))

    return make


def text(rng: random.Random) -> str:
    """A few words, the first of the list far more often than the last; «common» is in most."""
    words = [WORDS[min(int(rng.expovariate(0.08)), len(WORDS) - 1)] for _ in range(rng.randint(4, 40))]
    return " ".join(words + (["common"] if rng.random() < 0.7 else []))


def corpus(seed: int, count: int) -> dict[str, Doc | None]:
    rng = random.Random(seed)
    return {f"d{number}": doc(text(rng), bucket=number % 3, even=number % 2 == 0) for number in range(count)}


def at(*pins: PinnedSource) -> Query:
    return Query((), Filters(), pins)


async def lexical(bookcase: Bookcase, query: Query, question: str = QUESTION, limit: int = 1000) -> list[ArmHit]:
    return await PgChunkLexical(bookcase.database, Analyzer(), DEFAULT_PARAMS).search(
        bookcase.scope, query, question, limit=limit
    )


def okapi(texts: Mapping[UUID, str], question: str) -> dict[UUID, float]:
    """rank_bm25's scores of all that have one."""
    analyzer = Analyzer()
    reference = BM25Okapi([analyzer.tokens(one) for one in texts.values()], k1=1.2, b=0.4, epsilon=0.25)
    scores = reference.get_scores(analyzer.tokens(question))
    return {key: value for key, value in zip(texts, scores, strict=True) if value > 0}


async def test_lexical_scores_are_those_of_rank_bm25_in_every_version(bookcase: Make) -> None:
    made = await bookcase()
    await made.publish(corpus(1, 150))
    await made.publish(corpus(2, 40) | {f"d{number}": None for number in range(100, 140)})
    for seq in (1, 2, 1):
        for question in (QUESTION, "common w3", "w58"):
            found = await lexical(made, at(PinnedSource(made.kb_id, seq)), question)
            expected = okapi(made.texts[seq], question)
            assert {hit.memory_id: hit.score for hit in found} == pytest.approx(expected, abs=1e-6)
            assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)


async def test_several_knowledge_bases_are_one_collection(bookcase: Make) -> None:
    first, second = await bookcase(), await bookcase()
    await first.publish(corpus(3, 60))
    await second.publish(corpus(4, 90))
    rarer = "w21 w25 w33 w33 w41"  # none is in more than half of the chunks, where the mean idf of both would be needed
    found = await lexical(first, at(PinnedSource(first.kb_id, 1), PinnedSource(second.kb_id, 1)), rarer)
    expected = okapi({**first.texts[1], **second.texts[1]}, rarer)
    assert {hit.memory_id: hit.score for hit in found} == pytest.approx(expected, abs=1e-6)


async def test_dense_is_the_exact_order_of_cosines(bookcase: Make, generation: Generation) -> None:
    first, second = await bookcase(), await bookcase()
    await first.publish(corpus(5, 80))
    await first.publish(corpus(6, 10))
    await second.publish(corpus(7, 30))
    embed, dense = hashed(generation.dimension), PgChunkDense(first.database, generation)
    (question,) = await embed([QUESTION])
    for pins, texts in (
        ([PinnedSource(first.kb_id, 1)], first.texts[1]),
        ([PinnedSource(first.kb_id, 2)], first.texts[2]),
        ([PinnedSource(first.kb_id, 2), PinnedSource(second.kb_id, 1)], {**first.texts[2], **second.texts[1]}),
    ):
        found = await dense.search(first.scope, at(*pins), question, limit=25)
        halves = (await embed(list(texts.values()))).astype(np.float16).astype(np.float64)
        cosines = dict(zip(texts, halves @ question.astype(np.float16).astype(np.float64), strict=True))
        best = sorted(cosines, key=lambda key: -cosines[key])[:25]
        assert [hit.memory_id for hit in found] == best
        assert [hit.score for hit in found] == pytest.approx([cosines[key] for key in best], abs=1e-3)


async def test_filters_choose_documents_and_leave_the_statistics_alone(bookcase: Make, generation: Generation) -> None:
    made, other = await bookcase(), await bookcase()
    documents = corpus(8, 60)
    await made.publish(documents)
    await other.publish(corpus(9, 20))
    everything = {hit.memory_id: hit.score for hit in await lexical(made, at(PinnedSource(made.kb_id, 1)))}
    (question,) = await made.embed([QUESTION])
    for metadata, ids, chosen in (
        ((("bucket", 1),), (), {f"d{n}" for n in range(60) if n % 3 == 1}),
        ((("bucket", 1.0), ("even", True)), (), {f"d{n}" for n in range(60) if n % 6 == 4}),
        ((("even", 1),), (), set()),
        ((), ("d3", "d4", "unknown"), {"d3", "d4"}),
        ((("bucket", 0),), ("d3", "d4"), {"d3"}),
    ):
        query = at(PinnedSource(made.kb_id, 1, metadata, ids))
        wanted = {made.chunk_id(name, 0) for name in documents if name in chosen}
        found = await lexical(made, query)
        assert {hit.memory_id: hit.score for hit in found} == {
            key: pytest.approx(value) for key, value in everything.items() if key in wanted
        }
        near = await PgChunkDense(made.database, generation).search(made.scope, query, question, limit=100)
        assert {hit.memory_id for hit in near} == wanted
        read = await PgChunkItems(made.database).read(made.scope, query, [hit.pid for hit in near])
        assert {item.memory_id for item in read.values()} == wanted
    # A filter is of its own knowledge base alone.
    both = at(PinnedSource(made.kb_id, 1, (), ("d3",)), PinnedSource(other.kb_id, 1))
    near = await PgChunkDense(made.database, generation).search(made.scope, both, question, limit=100)
    assert len(near) == 1 + 20


async def test_a_pinned_reader_sees_one_version_whatever_is_written_meanwhile(bookcase: Make, generation: Generation) -> None:
    made = await bookcase()
    await made.publish({"kept": doc("the heron waits"), "changed": doc("the heron sleeps"), "removed": doc("a grey heron")})
    pin = at(PinnedSource(made.kb_id, 1))
    dense, items = PgChunkDense(made.database, generation), PgChunkItems(made.database)
    (question,) = await made.embed(["heron"])

    async def seen(query: Query) -> tuple[dict[UUID, float], set[str]]:
        hits = await lexical(made, query, "heron")
        near = await dense.search(made.scope, query, question, limit=10)
        read = await items.read(made.scope, query, [hit.pid for hit in near])
        assert {hit.memory_id for hit in near} == {item.memory_id for item in read.values()}
        return {hit.memory_id: hit.score for hit in hits}, {item.text for item in read.values()}

    before = await seen(pin)
    assert before[1] == {"the heron waits", "the heron sleeps", "a grey heron"}
    await made.stage({"changed": doc("the heron woke"), "removed": None, "added": doc("a second heron")})
    assert await seen(pin) == before
    await made.publish()
    assert await seen(pin) == before
    scores, texts = await seen(at(PinnedSource(made.kb_id, 2)))
    assert texts == {"the heron waits", "the heron woke", "a second heron"}
    tokens = {key: Analyzer().tokens(text) for key, text in made.texts[2].items()}
    statistics = CorpusStatistics.of(list(tokens.values()))
    assert scores == pytest.approx({key: score(["heron"], one, statistics) for key, one in tokens.items()})


async def test_an_item_says_where_it_stands(bookcase: Make) -> None:
    made = await bookcase()
    parts = (Part("Leave is paid.", ("Leave",), 3), Part("Ask early.", ("Leave", "Asking"), 4))
    await made.publish({"handbook.md": Doc("Handbook", parts, {"team": "hr"}, "https://example.org/h")})
    query = at(PinnedSource(made.kb_id, 1))
    (hit,) = await lexical(made, query, "early")
    item = (await PgChunkItems(made.database).read(made.scope, query, [hit.pid, 2**40]))[hit.pid]
    assert (item.kind, item.external_id, item.text, item.source_uri) == (
        "knowledge", "handbook.md", "Ask early.", "https://example.org/h",
    )  # fmt: skip
    assert item.metadata == {"team": "hr"}
    cited = item.citation
    assert cited is not None
    assert (cited.kb, cited.version, cited.title, cited.section) == (made.name, 1, "Handbook", ("Leave", "Asking"))
    assert (cited.pages, cited.span, cited.prefix) == ((4, 4), (15, 25), "Handbook › Leave › Asking\n")


async def test_another_tenants_rows_are_not_there(
    bookcase: Make, database: Database, generation: Generation, library: Library
) -> None:
    made = await bookcase()
    await made.publish({"d": doc("the heron waits")})
    stranger = (await new_library(database, generation.number)).scope
    query = at(PinnedSource(made.kb_id, 1))
    (pid,) = [hit.pid for hit in await lexical(made, query, "heron")]
    (question,) = await made.embed(["heron"])
    assert await PgChunkLexical(database, Analyzer(), DEFAULT_PARAMS).search(stranger, query, "heron", limit=10) == []
    assert await PgChunkDense(database, generation).search(stranger, query, question, limit=10) == []
    assert await PgChunkItems(database).read(stranger, query, [pid]) == {}
