"""Lines of PDF pages to headings, paragraphs, lists, code and tables, by size of type and distance.

A PDF says how glyphs are placed and nothing about what they are; these are the rules of thumb that hold on most pages. Text stays
in the order of the page's content.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingestion.document import BlockKind
from ingestion.parse.pagelines import Line
from ingestion.parse.pieces import Piece, code, heading, paragraph
from ingestion.parse.tables import pipe_table

_BULLET = re.compile(r"(?:[•●○◦▪■□–‣⁃·❑➢✓\uf0b7])\s*")
_NUMBER = re.compile(r"(\(?\d{1,2}[.)]|\(?[a-z][.)])\s+")
_LEADERS = re.compile(r"(?:\s*\.){5,}\s*")
_PAGE_NUMBER = re.compile(r"[-–\s]*(?:\d{1,4}|[ivxl]{1,7})[-–\s]*$")
_DIGITS = re.compile(r"\d+|\b[ivxl]+\b")
_LARGER = 1.12
_MAX_HEADING = 200
_MAX_BOLD_HEADING = 100
_MAX_HEADING_LINES = 4
_LEVELS = 4
_LONG_LIST = 8_000
# Lines at the edge of a page that stand on this share of the sampled pages are furniture; left and right pages may differ.
_REPEATED = 0.2
_SAME_PLACE = 4.0


@dataclass(frozen=True, slots=True)
class Layout:
    """``body`` is the size of most text; ``sizes`` those of headings, the largest first; ``furniture`` repeats on pages."""

    body: float
    sizes: tuple[float, ...]
    furniture: frozenset[str]

    @classmethod
    def learn(cls, pages: Sequence[Sequence[Line]]) -> Layout:
        """From a sample of pages."""
        weights: Counter[float] = Counter()
        for line in (line for page in pages for line in page):
            weights[line.size] += len(line.text)
        body = max(weights, key=lambda size: (weights[size], -size)) if weights else 10.0
        larger = sorted((size for size in weights if size > body * _LARGER), reverse=True)
        repeated = Counter(mark for page in pages for mark in {_furniture(line) for line in _edges(page)})
        enough = max(3, int(len(pages) * _REPEATED))
        return cls(body, tuple(larger), frozenset(mark for mark, count in repeated.items() if count >= enough))

    def level(self, line: Line) -> int | None:
        """The level of a heading in this type, or ``None`` for body text."""
        if line.size > self.body * _LARGER:
            return min(1 + sum(size > line.size * 1.05 for size in self.sizes), _LEVELS)
        if line.bold and not line.mono and line.size >= self.body * 0.98 and len(line.text) <= _MAX_BOLD_HEADING:
            return min(len(self.sizes) + 1, _LEVELS + 1)
        return None


def own_lines(lines: Sequence[Line], layout: Layout) -> list[Line]:
    """The page's lines without its number and what repeats on others."""
    furniture = {line for line in _edges(lines) if _furniture(line) in layout.furniture or _PAGE_NUMBER.match(line.text)}
    return [line for line in lines if line not in furniture]


def pieces_of(lines: Sequence[Line], layout: Layout, page: int) -> Iterator[Piece]:
    """The page's pieces. A paragraph that goes on over the page's end is two."""
    held: Piece | None = None
    # A page of nothing else has it for its content.
    for piece in _pieces(own_lines(lines, layout) or lines, layout, page):
        if held is not None and held.kind is piece.kind is BlockKind.LIST and len(held.text) < _LONG_LIST:
            held = Piece(BlockKind.LIST, f"{held.text}\n{piece.text}", page=page)
            continue
        if held is not None:
            yield held
        held = piece
    if held is not None:
        yield held


def _pieces(read: Sequence[Line], layout: Layout, page: int) -> Iterator[Piece]:
    position = 0
    while position < len(read):
        if _LEADERS.search(read[position].text):
            # A line of a table of contents, without its dots.
            yield Piece(BlockKind.LIST, "- " + _LEADERS.sub(" … ", read[position].text), page=page)
            position += 1
            continue
        table = _table_at(read, position)
        if table:
            yield from pipe_table(table, page)
            position += len(table)
            continue
        end = position + 1
        while end < len(read) and _goes_on(read[end - 1], read[end], read[position], layout) and not _table_at(read, end):
            end += 1
        yield _piece(read[position:end], layout, page)
        position = end


