"""Documents made of blocks, and what must hold for their chunks."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st

from ingestion.chunk import SECTION_TOKENS, ChunkTokenizer, Section
from ingestion.document import Block, BlockKind, place, render_document
from retrieval.inference import ModelTokenizer
from retrieval.inference.registry import BGE_SMALL
from retrieval.tokens import Tokenized, Tokens
from tests.support_models import ready_model_store

READABLE = 508


def tokenizer() -> ModelTokenizer:
    """The default embedder's."""
    return ModelTokenizer(ready_model_store().locate(BGE_SMALL.name).tokenizer)


class ByteTokenizer:
    """A token a byte, several at one character; counts say one more for each space, so that parts do not add up."""

    parts_at_space = False
    vocabulary = "bytes"

    def tokens(self, text: str) -> Tokens:
        found = [(at, byte) for at, char in enumerate(text) for byte in char.encode(errors="replace")]
        return Tokens([at for at, _ in found], [byte for _, byte in found])

    def counts(self, texts: Sequence[str]) -> list[int]:
        return [len(self.tokens(text).ids) + text.count(" ") for text in texts]


def blocks_of(*parts: tuple[BlockKind, str] | tuple[BlockKind, str, int]) -> list[Block]:
    """Blocks from kind, text and, for headings, level."""
    return list(place((part[0], part[1], part[2] if len(part) > 2 else 0, None, None) for part in parts))


def check(tokens: ChunkTokenizer, blocks: Sequence[Block], sections: Sequence[Section], limit: int) -> None:
    """Nothing is lost, limits are kept, spans are right, ordinals are dense, pages are in order."""
    text = render_document(blocks)
    covered = bytearray(len(text))
    chunks = [chunk for section in sections for chunk in section.chunks]
    assert [section.ordinal for section in sections] == list(range(len(sections)))
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    for section in sections:
        assert section.text.endswith(text[section.start : section.end])
        assert section.chunks
        assert section.tokens <= SECTION_TOKENS
        assert len(section.text) <= 9 * SECTION_TOKENS
        for chunk in section.chunks:
            assert chunk.section == section.ordinal
            assert section.start <= chunk.start < chunk.end <= section.end
            shown = text[chunk.start : chunk.end]
            assert chunk.text.endswith(shown)
            if chunk.text != shown:
                header = chunk.text[: -len(shown)]
                assert header.count("\n") == 2
                assert header in text[: chunk.start]
            assert shown.strip()
            assert not chunk.prefix or (chunk.prefix.endswith("\n") and chunk.prefix.strip())
            assert chunk.content == chunk.prefix + chunk.text
            assert chunk.tokens == tokens.counts([chunk.content])[0] <= limit
            if isinstance(chunk.content, Tokenized):
                assert list(chunk.content.ids) == list(tokens.tokens(chunk.content).ids)
                assert chunk.content.by == tokens.vocabulary
            covered[chunk.start : chunk.end] = b"\1" * (chunk.end - chunk.start)
        for one, other in pairwise(section.chunks):
            assert one.start < other.start
            assert one.end < other.end
    for before, after in pairwise(sections):
        assert before.end <= after.start
    for block in blocks:
        skipped = text.index("\n", block.start) + 1 - block.start if block.kind is BlockKind.CODE else 0
        for at in range(block.start + skipped, block.start + skipped + len(block.text) if skipped else block.end):
            if not text[at].isspace():
                assert covered[at] or not block.text.strip(), (at, text[at - 20 : at + 20])


_plain = ["lake", "antidisestablishmentarianism", "😀", "図書館", "한국어", "a" * 150, "é", "x1y2"]
_words = st.sampled_from([*_plain, "...", "\u2028", "\x0b", "```", "[SEP]", "[MASK]"])
_joints = st.sampled_from([" ", "", ". ", "\n", "。", "! ", "\t \u00a0", ":", "\n  - ", "\n\n"])
_lines = st.lists(st.tuples(_words, _joints), min_size=1, max_size=60).map(lambda parts: "".join(a + b for a, b in parts))
_long = st.tuples(_lines, st.sampled_from([1, 1, 1, 5, 30])).map(lambda given: given[0] * given[1])
_cells = st.lists(_words.filter(str.strip), min_size=2, max_size=4)
_tables = st.tuples(_cells, st.lists(_cells, max_size=8), st.sampled_from([1, 20])).map(
    lambda given: "\n".join(["| " + " | ".join(row) + " |" for row in (given[0], ["---"] * 2, *(given[1] * given[2]))])
)
_code = st.lists(
    st.sampled_from(
        ["def one(a):", "class Two:", "    def three(self):", "    return 1", "        x = 2", "", "}", "int main() {", "é" * 90]
    ),
    min_size=1,
    max_size=80,
).map("\n".join)
_parts = st.one_of(
    st.tuples(st.just(BlockKind.HEADING), st.sampled_from(["One", "Two words", "x" * 300, "図"]), st.integers(1, 4)),
    st.tuples(st.sampled_from([BlockKind.PARAGRAPH, BlockKind.LIST, BlockKind.QUOTE]), _long, st.just(0)),
    st.tuples(st.just(BlockKind.PARAGRAPH), st.text(max_size=80), st.just(0)),
    st.tuples(st.just(BlockKind.TABLE), _tables, st.just(0)),
    st.tuples(st.just(BlockKind.CODE), _code, st.just(0)),
)
documents = st.lists(st.tuples(_parts, st.integers(1, 5)), max_size=12).map(
    lambda parts: list(place((kind, text, level, page, "python") for (kind, text, level), page in parts))
)
"""Blocks of all kinds, some of several sections."""
