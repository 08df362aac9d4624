"""HTML: what a reader of the page would read."""

from __future__ import annotations

from ingestion.parse.declared import decoded
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.hypertext import parse_html, pieces_of, title_of
from ingestion.parse.pieces import Facts, Piece
from ingestion.parse.source import Source


def read(source: Source, facts: Facts) -> list[Piece]:
    """The page's main part where it marks one, or all of its body without navigation."""
    root = parse_html(decoded(source.whole(), facts, source.encoding))
    if root is None:
        raise ParseFailed(FailureReason.EMPTY, "the page has no elements")
    facts.name(title_of(root))
    return list(pieces_of(root))
