"""Handles for ``expand``: signed, bound to a tenant and a space, expiring. Nothing is stored for them."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from memoryd.errors import HandleExpired, HandleInvalid, NotFound
from memoryd.memory.ports import NOW, Moment
from retrieval.scope import Scope

_SIGNATURE_BYTES = 16
_MAX_LENGTH = 1_000
# Of the question's terms, in UTF-8: what keeps the longest handle, with the longest space name, within the limit.
_TERM_BYTES = 240
# What a handle is of is told by its fields' number; a chunk's end with a word that says so.
_FIELDS, _CHUNK_FIELDS, _CHUNK = 10, 11, "chunk"
_REFUSED = "the handle is not one of this server's for this key"


@dataclass(frozen=True, slots=True)
class Handle:
    """What can be shown more of: one revision of a memory (``None``: its head), and how much of it was shown.

    ``seen_chars`` counts the characters of the text that were shown, ``terms`` are those of the question (the first 240
    bytes of them), ``matched_at`` is where the passage begins that was found, ``at`` the moment of the recall it comes from.
    """

    memory_id: UUID
    space: str
    rendition: str
    revision: int | None = None
    seen_chars: int = 0
    terms: tuple[str, ...] = ()
    at: Moment = NOW
    matched_at: int = 0


@dataclass(frozen=True, slots=True)
class ChunkHandle:
    """As :class:`Handle`, of a chunk in one version of a knowledge base, which is of ``space``.

    ``in_section``: what was shown (``rendition``, ``seen_chars``) is of the section that the chunk stands in.
    """

    chunk_id: UUID
    space: str
    rendition: str
    kb_id: UUID
    kb: str
    version: int
    in_section: bool = False
    seen_chars: int = 0
    terms: tuple[str, ...] = ()


class Handles:
    """Issues and reads handles with one secret, the same on all replicas."""

    def __init__(self, secret: bytes, *, ttl: timedelta) -> None:
        self._secret = secret
        self._ttl = ttl

    def issue(self, scope: Scope, handle: Handle | ChunkHandle, now: datetime) -> str:
        """A URL-safe text of 150 to 950 characters."""
        fields = _of_chunk(handle) if isinstance(handle, ChunkHandle) else _of_memory(handle)
        body = json.dumps([int((now + self._ttl).timestamp()), *fields], ensure_ascii=False, separators=(",", ":")).encode()
        return _encode(body) + "." + _encode(self._sign(scope.tenant_id, body))

    def read(self, scope: Scope, text: str, now: datetime) -> Handle | ChunkHandle:
        """Raises ``HandleInvalid``, ``HandleExpired``; ``NotFound`` outside the key's spaces."""
        head, separator, signature = text.partition(".")
        if not separator or len(text) > _MAX_LENGTH:
            raise HandleInvalid(_REFUSED)
        body = _decode(head)
        # The tenant is part of what is signed, not of what is sent: a handle of another tenant never verifies.
        if not hmac.compare_digest(self._sign(scope.tenant_id, body), _decode(signature)):
            raise HandleInvalid(_REFUSED)
        fields = json.loads(body)
        # Earlier versions of memoryd signed fewer fields, the first the time last; their handles live no longer than an hour.
        if len(fields) not in (_FIELDS, _CHUNK_FIELDS) or now.timestamp() >= fields[0]:
            raise HandleExpired("the handle has expired; ask for the context again")
        handle = _chunk(fields) if fields[-1] == _CHUNK else _memory(fields)
        if not scope.may_use(handle.space):
            raise NotFound("no such memory")
        return handle

    def _sign(self, tenant_id: UUID, body: bytes) -> bytes:
        return hmac.new(self._secret, tenant_id.bytes + body, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


def _of_memory(handle: Handle) -> list[object]:
    return [
        str(handle.memory_id),
        handle.space,
        str(handle.rendition),
        handle.revision,
        handle.seen_chars,
        " ".join(_first(handle.terms)),
        handle.at.as_of and handle.at.as_of.isoformat(),
        handle.at.known_at and handle.at.known_at.isoformat(),
        handle.matched_at,
    ]


def _memory(fields: Sequence[Any]) -> Handle:
    _, memory_id, space, rendition, revision, seen_chars, terms, as_of, known_at, matched_at = fields
    at = Moment(_moment(as_of), _moment(known_at))
    return Handle(UUID(memory_id), space, rendition, revision, seen_chars, tuple(terms.split()), at, matched_at)


def _of_chunk(handle: ChunkHandle) -> list[object]:
    return [
        str(handle.chunk_id),
        handle.space,
        str(handle.rendition),
        str(handle.kb_id),
        handle.kb,
        handle.version,
        handle.in_section,
        handle.seen_chars,
        " ".join(_first(handle.terms)),
        _CHUNK,
    ]


def _chunk(fields: Sequence[Any]) -> ChunkHandle:
    _, chunk_id, space, rendition, kb_id, kb, version, in_section, seen_chars, terms, _ = fields
    return ChunkHandle(UUID(chunk_id), space, rendition, UUID(kb_id), kb, version, in_section, seen_chars, tuple(terms.split()))


def _first(terms: Sequence[str]) -> list[str]:
    chosen: list[str] = []
    left = _TERM_BYTES
    for term in terms:
        left -= len(term.encode("utf-8", "replace")) + 1
        if left < 0:
            break
        chosen.append(term)
    return chosen


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise HandleInvalid(_REFUSED) from error
