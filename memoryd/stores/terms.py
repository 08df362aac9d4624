"""Facets as terms of the inverted index: a topic, or a top-level scalar of the metadata.

They share the posting lists with words, under names that no word can have (a word never has a NUL).
"""

import json
from collections.abc import Mapping, Sequence
from uuid import UUID

from retrieval.analysis import Analyzer
from retrieval.filters import JsonValue, Scalar


def topic_term(space: UUID, topic: str) -> int:
    """The posting list of ``topic`` in ``space``."""
    return Analyzer.term_id(space.bytes, f"\0topic\0{topic}")


def metadata_term(space: UUID, key: str, value: Scalar) -> int:
    """The posting list of ``metadata[key] == value`` in ``space``. ``1`` and ``1.0`` are one value; ``1`` and ``true`` two."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return Analyzer.term_id(space.bytes, f"\0meta\0{key}\0{json.dumps(value, ensure_ascii=False)}")


def facet_terms(space: UUID, topics: Sequence[str], metadata: Mapping[str, JsonValue]) -> list[int]:
    """Every facet of one memory, each once."""
    terms = {topic_term(space, topic) for topic in topics}
    for key, value in metadata.items():
        if value is None or isinstance(value, str | int | float | bool):
            terms.add(metadata_term(space, key, value))
    return sorted(terms)
