"""A section while it grows: its text, where its tokens begin, and the pieces of blocks that it is made of."""

from array import array
from dataclasses import dataclass, field

from ingestion.chunk.code import Definition
from ingestion.document import BlockKind
from retrieval.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Piece:
    """A block, or a part of one, in a section's text.

    A chunk that begins at or behind ``body`` shows ``header`` before its text (tables). ``joined``: pieces with different
    numbers do not stand in one chunk (code that lost its fence). ``outer``: the definitions around the beginning of code.
    """

    kind: BlockKind
    start: int
    end: int
    page: int | None
    header: str = ""
    body: int = 0
    joined: int = 0
    fence: tuple[int, int] = (0, 0)
    outer: tuple[Definition, ...] = ()


@dataclass(slots=True)
class Draft:
    """A section while it grows. Positions are characters of ``text``, which begins at ``start`` of the document's text.

    ``parts_word``: a block was cut elsewhere than at white space, so that a word at an end of the text may be a part of one.
    """

    path: tuple[str, ...]
    start: int
    header: str = ""
    tokens: int = 0
    pieces: list[Piece] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    ids: "array[int]" = field(default_factory=lambda: array("I"))
    length: int = 0
    parts_word: bool = False
    _parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All that was added."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    @property
    def end(self) -> int:
        """Where it ends in the document's text."""
        return self.start + self.length

    @property
    def has_body(self) -> bool:
        """False while there are only headings."""
        return any(piece.kind is not BlockKind.HEADING for piece in self.pieces)

    def add(self, text: str, start: int, tokens: Tokens) -> int:
        """Put ``text`` of ``start`` in the document at the end; empty lines fill what is between. Gives where it begins."""
        gap = start - self.end
        at = self.length + gap
        self._parts += ["\n" * gap, text] if gap else [text]
        self.length = at + len(text)
        self.begins += [begin + at for begin in tokens.begins]
        self.ids.extend(tokens.ids)
        self.tokens += len(tokens.ids)
        return at


def runs(pieces: list[Piece]) -> list[list[Piece]]:
    """Pieces that may stand in one chunk, together."""
    found: list[list[Piece]] = []
    for piece, before in zip(pieces, [None, *pieces], strict=False):
        if before is None or piece.joined != before.joined:
            found.append([])
        found[-1].append(piece)
    return found
