"""Blocks of HTML among the lines of Markdown: where they end, and how a long one is parted."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from ingestion.parse import marks
from ingestion.parse.hypertext import fragment_of, parse_html
from ingestion.parse.markup import Element
from ingestion.parse.pieces import MAX_BLOCK, Piece

# Characters that are parsed at a time.
_MOST = 16 * MAX_BLOCK
_TAGS = re.compile(
    r"<(!--)|(--)>|<(/?)(pre|script|style|textarea|table|t[dhr])(?=[\s/>]|$)(?:[^<>]*(/)>)?",
    re.IGNORECASE,
)
_VERBATIM = re.compile(r" {0,3}<(?:pre|script|style|textarea)(?:[\s/>]|$)", re.IGNORECASE)
_BETWEEN_CELLS = (
    "//table//text()[normalize-space()][ancestor::*[self::td or self::th or self::caption or self::table or self::script or "
    "self::style][1][self::table]]"
)
_COMMENT = "!--"
_UNSEEN = ("script", "style", "textarea")


class MarkupBlock:
    """A block that grows by lines. It ends with an empty line, unless that stands in a table or in what is taken word by word;
    one that begins with the latter ends with it. ``comments``: whether they end in this document, else they are text."""

    def __init__(self, *, comments: bool) -> None:
        self._comments = comments
        self._commented = False
        self._comment_at = 0
        self._held: list[str] = []
        self._length = 0
        self._verbatim = ""
        self._alone = False
        self._tables = 0
        self._in_cell = False
        self.ended = False

    @property
    def unseen(self) -> str | None:
        """The tag of what is open, if nothing in it is shown."""
        return self._verbatim if self._verbatim in _UNSEEN else None

    def holds(self, line: str) -> bool:
        """Whether the line belongs to the block."""
        if not self._held or self._verbatim or self._commented:
            return True
        if not line.strip():
            return self._tables > 0
        if marks.fence_of(line):
            return False
        # Markdown in a cell is read as such where it has a structure of its own.
        return bool(self._held[-1].strip()) or line.lstrip().startswith("<") or (self._in_cell and not marks.interrupts(line))

    def add(self, line: str) -> Iterator[Piece]:
        """The pieces that are ready when the block has this line as well."""
        if not self._held:
            self._alone = _VERBATIM.match(line) is not None
        self._held.append(line)
        self._length += len(line) + 1
        for _, ends, close, name, void in _TAGS.findall(line):
            self._see(name.lower() or _COMMENT, opens=not (ends or close or void), closes=bool(ends or close))
        self.ended = self._alone and not self._verbatim and not self._commented
        between = not self._tables or ("</tr" in line.lower() and not self._in_cell)
        if self._length > (_MOST if between else 2 * _MOST):
            again = self._again()
            yield from self.pieces()
            self._held, self._length, self._comment_at = [again] if again else [], len(again), 0

    def after_comment(self) -> list[str]:
        """Takes back the lines from a comment on that did not end."""
        if not self._commented:
            return []
        line = self._held[self._comment_at]
        at = line.rindex("<!--")
        lines = [line[at:], *self._held[self._comment_at + 1 :]]
        self._held[self._comment_at :] = [line[:at]]
        return lines

    def pieces(self) -> Iterator[Piece]:
        """What is held."""
        text = "\n".join(self._held)
        root = parse_html(text if self._comments else text.replace("<!--", "&lt;!--"))
        if root is not None:
            _set_apart(root)
            yield from fragment_of(root)

    def _see(self, name: str, *, opens: bool, closes: bool) -> None:
        if self._commented:
            self._commented = not (closes and name == _COMMENT)
        elif self._verbatim and closes and name == self._verbatim:
            self._verbatim = ""
        elif opens and name == _COMMENT and self._verbatim not in _UNSEEN:
            self._commented, self._comment_at = self._comments, len(self._held) - 1
        elif self._verbatim or name == _COMMENT:
            pass
        elif name == "table":
            self._tables = max(0, self._tables + opens - closes)
            self._in_cell = closes
        elif name in ("td", "th", "tr"):
            self._in_cell = opens and name != "tr"
        elif opens:
            self._verbatim = name

    def _again(self) -> str:
        """What the next part has to begin with: the element that is open, and of a table its first row."""
        comment = "<!--" if self._commented else ""
        if self._verbatim or not self._tables:
            return f"<{self._verbatim}>{comment}" if self._verbatim else comment
        text = "\n".join(self._held)
        shown = text.lower()
        begin = max(shown.find("<tr"), 0)
        end = shown.find("</tr", begin) + len("</tr>")
        row = text[begin:end] if len("</tr>") <= end - begin <= MAX_BLOCK else ""
        return f"<table>{row}<tr><td>{comment}" if self._in_cell else f"<table>{row}{comment}"


def _set_apart(root: Element) -> None:
    """Puts words that stand between the cells of a table before it, and cells without a row into one, as browsers do."""
    for cell in root.xpath("//table//*[self::td or self::th][not(parent::tr)]"):
        row = etree.Element("tr")
        cell.addprevious(row)
        row.append(cell)
    strays: dict[Element, list[str]] = {}
    for text in root.xpath(_BETWEEN_CELLS):
        near = text.getparent()
        table = next(near.iterancestors("table")) if text.is_tail or near.tag != "table" else near
        strays.setdefault(table, []).append(text)
        if text.is_tail:
            near.tail = None
        else:
            near.text = None
    for table, texts in strays.items():
        words = etree.Element("p")
        words.text = "\n".join(texts)
        table.addprevious(words)