def _piece(lines: Sequence[Line], layout: Layout, page: int) -> Piece:
    first = lines[0]
    if all(line.mono for line in lines) and (len(lines) > 1 or not first.text[-1:].isalnum()):
        return code(_indented(lines), page=page)
    text = _joined(lines)
    level = layout.level(first)
    if level is not None and len(text) <= _MAX_HEADING and len(lines) <= _MAX_HEADING_LINES and any(map(str.isalpha, text)):
        whole = all(layout.level(line) is not None for line in lines)
        ends = text.endswith((".", ",", ";")) and first.size <= layout.body * _LARGER
        if whole and not ends and not _BULLET.match(text):
            return heading(text, level, page)
    bullet, number = _BULLET.match(text), _NUMBER.match(text)
    if bullet and text[bullet.end() :]:
        return Piece(BlockKind.LIST, f"- {text[bullet.end() :]}", page=page)
    if number and first.left < lines[-1].left - 2:
        # Hanging: the text below stands to the right of its number.
        return Piece(BlockKind.LIST, text, page=page)
    return paragraph(text, page)


def _goes_on(above: Line, line: Line, first: Line, layout: Layout) -> bool:
    """Whether the line belongs to the block of the one above it."""
    size = max(above.size, line.size)
    if abs(above.bottom - line.bottom) < 0.3 * size:
        # The same line, drawn in parts.
        return line.left > above.left
    if line.mono != above.mono or abs(line.size - above.size) > 0.15 * size:
        return False
    if _LEADERS.search(line.text):
        return False
    gap = above.bottom - line.top
    if gap > 0.75 * size or gap < -0.8 * size:
        return False
    if (layout.level(above) is None) != (layout.level(line) is None) and first.bold != line.bold:
        return False
    if line.mono:
        return True
    if _BULLET.match(line.text) or (_NUMBER.match(line.text) and line.left <= first.left + 1):
        return False
    indented = line.left - above.left
    short = above.right < line.left + 0.85 * max(line.right - line.left, 1.0) and above.text.endswith((".", ":", "?", "!"))
    # A first line that stands in, after a line that does not reach the margin.
    return not (short or (0.8 * size < indented < 4 * size and above is not first and not _hangs(first, above)))


def _hangs(first: Line, above: Line) -> bool:
    return above.left > first.left + 2


def _joined(lines: Sequence[Line]) -> str:
    parts: list[str] = []
    for index, line in enumerate(lines):
        parts.append(line.text)
        if index + 1 < len(lines) and not line.hyphen:
            parts.append(" ")
    return "".join(parts)


def _indented(lines: Sequence[Line]) -> str:
    """Code, with the indent that its left edge shows in characters of its type."""
    margin = min(line.left for line in lines)
    return "\n".join(" " * min(round((line.left - margin) / (0.6 * max(line.size, 1.0))), 40) + line.text for line in lines)


def _table_at(lines: Sequence[Line], position: int) -> list[list[str]] | None:
    """Rows from here on that have at least two cells each, at the same left edges."""
    first = lines[position]
    if len(first.cells) < 2:
        return None
    end = position + 1
    while (
        end < len(lines) and _aligned(lines[position], lines[end]) and lines[end - 1].bottom - lines[end].top < 2.5 * first.size
    ):
        end += 1
    return [[cell for _, cell in line.cells] for line in lines[position:end]] if end - position >= 2 else None


def _aligned(first: Line, line: Line) -> bool:
    if len(first.cells) != len(line.cells):
        return False
    pairs = zip(first.cells, line.cells, strict=True)
    return sum(abs(one - other) < _SAME_PLACE for (one, _), (other, _) in pairs) >= len(first.cells) - 1


def _edges(lines: Sequence[Line]) -> list[Line]:
    """The two highest and two lowest lines."""
    ordered = sorted(lines, key=lambda line: -line.top)
    return ordered[:2] + ordered[-2:]


def _furniture(line: Line) -> str:
    """What a repeated line has in common with itself on other pages: its words and height, not its numbers."""
    return f"{round(line.bottom / 6)}:{_DIGITS.sub('#', line.text.lower())}"
