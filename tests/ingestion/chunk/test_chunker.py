from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.chunk import Chunker, Chunking, Kind, Section, Strategy, readable_tokens, stream
from ingestion.document import Block, BlockKind
from retrieval.inference import ModelTokenizer
from retrieval.ports import ModelCard
from retrieval.tokens import Tokenized, Tokens
from tests.ingestion.chunk.documents import READABLE, ByteTokenizer, blocks_of, check, documents
from tests.ingestion.chunk.documents import tokenizer as model_tokenizer

H, P, L, T, C, Q = BlockKind.HEADING, BlockKind.PARAGRAPH, BlockKind.LIST, BlockKind.TABLE, BlockKind.CODE, BlockKind.QUOTE
SENTENCE = "The boiler is checked every spring by two engineers of the town. "
TOKENIZER = model_tokenizer()


def cut(
    blocks: list[Block],
    strategy: Strategy = Strategy.STRUCTURAL,
    *,
    title: str | None = None,
    max_tokens: int = 384,
    overlap_tokens: int = 32,
) -> list[Section]:
    chunking = Chunking(strategy, max_tokens, overlap_tokens)
    sections = list(Chunker(TOKENIZER, chunking, readable=READABLE, title=title).sections(blocks))
    check(TOKENIZER, blocks, sections, 512)
    return sections


@settings(max_examples=60)
@given(
    documents,
    st.sampled_from(Strategy),
    st.sampled_from([64, 120, 384, 4000]),
    st.sampled_from([0, 32]),
    st.sampled_from([None, "A title"]),
)
def test_chunks_of_any_document(blocks: list[Block], strategy: Strategy, most: int, overlap: int, title: str | None) -> None:
    def chunker() -> Chunker:
        return Chunker(TOKENIZER, Chunking(strategy, most, overlap), readable=READABLE, title=title)

    sections = list(chunker().sections(blocks))
    check(TOKENIZER, blocks, sections, min(READABLE, max(most, 256) if strategy is Strategy.FACT else most))
    streaming = chunker()
    fed = [section for block in blocks for section in list(streaming.feed(block))]
    assert [*fed, *streaming.finish()] == sections


@settings(max_examples=30)
@given(documents, st.sampled_from(Strategy), st.sampled_from([64, 300]))
def test_tokenizers_whose_counts_do_not_add_up(blocks: list[Block], strategy: Strategy, most: int) -> None:
    tokens = ByteTokenizer()
    sections = list(Chunker(tokens, Chunking(strategy, most), readable=400, title="T").sections(blocks))
    check(tokens, blocks, sections, max(most, 256) if strategy is Strategy.FACT else most)


def test_a_chunk_carries_its_tokens() -> None:
    blocks = blocks_of((H, "Boilers", 1), (P, SENTENCE * 200), (C, "x = 1\n" * 20))
    chunks = [chunk for section in cut(blocks) for chunk in section.chunks]
    assert len(chunks) > 4
    for chunk in chunks:
        assert isinstance(chunk.content, Tokenized)
        assert list(chunk.content.ids) == TOKENIZER.tokens(str(chunk.content)).ids


def test_a_section_is_a_headings_part_and_knows_its_path() -> None:
    sections = cut(
        blocks_of(
            (H, "Guide", 1),
            (P, "Welcome."),
            (H, "Install", 2),
            (P, "Run it."),
            (H, "Linux", 3),
            (P, "As root."),
            (H, "Use", 2),
            (P, "Go."),
        ),
        title="Handbook",
    )
    assert [section.path for section in sections] == [
        ("Guide",),
        ("Guide", "Install"),
        ("Guide", "Install", "Linux"),
        ("Guide", "Use"),
    ]
    assert sections[1].text == "## Install\n\nRun it."
    assert [section.chunks[0].prefix for section in sections][2] == "Handbook > Guide > Install > Linux\n"


def test_headings_without_a_text_join_what_follows() -> None:
    sections = cut(blocks_of((H, "Guide", 1), (H, "Install", 2), (P, "Run it."), (H, "End", 2)))
    assert [(section.path, section.text) for section in sections] == [
        (("Guide", "Install"), "# Guide\n\n## Install\n\nRun it."),
        (("Guide", "End"), "## End"),
    ]


def test_a_prefix_is_bounded_and_keeps_the_title_and_the_innermost_heading() -> None:
    deep = [(H, f"Heading of level {level} " + "about many things " * 4, level) for level in range(1, 7)]
    [section] = cut(blocks_of(*deep, (P, "Text.")), title="The title\nof it")
    prefix = section.chunks[0].prefix
    assert prefix.startswith("The title of it > ")
    assert "Heading of level 6" in prefix
    assert prefix.count("\n") == 1
    assert TOKENIZER.counts([prefix])[0] <= 64
    assert len(section.path) == 6


