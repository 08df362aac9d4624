"""A small sentence splitter that works on character spans.

A sentence ends at ``. ! ? …`` (with closing quotes or brackets) before white space, at a CJK full stop, or at a line
break. A full stop after an abbreviation or an initial, or before a lower-case letter, does not end one.
"""

import re
import unicodedata

from retrieval.packing.model import Span

# Longer "sentences" (logs, tables, unpunctuated speech) are cut at commas or spaces, so a gist stays short.
MAX_SENTENCE_CHARS = 240

_LINE_BREAK = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_BOUNDARY = re.compile(
    rf"[{_LINE_BREAK}]+\s*"  # a line break
    r"|[。！？｡]+[」』”’）\]]*\s*"  # CJK full stops need no space after them
    r"|[.!?…]+[\"'”’»)\]]*\s+"
)
_ABBREVIATIONS = frozenset(
    re.findall(
        r"\S+",
        """
        mr mrs ms dr prof st sr jr vs etc e.g i.e cf approx al inc ltd co corp gen col sgt rev hon
        """,
    )
)
_LAST_WORD = re.compile(r"([\w.]+)\.$")
_SOFT_CUT = re.compile(r"[;,:—–]\s+|\s+")


def split(text: str) -> list[Span]:
    """The sentences of ``text`` in order, white space at their ends left out, none longer than 240 characters."""
    spans: list[Span] = []
    start = 0
    for match in _BOUNDARY.finditer(text):
        if match.start() < start or _continues(text, match):
            continue
        _add(text, start, match.end(), spans)
        start = match.end()
    _add(text, start, len(text), spans)
    return spans


def _continues(text: str, match: re.Match[str]) -> bool:
    """True when the full stop at ``match`` belongs to an abbreviation or the sentence goes on in lower case."""
    mark = match.group()
    if not mark.startswith(".") or mark.startswith("..") or any(c in _LINE_BREAK for c in mark):
        return False
    following = text[match.end() : match.end() + 1]
    if following.islower():
        return True
    if mark.rstrip() != ".":  # a closing quote or bracket ends more than an abbreviation
        return False
    word = _LAST_WORD.search(text[max(0, match.start() - 12) : match.start() + 1])
    if word is None:
        return False
    stem = word.group(1).lower()
    if stem in ("no", "fig"):
        return following.isdigit()
    return stem in _ABBREVIATIONS or (len(stem) == 1 and stem.isalpha() and word.group(1) not in ("I", "i"))


def _add(text: str, start: int, end: int, spans: list[Span]) -> None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while end - start > MAX_SENTENCE_CHARS:
        cut = _soft_cut(text, start)
        _add(text, start, cut, spans)
        start = cut
        while start < end and text[start].isspace():
            start += 1
    if end > start:
        spans.append(Span(start, end))


def _soft_cut(text: str, start: int) -> int:
    """Where to cut an over-long sentence: after the last comma in its window, else a space, else anywhere."""
    limit = start + MAX_SENTENCE_CHARS
    space = comma = 0
    for match in _SOFT_CUT.finditer(text, start + MAX_SENTENCE_CHARS // 3, limit):
        space = match.end()
        if not match.group()[0].isspace():
            comma = match.end()
    if comma or space:
        return comma or space
    # Never part a base character from its combining marks or joiners, unless the whole window is such marks.
    cut = limit
    while cut > start + 1 and (unicodedata.combining(text[cut]) or text[cut] in "\u200d\ufe0f"):
        cut -= 1
    return cut if cut > start + 1 else limit
