"""A document's bytes on disk, before it is parsed: how large they are, what they hash to, and what was said about them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from ingestion.parse.limits import SMALL_BYTES
from ingestion.parse.sniff import hint
from retrieval.filters import JsonValue

_PIECE_BYTES = 2**20
_HEAD_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Source:
    """A document's bytes, on disk, and what was said about them. ``encoding``: of what was sent as text."""

    path: Path
    name: str | None
    media_type: str | None
    charset: str | None
    encoding: str | None
    title: str | None
    uri: str | None
    metadata: Mapping[str, JsonValue]
    key: str
    digest: bytes
    size: int
    packed: bool
    family: UUID | None

    @property
    def large(self) -> bool:
        """It may take much memory, and of what is packed nobody knows how much: so few of a tenant at a time, however many short
        ones are under way."""
        return self.packed or self.size > SMALL_BYTES

    @property
    def hint(self) -> str | None:
        """What its name and media type choose of how it is parsed; ``None`` where its bytes alone do."""
        return None if self.packed else hint(self.name, self.declared)

    @property
    def declared(self) -> str | None:
        """The media type with its charset."""
        return f"{self.media_type or ''}; charset={self.charset}" if self.charset else self.media_type


def measured(path: Path) -> tuple[bytes, int, bool]:
    """The digest, the size, and whether there may be far more in it: PDF and what is a zip archive."""
    digest, size, packed = hashlib.sha256(), 0, False
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            if not size:
                packed = piece.startswith(b"PK\x03\x04") or b"%PDF-" in piece[:_HEAD_BYTES]
            digest.update(piece)
            size += len(piece)
    return digest.digest(), size, packed
