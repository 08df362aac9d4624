"""Which files go together in one upload, and what one of them is refused for."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus

from memoryd.client.bases import BASES
from memoryd.client.core import asked, path
from memoryd.client.errors import InvalidRequest, PartUnreadable
from memoryd.client.models import Uploads
from memoryd.client.retries import Retries
from memoryd.client.sources import Hashed, Refused
from memoryd.client.steps import Part, Request, Steps

_MOST_FILES = 100
_MOST_BYTES = 32 * 2**20
# Between the last byte of a file and the answer the service copies it to object storage.
_STORE_S = 900.0


def batches(files: Iterable[Hashed]) -> Iterator[list[Hashed]]:
    """Up to 100 files and 32 MiB a request; a larger file has one of its own."""
    batch: list[Hashed] = []
    room = _MOST_BYTES
    for file in files:
        if batch and (len(batch) == _MOST_FILES or file.size > room):
            yield batch
            batch, room = [], _MOST_BYTES
        batch.append(file)
        room -= file.size
    if batch:
        yield batch


def form(name: str, parts: list[Part]) -> Request:
    """An upload. Sent again it changes nothing: what is kept is named by its content."""
    return Request("POST", path(BASES, name, "uploads"), parts=parts, answer_s=_STORE_S)


def uploaded(name: str, batch: list[Hashed], retries: Retries) -> Steps[tuple[dict[str, str], list[Refused]]]:
    """By document id the SHA-256 of what was kept, which is another than was seen where a file has changed since; and those that
    could not be read any more, or are larger than the service takes."""
    refused: list[Refused] = []
    waiting = [list(batch)]
    kept: dict[str, str] = {}
    while waiting:
        files = waiting.pop()
        try:
            answer = yield from asked(Uploads, form(name, [Part(one.local.open) for one in files]), retries)
        except PartUnreadable as error:
            lost = files.pop(error.part)
            refused.append(Refused(lost.local.document_id, "unreadable", str(error)))
            waiting += [files] if files else []
        except InvalidRequest as error:
            if error.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                raise
            if len(files) == 1:
                refused.append(Refused(files[0].local.document_id, error.code, error.detail))
            else:
                waiting += [[one] for one in files]
        else:
            kept |= {one.local.document_id: it.upload for one, it in zip(files, answer.uploads, strict=True)}
    return kept, refused