def test_a_heading_of_any_length_is_kept_whole_and_short_in_the_path() -> None:
    sections = cut(blocks_of((H, "many words " * 5000, 1), (P, "Text.")))
    assert len(sections) == 5
    assert all(len(part) <= 300 for section in sections for part in section.path)


def test_a_title_that_is_the_first_heading_is_said_once() -> None:
    [section] = cut(blocks_of((H, "Guide", 1), (P, "Text.")), title="guide")
    assert section.chunks[0].prefix == "guide\n"


def test_tables_and_code_and_lists_that_fit_stay_whole() -> None:
    table = "| a | b |\n| --- | --- |\n" + "\n".join(f"| row {n} | {n * 7} |" for n in range(30))
    code = "def one():\n" + "\n".join(f"    x{n} = {n}" for n in range(40))
    items = "\n".join(f"- item number {n} of the list" for n in range(40))
    [section] = cut(blocks_of((P, SENTENCE * 4), (T, table), (P, "Like this:"), (C, code), (P, "All of it."), (L, items)))
    texts = [chunk.text for chunk in section.chunks]
    assert any(table in text for text in texts)
    assert f"Like this:\n\n```\n{code}\n```" in "\n".join(texts)
    assert any(items in text for text in texts)
    assert {chunk.kind for chunk in section.chunks} >= {Kind.TABLE, Kind.LIST, Kind.CODE}


def test_a_large_table_is_cut_between_rows_and_repeats_its_header() -> None:
    header = "| name | value |\n| --- | --- |\n"
    rows = [f"| entry number {n} | the value {n} |" for n in range(600)]
    sections = cut(blocks_of((H, "Data", 1), (T, header + "\n".join(rows))))
    chunks = [chunk for section in sections for chunk in section.chunks]
    assert len(sections) > 2
    assert all(section.text.startswith(header) for section in sections[1:])
    for chunk in chunks[1:]:
        assert chunk.kind is Kind.TABLE
        assert chunk.text.startswith(header)
        assert all(line.startswith("| entry") and line.endswith("|") for line in chunk.text[len(header) :].split("\n"))
        assert chunk.tokens > 192
    assert [line for chunk in chunks for line in chunk.text.split("\n") if line.startswith("| entry")] == rows


def test_a_header_too_large_to_repeat_is_not_repeated() -> None:
    header = "|" + " a long name of a column |" * 60 + "\n|" + "---|" * 60
    chunks = [chunk for section in cut(blocks_of((T, header + "\n| 1 | 2 |" * 400))) for chunk in section.chunks]
    assert chunks[-1].text.startswith("| 1 | 2 |")


def test_paragraphs_are_cut_between_sentences_and_overlap() -> None:
    [section] = cut(blocks_of((P, SENTENCE * 100)))
    for one, other in pairwise(section.chunks):
        assert one.text.endswith("town.")
        assert other.text.startswith("The boiler")
        shared = TOKENIZER.counts([one.text[other.start - one.start :]])[0]
        assert 0 < shared <= 32
    apart = cut(blocks_of((P, SENTENCE * 100)), overlap_tokens=0)[0].chunks
    assert all(one.end < other.start for one, other in pairwise(apart))


def test_nothing_overlaps_into_tables_or_out_of_them() -> None:
    table = "| a | b |\n| --- | --- |\n" + "\n".join(f"| row {n} | {n * 7} |" for n in range(40))
    [section] = cut(blocks_of((P, SENTENCE * 20), (T, table), (P, SENTENCE * 20)))
    [at] = [at for at, chunk in enumerate(section.chunks) if chunk.text.startswith("| a")]
    assert section.chunks[at - 1].end <= section.chunks[at].start
    assert section.chunks[at].end <= section.chunks[at + 1].start


def test_facts_fill_their_chunks_across_headings() -> None:
    parts = [part for n in range(30) for part in ((H, f"Question {n}", 2), (P, SENTENCE * 3))]
    sections = cut(blocks_of((H, "FAQ", 1), *parts), Strategy.FACT, max_tokens=512)
    assert all(section.path == ("FAQ",) for section in sections[:-1])
    assert all(256 <= chunk.tokens <= 508 for section in sections[:-1] for chunk in section.chunks)


def test_a_context_is_a_section_of_one_to_two_thousand_tokens_whose_children_can_be_embedded() -> None:
    parts = [part for n in range(60) for part in ((H, f"Question {n}", 2), (P, SENTENCE * 10))]
    sections = cut(blocks_of(*parts), Strategy.CONTEXT)
    assert all(1024 <= section.tokens <= 2048 for section in sections[:-1])
    assert all(len(section.chunks) > 2 for section in sections[:-1])


