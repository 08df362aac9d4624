"""Texts that are no prose: rows of a table need its header, and code is told by the lines that define something."""

import re
from collections.abc import Sequence

from retrieval.packing.model import Span

# About 50 tokens. A wider header would cost more than the row that it explains.
_HEADER_CHARS = 200
# How far before a row its header is looked for.
_TABLE_CHARS = 16_384

_HEADER = re.compile(r"^(?P<header>\|[^\n]*)\n\|[ \t]*:?-+[-:| \t]*$", re.MULTILINE)
_SIGNATURE = re.compile(
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|pub|unsafe|const)\s+)*"
    r"(?:class|def|function|fn|fun|func|interface|struct|enum|impl|trait|module|namespace)\s[^\n]*[:{(,]"
)


def with_headers(text: str, spans: tuple[Span, ...]) -> tuple[Span, ...]:
    """``spans`` of ``text``, and before the first of them that begins in a pipe table's rows the table's header row."""
    for number, span in enumerate(spans):
        if not _in_row(text, span.start):
            continue
        header = _header(text, span.start)
        if header is None or any(shown.start <= header.start < shown.end for shown in spans):
            return spans
        return (*spans[:number], header, *spans[number:]) if not number or spans[number - 1].end <= header.start else spans
    return spans


def telling(text: str, sentences: Sequence[Span], most: int, *, within: int | None = None) -> list[int]:
    """The numbers of the sentences that stand for a text of which no sentence is relevant.

    Of a table it is the header and the first row; of code the lines that define something, up to ``most`` characters, and of
    those that begin ``within`` so many characters, if that is given; else the first sentence.
    """
    first = sentences[0]
    table = _HEADER.match(text, first.start)
    if table:
        return [0, *[i for i, span in enumerate(sentences) if span.start > table.end()][:1]]
    chosen: list[int] = []
    used = 0
    for i, span in enumerate(sentences):
        if within is not None and span.start >= first.start + within:
            break
        if _SIGNATURE.fullmatch(text, span.start, span.end) and (not chosen or used + span.end - span.start <= most):
            chosen.append(i)
            used += span.end - span.start
    return chosen or [0]


def _in_row(text: str, at: int) -> bool:
    return text.startswith("|", text.rfind("\n", 0, at) + 1)


def _header(text: str, at: int) -> Span | None:
    """The header row of the table around ``at``, which stands behind it."""
    header = max(_HEADER.finditer(text, max(0, at - _TABLE_CHARS), at), key=re.Match.start, default=None)
    if header is None or "\n\n" in text[header.end() : at] or len(header["header"]) > _HEADER_CHARS:
        return None
    return Span(header.start("header"), header.start("header") + len(header["header"].rstrip()))
