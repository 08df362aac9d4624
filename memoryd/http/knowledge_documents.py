"""``/v1/knowledge-bases/{name}``: its documents, and what begins an ingest."""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Path, Query, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import JsonValue, TypeAdapter, ValidationError
from starlette.datastructures import FormData, UploadFile

from memoryd.errors import InvalidRequest
from memoryd.http.caller import Caller, Once, Uses
from memoryd.http.cursors import from_version_cursor, number
from memoryd.http.fields import IdempotencyKey
from memoryd.http.forms import MOST_FILES, charset_of, sent_files
from memoryd.http.job_views import job_out
from memoryd.http.knowledge import Base, Cursor, Knowledge, Limit
from memoryd.http.knowledge_views import chunk_page, disposition, document_out, document_page
from memoryd.http.middleware import BODILESS
from memoryd.http.problems import documented
from memoryd.http.schemas.jobs import JobOut
from memoryd.http.schemas.knowledge import (
    ChunkPage,
    CompareIn,
    CompareOut,
    DocumentId,
    DocumentOut,
    DocumentPage,
    IngestIn,
    Selector,
    UploadedOut,
    UploadsOut,
)
from memoryd.http.streams import Streamed
from memoryd.http.strict import INLINE_BYTES, StrictRoute, parsed
from memoryd.knowledge.uploads import Kept, Wish
from memoryd.memory.model import Idempotency
from memoryd.services import Services
from memoryd.threads import BULK
from retrieval.scope import Scope

router = APIRouter(prefix="/v1/knowledge-bases/{name}", tags=["knowledge"], route_class=StrictRoute)

# In the place of the digest of a file that is not stored yet.
_LATER = "0" * 64
# Of a file's name; its end tells formats apart.
_NAME_CHARS = 256

Version = Annotated[Selector, Query(description="A number, a tag, or `live`")]
DocumentPath = Annotated[DocumentId, Path(description="The caller's own id; it may have slashes")]
Key = Annotated[IdempotencyKey | None, Header(alias="Idempotency-Key", description="The same key never begins a second job")]
_INGEST: TypeAdapter[IngestIn] = TypeAdapter(IngestIn)


def _multipart(**fields: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"file": _FILES, **fields}, "required": ["file"]}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


_FILE = {"type": "string", "format": "binary"}
_FILES = {"type": "array", "minItems": 1, "maxItems": MOST_FILES, "items": _FILE}
_OPTIONS = {
    "type": "string",
    "description": "JSON: `{file name: {document_id, title, uri, metadata}}`, for what should not be taken from the name",
}


@router.get("/documents", responses=documented(404, 410), operation_id="list_documents")
async def documents(
    name: Base, scope: Caller, use: Knowledge, version: Version = "live", limit: Limit = 50, cursor: Cursor = None
) -> DocumentPage:
    """Documents of one version, by id: all pages are of the version that the first was of."""
    version, after = from_version_cursor(version, cursor)
    pin, found = await use.library.documents(scope, name, version, after=after, limit=limit + 1)
    return document_page(pin, found, limit)


@router.get("/documents/{document_id:path}", responses=documented(404, 410), operation_id="get_document")
async def document(
    name: Base, document_id: DocumentPath, scope: Caller, use: Knowledge, version: Version = "live"
) -> DocumentOut:
    """One document as a version has it."""
    _, found = await use.library.document(scope, name, version, document_id)
    return document_out(found)


@router.delete("/documents/{document_id:path}", status_code=204, responses=documented(404, 409), operation_id="remove_document")
async def remove(name: Base, document_id: DocumentPath, scope: Caller, use: Knowledge, once: Once) -> None:
    """Stage a removal: the next version will not have the document. Versions that have it keep it.

    409 while an unfinished job has still to come to the document: let a job remove it, or wait.
    """

    async def work() -> dict[str, Any]:
        await use.library.remove(scope, name, document_id)
        return {}

    await use.once.run(scope, once, work)