METHODS = "\n\n".join(f"    def method_{n}(self, x):\n        y = x + {n}\n        return self.other(y, {n})" for n in range(120))
HEAD = '"""A module."""\n\nimport os\n\n\ndef first():\n    return os\n\n\n'
SOURCE = f"{HEAD}@cached\nclass Machine:\n    name = 1\n\n{METHODS}\n\n\ndef last(a):\n    return a\n"


def test_code_is_cut_between_definitions_and_names_what_encloses_it() -> None:
    sections = cut(blocks_of((C, SOURCE)), Strategy.CODE, title="machine.py")
    assert len(sections) > 1
    assert sections[0].path == ()
    assert all(section.path == ("class Machine",) for section in sections[1:])
    chunks = [chunk for section in sections for chunk in section.chunks]
    assert chunks[0].text.startswith('"""A module."""\n\nimport os')
    inner = [chunk for chunk in chunks if chunk.text.startswith("    ")]
    assert all(chunk.text.startswith("    def method_") for chunk in inner)
    assert all(chunk.prefix == "machine.py > class Machine\n" for chunk in inner)
    assert chunks[-1].text.endswith("def last(a):\n    return a")
    assert all(chunk.kind is Kind.CODE and "```" not in chunk.text for chunk in chunks)


def test_pages_are_those_on_which_the_pieces_begin() -> None:
    blocks = [
        replace(block, page=page)
        for block, page in zip(blocks_of((P, SENTENCE * 12), (P, SENTENCE * 12), (L, "- item\n" * 200)), (3, 4, 5), strict=True)
    ]
    [section] = cut(blocks, overlap_tokens=0)
    assert (section.page_first, section.page_last) == (3, 5)
    assert [(chunk.page_first, chunk.page_last) for chunk in section.chunks] == [(3, 4), (5, 5), (5, 5)]


def test_a_wrong_span_is_refused() -> None:
    [block] = blocks_of((P, "Text."))
    chunker = Chunker(TOKENIZER, Chunking(), readable=READABLE)
    with pytest.raises(ValueError, match="5 characters"):
        list(chunker.feed(replace(block, end=7)))


@pytest.mark.parametrize("chunking", [Chunking(max_tokens=63), Chunking(overlap_tokens=-1)])
def test_limits_that_leave_no_room_are_refused(chunking: Chunking) -> None:
    with pytest.raises(ValueError, match="at least 64"):
        Chunker(TOKENIZER, chunking, readable=READABLE)


def test_what_the_model_reads_is_the_limit_whatever_was_asked() -> None:
    card = ModelCard("m", "1", 384, 512, passage_prefix="passage: ")
    assert readable_tokens(card, TOKENIZER) == 506
    chunks = [chunk for section in cut(blocks_of((P, SENTENCE * 400)), max_tokens=2048) for chunk in section.chunks]
    assert 400 < max(chunk.tokens for chunk in chunks) <= READABLE


class Measured:
    """How much was tokenised, and the longest piece."""

    parts_at_space = True

    def __init__(self, inner: ModelTokenizer) -> None:
        self.inner, self.chars, self.longest = inner, 0, 0
        self.vocabulary = inner.vocabulary

    def tokens(self, text: str) -> Tokens:
        self.chars += len(text)
        self.longest = max(self.longest, len(text))
        return self.inner.tokens(text)

    def counts(self, texts: Sequence[str]) -> Sequence[int]:
        self.chars += sum(map(len, texts))
        return self.inner.counts(texts)


@pytest.mark.parametrize(
    "text", [SENTENCE * 5000, "a" * 300_000, "\n".join("x = 1" for _ in range(40_000))], ids=["prose", "word", "lines"]
)
def test_each_character_is_tokenised_about_once_in_bounded_pieces(text: str) -> None:
    measured = Measured(TOKENIZER)
    blocks = blocks_of((P, text), (C, text))
    sections = list(Chunker(measured, Chunking(), readable=READABLE).sections(blocks))
    check(TOKENIZER, blocks, sections, 384)
    assert measured.longest <= 16_384
    assert measured.chars <= 2.5 * sum(len(block.text) for block in blocks)


def test_sections_come_while_a_document_is_read() -> None:
    chunker = Chunker(TOKENIZER, Chunking(), readable=READABLE)
    blocks = blocks_of(*[(P, SENTENCE * 10)] * 40)
    come = [len(list(chunker.feed(block))) for block in blocks]
    assert sum(come) >= 2
    assert all(number <= 1 for number in come)


async def test_a_stream_gives_what_the_whole_gives() -> None:
    blocks = blocks_of(*(part for _ in range(3) for part in ((P, SENTENCE * 40), (H, "Next", 1), (P, SENTENCE * 900))))

    async def coming() -> AsyncIterator[Block]:
        for block in blocks:
            yield block

    streamed = [section async for section in stream(Chunker(TOKENIZER, Chunking(), readable=READABLE), coming())]
    assert streamed == cut(blocks)
