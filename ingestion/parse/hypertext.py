"""HTML to pieces; used for pages, mails, books and HTML within Markdown."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator

from ingestion.document import BlockKind, render
from ingestion.parse.hypertables import grid
from ingestion.parse.hypertree import tree_of
from ingestion.parse.links import link
from ingestion.parse.markup import Element
from ingestion.parse.pieces import Piece, code, heading, one_line, paragraph
from ingestion.parse.tables import pipe_table

_UNREAD = frozenset((
    "script", "style", "noscript", "template", "head", "svg", "canvas", "iframe", "object", "embed", "audio",
    "video", "nav", "button", "select", "option", "input", "textarea", "dialog", "map", "menu", "img", "picture",
    "link", "meta", "source", "track",
))  # fmt: skip
_NAMES = ("h1", "h2", "h3", "h4", "h5", "h6", "dt", "summary")
_UNREAD_ROLES = frozenset((
    "navigation", "banner", "contentinfo", "search", "menu", "menubar", "dialog", "toolbar",
))  # fmt: skip
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = (
    *_HEADINGS, "p", "div", "section", "article", "main", "header", "footer", "aside", "ul", "ol", "dl", "table", "pre",
    "blockquote", "figure", "figcaption", "form", "fieldset", "details", "summary", "address", "center", "hgroup", "body", "html",
    "li", "hr", "td", "tr", "tbody", "dt", "dd", "legend", "caption",
)  # fmt: skip
_BLOCK_SET = frozenset(_BLOCKS)
# A list whose items hold these is a layout.
_NO_ITEM = ("h1", "h2", "h3", "h4", "h5", "h6", "table", "pre")
# A term's meaning that holds these is more than a line.
_NO_MEANING = (*_NO_ITEM, "ul", "ol", "dl", "dd", "blockquote")
# Of a formula; notes on it say the same in other words.
_SIGNS = ".//text()[normalize-space()][not(ancestor::annotation or ancestor::*[name() = 'annotation-xml'])]"
_LISTS = frozenset(("ul", "ol"))
_ROWS = frozenset(("tr",))
_CELLS = frozenset(("td", "th"))
_CODE = frozenset(("code", "kbd", "samp", "tt"))
_LANGUAGE = re.compile(r"(?:language|lang|highlight-source|brush:)[-\s]([\w+#-]+)")
_WORD = re.compile(r"\w")
_LETTER = re.compile(r"[^\W\d_]")
# What buttons do is said in fewer words: "Copy link".
_SENTENCE = 3
_ASKS = re.compile(r"[?？؟]\W{0,9}$")
# What counts names of one kind: "1.", "2.1)", "(2)". Other numbers are names themselves: "404", "2.1.0", "2024-01-05".
_COUNT = re.compile(r"^\s*(?:\d{1,3}[.)])+|\(\d{1,3}\)\s*$")
_SPACES = re.compile(r"[ \t\r\n\f\xa0]+")
# Elements so named are navigation if nearly all of their text is links.
_NAVIGATION = re.compile(r"nav|menu|sidebar|breadcrumb|dropdown|toc\b|share|social|paginat|lang|related|tags\b", re.IGNORECASE)
_MOSTLY_LINKS = 0.8
# A main part of fewer characters is a placeholder that a script would fill.
_SOME_TEXT = 200


def parse_html(text: str) -> Element | None:
    """The root element, or ``None``."""
    root = tree_of(text)
    if root is not None:
        _read_questions(root)
    return root


def _read_questions(root: Element) -> None:
    """A button that opens an answer says the question: all of a name's words, but for a count; beside others it does something
    with them. Beside a number, which may be a name as well, a button says a question if it reads like one."""
    buttons: dict[Element, list[Element]] = {}
    for button in root.iter("button"):
        named = next(button.iterancestors(*_NAMES), None)
        if named is not None:
            buttons.setdefault(named, []).append(button)
    for named, found in buttons.items():
        # Names within names have buttons of their own; none is looked through twice.
        if next(named.iterdescendants(*_NAMES), None) is not None or _LETTER.search(beside := _inline(named)):
            continue
        is_counted = not _WORD.search(_COUNT.sub("", beside))
        for button in found:
            if is_counted or _is_question(button):
                button.tag = "span"
                button.text = f" {button.text or ''}"


def _is_question(button: Element) -> bool:
    said = " ".join(part if isinstance(part, str) else _inline_within(part) for part in _parts(button))
    words = [word for word in said.split() if _WORD.search(word)]
    return len(words) >= _SENTENCE or _ASKS.search(said) is not None


def title_of(root: Element) -> str | None:
    """The page's title element."""
    return next((text for text in ("".join(found.itertext()) for found in root.iter("title")) if text.strip()), None)


