"""The chunks of one section: as much as fits, cut where the strategy prefers."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ingestion.chunk.boundaries import first_restart, last_boundary
from ingestion.chunk.code import Definition, after, enclosing, units
from ingestion.chunk.draft import Draft, Piece, runs
from ingestion.chunk.model import Kind
from ingestion.chunk.prefix import Prefix, Situate
from ingestion.chunk.tokens import CHARS_PER_TOKEN, WORD_SPACE, ChunkTokenizer, furthest
from ingestion.document import BlockKind

_KINDS = {
    BlockKind.PARAGRAPH: Kind.PROSE,
    BlockKind.QUOTE: Kind.PROSE,
    BlockKind.HEADING: Kind.PROSE,
    BlockKind.LIST: Kind.LIST,
    BlockKind.TABLE: Kind.TABLE,
    BlockKind.CODE: Kind.CODE,
}
_PROSE = (BlockKind.PARAGRAPH, BlockKind.QUOTE)


@dataclass(frozen=True, slots=True)
class Rules:
    """``limit`` tokens a chunk with its prefix. A chunk has ``least`` tokens where its section does.

    ``whole``: what fits into a chunk by itself is not parted, also when that leaves the chunk before it short.
    """

    limit: int
    overlap: int
    least: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Cut:
    """A chunk in a section's text, ``[start, end)``; ``text`` is that with the header before it, if any. ``ids`` are the tokens
    of prefix and text, where they are those of the parts."""

    start: int
    end: int
    text: str
    prefix: str
    kind: Kind
    pages: tuple[int, int] | None
    tokens: int
    ids: Sequence[int] | None


class Cutter:
    """Cuts sections. Pure, but for the tokenizer's caches."""

    def __init__(self, tokenizer: ChunkTokenizer, situate: Situate, rules: Rules) -> None:
        self._tokenizer = tokenizer
        self._situate = situate
        self._rules = rules

    def cut(self, draft: Draft) -> list[Cut]:
        """The section's chunks in order, each counted as it stands and none above the limit.

        Room is measured by the tokens of the blocks. Where a tokenizer sees a chunk otherwise than its parts, and one comes
        out too long, the section is cut again with less room.
        """
        room = self._rules.limit
        while True:
            cuts = self._counted(_Section(draft, self._situate, self._rules, self._tokenizer, room).cuts())
            excess = max((cut.tokens for cut in cuts), default=0) - self._rules.limit
            if excess <= 0 or room <= 1:
                return cuts
            room = max(1, room - excess)

    def _counted(self, cuts: list[Cut]) -> list[Cut]:
        unsure = [at for at, cut in enumerate(cuts) if cut.tokens < 0]
        counts = self._tokenizer.counts([cuts[at].prefix + cuts[at].text for at in unsure])
        for at, tokens in zip(unsure, counts, strict=True):
            cuts[at] = replace(cuts[at], tokens=tokens)
        return cuts


