"""Markdown, line by line: a document of any size, in the blocks of CommonMark with GitHub's tables."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from ingestion.document import BlockKind
from ingestion.parse import marks
from ingestion.parse.embedded import unembedded
from ingestion.parse.pieces import MAX_BLOCK, Facts, Piece, code, heading, paragraph
from ingestion.parse.source import Source
from ingestion.parse.tables import pipe_table

_FRONT = {"---": ("yaml", ("---", "...")), "+++": ("toml", ("+++",))}
_FRONT_LINES = 1_000
# The beginning of YAML, and any line of it: a key, a comment, an item, a bracket, or what goes on with the line before.
_KEY = re.compile(r"\{|[\w\"'$@][\w .\-/\"'@$]{0,60}:(?:[ \t]|$)")
_YAML = re.compile(r"\s|#|-(?:\s|$)|[\[\]}]|$|" + _KEY.pattern)
_TITLE = re.compile(r"title[ \t]*[:=](.*)", re.IGNORECASE)
_FOLDED = re.compile(r"[|>][+-]?$")
_QUOTED = re.compile(r"([\"'])(.*)\1$")
# Of what is indented below admonitions and footnotes.
_DEPTH = 8
# Characters that are read ahead for the end of a comment.
_AHEAD = 16 * MAX_BLOCK


def read(source: Source, facts: Facts) -> Iterator[Piece]:
    """Streams. The title is that of the front matter, or else the first heading of level 1."""
    text = replace(source, stream=unembedded(source.stream))
    for piece in _Reader(text.lines(), facts).document():
        if piece.kind is BlockKind.HEADING and piece.level == 1:
            facts.name(piece.text)
        yield piece


class _Reader:
    """One line of look-ahead over the document, and more where it must be known how something ends."""

    def __init__(self, lines: Iterator[str], facts: Facts, depth: int = 0) -> None:
        self._lines, self._facts, self._depth = lines, facts, depth
        self._ahead: deque[str] = deque()
        self._comments = True
        self._endless: set[tuple[str, bool]] = set()
        self._line = next(lines, None)

    def _take(self) -> str:
        line, self._line = self._line, self._ahead.popleft() if self._ahead else next(self._lines, None)
        return line or ""

    def _put_back(self, lines: list[str]) -> None:
        """To be read again."""
        if self._line is not None:
            lines = [*lines, self._line]
        self._ahead.extendleft(reversed(lines))
        self._line = self._ahead.popleft() if self._ahead else None

    def document(self) -> Iterator[Piece]:
        if self._line is not None and self._line.rstrip() in _FRONT:
            yield from self._front(self._take())
        yield from self.pieces()

    def pieces(self) -> Iterator[Piece]:
        while (line := self._line) is not None:
            title = marks.heading_of(line)
            if not line.strip() or marks.RULE.match(line) or marks.EMBEDDED.match(line):
                self._take()
            elif title:
                self._take()
                yield heading(title[1], title[0])
            elif line.startswith(("    ", "\t")):
                yield from self._indented()
            elif fence := marks.fence_of(line):
                yield from self._fenced(fence)
            elif marks.QUOTE.match(line):
                yield from self._quote()
            elif marks.MARGIN_ITEM.match(line):
                yield from self._list()
            elif self._comments and marks.COMMENT.match(line):
                self._comment()
            elif marks.MARKUP.match(line):
                yield from self._markup()
            elif marks.ADMONITION.match(line):
                yield paragraph(self._take())
                yield from self._below()
            elif marks.FOOTNOTE.match(line):
                yield from self._paragraph()
                yield from self._below()
            else:
                yield from self._paragraph()

    def _below(self) -> Iterator[Piece]:
        """What is indented below a line that announces it."""
        if self._depth < _DEPTH:
            yield from _Reader(self._dedented(), self._facts, self._depth + 1).pieces()

    def _dedented(self) -> Iterator[str]:
        while (line := self._line) is not None and (not line.strip() or line.startswith(("    ", "\t"))):
            yield _dedent(self._take())

    def _front(self, mark: str) -> Iterator[Piece]:
        language, ends = _FRONT[mark.rstrip()]
        yaml = language == "yaml"
        held: list[str] = []
        while self._line is not None and self._line.rstrip() not in ends and len(held) < _FRONT_LINES:
            if yaml and not _YAML.match(self._line):
                break
            held.append(self._take())
        said = next((line for line in held if line.strip() and not line.startswith("#")), "")
        if self._line is None or self._line.rstrip() not in ends or (yaml and not _KEY.match(said)):
            # A rule, then text.
            self._put_back([mark, *held])
            return
        self._take()
        self._facts.name(_title(held))
        yield code("\n".join(held), language)

    def _fenced(self, fence: marks.Fence) -> Iterator[Piece]:
        self._take()
        held: list[str] = []
        length = 0
        while self._line is not None and not fence.ends(self._line):
            line = self._take()
            if length + len(line) + 1 > MAX_BLOCK and held:
                yield code("\n".join(held), fence.language)
                held, length = [], 0
            held.append(line[min(fence.indent, len(line) - len(line.lstrip(" "))) :])
            length += len(line) + 1
        self._take()
        yield code("\n".join(held), fence.language)

    def _indented(self) -> Iterator[Piece]:
        held: list[str] = []
        length = 0
        while self._line is not None and (not self._line.strip() or self._line.startswith(("    ", "\t"))):
            held.append(_dedent(self._take()))
            length += len(held[-1]) + 1
            if length > MAX_BLOCK // 2:
                break
        yield code("\n".join(held))

    def _quote(self) -> Iterator[Piece]:
        held: list[str] = []
        length = 0
        while (line := self._line) is not None and line.strip() and length < MAX_BLOCK // 2:
            if marks.interrupts(line) and not marks.QUOTE.match(line):
                break
            held.append(self._take())
            length += len(line) + 1
        yield Piece(BlockKind.QUOTE, "\n".join(held))

    def _list(self) -> Iterator[Piece]:
        """Items, with what is indented below them; an empty line ends the list unless the list goes on after it."""
        held: list[str] = []
        length = 0
        nest = marks.Nest()
        while (line := self._line) is not None:
            coded = nest.in_code(line)
            after_gap = bool(held) and held[-1] == ""
            if not coded and not line.strip():
                self._take()
                if not after_gap:
                    held.append("")
                continue
            item = not coded and marks.ITEM.match(line) is not None
            if held and not coded and _ends_list(line, nest, after_gap=after_gap, item=item):
                break
            if held and length > MAX_BLOCK // 2 and (item or length + len(line) > MAX_BLOCK):
                yield Piece(BlockKind.LIST, "\n".join(held))
                held, length = [], 0
            if after_gap and item and held:
                held.pop()
            held.append(self._take().rstrip())
            length += len(line) + 1
            if not coded:
                nest.add(line)
        yield Piece(BlockKind.LIST, "\n".join(held))

    def _comment(self) -> None:
        """Left out, but not what follows it on its line."""
        held: list[str] = []
        length = 0
        while self._line is not None and length < _AHEAD:
            line = self._take()
            end = line.find("-->", 0 if held else line.index("<!--") + 2)
            if end >= 0:
                rest = line[end + 3 :].lstrip()
                if rest:
                    self._put_back([rest])
                return
            held.append(line)
            length += len(line) + 1
        self._unended(held)

    def _unended(self, comment: list[str]) -> None:
        # Ends are looked for until one is missing: a document could open a comment in every line.
        self._comments = False
        self._facts.warn("a comment is too long or does not end: from there on, comments are read as text")
        self._put_back(comment)

    def _markup(self) -> Iterator[Piece]:
        from ingestion.parse.hyperlines import MarkupBlock

        block = MarkupBlock(comments=self._comments, endless=self._endless)
        while True:
            while self._line is not None and not block.ended and block.holds(self._line):
                yield from block.add(self._take())
            if (endless := block.after_element()) is None:
                break
            name, alone, rest = endless
            # As with comments.
            self._endless.add((name, alone))
            self._facts.warn(f"<{name}> does not end: it is read as text")
            self._put_back(rest)
        if rest := block.after_comment():
            self._unended(rest)
        yield from block.pieces()
        if block.unseen:
            self._facts.warn(f"<{block.unseen}> does not end: what follows it is left out")

    def _paragraph(self) -> Iterator[Piece]:
        held = [self._take()]
        length = len(held[0])
        formula = held[0].lstrip().startswith("$$") and held[0].count("$$") == 1
        while (line := self._line) is not None and line.strip() and length < MAX_BLOCK // 2:
            underline = None if formula else marks.SETEXT.match(line)
            if underline:
                self._take()
                yield heading(" ".join(held), 1 if underline[1][0] == "=" else 2)
                return
            if "|" in held[-1] and not formula and marks.DELIMITER.match(line):
                yield paragraph("\n".join(held[:-1]))
                yield from pipe_table(self._rows(held[-1]))
                return
            if not formula and marks.interrupts(line):
                break
            formula = formula and "$$" not in line
            held.append(self._take().rstrip())
            length += len(line) + 1
        yield paragraph("\n".join(held))

    def _rows(self, header: str) -> Iterator[list[str]]:
        self._take()
        yield marks.cells_of(header)
        while (line := self._line) is not None and "|" in line and not marks.interrupts(line):
            yield marks.cells_of(self._take())


def _dedent(line: str) -> str:
    return line[1:] if line.startswith("\t") else line.removeprefix("    ")


def _title(front: list[str]) -> str | None:
    """The value of the field, which YAML may have on the line below."""
    for line, below in zip(front, [*front[1:], ""], strict=False):
        found = _TITLE.match(line)
        if found:
            value = below.strip() if _FOLDED.match(found[1].strip()) else found[1].strip()
            quoted = _QUOTED.match(value)
            return quoted[2] if quoted else value
    return None


def _ends_list(line: str, nest: marks.Nest, *, after_gap: bool, item: bool) -> bool:
    """Whether the line, no code of the list, stands behind it."""
    if marks.RULE.match(line) or marks.heading_of(line):
        return marks.column(line) < nest.first
    if item:
        return False
    return not line.startswith(("  ", "\t")) if after_gap else line[0] not in " \t" and marks.interrupts(line)
