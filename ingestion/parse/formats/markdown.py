"""Markdown, line by line: a document of any size, in the blocks of CommonMark with GitHub's tables."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingestion.document import BlockKind
from ingestion.parse.pieces import MAX_BLOCK, Facts, Piece, code, heading, paragraph
from ingestion.parse.source import Source
from ingestion.parse.tables import pipe_table

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_RULE = re.compile(r" {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$")
_FENCE = re.compile(r"( {0,3})(`{3,}|~{3,})[ \t]*([^\s`]*)[^`]*$")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]+|$)")
_MARGIN_ITEM = re.compile(r" {0,3}(?:[-*+]|\d{1,9}[.)])(?:[ \t]+|$)")
_DELIMITER = re.compile(r" {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_CELLS = re.compile(r"(?<!\\)\|")
_MARKUP = re.compile(
    r" {0,3}</?(?:address|article|aside|blockquote|center|details|dialog|div|dl|figure|footer|form|h[1-6]|header|hr|iframe|main|"
    r"nav|ol|p|pre|script|section|style|summary|table|tbody|td|th|thead|tr|ul)(?:[\s/>]|$)",
    re.IGNORECASE,
)
_TITLE = re.compile(r"title[ \t]*[:=][ \t]*[\"']?(.*?)[\"']?[ \t]*$")
_FRONT = {"---": "yaml", "+++": "toml"}
_FRONT_LINES = 200


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """Streams. The title is that of the front matter, or else the first heading of level 1."""
    for piece in _Reader(source.lines(), facts).pieces():
        if piece.kind is BlockKind.HEADING and piece.level == 1:
            facts.name(piece.text)
        yield piece


class _Reader:
    """One line of look-ahead over the document."""

    def __init__(self, lines: Iterator[str], facts: Facts) -> None:
        self._lines, self._facts = lines, facts
        self._line = next(lines, None)

    def _take(self) -> str:
        line, self._line = self._line, next(self._lines, None)
        return line or ""

    def pieces(self) -> Iterator[Piece]:
        if self._line in _FRONT:
            yield from self._front(self._take())
        while (line := self._line) is not None:
            fence = _FENCE.match(line)
            title = _ATX.match(line)
            if not line.strip() or _RULE.match(line):
                self._take()
            elif fence:
                yield from self._fenced(fence)
            elif title:
                self._take()
                yield heading(title[2] or "", len(title[1]))
            elif line.lstrip().startswith(">"):
                yield from self._quote()
            elif _MARGIN_ITEM.match(line):
                yield from self._list()
            elif line.startswith(("    ", "\t")):
                yield from self._indented()
            elif line.lstrip().startswith("<!--"):
                self._comment()
            elif _MARKUP.match(line):
                yield from self._markup()
            else:
                yield from self._paragraph()

    def _front(self, mark: str) -> Iterator[Piece]:
        held: list[str] = []
        while self._line is not None and self._line.rstrip() != mark and len(held) < _FRONT_LINES:
            held.append(self._take())
        if self._line is None or self._line.rstrip() != mark:
            # No front matter: a rule, then text.
            yield paragraph("\n".join(held))
            return
        self._take()
        titles = (_TITLE.match(line) for line in held)
        self._facts.name(next((found[1] for found in titles if found), None))
        yield code("\n".join(held), _FRONT[mark])

    def _fenced(self, fence: re.Match[str]) -> Iterator[Piece]:
        self._take()
        indent, mark, language = len(fence[1]), fence[2], fence[3]
        end = re.compile(rf" {{0,3}}{re.escape(mark[0])}{{{len(mark)},}}[ \t]*$")
        held: list[str] = []
        length = 0
        while self._line is not None and not end.match(self._line):
            line = self._take()
            if length + len(line) + 1 > MAX_BLOCK and held:
                yield code("\n".join(held), language)
                held, length = [], 0
            held.append(line[min(indent, len(line) - len(line.lstrip(" "))) :])
            length += len(line) + 1
        if self._line is not None:
            self._take()
        yield code("\n".join(held), language)

    def _indented(self) -> Iterator[Piece]:
        held: list[str] = []
        while self._line is not None and (not self._line.strip() or self._line.startswith(("    ", "\t"))):
            held.append(self._take().removeprefix("\t").removeprefix("    "))
            if sum(map(len, held)) > MAX_BLOCK // 2:
                break
        yield code("\n".join(held))

    def _quote(self) -> Iterator[Piece]:
        held: list[str] = []
        length = 0
        while self._line is not None and self._line.strip() and length < MAX_BLOCK // 2:
            held.append(self._take())
            length += len(held[-1]) + 1
        yield Piece(BlockKind.QUOTE, "\n".join(held))

    def _list(self) -> Iterator[Piece]:
        """Items, with what is indented below them; an empty line ends the list unless the list goes on after it."""
        held: list[str] = []
        length = 0
        while self._line is not None:
            line = self._line
            if not line.strip():
                if held and held[-1] == "":
                    self._take()
                    continue
                held.append("")
                self._take()
                continue
            item = _ITEM.match(line)
            after_gap = bool(held) and held[-1] == ""
            if after_gap and not item and not line.startswith(("  ", "\t")):
                break
            if not after_gap and held and (_ATX.match(line) or _FENCE.match(line)) and not line.startswith((" ", "\t")):
                break
            if _RULE.match(line):
                break
            if held and length > MAX_BLOCK // 2 and (item or length + len(line) > MAX_BLOCK):
                yield Piece(BlockKind.LIST, "\n".join(held))
                held, length = [], 0
            if after_gap and item and held:
                held.pop()
            held.append(self._take().rstrip())
            length += len(line) + 1
        yield Piece(BlockKind.LIST, "\n".join(held))

    def _comment(self) -> None:
        while self._line is not None:
            if "-->" in self._take():
                return

    def _markup(self) -> Iterator[Piece]:
        """A block of HTML ends with an empty line."""
        from ingestion.parse.hypertext import parse_html, pieces_of

        held: list[str] = []
        length = 0
        while self._line is not None and self._line.strip() and length < MAX_BLOCK:
            held.append(self._take())
            length += len(held[-1]) + 1
        root = parse_html("\n".join(held))
        if root is not None:
            yield from pieces_of(root)

    def _paragraph(self) -> Iterator[Piece]:
        held = [self._take()]
        length = len(held[0])
        while (line := self._line) is not None and line.strip() and length < MAX_BLOCK // 2:
            underline = _SETEXT.match(line)
            if underline:
                self._take()
                yield heading(" ".join(held), 1 if underline[1][0] == "=" else 2)
                return
            if "|" in held[-1] and _DELIMITER.match(line) and "-" in line:
                yield paragraph("\n".join(held[:-1]))
                yield from pipe_table(self._rows(held[-1]))
                return
            if _ATX.match(line) or _FENCE.match(line) or _RULE.match(line) or line.startswith(">") or _MARGIN_ITEM.match(line):
                break
            held.append(self._take().rstrip())
            length += len(line) + 1
        yield paragraph("\n".join(held))

    def _rows(self, header: str) -> Iterator[list[str]]:
        self._take()
        yield _cells(header)
        while self._line is not None and self._line.strip() and "|" in self._line:
            yield _cells(self._take())


def _cells(line: str) -> list[str]:
    inner = line.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return [cell.strip().replace("\\|", "|") for cell in _CELLS.split(inner)]
