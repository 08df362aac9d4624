"""Styles and numbering of a DOCX: what a paragraph's style makes of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from ingestion.parse.archives import Archive
from ingestion.parse.markup import Element, root_of

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_HEADING = re.compile(r"heading (\d)$")
_MAX_DEPTH = 20
_BODY = 9


@dataclass(frozen=True, slots=True)
class Style:
    """``name`` in lower case; ``outline`` is 0 for the first level of headings; ``list`` and ``depth`` as in ``w:numPr``."""

    name: str = ""
    outline: int | None = None
    font: str = ""
    list: str | None = None
    depth: int | None = None


class Styles:
    """Every paragraph style, with what it inherits."""

    def __init__(self, found: dict[str, Style]) -> None:
        self._found = found

    @classmethod
    def read(cls, archive: Archive, part: str | None) -> Styles:
        """From the styles part; without one every paragraph is plain."""
        if part is None:
            return cls({})
        raw = {one.get(f"{W}styleId") or "": one for one in root_of(archive, part).iter(f"{W}style")}
        return cls({name: _resolved(raw, name) for name in raw})

    def of(self, paragraph: Element) -> Style:
        """The paragraph's style, with its own outline level and numbering over it."""
        properties = paragraph.find(f"{W}pPr")
        if properties is None:
            return Style()
        style = self._found.get(_value(properties, f"{W}pStyle") or "", Style())
        return _over(style, properties)


def _resolved(raw: dict[str, Element], name: str) -> Style:
    chain: list[Element] = []
    while name in raw and len(chain) < _MAX_DEPTH:
        chain.append(raw[name])
        name = _value(raw[name], f"{W}basedOn") or ""
    style = Style()
    for element in reversed(chain):
        named = (_value(element, f"{W}name") or "").lower()
        level = _HEADING.match(named)
        style = replace(style, name=named or style.name, outline=int(level[1]) - 1 if level else style.outline)
        fonts = element.find(f"{W}rPr/{W}rFonts")
        if fonts is not None:
            style = replace(style, font=fonts.get(f"{W}ascii") or style.font)
        properties = element.find(f"{W}pPr")
        if properties is not None:
            style = _over(style, properties)
    return style


def _over(style: Style, properties: Element) -> Style:
    outline = _digits(_value(properties, f"{W}outlineLvl"))
    if outline is not None:
        style = replace(style, outline=outline if outline < _BODY else None)
    numbered = properties.find(f"{W}numPr")
    if numbered is not None:
        depth = _digits(_value(numbered, f"{W}ilvl"))
        style = replace(style, list=_value(numbered, f"{W}numId") or style.list, depth=style.depth if depth is None else depth)
    return style


@dataclass(slots=True)
class Numbering:
    """Lists by id: whether a level is numbered, and how far it has counted."""

    formats: dict[str, dict[int, str]]
    _counts: dict[tuple[str, int], int] = field(default_factory=dict)

    @classmethod
    def read(cls, archive: Archive, part: str | None) -> Numbering:
        """From the numbering part; without one every list has bullets."""
        if part is None:
            return cls({})
        root = root_of(archive, part)
        kinds: dict[str, dict[int, str]] = {}
        for one in root.iter(f"{W}abstractNum"):
            levels = {_digits(level.get(f"{W}ilvl")) or 0: _value(level, f"{W}numFmt") or "" for level in one.iter(f"{W}lvl")}
            kinds[one.get(f"{W}abstractNumId") or ""] = levels
        numbers = root.iter(f"{W}num")
        return cls({one.get(f"{W}numId") or "": kinds.get(_value(one, f"{W}abstractNumId") or "", {}) for one in numbers})

    def marker(self, style: Style) -> str | None:
        """Indent and bullet or number of a list's item; ``None`` for what is no item. Deeper levels begin anew."""
        if style.list in (None, "0"):
            return None
        depth, name = min(style.depth or 0, 8), style.list or ""
        indent = "    " * depth
        if self.formats.get(name, {}).get(depth, "bullet") in ("bullet", "none", ""):
            return f"{indent}- "
        count = self._counts.get((name, depth), 0) + 1
        self._counts[name, depth] = count
        for deeper in range(depth + 1, 9):
            self._counts.pop((name, deeper), None)
        return f"{indent}{count}. "


def _value(element: Element, child: str) -> str | None:
    found = element.find(child)
    return None if found is None else found.get(f"{W}val")


def _digits(value: str | None) -> int | None:
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 4 else None
