"""The text of an API key.

``mdk_<tenant><key id>_<secret>``: both ids in base 62 (22 characters each), the secret 256 random bits. The tenant in the
key is only a claim: it selects the rows that row-level security lets us look at, and is believed once the secret's hash
matches one of them. So authentication needs no way around row-level security.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = {c: i for i, c in enumerate(_ALPHABET)}
_UUID_WIDTH = 22  # 62**22 > 2**128
_SECRET_WIDTH = 43  # 62**43 > 2**256
_SECRET = re.compile(rf"[0-9A-Za-z]{{{_SECRET_WIDTH}}}")
_HEAD = "mdk_"

REFUSED = "the API key is missing, unknown, expired or revoked"
"""Said of every key that is not let in: which of these it is, nobody is told."""


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as a caller sent it: well formed, not yet believed. ``public``: the text of both ids."""

    public: str
    tenant_id: UUID
    key_id: UUID
    secret_hash: bytes


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key. ``text`` is shown once and never stored."""

    text: str
    prefix: str
    secret_hash: bytes


def issue(tenant_id: UUID, key_id: UUID) -> IssuedKey:
    """Make the key text for ``key_id``."""
    secret = _encode(secrets.randbits(256), _SECRET_WIDTH)
    prefix = key_prefix(tenant_id, key_id)
    return IssuedKey(text=f"{prefix}_{secret}", prefix=prefix, secret_hash=_hash(secret))


def key_prefix(tenant_id: UUID, key_id: UUID) -> str:
    """The public half of a key, safe to list and to log."""
    return _HEAD + _encode(tenant_id.int, _UUID_WIDTH) + _encode(key_id.int, _UUID_WIDTH)


def parse(text: str) -> PresentedKey | None:
    """The parts of a key, or ``None`` when it is not one."""
    if len(text) != len(_HEAD) + 2 * _UUID_WIDTH + 1 + _SECRET_WIDTH or not text.startswith(_HEAD):
        return None
    ids, separator, secret = text[len(_HEAD) :].partition("_")
    if not separator or not _SECRET.fullmatch(secret):
        return None
    named = _named(ids)
    return None if named is None else PresentedKey(ids, *named, _hash(secret))


def matches(presented: PresentedKey, secret_hash: bytes) -> bool:
    """Constant-time comparison with the stored hash."""
    return hmac.compare_digest(presented.secret_hash, secret_hash)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()


def _encode(value: int, width: int) -> str:
    digits = []
    for _ in range(width):
        value, digit = divmod(value, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


@lru_cache(maxsize=10_000)
def _named(ids: str) -> tuple[UUID, UUID] | None:
    """Tenant and key, from the public half. Every request comes with one, mostly one of a few."""
    tenant, key = _decode(ids[:_UUID_WIDTH]), _decode(ids[_UUID_WIDTH:])
    return None if tenant is None or key is None else (tenant, key)


def _decode(text: str) -> UUID | None:
    if len(text) != _UUID_WIDTH:
        return None
    value = 0
    for character in text:
        digit = _DIGITS.get(character)
        if digit is None:
            return None
        value = value * 62 + digit
    return UUID(int=value) if value < 2**128 else None
