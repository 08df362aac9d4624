"""Where a block may be cut, by its kind: best places first, then worse ones."""

import re
import unicodedata

from ingestion.document import BlockKind

_BLANK = r"\n[ \t\r]*\n\s*"
# Not after an initial or an abbreviation of one letter ("e.g. ", "J. Smith").
_SENTENCE = r"(?<![\s.(][A-Za-z])[.!?…]+[\"')\]”’]*\s+|[。！？｡]+[」』”’）\]]*\s*"
_LINE = r"\n\s*"
_WORD = r"\s+"

_BOUNDARIES = {
    kind: tuple(re.compile(pattern) for pattern in patterns)
    for kind, patterns in {
        BlockKind.PARAGRAPH: (_BLANK, _SENTENCE, _LINE, _WORD),
        BlockKind.QUOTE: (r"\n>[ \t]*\n", _SENTENCE, _LINE, _WORD),
        BlockKind.HEADING: (_LINE, _WORD),
        # An outermost item, any item, a line.
        BlockKind.LIST: (r"\n(?=(?:[-*+]|\d+[.)])\s)", r"\n(?=\s*(?:[-*+]|\d+[.)])\s)", _LINE, _SENTENCE, _WORD),
        # A row, a cell.
        BlockKind.TABLE: (r"\n", r"\|\s", _WORD),
        # Before what stands at the margin after an empty line, an empty line, a line.
        BlockKind.CODE: (r"\n[ \t\r]*\n(?=[^\s})\]])", r"\n(?:[ \t\r]*\n)+", r"\n", _WORD),
    }.items()
}
_JOINERS = "\u200d\ufe0f"
_RULE = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")


def last_boundary(kind: BlockKind, text: str, low: int, high: int) -> int:
    """The end of the last boundary of the best kind that ends in ``(low, high]``, else ``high``; between characters."""
    for boundary in _BOUNDARIES[kind]:
        last = 0
        for found in boundary.finditer(text, low, high):
            last = found.end()
        if last > low:
            return last
    cut = high
    while cut > low + 1 and cut < len(text) and (unicodedata.combining(text[cut]) or text[cut] in _JOINERS):
        cut -= 1
    return cut if cut > low + 1 else high


def first_restart(text: str, low: int, high: int) -> int:
    """The beginning of the first sentence, else line, else word, in ``[low, high)``; ``high`` where there is none."""
    for boundary in _BOUNDARIES[BlockKind.PARAGRAPH]:
        for found in boundary.finditer(text, low, high):
            if found.end() < high:
                return found.end()
    return high


def header_end(table: str) -> int:
    """The end of the header of a pipe table, its rule included; 0 where there is none."""
    first = table.find("\n")
    second = table.find("\n", first + 1)
    if first < 0 or second < 0 or not _RULE.fullmatch(table, first + 1, second):
        return 0
    return second
