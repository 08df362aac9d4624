""":class:`memoryd.knowledge.ports.Originals` in object storage: ``{tenant}/kb/{knowledge base}/{SHA-256}``."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Protocol
from uuid import UUID

from memoryd.stores.objects import ObstoreObjects
from retrieval.scope import Scope


class Orphans(Protocol):
    """What is known of originals that no document names."""

    async def wanted(self, scope: Scope, kb_id: UUID, keys: Sequence[str]) -> None:
        """They are no garbage any more. Waits for who is just erasing one of them."""


class ObjectOriginals:
    """Originals of all tenants; the tenant is the first part of every key."""

    def __init__(self, objects: ObstoreObjects, orphans: Orphans) -> None:
        self._objects = objects
        self._orphans = orphans

    async def wanted(self, scope: Scope, kb_id: UUID, sha256s: Sequence[str]) -> None:
        if sha256s:
            await self._orphans.wanted(scope, kb_id, [_key(scope, kb_id, one) for one in sha256s])

    async def keep(self, scope: Scope, kb_id: UUID, path: Path, sha256: str) -> str:
        key = _key(scope, kb_id, sha256)
        await self._objects.put_file(key, path)
        return key

    async def keep_texts(self, scope: Scope, kb_id: UUID, texts: Mapping[str, str]) -> dict[str, str]:
        keys = {sha256: _key(scope, kb_id, sha256) for sha256 in texts}
        await self._objects.put_all([(keys[sha256], text.encode()) for sha256, text in texts.items()])
        return keys

    async def fetch(self, key: str, path: Path) -> bool:
        return await self._objects.get_file(key, path)

    async def read(self, key: str) -> AsyncGenerator[bytes, None] | None:
        return await self._objects.pieces(key)

    async def held(self, scope: Scope, kb_id: UUID, sha256: str) -> str | None:
        key = _key(scope, kb_id, sha256)
        return key if await self._objects.exists(key) else None

    async def delete(self, keys: Sequence[str]) -> None:
        await self._objects.delete(keys)

    async def clear(self, scope: Scope, kb_id: UUID) -> None:
        await self._objects.clear(f"{scope.tenant_id}/kb/{kb_id}/")


def _key(scope: Scope, kb_id: UUID, sha256: str) -> str:
    return f"{scope.tenant_id}/kb/{kb_id}/{sha256}"
