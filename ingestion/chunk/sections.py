"""From blocks to sections: a heading begins one, and one that grows too large is cut."""

from collections.abc import Iterator

from ingestion.chunk.boundaries import header_end, last_boundary
from ingestion.chunk.code import Definition, after
from ingestion.chunk.draft import Draft, Piece
from ingestion.chunk.model import SECTION_TOKENS
from ingestion.chunk.prefix import shortened
from ingestion.chunk.tokens import CHARS_PER_TOKEN, WORD_SPACE, ChunkTokenizer, Ruler
from ingestion.document import SEPARATOR, Block, BlockKind, render

_CHARS = SECTION_TOKENS * CHARS_PER_TOKEN
# Of a section: when no more is left, a block that does not fit is not parted.
_LEAST_LEFT = SECTION_TOKENS // 8
# A longer header of a table is repeated in no section: the rows have to fit as well.
_HEADER_TOKENS = SECTION_TOKENS // 8
_HEADER_CHARS = _CHARS // 8
# Every section below has it in its path.
_HEADING_CHARS = 300
# Parsers leave nothing between blocks but the separator, and that of empty blocks.
_GAP_CHARS = 64 * len(SEPARATOR)


class Sectioner:
    """Holds the section that grows and no more. ``least``: a heading does not end a section with fewer tokens."""

    def __init__(self, tokenizer: ChunkTokenizer, least: int) -> None:
        self._tokenizer = tokenizer
        self._least = least
        self._headings: list[tuple[int, str]] = []
        self._draft: Draft | None = None
        self._outer: tuple[Definition, ...] = ()

    def feed(self, block: Block) -> Iterator[Draft]:
        """The sections that ``block`` ends. Raises ``ValueError`` for a span that is not that of the rendered block."""
        part = _Block(block, self._tokenizer)
        if not block.text.strip():
            if block.end > block.start:  # white space that is no line break would be taken for some
                yield from self.finish()
            return
        if self._draft and not 0 <= block.start - self._draft.end <= _GAP_CHARS:
            yield from self.finish()
        if block.kind is not BlockKind.CODE:
            self._outer = ()
        if block.kind is BlockKind.HEADING:
            yield from self._heading(block)
        yield from self._fill(part)

    def finish(self) -> Iterator[Draft]:
        """The section that was growing, if any."""
        draft, self._draft = self._draft, None
        if draft and draft.pieces:
            yield draft

    def _heading(self, block: Block) -> Iterator[Draft]:
        """A heading joins the section when that has only headings yet, or too little."""
        if self._draft and self._draft.has_body and self._draft.tokens >= self._least:
            yield from self.finish()
        while self._headings and self._headings[-1][0] >= block.level:
            self._headings.pop()
        self._headings.append((block.level, shortened(block.text, _HEADING_CHARS)))
        if self._draft:
            path = self._path()
            self._draft.path = _common(self._draft.path, path) if self._draft.has_body else path

    def _fill(self, block: "_Block") -> Iterator[Draft]:
        if block.parted_code:
            yield from self.finish()
        at = block.first
        while at < block.stop:
            draft = self._draft = self._draft or block.begin(at, self._path())
            left = SECTION_TOKENS - draft.tokens
            chars = _CHARS - draft.length - _GAP_CHARS
            end = block.furthest(at, left, chars) if left > 0 and chars > 0 else at
            if end < block.stop and draft.pieces and self._goes_alone(block, draft, left):
                yield from self.finish()
                continue
            end = block.cut(at, end)
            self._outer = block.put(draft, at, end, self._outer)
            at = block.skip_space(end)
            if at < block.stop or block.parted_code:
                yield from self.finish()

    def _goes_alone(self, block: "_Block", draft: Draft, left: int) -> bool:
        """Whether a block that does not fit into what is left begins a section instead of being parted."""
        if left < _LEAST_LEFT or draft.length > _CHARS - _HEADER_CHARS or block.block.kind is BlockKind.CODE:
            return True
        return block.whole and draft.has_body and draft.tokens >= self._least

    def _path(self) -> tuple[str, ...]:
        return tuple(heading for _, heading in self._headings)


class _Block:
    """A block with its measures. Positions are characters of its rendition; code that is parted leaves its fence."""

    def __init__(self, block: Block, tokenizer: ChunkTokenizer) -> None:
        self.block = block
        self._text = render(block.kind, block.text, level=block.level, language=block.language)
        if block.end - block.start != len(self._text):
            raise ValueError(f"a block of {len(self._text)} characters has the span [{block.start}, {block.end})")
        self._ruler = Ruler(tokenizer, self._text)
        self.first, self.stop = 0, len(self._text)
        self.whole = self.furthest(0, SECTION_TOKENS, _CHARS - _GAP_CHARS) == self.stop
        self.parted_code = block.kind is BlockKind.CODE and not self.whole
        before = self._text.index("\n") + 1 if block.kind is BlockKind.CODE else 0
        after = len(self._text) - before - len(block.text) if before else 0
        self._fence = (before, after) if self.whole else (0, 0)
        if self.parted_code:
            self.first, self.stop = before, len(self._text) - after
        header = header_end(self._text) if block.kind is BlockKind.TABLE else 0
        if header > _HEADER_CHARS or len(self._ruler.tokens(0, header).ids) > _HEADER_TOKENS:
            header = 0
        self._header = self._text[:header]

    def furthest(self, at: int, tokens: int, chars: int) -> int:
        """Where a part from ``at`` of so many tokens and characters ends at most."""
        return min(self.stop, self._ruler.furthest(at, tokens, chars))

    def cut(self, at: int, end: int) -> int:
        """The best place to cut in the second half of ``[at, end)``, or ``end`` where the block ends there."""
        if end == self.stop:
            return end
        return last_boundary(self.block.kind, self._text, at + (end - at) // 2, end)

    def begin(self, at: int, path: tuple[str, ...]) -> Draft:
        """A section that the part from ``at`` begins."""
        draft = Draft(path, self.block.start + at)
        if self._header and at >= len(self._header):
            draft.header, draft.tokens = self._header, len(self._ruler.tokens(0, len(self._header)).ids)
        return draft

    def put(self, draft: Draft, at: int, end: int, outer: tuple[Definition, ...]) -> tuple[Definition, ...]:
        """Put ``[at, end)`` into ``draft``; takes and gives the definitions of code that are open."""
        text = self._text[at:end]
        shown = text.rstrip()
        if not shown:
            return outer
        draft.parts_word |= not (self._at_space(at) and self._at_space(at + len(text)))
        begun = draft.add(text, self.block.start + at, self._ruler.tokens(at, at + len(text)))
        body = max(begun, begun + len(self._header) - at)
        draft.pieces.append(
            Piece(self.block.kind, begun, begun + len(shown), self.block.page, self._header, body, fence=self._fence, outer=outer)
        )
        if self.block.kind is not BlockKind.CODE:
            return outer
        return after(outer, text[self._fence[0] : len(text) - self._fence[1]])

    def _at_space(self, at: int) -> bool:
        return at in (0, len(self._text)) or self._text[at - 1] in WORD_SPACE or self._text[at] in WORD_SPACE

    def skip_space(self, end: int) -> int:
        """Where what follows ``end`` begins: at its first character, or at the beginning of that's line, with its indentation."""
        at = end
        while at < self.stop and self._text[at].isspace():
            at += 1
        return at if at == self.stop else max(end, self._text.rfind("\n", end - 1, at) + 1 or at)


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    return one[:same]