@router.get("/chunks", responses=documented(404, 410), operation_id="list_chunks")
async def chunks(
    name: Base,
    scope: Caller,
    use: Knowledge,
    document_id: Annotated[DocumentId, Query()],
    version: Version = "live",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ChunkPage:
    """Chunks of one document, in order, as they were indexed: all pages are of the version that the first was of."""
    version, position = from_version_cursor(version, cursor)
    after = -1 if position is None else number(position)
    pin, found = await use.library.chunks(scope, name, version, document_id, after=after, limit=limit + 1)
    return chunk_page(pin, document_id, found, limit)


@router.get(
    "/originals/{document_id:path}",
    responses=documented(404, 410)
    | {200: {"content": {"application/octet-stream": {"schema": _FILE}}, "description": "The bytes as they came"}},
    response_class=StreamingResponse,
    operation_id="get_original",
)
async def original(
    name: Base, document_id: DocumentPath, request: Request, scope: Caller, use: Knowledge, version: Version = "live"
) -> Response:
    """The document's bytes as they came: always a download, never rendered."""
    found = await use.library.original(scope, name, version, document_id)
    headers = {
        "Content-Disposition": disposition(document_id.rsplit("/", 1)[-1] or "document"),
        "X-Content-Type-Options": "nosniff",
        "Content-Length": str(found.document.size),
        "ETag": f'"{found.document.content_hash}"',
    }
    if BODILESS in request.scope["state"]:
        return Response(media_type="application/octet-stream", headers=headers)
    return Streamed(found.pieces, found.pieces, media_type="application/octet-stream", headers=headers)


@router.post("/compare", responses=documented(404), operation_id="compare_documents")
async def compare(name: Base, body: CompareIn, scope: Caller, use: Knowledge) -> CompareOut:
    """Which of the caller's documents need to be sent: compared by SHA-256 with what the next version will have. What
    an unfinished job has still to bring or remove counts as changed."""
    known = await use.library.hashes(scope, name, list(body.documents))
    given = body.documents
    return CompareOut(
        unchanged=[one for one, digest in given.items() if known.get(one) == digest],
        changed=[one for one, digest in given.items() if one in known and known[one] != digest],
        new=[one for one in given if one not in known],
    )


@router.post(
    "/uploads",
    status_code=201,
    responses=documented(404, 413),
    openapi_extra=_multipart(),
    operation_id="upload_files",
)
async def upload(name: Base, request: Request, scope: Caller, use: Knowledge) -> UploadsOut:
    """Keep files, to be named by their SHA-256 in one job: up to 100 in a request. Sending one again changes nothing."""
    base = await use.uploads.writable(scope, name)
    async with sent_files(request, fields=()) as (files, _):
        kept = [await use.uploads.keep(scope, base, one.file) for one in files]
    return UploadsOut(uploads=[_uploaded(one, file) for one, file in zip(kept, files, strict=True)])


@router.post(
    "/documents",
    status_code=202,
    responses=documented(404, 409, 413),
    openapi_extra=_multipart(options=_OPTIONS, publish={"type": "string", "enum": ["true", "false"]}, note={"type": "string"}),
    operation_id="ingest_files",
)
async def ingest_files(name: Base, request: Request, scope: Caller, use: Uses, key: Key = None) -> JobOut:
    """Upload up to 100 files and begin a job that ingests them. A document's id is its file's name unless `options` says else."""
    base = await use.knowledge.uploads.writable(scope, name)
    async with sent_files(request, fields=("options", "publish", "note")) as (files, form):
        large = len(str(form.get("options"))) > INLINE_BYTES
        asked = await BULK.run(_asked, files, form) if large else _asked(files, form)
        kept = [await use.knowledge.uploads.keep(scope, base, one.file) for one in files]
    documents = [wish.model_copy(update={"upload": one.sha256}) for wish, one in zip(asked.documents, kept, strict=True)]
    body = asked.model_copy(update={"documents": documents})
    digest = hashlib.sha256(f"{request.scope['path']}\n{body.model_dump_json()}".encode()).digest()
    once = None if key is None else Idempotency(key, digest)
    return await _ordered(scope, use, name, body, once, [charset_of(one) for one in files])


@router.post("/jobs", status_code=202, responses=documented(404, 409), operation_id="ingest")
async def ingest(name: Base, body: IngestIn, scope: Caller, use: Uses, once: Once) -> JobOut:
    """Begin a job: texts, uploads and URLs to ingest, and documents to take out. It writes to the draft; nothing is live before
    a publish."""
    return await _ordered(scope, use, name, body, once, repeat(None))


async def _ordered(
    scope: Scope, use: Services, name: str, body: IngestIn, once: Idempotency | None, charsets: Iterable[str | None]
) -> JobOut:
    wishes = [
        Wish(one.document_id, one.text, one.upload, one.url, one.file_name, one.title, one.uri, dict(one.metadata), charset)
        for one, charset in zip(body.documents, charsets, strict=False)
    ]
    job = await use.knowledge.orders.order(scope, name, wishes, body.remove, publish=body.publish, note=body.note, once=once)
    return job_out(job)


def _uploaded(kept: Kept, file: UploadFile) -> UploadedOut:
    return UploadedOut(upload=kept.sha256, file_name=file.filename, bytes=kept.size)


def _asked(files: Sequence[UploadFile], form: FormData) -> IngestIn:
    """The same as the body of ``/jobs``, but for the uploads."""
    options = _options(form)
    names = {file.filename for file in files}
    if foreign := set(options) - names:
        raise InvalidRequest(f"options: there is no file named {sorted(foreign)[0][:100]}")
    if {"text", "upload", "url"} & {key for one in options.values() for key in one}:
        raise InvalidRequest("options: the file is the source")
    publish = str(form.get("publish") or "false")
    if publish not in {"true", "false"}:
        raise InvalidRequest("publish: must be true or false")
    named = [file.filename or "" for file in files]
    documents = [
        {"document_id": name, "file_name": name[-_NAME_CHARS:] or None, **options.get(name, {}), "upload": _LATER}
        for name in named
    ]
    body = {"documents": documents, "publish": publish == "true"}
    return _checked(body | ({"note": form["note"]} if "note" in form else {}))


def _options(form: FormData) -> dict[str, dict[str, JsonValue]]:
    """What is said of each file, by its name. Raises ``InvalidRequest``."""
    try:
        given = parsed(str(form.get("options") or "{}").encode())
    except HTTPException as error:
        raise InvalidRequest("options: must be JSON that can be read in one way") from error
    options = {name: one for name, one in given.items() if isinstance(one, dict)} if isinstance(given, dict) else {}
    if not isinstance(given, dict) or len(options) < len(given):
        raise InvalidRequest("options: must be an object of objects")
    return options


def _checked(body: dict[str, Any]) -> IngestIn:
    try:
        return _INGEST.validate_python(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InvalidRequest(": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))) from error
