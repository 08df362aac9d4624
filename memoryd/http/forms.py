"""Forms with files (``multipart/form-data``), spooled to disk while they come in."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from fastapi import HTTPException, Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from memoryd.errors import InvalidRequest, PayloadTooLarge, StoreUnavailable

MOST_FILES = 100
_MOST_FIELDS = 10
_FIELD_BYTES = 2 * 2**20
_CHARSET_CHARS = 40
# How the parser's messages begin where it is not the form that is broken.
_TOO_MUCH = ("Too many ", "Part exceeded ")


@asynccontextmanager
async def sent_files(request: Request, *, fields: Sequence[str]) -> AsyncIterator[tuple[list[UploadFile], FormData]]:
    """The files of a form, spooled to disk while they come in; closed (and gone) at the end. Raises for another kind of body."""
    kind, parameters = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise HTTPException(415, "send multipart/form-data with one or more parts named file")
    # Some of Python's codecs take hours for a megabyte, and others raise what nobody expects.
    if parameters.get(b"charset", b"utf-8").lower() not in {b"utf-8", b"utf8"}:
        raise HTTPException(415, "the names and texts of a form must be UTF-8")
    try:
        async with aclosing(request.stream()) as pieces:
            form = await _Whole(request.headers, pieces).parse()
        try:
            yield _found(form, fields), form
        finally:
            await form.close()
    except MultiPartException as error:
        if error.message.startswith(_TOO_MUCH):
            raise PayloadTooLarge(f"{error.message.rstrip('.')}: send it in several forms, or by `uploads`") from error
        raise HTTPException(400, f"the form cannot be read: {error.message}") from error
    except OSError as error:
        raise StoreUnavailable("there is no room on disk for what was sent, or it cannot be written") from error


class _Whole(MultiPartParser):
    """One that breaks off is an error, not a form of the files that came by then."""

    def __init__(self, headers: Headers, pieces: AsyncGenerator[bytes, None]) -> None:
        limits = {"max_files": MOST_FILES, "max_fields": _MOST_FIELDS, "max_part_size": _FIELD_BYTES}
        super().__init__(headers, self._read(pieces), **limits)
        self._ended = False

    def on_end(self) -> None:
        """The last boundary."""
        self._ended = True

    async def _read(self, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        async for piece in pieces:
            yield piece
        if not self._ended:
            raise MultiPartException("it breaks off")


def charset_of(file: UploadFile) -> str | None:
    """What the part's type says of its encoding."""
    _, parameters = parse_options_header(file.content_type)
    said = parameters.get(b"charset", b"")[:_CHARSET_CHARS].decode("latin-1")
    return said if said.isascii() and said.isprintable() and said else None


def _found(form: FormData, fields: Sequence[str]) -> list[UploadFile]:
    """The files. Raises ``InvalidRequest`` for what is in the form besides them and ``fields``."""
    files = [one for one in form.getlist("file") if isinstance(one, UploadFile)]
    unknown = {key for key in form if key != "file" and key not in fields}
    if unknown or len(files) < len(form.getlist("file")):
        raise InvalidRequest(f"the form takes files named file{', and ' if fields else ''}{', '.join(fields)}")
    if not files:
        raise InvalidRequest("file: send at least one")
    if any(len(form.getlist(key)) > 1 or not isinstance(form.get(key, ""), str) for key in fields):
        raise InvalidRequest(f"{', '.join(fields)}: text, and once each")
    return files
