"""Blocks in, sections with their chunks out, as a stream."""

from collections.abc import Iterable, Iterator

from ingestion.chunk.code import enclosing
from ingestion.chunk.cutter import Cut, Cutter, Rules
from ingestion.chunk.draft import Draft
from ingestion.chunk.model import Chunk, Chunking, Section, Strategy
from ingestion.chunk.prefix import PREFIX_TOKENS, Situate
from ingestion.chunk.sections import Sectioner
from ingestion.chunk.tokens import ChunkTokenizer
from ingestion.document import Block, BlockKind
from retrieval.tokens import Tokenized

LEAST_TOKENS = 64
"""A chunk's limit is no smaller: a prefix, a header row and some text have to fit."""

_FACT_TOKENS = (256, 512)
_CONTEXT_TOKENS = 1024


class Chunker:
    """Cuts one document. Holds the section that grows, whatever the document's size.

    ``readable``: what the embedder reads of a text (:func:`ingestion.chunk.tokens.readable_tokens`); no chunk is larger,
    whatever ``chunking`` asks for. Deterministic: the same blocks, title and settings give the same sections, however
    they are fed. Tokenising takes about a second a megabyte: feed in a thread.
    """

    def __init__(self, tokenizer: ChunkTokenizer, chunking: Chunking, *, readable: int, title: str | None = None) -> None:
        rules = chunk_rules(chunking, readable)
        least = {Strategy.FACT: _FACT_TOKENS[0], Strategy.CONTEXT: _CONTEXT_TOKENS}.get(chunking.strategy, 0)
        self._sectioner = Sectioner(tokenizer, least)
        self._cutter = Cutter(tokenizer, Situate(tokenizer, title, min(PREFIX_TOKENS, rules.limit // 4)), rules)
        self._vocabulary = tokenizer.vocabulary
        self._sections = 0
        self._chunks = 0

    def feed(self, block: Block) -> Iterator[Section]:
        """The sections that ``block`` ends: exhaust it before the next call. Raises ``ValueError`` for a wrong span."""
        yield from map(self._section, self._sectioner.feed(block))

    def finish(self) -> Iterator[Section]:
        """What is left, when there are no more blocks."""
        yield from map(self._section, self._sectioner.finish())

    def sections(self, blocks: Iterable[Block]) -> Iterator[Section]:
        """All sections of a document."""
        for block in blocks:
            yield from self.feed(block)
        yield from self.finish()

    def _section(self, draft: Draft) -> Section:
        number = self._sections
        chunks = tuple(
            Chunk(
                ordinal=ordinal,
                section=number,
                text=cut.text,
                prefix=cut.prefix,
                content=self._content(cut),
                kind=cut.kind,
                start=draft.start + cut.start,
                end=draft.start + cut.end,
                page_first=cut.pages[0] if cut.pages else None,
                page_last=cut.pages[1] if cut.pages else None,
                tokens=cut.tokens,
            )
            for ordinal, cut in enumerate(self._cutter.cut(draft), self._chunks)
        )
        self._sections += 1
        self._chunks += len(chunks)
        numbers = [piece.page for piece in draft.pieces if piece.page is not None]
        return Section(
            ordinal=number,
            path=_path(draft),
            text=f"{draft.header}\n{draft.text}" if draft.header else draft.text,
            start=draft.start,
            end=draft.end,
            page_first=min(numbers, default=None),
            page_last=max(numbers, default=None),
            tokens=draft.tokens,
            chunks=chunks,
        )

    def _content(self, cut: Cut) -> str:
        content = cut.prefix + cut.text
        return content if cut.ids is None else Tokenized(content, cut.ids, self._vocabulary)


def chunk_rules(chunking: Chunking, readable: int) -> Rules:
    """What a strategy means. Raises ``ValueError`` for limits below 64 tokens or a negative overlap."""
    limit, least = chunking.max_tokens, 0
    if chunking.strategy is Strategy.FACT:
        least, most = _FACT_TOKENS
        limit = max(least, min(limit, most))
    limit = min(limit, readable)
    if limit < LEAST_TOKENS or chunking.overlap_tokens < 0:
        raise ValueError(f"chunks need at least {LEAST_TOKENS} tokens and an overlap of 0 or more")
    whole = chunking.strategy in (Strategy.STRUCTURAL, Strategy.CODE)
    return Rules(limit, min(chunking.overlap_tokens, limit // 4), least, whole)


def _path(draft: Draft) -> tuple[str, ...]:
    """The headings, and where the section begins inside a definition, that one's name as well."""
    first = draft.pieces[0]
    if first.kind is not BlockKind.CODE or first.fence[0]:
        return draft.path
    return (*draft.path, *enclosing(first.outer, draft.text, first.start))
