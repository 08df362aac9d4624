"""Operations that read the documents of a version."""

import hashlib
import re
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from memoryd.client.bases import BASES
from memoryd.client.core import asked, paged, path, streamed
from memoryd.client.errors import Unreachable
from memoryd.client.models import Chunk, ChunkPage, Document, DocumentPage
from memoryd.client.operation import Iteration, Operation, Operations
from memoryd.client.steps import Flow, Lost, Request, Steps, done, read

_ATTEMPTS = 3
_SHA256 = re.compile("[0-9a-f]{64}")


class DocumentOperations(Operations):
    """A version is given by its number, by a tag, or as ``live``; a listing keeps to the version that it began with."""

    @Iteration
    def documents(self, name: str, *, version: int | str = "live") -> Flow[Document]:
        """By id."""
        query = {"version": str(version)}
        where = path(BASES, name, "documents")
        yield from paged(DocumentPage, where, query, self.retries, lambda page: (page.documents, page.next_cursor), _pinned)

    @Operation
    def document(self, name: str, document_id: str, *, version: int | str = "live") -> Steps[Document]:
        """Raises ``NotFound``; ``Gone`` for a version that was collected."""
        where = path(BASES, name, "documents", document_id)
        return (yield from asked(Document, Request("GET", where, query={"version": str(version)}), self.retries))

    @Iteration
    def chunks(self, name: str, document_id: str, *, version: int | str = "live") -> Flow[Chunk]:
        """Chunks of one document, in order."""
        query = {"version": str(version), "document_id": document_id}
        where = path(BASES, name, "chunks")
        yield from paged(ChunkPage, where, query, self.retries, lambda page: (page.chunks, page.next_cursor), _pinned)

    @Operation
    def original(self, name: str, document_id: str, to: Path | str, *, version: int | str = "live") -> Steps[int]:
        """Write the document's bytes as they came to a file; how many. The file appears when all of it is there and its SHA-256
        is right. Raises ``OSError`` of the file, and ``Unreachable`` when the bytes do not arrive whole."""
        request = Request("GET", path(BASES, name, "originals", document_id), query={"version": str(version)})
        for _ in range(_ATTEMPTS):
            size = yield from self._written(request, Path(to))
            if size is not None:
                return size
        raise Unreachable("the original did not arrive whole; try again")

    def _written(self, request: Request, to: Path) -> Steps[int | None]:
        answer = yield from streamed(request, self.retries)
        wanted = answer.headers.get("etag", "").strip('"')
        draft = to.with_name(f".{to.name}.{uuid4().hex}")
        try:
            digest = yield from _received(draft)
            if digest is None or (_SHA256.fullmatch(wanted) and digest != wanted):
                return None
            return (yield from done(lambda: draft.replace(to).stat().st_size))
        finally:
            draft.unlink(missing_ok=True)


def _pinned(page: DocumentPage | ChunkPage) -> dict[str, str]:
    """The next page is of the same version, whatever is live by then."""
    return {"version": str(page.version)}


def _received(draft: Path) -> Steps[str | None]:
    """The SHA-256 of what came; ``None`` when its end did not."""
    digest = hashlib.sha256()
    with (yield from done(lambda: draft.open("xb"))) as file:
        while True:
            piece = yield from read()
            if piece is None:
                return digest.hexdigest()
            if isinstance(piece, Lost):
                return None
            digest.update(piece)
            yield from _put(file, piece)


def _put(file: BinaryIO, piece: bytes) -> Steps[int]:
    return (yield from done(lambda: file.write(piece)))
