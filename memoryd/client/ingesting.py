"""Operations that change the draft of a knowledge base, a step at a time: compare, upload, order a job."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue

from memoryd.client.bases import BASES, BaseOperations
from memoryd.client.core import answered, asked, path, present, writing
from memoryd.client.documents import DocumentOperations
from memoryd.client.errors import SourceUnreadable
from memoryd.client.job_models import Job
from memoryd.client.models import Comparison, Document, DocumentChange, Uploaded, Uploads
from memoryd.client.operation import Operation
from memoryd.client.sources import Hashed, Local, hashed
from memoryd.client.steps import Part, Request, Steps, done, each
from memoryd.client.uploads import batches, form

T = TypeVar("T")

# Ids of 500 characters of four bytes each, with their digests, in a body of 16 MiB.
_COMPARED = 5_000


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document for a job: one of ``text``, ``upload`` (the SHA-256 of an uploaded file) and ``url`` says where it is."""

    document_id: str
    text: str | None = None
    upload: str | None = None
    url: str | None = None
    file_name: str | None = None
    title: str | None = None
    uri: str | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)

    def body(self) -> dict[str, JsonValue]:
        """As it is sent."""
        return {
            "document_id": self.document_id,
            **present({name: getattr(self, name) for name in ("text", "upload", "url", "file_name", "title", "uri")}),
            **({"metadata": dict(self.metadata)} if self.metadata else {}),
        }


class IngestOperations(BaseOperations, DocumentOperations):
    """What is ingested or removed goes into the draft: nobody reads it before a publish."""

    @Operation
    def remove(self, name: str, document_id: str, *, key: str | None = None) -> Steps[None]:
        """Stage a removal. Raises ``NotFound``."""
        yield from answered(writing("DELETE", path(BASES, name, "documents", document_id), key=key), self.retries)

    @Operation
    def compare(self, name: str, documents: Mapping[str, str]) -> Steps[Comparison]:
        """``documents``: SHA-256 in hexadecimal by document id. What the next version has, has otherwise, and does not have.
        What a job has still to bring or remove counts as had otherwise."""
        found = Comparison(unchanged=[], changed=[], new=[])
        for some in pages(documents.items(), _COMPARED):
            page = yield from asked(
                Comparison, Request("POST", path(BASES, name, "compare"), body={"documents": dict(some)}), self.retries
            )
            found.unchanged.extend(page.unchanged)
            found.changed.extend(page.changed)
            found.new.extend(page.new)
        return found

    @Operation
    def upload(self, name: str, files: Sequence[Path | str]) -> Steps[list[Uploaded]]:
        """Keep files, to be named in a job by their SHA-256; in order. They are streamed, several in a request.

        Raises ``SourceUnreadable``, ``PartUnreadable``; ``InvalidRequest`` for one that is too large.
        """
        found: list[Uploaded] = []
        read: list[Hashed] = []
        for file in files:
            one = yield from _read(Path(file))
            read.append(one)
        for batch in batches(read):
            answer = yield from asked(Uploads, form(name, [Part(one.local.open) for one in batch]), self.retries)
            found += answer.uploads
        return found

    @Operation
    def ingest(
        self,
        name: str,
        documents: Sequence[NewDocument] = (),
        *,
        remove: Sequence[str] = (),
        publish: bool = False,
        note: str | None = None,
        key: str | None = None,
    ) -> Steps[Job]:
        """Begin one job of at most 10,000 documents and removals. ``publish``: when it is through and no document failed."""
        body: dict[str, JsonValue] = {"publish": publish} | ({} if note is None else {"note": note})
        body["documents"] = [one.body() for one in documents]
        body["remove"] = list(remove)
        return (yield from asked(Job, writing("POST", path(BASES, name, "jobs"), body, key=key), self.retries))

    @Operation
    def next_ids(self, name: str, prefix: str = "") -> Steps[set[str]]:
        """Ids below ``prefix`` of the documents that the next version will have: those of the live one, and of the draft."""
        base = yield from BaseOperations.get.steps(self, name)
        draft = yield from BaseOperations.draft.steps(self, name)
        below = base.live if draft is None else draft.base
        ids: set[str] = set()

        def there(one: Document) -> bool:
            ids.add(one.document_id)
            return False

        def changed(one: DocumentChange) -> bool:
            (ids.discard if one.change == "removed" else ids.add)(one.document_id)
            return False

        if below:
            yield from each(DocumentOperations.documents.flow(self, name, version=below), there)
        if draft is not None:
            yield from each(BaseOperations.changes.flow(self, name), changed)
        return {one for one in ids if one.startswith(prefix)}


def pages(items: Iterable[T], most: int) -> Iterator[list[T]]:
    """Lists of up to ``most``."""
    left = iter(items)
    while some := list(islice(left, most)):
        yield some


def _read(file: Path) -> Steps[Hashed]:
    found = yield from done(lambda: hashed(Local(file.name, file.name, lambda: file.open("rb"))))
    if isinstance(found, Hashed):
        return found
    raise SourceUnreadable(found.detail)
