"""Blocks of HTML among the lines of Markdown: where they end, and how a long one is parted."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingestion.parse import marks
from ingestion.parse.hypertext import fragment_of, parse_html
from ingestion.parse.pieces import MAX_BLOCK, Piece

# Characters that are parsed at a time.
_MOST = 16 * MAX_BLOCK
_TAGS = re.compile(r"<(/?)(pre|script|style|textarea|table|t[dhr])(?=[\s/>]|$)(?:[^<>]*(/)>)?", re.IGNORECASE)
_VERBATIM = re.compile(r" {0,3}<(?:pre|script|style|textarea)(?:[\s/>]|$)", re.IGNORECASE)
_UNSEEN = ("script", "style", "textarea")


class MarkupBlock:
    """A block that grows by lines. It ends with an empty line, unless that stands in a table or in what is taken word by word;
    one that begins with the latter ends with it."""

    def __init__(self) -> None:
        self._held: list[str] = []
        self._length = 0
        self._verbatim = ""
        self._alone = False
        self._tables = 0
        self._in_cell = False
        self.ended = False

    @property
    def unseen(self) -> str | None:
        """The element that is open, if nothing in it is shown."""
        return self._verbatim if self._verbatim in _UNSEEN else None

    def holds(self, line: str) -> bool:
        """Whether the line belongs to the block."""
        if not self._held or self._verbatim:
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
        for close, name, void in _TAGS.findall(line):
            self._see(name.lower(), opens=not close and not void, closes=bool(close))
        self.ended = self._alone and not self._verbatim
        between = not self._tables or ("</tr" in line.lower() and not self._in_cell)
        if self._length > (_MOST if between else 2 * _MOST):
            again = self._again()
            yield from self.pieces()
            self._held, self._length = [again] if again else [], len(again)

    def pieces(self) -> Iterator[Piece]:
        """What is held."""
        root = parse_html("\n".join(self._held))
        if root is not None:
            yield from fragment_of(root)

    def _see(self, name: str, *, opens: bool, closes: bool) -> None:
        if self._verbatim:
            if closes and name == self._verbatim:
                self._verbatim = ""
        elif name == "table":
            self._tables = max(0, self._tables + opens - closes)
            self._in_cell = closes
        elif name in ("td", "th", "tr"):
            self._in_cell = opens and name != "tr"
        elif opens:
            self._verbatim = name

    def _again(self) -> str:
        """What the next part has to begin with: the element that is open, and of a table its first row."""
        if self._verbatim:
            return f"<{self._verbatim}>"
        if not self._tables:
            return ""
        text = "\n".join(self._held)
        shown = text.lower()
        begin = max(shown.find("<tr"), 0)
        end = shown.find("</tr", begin) + len("</tr>")
        row = text[begin:end] if len("</tr>") <= end - begin <= MAX_BLOCK else ""
        return f"<table>{row}<tr><td>" if self._in_cell else f"<table>{row}"
