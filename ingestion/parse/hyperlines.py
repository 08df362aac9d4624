"""Blocks of HTML among the lines of Markdown: where they end, and how a long one is parted."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass

from ingestion.parse import marks
from ingestion.parse.hypertext import fragment_of, parse_html
from ingestion.parse.pieces import MAX_BLOCK, Piece

# Characters that are parsed at a time, and that are read ahead for the end of what is open.
_MOST = 16 * MAX_BLOCK
_TAGS = re.compile(
    r"<(!--)|(--)>|<(/?)(pre|script|style|textarea|table|t[dhr])(?=[\s/>]|$)(?:[^<>]*(/)>)?",
    re.IGNORECASE,
)
_VERBATIM = re.compile(r" {0,3}<(?:pre|script|style|textarea)(?:[\s/>]|$)", re.IGNORECASE)
_COMMENT = "!--"
_UNSEEN = ("script", "style", "textarea")


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in what is held. ``length``: of the lines before."""

    line: int
    column: int
    length: int


class MarkupBlock:
    """A block that grows by lines. It ends with an empty line, unless that stands in a table or in what is taken word by word;
    one that begins with the latter ends with it.

    ``comments``: whether they end in this document, else they are text. ``endless``: elements whose end was looked for in vain,
    each with whether a block began with it: they reach over no empty line.
    """

    def __init__(self, *, comments: bool, endless: Set[tuple[str, bool]] = frozenset()) -> None:
        self._comments, self._endless = comments, endless
        # By element: the line of those held before which none ends that begins. It was looked for once, however many begin.
        self._endless_until: dict[str, int] = {}
        self._commented = False
        self._held: list[str] = []
        self._length = 0
        self._verbatim = ""
        self._alone = False
        # Where the comment and the element begin that are open; of an element, not if that was parted.
        self._comment_at = self._element_at = _Place(0, 0, 0)
        self._parted = False
        self._over_gap = False
        self._opened_twice = False
        self._goes_on = False
        self._tables = 0
        self._in_cell = False
        self.ended = False

    @property
    def unseen(self) -> str | None:
        """The tag of what is open, if nothing in it is shown."""
        return self._verbatim if self._verbatim in _UNSEEN else None

    def holds(self, line: str) -> bool:
        """Whether the line belongs to the block."""
        if not self._held or self._goes_on:
            return True
        if self._commented or self._verbatim:
            return self._reaches(line)
        if not line.strip():
            return self._tables > 0
        if marks.fence_of(line):
            return False
        # Markdown in a cell is read as such where it has a structure of its own.
        return bool(self._held[-1].strip()) or line.lstrip().startswith("<") or (self._in_cell and not marks.interrupts(line))

    def _reaches(self, line: str) -> bool:
        """Whether the end of what is open is still looked for."""
        if self._commented:
            return self._length - self._comment_at.length <= _MOST
        if not line.strip() and (self._opened_twice or (self._verbatim, self._alone) in self._endless):
            return False
        return self._alone or self._length - self._element_at.length <= _MOST

    def add(self, line: str) -> Iterator[Piece]:
        """The pieces that are ready when the block has this line as well."""
        if not (self._held or self._parted):
            self._alone = _VERBATIM.match(line) is not None
        before = self._held.pop() if self._goes_on else ""
        self._held.append(before + self._seen(line, len(before)))
        self._goes_on = False
        self._over_gap = self._over_gap or not line.strip()
        self._length += len(line) + 1
        self.ended = self._alone and not self._verbatim and not self._commented
        between = not self._tables or ("</tr" in line.lower() and not self._in_cell)
        is_open = self._commented or (self._verbatim and not self._alone)
        if self._length > (_MOST if between else 2 * _MOST) and not is_open:
            again = self._again()
            yield from self.pieces()
            self._held, self._length, self._parted = [again] if again else [], len(again), True
            self._endless_until.clear()

    def after_comment(self) -> list[str]:
        """Takes back the lines from a comment on that did not end."""
        return self._taken_back(self._comment_at) if self._commented else []

    def after_element(self) -> tuple[str, bool, list[str]] | None:
        """Takes back the lines from an element on that did not end, for the block to be given them again as text: the element,
        whether the block begins with it, and the lines. A block that begins with <pre> is all code."""
        if not self._verbatim or (self._alone and (self._parted or not self.unseen)):
            return None
        name, alone = self._verbatim, self._alone
        lines = self._taken_back(self._element_at)
        self._endless_until[name] = self._element_at.line + _before_gap(lines)
        self._verbatim, self._alone, self._commented, self._goes_on = "", False, False, True
        return name, alone, lines

    def _taken_back(self, place: _Place) -> list[str]:
        line = self._held[place.line]
        lines = [line[place.column :], *self._held[place.line + 1 :]]
        self._held[place.line :] = [line[: place.column]]
        self._length = place.length
        return lines

    def pieces(self) -> Iterator[Piece]:
        """What is held."""
        text = "\n".join(self._held)
        root = parse_html(text if self._comments else text.replace("<!--", "&lt;!--"))
        if root is not None:
            yield from fragment_of(root)

    def _seen(self, line: str, column: int) -> str:
        """The line, which goes on at ``column`` of what is held, with those of its tags as text that are only spoken of."""
        parts: list[str] = []
        read = 0
        for found in _TAGS.finditer(line):
            _, ends, close, name, void = found.groups()
            place = _Place(len(self._held), column + found.start(), self._length)
            if not self._see((name or _COMMENT).lower(), place, opens=not (ends or close or void), closes=bool(ends or close)):
                parts += line[read : found.start()], "&lt;"
                read = found.start() + 1
                column += len("&lt;") - 1
        return "".join([*parts, line[read:]])

    def _see(self, name: str, place: _Place, *, opens: bool, closes: bool) -> bool:
        """Whether it is a tag; else it is text."""
        if self._commented:
            self._commented = not (closes and name == _COMMENT)
        elif self._verbatim and name == self._verbatim and not self._opened_twice:
            if closes:
                self._verbatim = ""
            # What begins again further down was no element, but spoken of.
            self._opened_twice = opens and self._over_gap and not self._alone
        elif opens and name == _COMMENT and self._verbatim not in _UNSEEN:
            self._commented, self._comment_at = self._comments, place
        elif self._verbatim or name == _COMMENT:
            pass
        elif name == "table":
            self._tables = max(0, self._tables + opens - closes)
            self._in_cell = closes
        elif name in ("td", "th", "tr"):
            self._in_cell = opens and name != "tr"
        elif opens and place.line < self._endless_until.get(name, 0):
            return False
        elif opens:
            self._verbatim, self._element_at = name, place
            self._over_gap = self._opened_twice = False
        return True

    def _again(self) -> str:
        """What the next part has to begin with: the element that is open, and of a table its first row."""
        if self._verbatim or not self._tables:
            return f"<{self._verbatim}>" if self._verbatim else ""
        text = "\n".join(self._held)
        shown = text.lower()
        begin = max(shown.find("<tr"), 0)
        end = shown.find("</tr", begin) + len("</tr>")
        row = text[begin:end] if len("</tr>") <= end - begin <= MAX_BLOCK else ""
        return f"<table>{row}<tr><td>" if self._in_cell else f"<table>{row}"


def _before_gap(lines: list[str]) -> int:
    """How many lines stand before the first empty one, and in the first half of what is read ahead: of those that begin there,
    the end was looked for as well."""
    length = 0
    for number, line in enumerate(lines):
        if not line.strip() or length > _MOST // 2:
            return number
        length += len(line) + 1
    return len(lines)
