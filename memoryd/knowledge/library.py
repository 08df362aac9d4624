"""The use cases of documents: read a pinned version, take a document out, get an original back."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from memoryd.access.service import require
from memoryd.errors import NotFound, StoreUnavailable
from memoryd.knowledge.model import LIVE, Chunk, Document, Pin
from memoryd.knowledge.ports import Bases, DocumentReader, Drafts, Originals, Versions
from memoryd.memory.ports import Clock
from retrieval.scope import Action, Scope


@dataclass(frozen=True, slots=True)
class Original:
    """A document's bytes as they came, in pieces."""

    document: Document
    pieces: AsyncGenerator[bytes, None]


class Library:
    """Documents and chunks of one version; ``selector`` is ``live``, a number or a tag."""

    def __init__(
        self,
        bases: Bases,
        versions: Versions,
        drafts: Drafts,
        reader: DocumentReader,
        originals: Originals | None,
        clock: Clock,
    ) -> None:
        self._bases = bases
        self._versions = versions
        self._drafts = drafts
        self._reader = reader
        self._originals = originals
        self._clock = clock

    async def pin(self, scope: Scope, name: str, selector: str = LIVE) -> Pin:
        """Raises ``NotFound``, ``VersionGone``."""
        require(scope, Action.READ)
        return await self._versions.resolve(scope, name, selector)

    async def documents(
        self, scope: Scope, name: str, selector: str, *, after: str | None, limit: int
    ) -> tuple[Pin, list[Document]]:
        """By document id."""
        pin = await self.pin(scope, name, selector)
        return pin, await self._reader.documents(scope, pin, after=after, limit=limit)

    async def document(self, scope: Scope, name: str, selector: str, document_id: str) -> tuple[Pin, Document]:
        """Raises ``NotFound``."""
        pin = await self.pin(scope, name, selector)
        return pin, await self._reader.document(scope, pin, document_id)

    async def chunks(
        self, scope: Scope, name: str, selector: str, document_id: str, *, after: int, limit: int
    ) -> tuple[Pin, list[Chunk]]:
        """In order. Raises ``NotFound``."""
        pin, _ = await self.document(scope, name, selector, document_id)
        return pin, await self._reader.chunks(scope, pin, document_id, after=after, limit=limit)

    async def original(self, scope: Scope, name: str, selector: str, document_id: str) -> Original:
        """Raises ``NotFound``: without the document, or where no original was kept."""
        pin, document = await self.document(scope, name, selector, document_id)
        key = await self._reader.object_key(scope, pin, document_id)
        if key is None:
            raise NotFound("the original of this document was not kept")
        if self._originals is None:
            raise StoreUnavailable("this installation has no object storage: set MEMORYD_OBJECT_STORE")
        pieces = await self._originals.read(key)
        if pieces is None:
            raise NotFound("the original of this document is not there any more")
        return Original(document, pieces)

    async def remove(self, scope: Scope, name: str, document_id: str) -> None:
        """Stage a removal: the next version will not have it. Raises ``NotFound``, and ``Conflict`` where a job has still to come
        to the document: what it brings would be the newer."""
        require(scope, Action.DELETE)
        base = await self._bases.get(scope, name)
        if not await self._drafts.remove(scope, base.kb_id, document_id, self._clock.now()):
            raise NotFound("no such document")

    async def hashes(self, scope: Scope, name: str, ids: Sequence[str]) -> Mapping[str, str | None]:
        """SHA-256 (hex) of the originals that the next version will have, by document id: what need not be sent again. ``None``:
        a job has still to bring or remove it, and one that is ordered now has the last word."""
        require(scope, Action.READ)
        base = await self._bases.get(scope, name)
        return await self._drafts.hashes(scope, base.kb_id, ids)
