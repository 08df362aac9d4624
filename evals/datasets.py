"""Evaluation sets in BEIR's layout: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/test.tsv``."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_ROOT = Path("../shared/data")
FILES = ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")


class _DocumentRow(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str = Field(alias="_id")
    title: str = ""
    text: str
    namespace: str = ""
    session: str | None = None
    date_time: str | None = None
    raw_text: str | None = None
    speaker: str | None = None


class _QueryRow(BaseModel):
    model_config = ConfigDict(extra="ignore")

    id: str = Field(alias="_id")
    text: str
    namespace: str = ""
    category: str | None = None
    hops: str | None = None
    # LoCoMo writes a year as a number.
    answer: str | int | None = None


Row = TypeVar("Row", _DocumentRow, _QueryRow)


@dataclass(frozen=True, slots=True)
class Document:
    """One item of a corpus. ``text`` is title and text as given; ``namespace`` may be empty.

    ``said``: the words alone where ``text`` carries a date and a ``speaker`` in front of them. ``title`` may be empty.
    """

    id: str
    text: str
    namespace: str
    session: str | None
    event_time: datetime | None
    said: str | None = None
    speaker: str | None = None
    title: str = ""

    @property
    def body(self) -> str:
        """``text`` without the title."""
        return self.text[len(self.title) + 1 :] if self.title else self.text


@dataclass(frozen=True, slots=True)
class Query:
    """One judged question; ``category`` is the set's own (LoCoMo's kinds, MuSiQue's hops), or ``None``.

    ``answer`` is the right one, in words, where the set has it.
    """

    id: str
    text: str
    namespace: str
    category: str | None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A loaded set. ``relevant`` maps a query id to its evidence's ids; ``hashes`` a file to its SHA-256."""

    name: str
    documents: tuple[Document, ...]
    queries: tuple[Query, ...]
    relevant: Mapping[str, frozenset[str]]
    hashes: Mapping[str, str]

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace of the corpus, in order of appearance."""
        return tuple(dict.fromkeys(document.namespace for document in self.documents))

    def sample(self, limit: int | None) -> tuple[Query, ...]:
        """At most ``limit`` queries, spread evenly over the set; all of them for ``None``."""
        return spread(self.queries, limit)


def spread(queries: Sequence[Query], limit: int | None) -> tuple[Query, ...]:
    """At most ``limit`` of the queries at even steps, in their order; all of them for ``None``."""
    if limit is None or limit >= len(queries):
        return tuple(queries)
    step = len(queries) / limit
    return tuple(queries[int(index * step)] for index in range(limit))


def parse_date_time(value: str) -> datetime:
    """LoCoMo's ``1:56 pm on 8 May, 2023`` as an aware time.

    The set names no zone; UTC is assumed, so that a day stays the day that was written.
    """
    return datetime.strptime(value, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)


def load(name: str, root: Path = DEFAULT_ROOT) -> Dataset:
    """Reads one set; leaves out queries without evidence. Raises ``FileNotFoundError`` for missing files."""
    folder = root / name
    missing = [file for file in FILES if not (folder / file).is_file()]
    if missing:
        raise FileNotFoundError(f"evaluation set {name!r} lacks {', '.join(missing)}; point --data at its parent")
    relevant = _read_qrels(folder / "qrels/test.tsv")
    documents = tuple(_document(row) for row in _rows(folder / "corpus.jsonl", _DocumentRow))
    queries = (
        Query(
            id=row.id,
            text=row.text,
            namespace=row.namespace,
            category=row.category or row.hops,
            answer=None if row.answer is None else str(row.answer),
        )
        for row in _rows(folder / "queries.jsonl", _QueryRow)
    )
    return Dataset(
        name=name,
        documents=documents,
        queries=tuple(query for query in queries if relevant.get(query.id)),
        relevant=relevant,
        hashes={file: _sha256(folder / file) for file in FILES},
    )


def _document(row: _DocumentRow) -> Document:
    return Document(
        id=row.id,
        text=f"{row.title}\n{row.text}" if row.title else row.text,
        namespace=row.namespace,
        session=row.session,
        event_time=parse_date_time(row.date_time) if row.date_time else None,
        said=row.raw_text,
        speaker=row.speaker,
        title=row.title,
    )


def _rows(path: Path, model: type[Row]) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        return [model.model_validate_json(line) for line in lines if line.strip()]


def _read_qrels(path: Path) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            if int(row["score"]) > 0:
                found.setdefault(row["query-id"], set()).add(row["corpus-id"])
    return {query: frozenset(documents) for query, documents in found.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
