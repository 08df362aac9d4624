"""The lines of a PDF page, with where they stand and in what type."""

from __future__ import annotations

import ctypes
import math
import re
from dataclasses import dataclass

import pypdfium2
from pypdfium2 import raw

_BOLD = re.compile(r"bold|black|heavy|semibold|demi", re.IGNORECASE)
_MONOSPACED = re.compile(r"courier|mono|consol|menlo|typewriter|cmtt|nimbusmon", re.IGNORECASE)
_NAME_SIZE = 128
_LAM, _ALEFS = 0x644, (0x622, 0x623, 0x625, 0x627)
_HYPHENS = "\x02\ufffe\xad"
_MAX_CHARACTERS = 2_000_000
# A gap this wide, in sizes of the type, divides cells of a table.
_CELL_GAP = 1.6


@dataclass(frozen=True, slots=True)
class Line:
    """A line in points from the page's lower left. ``size`` is the type's; ``cells`` are texts apart by wide gaps, by left edge.

    ``hyphen``: the last word goes on in the next line.
    """

    text: str
    left: float
    right: float
    bottom: float
    top: float
    size: float
    bold: bool
    mono: bool
    hyphen: bool
    cells: tuple[tuple[float, str], ...]


def lines_of(page: pypdfium2.PdfPage) -> list[Line]:
    """The page's lines in the order of its content, which pdfium divides where the text moves on."""
    text = page.get_textpage()
    try:
        return _Reader(text).lines()
    finally:
        text.close()


class _Reader:
    """Reads characters one by one; buffers for the results are made once."""

    def __init__(self, text: pypdfium2.PdfTextPage) -> None:
        self._raw = text.raw
        self._count = min(text.count_chars(), _MAX_CHARACTERS)
        self._box = raw.FS_RECTF()
        self._matrix = raw.FS_MATRIX()
        self._name = ctypes.create_string_buffer(_NAME_SIZE)
        self._flags = ctypes.c_int()

    def lines(self) -> list[Line]:
        found: list[Line] = []
        start = 0
        characters = [raw.FPDFText_GetUnicode(self._raw, index) for index in range(self._count)]
        self._restore_ligatures(characters)
        for index, character in enumerate(characters):
            if character in (10, 13):
                self._add(found, characters, start, index)
                start = index + 1
        self._add(found, characters, start, self._count)
        return found

    def _restore_ligatures(self, characters: list[int]) -> None:
        """pdfium gives the two letters of an Arabic lam-alef in the order of the page, not of reading; they share one box."""
        for index in range(len(characters) - 1):
            if characters[index + 1] == _LAM and characters[index] in _ALEFS:
                raw.FPDFText_GetLooseCharBox(self._raw, index, self._box)
                first = (self._box.left, self._box.right)
                raw.FPDFText_GetLooseCharBox(self._raw, index + 1, self._box)
                if first == (self._box.left, self._box.right):
                    characters[index : index + 2] = [_LAM, characters[index]]

    def _add(self, found: list[Line], characters: list[int], start: int, end: int) -> None:
        while start < end and characters[start] in (32, 0xA0):
            start += 1
        while end > start and characters[end - 1] in (32, 0xA0):
            end -= 1
        if start >= end:
            return
        cells: list[tuple[float, str]] = []
        run: list[str] = []
        left = right = edge = 0.0
        bottom, top = math.inf, -math.inf
        # Not of the first character, which may be a bullet in a type of its own; a line that only begins in bold is no heading.
        middle = next(index for index in range((start + end) // 2, end) if characters[index] not in (32, 0xA0))
        size, bold, mono = self._type(middle)
        bold = bold and self._type(end - 1)[1]
        for index in range(start, end):
            character = chr(characters[index]) if 0 < characters[index] < 0x110000 else ""
            if not character.isspace() and raw.FPDFText_GetLooseCharBox(self._raw, index, self._box):
                box = self._box
                if run and abs(box.left - right) > _CELL_GAP * max(size, 4) and box.left > right:
                    cells.append((edge, "".join(run)))
                    run = []
                if not run:
                    edge = box.left
                    left = left if cells else edge
                right = box.right
                bottom, top = min(bottom, box.bottom), max(top, box.top)
            run.append(character)
        cells.append((edge, "".join(run)))
        text = "".join(cell for _, cell in cells)
        hyphen = text.rstrip()[-1:] in tuple(_HYPHENS)
        shown = _tidy(text)
        if shown and bottom < math.inf:
            tidy = tuple((round(at, 1), words) for at, cell in cells if (words := _tidy(cell)))
            found.append(Line(shown, left, right, bottom, top, size, bold, mono, hyphen, tidy))

    def _type(self, index: int) -> tuple[float, bool, bool]:
        """Size in points as it is shown, and whether the font's name says bold or monospaced."""
        size = raw.FPDFText_GetFontSize(self._raw, index)
        if raw.FPDFText_GetMatrix(self._raw, index, self._matrix):
            size *= math.hypot(self._matrix.c, self._matrix.d) or 1.0
        length = raw.FPDFText_GetFontInfo(self._raw, index, self._name, _NAME_SIZE, self._flags)
        name = self._name.value.decode("utf-8", errors="replace") if 0 < length <= _NAME_SIZE else ""
        bold = bool(_BOLD.search(name)) or (not name and raw.FPDFText_GetFontWeight(self._raw, index) >= 600)
        return round(size, 1), bold, bool(_MONOSPACED.search(name))


def _tidy(text: str) -> str:
    # Characters beyond the basic plane come as two halves.
    text = text.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")
    for mark in _HYPHENS:
        text = text.replace(mark, "")
    return re.sub(r"[ \t\xa0]+", " ", text).strip()
