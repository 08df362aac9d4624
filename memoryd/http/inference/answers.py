"""Vectors, scores and errors as each format has them."""

import base64
import json
from collections.abc import Callable, Sequence

from pydantic import JsonValue
from starlette.responses import JSONResponse, Response

from memoryd.errors import ServiceError, Unauthenticated, UnknownModel
from memoryd.http.problems import error_response, sendable
from memoryd.threads import BULK, QUICK
from retrieval.errors import MemorydError
from retrieval.inference.wire import MODEL, RAW, REVISION, SHAPE, shape_of, to_bytes
from retrieval.ports import ModelCard
from retrieval.vectors import Vectors

_INLINE_FLOATS = 4_096
_QUICK_FLOATS = 400_000
_INLINE_CHARACTERS = 100_000


def raw_vectors(vectors: Vectors, card: ModelCard) -> Response:
    """Little-endian float32, row after row; shape, model and revision are headers."""
    headers = {SHAPE: shape_of(vectors), **identity(card)}
    return Response(to_bytes(vectors), headers=headers, media_type=RAW)


async def json_vectors(vectors: Vectors, card: ModelCard, *, own: bool) -> Response:
    """A list of lists as text-embeddings-inference has it, or within memoryd's own object."""

    def written() -> bytes:
        rows = vectors.tolist()
        said: JsonValue = rows
        if own:
            said = {"model": card.name, "revision": card.revision, "dimension": card.dimension, "embeddings": rows}
        return _json(said)

    return Response(await _off_loop(vectors, written), headers=identity(card), media_type="application/json")


async def json_ranking(rows: Sequence[JsonValue], card: ModelCard, *, characters: int) -> Response:
    """text-embeddings-inference's list of scores, with so many ``characters`` of texts in it."""

    def written() -> bytes:
        return _json(list(rows))

    content = written() if characters <= _INLINE_CHARACTERS else await BULK.run(written)
    return Response(content, headers=identity(card), media_type="application/json")


async def openai_vectors(vectors: Vectors, card: ModelCard, *, coded: bool, tokens: int) -> Response:
    """OpenAI's list of embeddings. ``coded``: base64 of the raw floats."""

    def written() -> bytes:
        rows: Sequence[JsonValue] = [base64.b64encode(to_bytes(row)).decode() for row in vectors] if coded else vectors.tolist()
        data: list[JsonValue] = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
        usage: JsonValue = {"prompt_tokens": tokens, "total_tokens": tokens}
        return _json({"object": "list", "data": data, "model": card.name, "usage": usage})

    return Response(await _off_loop(vectors, written), headers=identity(card), media_type="application/json")


def identity(card: ModelCard) -> dict[str, str]:
    """Headers that say which model an answer is of."""
    return {MODEL: card.name, REVISION: card.revision}


def openai_error(request_id: str, error: MemorydError) -> Response:
    """OpenAI's shape, with the statuses that its clients know: 400 for what is wrong with a request."""
    problem = error_response(request_id, error)
    status = 400 if problem.status_code == 422 else problem.status_code
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    code = error.code
    if isinstance(error, Unauthenticated):
        code = "invalid_api_key"
    elif isinstance(error, UnknownModel):
        code = "model_not_found"
    message = sendable(str(error))
    param = message.partition(":")[0] if isinstance(error, ServiceError) and status == 400 and ":" in message else None
    body = {"error": {"message": message or problem.status_code, "type": kind, "param": param, "code": code}}
    kept = {name: problem.headers[name] for name in ("retry-after", "www-authenticate") if name in problem.headers}
    return JSONResponse(body, status, kept)


def _json(value: JsonValue) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


async def _off_loop(vectors: Vectors, written: Callable[[], bytes]) -> bytes:
    """A number takes half a microsecond to write: beyond some thousand the event loop is not the place."""
    if vectors.size <= _INLINE_FLOATS:
        return written()
    return await (QUICK if vectors.size <= _QUICK_FLOATS else BULK).run(written)