def pieces_of(root: Element, page: int | None = None) -> Iterator[Piece]:
    """The pieces of a whole page, from its main part if it marks one."""
    for main in root.xpath("//main | //*[@role='main'] | //body[count(.//article) = 1]//article"):
        if len(one_line("".join(main.itertext()))) >= _SOME_TEXT:
            root = main
            break
    for piece in _blocks(root):
        yield Piece(piece.kind, piece.text, piece.level, page, piece.language)


def fragment_of(root: Element) -> Iterator[Piece]:
    """The pieces of all of a fragment: it has no main part, and no head and foot of a page."""
    for element in root.iter("header", "footer"):
        element.tag = "div"
    yield from _blocks(root)


def _blocks(element: Element) -> Iterator[Piece]:
    """The pieces within an element: runs of text and inline elements are paragraphs, block elements are their own."""
    run: list[str] = [_text(element.text)]
    for child in element:
        tag = child.tag
        if _is_unread(child) or _is_navigation(child):
            pass
        elif tag in _BLOCK_SET or next(child.iter(*_BLOCKS), None) is not None:
            yield from _paragraph(run)
            run = []
            yield from _block(child)
        else:
            run.append(_inline(child))
        run.append(_text(child.tail))
    yield from _paragraph(run)


def _block(element: Element) -> Iterator[Piece]:
    tag = element.tag
    if tag in _HEADINGS:
        yield heading(_inline_within(element), _HEADINGS[tag])
    elif tag == "pre":
        yield code(_verbatim(element), _language(element))
    elif tag in _LISTS and next(element.iter(*_NO_ITEM), None) is None:
        yield Piece(BlockKind.LIST, "\n".join(_items(element, 0)))
    elif tag == "dl":
        yield from _definitions(element)
    elif tag == "table":
        yield from _table(element)
    elif tag == "blockquote":
        yield from quoted(_blocks(element))
    else:
        yield from _blocks(element)


