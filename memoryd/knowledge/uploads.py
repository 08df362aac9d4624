"""The use cases that begin an ingest: keep files, and order jobs."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from memoryd.access.service import require
from memoryd.errors import InvalidRequest, StoreUnavailable
from memoryd.knowledge.folders import Purpose, Scratch
from memoryd.knowledge.model import KnowledgeBase
from memoryd.knowledge.ports import Bases, Originals
from memoryd.threads import BULK
from retrieval.filters import JsonValue
from retrieval.scope import Action, Scope

_PIECE_BYTES = 2**20
_AT_ONCE, _TEXTS = 8, 16


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that is in object storage."""

    sha256: str
    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Wish:
    """A document to ingest: its text, the digest of an upload, or a URL. ``charset`` is what came with an upload."""

    document_id: str
    text: str | None
    upload: str | None
    url: str | None
    file_name: str | None
    title: str | None
    uri: str | None
    metadata: dict[str, JsonValue]
    charset: str | None = None


class Uploads:
    """Keeps what documents are made from, so that a job's payload only names it."""

    def __init__(self, bases: Bases, originals: Originals | None, *, urls: bool) -> None:
        self._bases = bases
        self._originals = originals
        self._urls = urls
        self._scratch = Scratch(Purpose.UPLOAD)

    async def writable(self, scope: Scope, name: str) -> KnowledgeBase:
        """The knowledge base, to be asked for before a large body is read. Raises ``Forbidden``, ``NotFound``."""
        require(scope, Action.WRITE)
        return await self._bases.get(scope, name)

    async def keep(self, scope: Scope, base: KnowledgeBase, file: BinaryIO) -> Kept:
        """Store an uploaded file, piece by piece. Raises ``StoreUnavailable``."""
        originals = self._store()
        async with self._scratch.file() as path:
            with path.open("wb") as target:
                digest, size = await BULK.run(_copied, file, target)
            await originals.wanted(scope, base.kb_id, [digest])
            key = await originals.keep(scope, base.kb_id, path, digest)
        return Kept(digest, key, size)

    async def sources(self, scope: Scope, base: KnowledgeBase, wishes: Sequence[Wish]) -> list[dict[str, JsonValue]]:
        """What a job is told of each document. Texts are stored like files. Raises ``InvalidRequest`` for an unknown upload."""
        if any(one.url is not None for one in wishes) and not self._urls:
            raise InvalidRequest("url: this installation does not fetch documents (MEMORYD_FETCH_URLS)")
        digests = await BULK.run(_digests, wishes)
        if named := sorted({one for one in digests if one is not None}):
            await self._store().wanted(scope, base.kb_id, named)
        keys = await self._keys(scope, base, wishes, digests)
        return [
            {
                "key": None if digest is None else keys[digest],
                "url": wish.url,
                "file_name": wish.file_name or (wish.document_id if wish.text is None else None),
                "charset": wish.charset,
                "text": wish.text is not None,
                "title": wish.title,
                "uri": wish.uri or wish.url,
                "metadata": wish.metadata,
            }
            for wish, digest in zip(wishes, digests, strict=True)
        ]

    async def _keys(
        self, scope: Scope, base: KnowledgeBase, wishes: Sequence[Wish], digests: Sequence[str | None]
    ) -> dict[str, str]:
        """By digest, of texts, which are stored, and of uploads."""
        turns = asyncio.Semaphore(_AT_ONCE)
        named = [(digest, wish.text) for wish, digest in zip(wishes, digests, strict=True) if digest is not None]
        texts = {digest: text for digest, text in named if text is not None}
        uploads = {digest for digest, _ in named} - texts.keys()
        keys: dict[str, str] = {}

        async def keep(some: Sequence[str]) -> None:
            async with turns:
                keys.update(await self._store().keep_texts(scope, base.kb_id, {one: texts[one] for one in some}))

        async def find(digest: str) -> None:
            async with turns:
                key = await self._store().held(scope, base.kb_id, digest)
            if key is None:
                raise InvalidRequest(f"upload: {digest} was not uploaded to this knowledge base")
            keys[digest] = key

        every = list(texts)
        slices = [every[at : at + _TEXTS] for at in range(0, len(every), _TEXTS)]
        await asyncio.gather(*map(keep, slices), *map(find, uploads))
        return keys

    def _store(self) -> Originals:
        if self._originals is None:
            raise StoreUnavailable("this installation has no object storage: set MEMORYD_OBJECT_STORE")
        return self._originals


def _digests(wishes: Sequence[Wish]) -> list[str | None]:
    return [one.upload if one.text is None else hashlib.sha256(one.text.encode()).hexdigest() for one in wishes]


def _copied(file: BinaryIO, target: BinaryIO) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
        size += len(piece)
        target.write(piece)
    return digest.hexdigest(), size
