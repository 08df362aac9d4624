"""Handles for ``expand``: signed, bound to a tenant and a space, expiring. Nothing is stored for them."""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from memoryd.errors import HandleExpired, HandleInvalid, NotFound
from retrieval.scope import Scope

_SIGNATURE_BYTES = 16
_MAX_LENGTH = 1_000
_REFUSED = "the handle is not one of this server's for this key"


@dataclass(frozen=True, slots=True)
class Handle:
    """What can be shown more of: one memory, the rendition it had."""

    memory_id: UUID
    space: str
    rendition: str


class Handles:
    """Issues and reads handles with one secret, the same on all replicas."""

    def __init__(self, secret: bytes, *, ttl: timedelta) -> None:
        self._secret = secret
        self._ttl = ttl

    def issue(self, scope: Scope, handle: Handle, now: datetime) -> str:
        """A URL-safe text of about 150 characters."""
        expires = int((now + self._ttl).timestamp())
        body = json.dumps([str(handle.memory_id), handle.space, handle.rendition, expires]).encode()
        return _encode(body) + "." + _encode(self._sign(scope.tenant_id, body))

    def read(self, scope: Scope, text: str, now: datetime) -> Handle:
        """Raises ``HandleInvalid``, ``HandleExpired``; ``NotFound`` outside the key's spaces."""
        head, separator, signature = text.partition(".")
        if not separator or len(text) > _MAX_LENGTH:
            raise HandleInvalid(_REFUSED)
        body = _decode(head)
        # The tenant is part of what is signed, not of what is sent: a handle of another tenant never verifies.
        if not hmac.compare_digest(self._sign(scope.tenant_id, body), _decode(signature)):
            raise HandleInvalid(_REFUSED)
        memory_id, space, rendition, expires = json.loads(body)
        if now.timestamp() >= expires:
            raise HandleExpired("the handle has expired; ask for the context again")
        if not scope.may_use(space):
            raise NotFound("no such memory")
        return Handle(UUID(memory_id), space, rendition)

    def _sign(self, tenant_id: UUID, body: bytes) -> bytes:
        return hmac.new(self._secret, tenant_id.bytes + body, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise HandleInvalid(_REFUSED) from error