class _Section:
    """One section being cut with ``limit`` tokens a chunk."""

    def __init__(self, draft: Draft, situate: Situate, rules: Rules, tokenizer: ChunkTokenizer, limit: int) -> None:
        self._draft = draft
        self._text = draft.text
        self._begins = draft.begins
        self._ids = draft.ids
        self._situate = situate
        self._rules = rules
        self._tokenizer = tokenizer
        self._limit = limit
        self._outlined: tuple[int, tuple[Definition, ...]] = (-1, ())
        self._pieces = list(self._parted(draft.pieces))
        self._starts = [piece.start for piece in self._pieces]

    def cuts(self) -> list[Cut]:
        """The chunks; ``tokens`` is negative where only a count of the whole can tell."""
        return [cut for run in runs(self._pieces) for cut in self._cut_run(run)]

    def _parted(self, pieces: list[Piece]) -> Iterator[Piece]:
        """Code that does not fit into a chunk goes without its fence, in pieces that begin at the margin."""
        room = self._limit - self._situate.prefix(self._draft.path).tokens
        for number, piece in enumerate(pieces, 1):
            if piece.kind is not BlockKind.CODE or self._count(piece.start, piece.end) <= room:
                yield piece
                continue
            start, end = piece.start + piece.fence[0], piece.end - piece.fence[1]
            begins = units(self._text, start, end)
            outer = piece.outer
            for begin, stop in zip(begins, [*begins[1:], end], strict=True):
                code = self._text[begin:stop].rstrip()
                if code:
                    yield replace(piece, start=begin, end=begin + len(code), joined=number, fence=(0, 0), outer=outer)
                outer = after(outer, code)

    def _cut_run(self, run: list[Piece]) -> Iterator[Cut]:
        start, reached = run[0].start, run[0].start
        while True:
            end = self._end(run, start, reached)
            if end <= reached:  # the overlap leaves no room: go without
                start = reached
                continue
            cut = self._made(start, end)
            if cut.end > cut.start:
                yield cut
            reached = self._begin_behind(end)
            if reached >= run[-1].end:
                return
            start = self._restart(start, end, reached)

    def _room(self, start: int) -> int:
        """Tokens of text for a chunk from ``start``."""
        prefix, header = self._prefix(start).tokens, self._header(start)
        return max(1, self._limit - prefix - (self._tokenizer.counts([header])[0] if header else 0))

    def _end(self, run: list[Piece], start: int, reached: int) -> int:
        """The end of the chunk from ``start``; not behind ``reached`` when what must stay whole does not fit."""
        room = self._room(start)
        most = furthest(self._begins, run[-1].end, start, room, self._limit * CHARS_PER_TOKEN)
        if most >= run[-1].end:
            return run[-1].end
        piece = self._pieces[max(0, bisect_right(self._starts, most - 1) - 1)]
        if piece.end <= most:  # between pieces
            piece = self._pieces[bisect_right(self._starts, most - 1)]
        low = self._position(start, max(room // 2, min(self._rules.least, 3 * room // 4)))
        before = self._drawn_back(piece, start)
        if piece.start >= most and before == piece.start:
            return piece.start
        if before > start and (before >= low or (self._rules.whole and self._stays_whole(piece))):
            return before
        inside = max(low, piece.start, reached)
        return last_boundary(piece.kind, self._text, inside, most) if inside < most else most

    def _stays_whole(self, piece: Piece) -> bool:
        return piece.kind not in _PROSE and self._count(piece.start, piece.end) <= self._room(piece.start)

    def _drawn_back(self, piece: Piece, start: int) -> int:
        """Where to cut before ``piece``: its headings, and the line that announces it, go with it."""
        number = bisect_left(self._starts, piece.start)
        while number and self._pieces[number - 1].start > start and self._leads(self._pieces[number - 1], piece.kind):
            number -= 1
        return self._pieces[number].start

    def _leads(self, piece: Piece, following: BlockKind) -> bool:
        if piece.kind is BlockKind.HEADING:
            return True
        announced = following not in _PROSE and piece.kind is BlockKind.PARAGRAPH and self._text[piece.end - 1] in ":："
        return announced and self._count(piece.start, piece.end) <= self._limit // 4

    def _restart(self, start: int, end: int, reached: int) -> int:
        """Where the next chunk begins: within the overlap before ``end`` when prose stands on both sides."""
        number = bisect_right(self._starts, end - 1) - 1
        following = self._pieces[bisect_right(self._starts, reached) - 1]
        if not self._rules.overlap or following.kind not in _PROSE:
            return reached
        token = bisect_left(self._begins, end) - min(self._rules.overlap, self._limit // 4)
        low = max(self._begins[token] if token >= 0 else 0, start + 1, end - self._rules.overlap * CHARS_PER_TOKEN)
        if self._pieces[number].kind not in _PROSE:
            return reached
        while number and self._pieces[number].start > low and self._pieces[number - 1].kind in _PROSE:
            number -= 1
        low = max(low, self._pieces[number].start)
        if low == self._pieces[number].start:
            return low
        found = first_restart(self._text, low, end)
        return found if found < end else reached

    def _made(self, start: int, end: int) -> Cut:
        text = self._text[start:end].rstrip()
        end = start + len(text)
        prefix = self._prefix(start)
        header = self._header(start)
        pieces = self._pieces[bisect_right(self._starts, start) - 1 : bisect_left(self._starts, end)]
        sizes = dict.fromkeys(Kind, 0)
        for piece in pieces:
            if piece.kind is not BlockKind.HEADING:
                sizes[_KINDS[piece.kind]] += min(end, piece.end) - max(start, piece.start)
        numbers = [piece.page for piece in pieces if piece.page is not None]
        tokens, ids = -1, None
        if self._tokenizer.parts_at_space and self._at_space(start) and self._at_space(end):
            tokens = prefix.tokens + self._count(start, end)
            if header:
                tokens += self._tokenizer.counts([header])[0]
            elif prefix.ids is not None:
                ids = array("I", prefix.ids) + self._ids[bisect_left(self._begins, start) : bisect_left(self._begins, end)]
        return Cut(
            start,
            end,
            header + text,
            prefix.text,
            max(sizes, key=lambda kind: sizes[kind]),
            (min(numbers), max(numbers)) if numbers else None,
            tokens,
            ids,
        )

    def _prefix(self, start: int) -> Prefix:
        piece = self._pieces[bisect_right(self._starts, start) - 1]
        if piece.kind is not BlockKind.CODE or piece.fence[0]:
            return self._situate.prefix(self._draft.path)
        begin, stack = self._outlined if self._outlined[0] in range(piece.start, start + 1) else (piece.start, piece.outer)
        stack = after(stack, self._text[begin:start])
        self._outlined = (start, stack)
        return self._situate.prefix((*self._draft.path, *enclosing(stack, self._text, start)))

    def _header(self, start: int) -> str:
        """The rows to show before a chunk that begins inside a table, unless they would take a third of it."""
        piece = self._pieces[bisect_right(self._starts, start) - 1]
        if not piece.header or start < piece.body:
            return ""
        header = piece.header + "\n"
        few = len(header) <= self._limit * CHARS_PER_TOKEN // 4
        return header if few and self._tokenizer.counts([header])[0] <= self._limit // 3 else ""

    def _begin_behind(self, end: int) -> int:
        """Where the text behind ``end`` begins, with its line's indentation; never between pieces."""
        at = end
        while at < len(self._text) and self._text[at].isspace():
            at += 1
        if at < len(self._text):
            at = max(end, self._text.rfind("\n", end - 1, at) + 1 or at)
        number = bisect_right(self._starts, at) - 1
        if at >= self._pieces[number].end:
            return self._pieces[number + 1].start if number + 1 < len(self._pieces) else len(self._text)
        return at

    def _count(self, start: int, end: int) -> int:
        return bisect_left(self._begins, end) - bisect_left(self._begins, start)

    def _position(self, start: int, tokens: int) -> int:
        return furthest(self._begins, len(self._text), start, tokens, self._limit * CHARS_PER_TOKEN)

    def _at_space(self, at: int) -> bool:
        if at in (0, len(self._text)):
            return not self._draft.parts_word
        return self._text[at - 1] in WORD_SPACE or self._text[at] in WORD_SPACE
