"""How like a reference our Markdown of a document is.

Two figures a file, of the parser's rendition and the reference's, both without what only decorates (:func:`plain`):

- *similarity*: 1 - d / (|a| + |b|), where d is the number of characters to insert and delete to turn one into the other
  (rapidfuzz's normalised Indel similarity). It sees order, headings and tables.
- *words F1*: the harmonic mean of the shares of the words of each that are in the other, counted with repetition. It sees what is
  lost or added, and not where.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import statistics
import time
from collections import Counter
from pathlib import Path

from rapidfuzz.distance import Indel

from evals.report import Cell, Table
from ingestion.document import render_document
from ingestion.parse.failures import ParseFailed
from ingestion.parse.parser import DocumentParser

NOTE = (
    "Similarity is rapidfuzz's normalised Indel similarity, words F1 is over words with repetition, both against the reference "
    "Markdown without comments, targets of links, emphasis, rules of tables and dots of leaders. References come from another "
    "converter, are not the truth, and hold some things that we leave out on purpose: a page's navigation, running heads, charts "
    "of sheets. Seconds include the start of the process."
)
COLUMNS = ("file", "outcome", "similarity", "words F1", "blocks", "characters", "reference characters", "s")

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\s]*\)")
_LEADERS = re.compile(r"(?:\s*\.){4,}|…")
_RULE = re.compile(r"\|\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\||-{2,}")
_MARKS = re.compile(r"[*_`|]+")
_SPACES = re.compile(r"\s+")
_WORD = re.compile(r"\w+")


async def measure(folder: Path) -> tuple[tuple[Table, ...], dict[str, str]]:
    """Every file of the folder, and the SHA-256 of each; references are in its ``expected``. Raises ``FileNotFoundError``."""
    files = await asyncio.to_thread(lambda: sorted(path for path in folder.iterdir() if path.is_file()))
    parser = DocumentParser()
    rows: list[tuple[Cell, ...]] = []
    hashes: dict[str, str] = {}
    for path in files:
        content = path.read_bytes()
        hashes[f"documents/{path.name}"] = hashlib.sha256(content).hexdigest()
        rows.append(await _row(parser, path, _reference(folder / "expected", path)))
    compared = [(similarity, words) for _, _, similarity, words, *_ in rows if isinstance(similarity, float)]
    if compared:
        means = [statistics.mean(float(one or 0.0) for one in column) for column in zip(*compared, strict=True)]
        rows.append(("mean of those with a reference", f"{len(compared)} files", *means, None, None, None, None))
    return (Table("Parsing: similarity to the reference", COLUMNS, tuple(rows), note=NOTE),), hashes


def plain(markdown: str) -> str:
    """What is compared: the text with the marks of headings, lists and code blocks' lines, on one line."""
    text = _COMMENT.sub("", markdown)
    for pattern, kept in ((_LINK, r"\1"), (_LEADERS, " "), (_RULE, " "), (_MARKS, " ")):
        text = pattern.sub(kept, text)
    return _SPACES.sub(" ", text).strip()


def similarity(ours: str, reference: str) -> float:
    """Of the plain texts, by characters; 1 for the same."""
    return Indel.normalized_similarity(plain(ours), plain(reference))


def words_f1(ours: str, reference: str) -> float:
    """Of the plain texts, by words; 1 for the same words as often, in any order."""
    one, other = (Counter(_WORD.findall(plain(text).lower())) for text in (ours, reference))
    both = one.total() + other.total()
    return 2 * (one & other).total() / both if both else 1.0


async def _row(parser: DocumentParser, path: Path, reference: str | None) -> tuple[Cell, ...]:
    started = time.perf_counter()
    try:
        async with parser.open(path, name=path.name) as reading:
            blocks = [block async for block in reading]
    except ParseFailed as failure:
        return (path.name, failure.reason, None, None, None, None, None, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    text = render_document(blocks)
    likeness = (None, None) if reference is None else (similarity(text, reference), words_f1(text, reference))
    size = None if reference is None else len(reference)
    return (path.name, reading.parsed.media_type.rsplit(".", 1)[-1], *likeness, len(blocks), len(text), size, seconds)


def _reference(folder: Path, path: Path) -> str | None:
    found = (folder / name for name in (f"{path.name}.md", f"{path.stem}.md"))
    return next((reference.read_text(encoding="utf-8") for reference in found if reference.is_file()), None)