def quoted(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces as one quote."""
    text = "\n\n".join(render(piece.kind, piece.text, level=piece.level, language=piece.language) for piece in pieces)
    yield Piece(BlockKind.QUOTE, "\n".join(f"> {line}".rstrip() for line in text.split("\n")) if text else "")


def _paragraph(run: list[str]) -> Iterator[Piece]:
    text = _joined(run)
    if text:
        yield paragraph(text)


def _joined(run: Iterable[str]) -> str:
    lines = (_SPACES.sub(" ", line).strip() for line in "".join(run).split("\v"))
    return "\n".join(line for line in lines if line)


def _text(text: str | None) -> str:
    return _SPACES.sub(" ", text) if text else ""


def _inline_within(element: Element) -> str:
    return _joined(_inline(element))


def _inline(element: Element, nested: list[Element] | None = None, apart: Container[str] = _LISTS) -> str:
    """An inline element as Markdown. A line break is a vertical tab until the run is joined.

    Lists are its words too, unless somebody asks for them, or for what else is read ``apart``: then they are left to ``nested``.
    """
    tag = element.tag
    if tag == "br":
        return "\v"
    if _is_unread(element):
        return ""
    if nested is not None and tag in apart:
        nested.append(element)
        return " "
    if tag == "math":
        return _formula(element)
    inner = "".join([_text(element.text), *(_inline(child, nested, apart) + _text(child.tail) for child in element)])
    if tag in _CODE and inner.strip() and "`" not in inner and "\v" not in inner:
        return inner.replace(inner.strip(), f"`{inner.strip()}`", 1)
    if tag == "a":
        return link(inner, element.get("href"))
    if tag in _BLOCK_SET:
        return f" {inner} "
    return inner


def _formula(element: Element) -> str:
    """As TeX, where the page says it; else its signs."""
    tex = element.get("alttext") or next(
        (found.text for found in element.iter("annotation") if "tex" in (found.get("encoding") or "").lower()), None
    )
    return _text(tex) or " ".join(text.strip() for text in element.xpath(_SIGNS))


def _verbatim(element: Element) -> str:
    """The text as it is written; some pages end its lines with elements."""
    parts = [element.text or ""]
    for child in element:
        inner = "\n" if child.tag == "br" else "" if _is_unread(child) else _verbatim(child)
        parts.append(inner)
        if child.tag in _BLOCK_SET and inner and not inner.endswith("\n"):
            parts.append("\n")
        parts.append(child.tail or "")
    return "".join(parts)


def _items(element: Element, depth: int) -> Iterator[str]:
    """A line for each item, with all of its own words; the lists within it, wherever they stand, come after it."""
    number = 0
    for part in _parts(element):
        nested: list[Element] = []
        marker = "-"
        if isinstance(part, str):
            words = part
        else:
            words = _joined(_inline(part, nested))
            if part.tag not in _LISTS:
                number += 1
                marker = f"{number}." if element.tag == "ol" else "-"
        if words:
            yield f"{'    ' * depth}{marker} {words}".replace("\n", " ")
        for one in nested:
            yield from _items(one, depth + 1)


def _definitions(element: Element) -> Iterator[Piece]:
    """A list of terms with their meanings. A meaning that holds more than words has blocks of its own, below its term."""
    terms: list[str] = []
    lines: list[str] = []
    for part in _entries(element):
        if not isinstance(part, str) and part.tag == "dt":
            terms.append(_inline_within(part))
            continue
        apart = not isinstance(part, str) and next(part.iterdescendants(*_NO_MEANING), None) is not None
        words = "" if apart else part if isinstance(part, str) else _inline_within(part)
        lines.append(": ".join(filter(None, (", ".join(filter(None, terms)), words))))
        terms = []
        if apart:
            yield _listed(lines)
            lines = []
            yield from _blocks(part)
    yield _listed([*lines, *terms])


def _listed(lines: Iterable[str]) -> Piece:
    return Piece(BlockKind.LIST, "\n".join("- " + line.replace("\n", " ") for line in lines if line))


def _entries(element: Element) -> Iterator[Element | str]:
    """Terms, meanings and whatever else stands in a list of them, which may group them."""
    for part in _parts(element):
        if not isinstance(part, str) and part.tag == "div":
            yield from _entries(part)
        else:
            yield part


def _parts(element: Element) -> Iterator[Element | str]:
    """The elements within one that are read, and the words beside them."""
    if words := _joined(_text(element.text)):
        yield words
    for child in element:
        if not _is_unread(child):
            yield child
        if words := _joined(_text(child.tail)):
            yield words


def _table(element: Element) -> Iterator[Piece]:
    """A table of data as a table; one of layout (nested, or of one column) as what stands in it."""
    nests = next(element.iterdescendants("table"), None) is not None
    rows = [] if nests else grid(element, _without_rows)
    is_layout = max(map(len, rows), default=0) < 2
    for caption in element.iterchildren("caption"):
        yield paragraph(_inline_within(caption) if is_layout else _without_rows(caption))
    if is_layout:
        yield from _paragraph([_text(element.text)])
        for child in element:
            if child.tag != "caption" and not _is_unread(child):
                yield from _blocks(child)
            yield from _paragraph([_text(child.tail)])
        return
    yield from _paragraph([_beside_cells(element)])
    yield from pipe_table(rows)


def _without_rows(element: Element) -> str:
    """The words of a cell or caption. Rows that stand in it, because nobody closed it, are rows by themselves."""
    rows: list[Element] = []
    words = _inline(element, rows, _ROWS)
    return _joined([words, *(f" {_beside_cells(row)}" for row in rows)])


def _beside_cells(element: Element) -> str:
    """Words of a table that stand in none of its cells; browsers show them before it."""
    words = [_text(element.text)]
    for child in element:
        # Captions that stand elsewhere, in a row that nobody closed, are such words too.
        is_read = child.tag in _CELLS or (child.tag == "caption" and element.tag == "table")
        if not is_read and not _is_unread(child):
            words.append(_beside_cells(child))
        words.append(_text(child.tail))
    return " ".join(words)


def _language(element: Element) -> str | None:
    for found in element.iter("pre", "code", "div"):
        named = _LANGUAGE.search(found.get("class") or "")
        if named:
            return named[1].lower()
    return None


def _is_navigation(element: Element) -> bool:
    if not _NAVIGATION.search(f"{element.get('class') or ''} {element.get('id') or ''}"):
        return False
    if next(element.iter("p", "pre", *_HEADINGS), None) is not None:
        return False
    text = len("".join("".join(element.itertext()).split()))
    linked = sum(len("".join("".join(link.itertext()).split())) for link in element.iter("a"))
    return linked > 0 and linked >= _MOSTLY_LINKS * text


def _is_unread(element: Element) -> bool:
    tag = element.tag
    if not isinstance(tag, str) or element.get("hidden") is not None:
        return True
    if tag in _UNREAD:
        return True
    if (element.get("role") or "") in _UNREAD_ROLES or element.get("aria-hidden") == "true":
        return True
    # The page's own head and foot, not those of an article.
    return tag in ("header", "footer") and element.getparent() is not None and element.getparent().tag == "body"
