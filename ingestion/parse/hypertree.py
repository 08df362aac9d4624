"""The tree of a page, however it is nested and closed."""

from __future__ import annotations

import re
from functools import cache

from lxml import etree

from ingestion.parse.markup import Element

# Browsers have the same bound; libxml2 would end the page at its own, of 256. What reads the tree takes a few frames a level.
MAX_DEPTH = 512
# Once in a page, and open to its end: pages go on after </html>, or begin again, and browsers read on.
_WHOLE = frozenset(("html", "body"))
# What is asked for. Others have names and values that no tree takes: @click, xmlns:o.
_ATTRIBUTES = ("class", "id", "role", "hidden", "aria-hidden", "href", "colspan", "rowspan", "alttext", "encoding")
_NAME = re.compile(r"[a-z][a-z0-9_-]*", re.ASCII)
# All is text in these, up to their end: without one, the rest of the page.
_RAW = ("script", "style", "textarea", "title", "iframe", "xmp", "noembed", "noframes")
_OPENS = re.compile(rf"<(!--|(?:pre|{'|'.join(_RAW)})(?=[\s/>]))", re.IGNORECASE)
_ENDS = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in ("pre", *_RAW)} | {"!--": re.compile("--!?>")}
_OTHERS = {name: re.compile(rf"<(?:pre|{name})(?=[\s/>])", re.IGNORECASE) for name in _RAW}
_UNFIT = re.compile("[\x00-\x08\x0b\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def tree_of(text: str) -> Element | None:
    """The root element, or ``None``. HTML's parser expands no entities of the document's own and fetches nothing.

    Whatever is wrong with a page, it is read to its end: with ``huge_tree`` also beyond texts and attributes of 10 MB.
    """
    return etree.fromstring(_with_whole_code(text).encode("utf-8", errors="replace"), _parser())


def _with_whole_code(text: str) -> str:
    """``<script>`` and the like as words within ``<pre>``, if they do not end there: who shows code forgets to escape it.

    One that ends behind it, before another opens, is what it says: its own text speaks of ``</pre>``.
    """
    ends: dict[str, int] = {}
    others: dict[str, int] = {}
    parts: list[str] = []
    # Up to where it is written, code, and raw text of other elements.
    read = code = raw = 0
    for found in _OPENS.finditer(text):
        begin, name = found.start(), found[1].lower()
        if begin < raw:
            continue
        # From within the mark of a comment, which may be its end as well.
        end = _next(ends, _ENDS, name, text, begin + 2)
        if name == "pre":
            code = end
        elif begin < code <= end and name != "!--" and _next(others, _OTHERS, name, text, code) <= end:
            parts += text[read:begin], "&lt;"
            read = begin + 1
        else:
            raw = end
    return "".join([*parts, text[read:]])


def _next(known: dict[str, int], patterns: dict[str, re.Pattern[str]], name: str, text: str, start: int) -> int:
    """Where the next one stands; nothing is looked through twice. The end of the text if there is none."""
    if known.get(name, -1) < start:
        found = patterns[name].search(text, start)
        known[name] = found.start() if found else len(text)
    return known[name]


@cache
def _parser() -> etree.HTMLParser:
    """Making one takes longer than to parse a block of Markdown with it."""
    return etree.HTMLParser(
        encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=True, target=_Tree()
    )


class _Tree:
    """Builds the tree from what lxml's parser finds. An element that stands too deep ends where the next one begins or ends.

    Elements of other vocabularies (Word's ``o:p``) are spans.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._builder = etree.TreeBuilder()
        self._open: list[str] = []
        self._whole: set[str] = set()
        # Of the parser's elements; of those too deep, at most one is open here.
        self._depth = 0
        self._in_too_deep = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        tag = _known(tag)
        if tag in self._whole:
            return
        if tag in _WHOLE:
            self._whole.add(tag)
        else:
            self._depth += 1
        if self._depth > MAX_DEPTH:
            self._end_too_deep()
            self._in_too_deep = True
        self._open.append(tag)
        self._builder.start(tag, {name: _fit(attributes[name]) for name in _ATTRIBUTES if name in attributes})

    def end(self, tag: str) -> None:
        """An element ends, with what is open in it."""
        tag = _known(tag)
        if tag in _WHOLE:
            return
        if self._depth > MAX_DEPTH:
            self._end_too_deep()
        elif tag in self._open:
            while self._end_last() != tag:
                pass
        self._depth -= 1

    def data(self, text: str) -> None:
        """Text."""
        self._builder.data(_fit(text))

    def close(self) -> Element | None:
        """The root, if there is an element at all. After it, another page may be built."""
        while self._open:
            self._end_last()
        root = self._builder.close() if self._whole else None
        self._begin()
        return root

    def _end_too_deep(self) -> None:
        if self._in_too_deep:
            self._in_too_deep = False
            self._end_last()

    def _end_last(self) -> str:
        tag = self._open.pop()
        self._builder.end(tag)
        return tag


def _known(tag: str) -> str:
    return tag if _NAME.fullmatch(tag) else "span"


def _fit(text: str) -> str:
    """Without what cannot stand in a tree, and is no text. A form feed is white space."""
    return _UNFIT.sub("", text.replace("\f", " "))
