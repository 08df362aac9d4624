"""What the lines of Markdown look like. Each pattern takes time in proportion to the line, whatever stands in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

RULE = re.compile(r" {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}$")
SETEXT = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
QUOTE = re.compile(r" {0,3}>")
COMMENT = re.compile(r" {0,3}<!--")
ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]+|$)")
MARGIN_ITEM = re.compile(r" {0,3}(?:[-*+]|\d{1,9}[.)])(?:[ \t]+|$)")
DELIMITER = re.compile(r" {0,3}\|?[ \t]*+:?-++:?[ \t]*+(?:\|[ \t]*+:?-++:?[ \t]*+)*+\|?[ \t]*+$")
# Elements that begin a block of HTML at the margin.
MARKUP = re.compile(
    r" {0,3}</?(?:address|article|aside|blockquote|caption|center|col|colgroup|dd|details|dialog|div|dl|dt|fieldset|figcaption|"
    r"figure|footer|form|h[1-6]|header|hr|iframe|legend|li|main|nav|ol|p|pre|script|section|style|summary|table|tbody|td|textarea|"
    r"tfoot|th|thead|tr|ul)(?:[\s/>]|$)",
    re.IGNORECASE,
)
# Of MkDocs: an admonition or a tab, to which what is indented below belongs.
ADMONITION = re.compile(r"(?:!!!|\?\?\?\+?|===[!+]?)[ \t]+[\"\w]")
# The definition of an image whose content stood in the text.
EMBEDDED = re.compile(r" {0,3}\[[^\]]+\]:[ \t]*+<?data:[\w.+/-]++>?[ \t]*+$")
FOOTNOTE = re.compile(r"\[\^[^\]]+\]:")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+|$)")
_FENCE = re.compile(r"( *)(`{3,}+(?=[^`]*+$)|~{3,}+)[ \t]*+([^\s`]*+)")
_MARKER = re.compile(r" *(?:[-*+]|\d{1,9}[.)])( +|$)")
# What ends a paragraph without an empty line before it: of numbered lists only those that begin with 1.
_INTERRUPTS = re.compile(
    r" {0,3}(?:#{1,6}(?:[ \t]|$)|`{3,}+[^`]*+$|~{3}|>|<!--|(?:[-*+]|0{0,8}1[.)])[ \t]+\S)|" + MARKUP.pattern + "|" + RULE.pattern,
    re.IGNORECASE,
)
_CELLS = re.compile(r"(?<!\\)\|")
_TAB = 4


@dataclass(frozen=True, slots=True)
class Fence:
    """The line that opens a block of code. ``indent``: its column."""

    indent: int
    mark: str
    language: str

    def ends(self, line: str) -> bool:
        """Whether the line closes the block."""
        shown = line.strip(" \t")
        return len(shown) >= len(self.mark) and not shown.strip(self.mark[0]) and column(line) < self.indent + _TAB


class Nest:
    """Where the items of a list stand whose text a line may go on, and the code that is open in one of them."""

    def __init__(self) -> None:
        self._columns: list[int] = []
        self._fence: Fence | None = None
        self._least = 0

    @property
    def first(self) -> int:
        """The column in which the text of the outermost item stands."""
        return self._columns[0] if self._columns else 0

    def in_code(self, line: str) -> bool:
        """Whether the line stands in fenced code, which ends with its mark, or else with its item."""
        if self._fence is None:
            return False
        if line.strip() and column(line) < self._least:
            self._fence = None
            return False
        if self._fence.ends(line):
            self._fence = None
        return True

    def add(self, line: str) -> None:
        """A line of the list that is no code."""
        shown = line.expandtabs(_TAB)
        at = 0
        while found := _MARKER.match(shown, at):
            marker = found.start(1)
            begin = marker - len(found[0].strip())
            # A longer gap is the indentation of code.
            at = found.end() if 0 < found.end() - marker <= _TAB else marker + 1
            while self._columns and self._columns[-1] > begin:
                self._columns.pop()
            self._columns.append(at)
        fence = fence_of(shown[at:])
        if fence is not None:
            indent = at + fence.indent
            self._fence = Fence(indent, fence.mark, fence.language)
            self._least = max((one for one in self._columns if one <= indent), default=0)


def column(line: str) -> int:
    """How far the line is indented."""
    shown = line.expandtabs(_TAB)
    return len(shown) - len(shown.lstrip(" "))


def interrupts(line: str) -> bool:
    """Whether the line begins a block of its own where a paragraph, a quote or a table could go on."""
    return _INTERRUPTS.match(line) is not None


def heading_of(line: str) -> tuple[int, str] | None:
    """Level and text of a heading, without the marks around it."""
    found = _ATX.match(line)
    if not found:
        return None
    text = line[found.end() :].rstrip(" \t")
    bare = text.rstrip("#")
    return len(found[1]), bare.rstrip(" \t") if not bare or bare[-1] in " \t" else text


def fence_of(line: str) -> Fence | None:
    """The fence that the line is, however far it is indented."""
    found = _FENCE.match(line)
    return Fence(len(found[1]), found[2], found[3]) if found else None


def cells_of(line: str) -> list[str]:
    """The cells of a row of a pipe table."""
    inner = line.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return [cell.strip().replace("\\|", "|") for cell in _CELLS.split(inner)]
