"""What the use cases of knowledge bases need of the stores. Every method takes the scope first."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from memoryd.knowledge.model import (
    BaseChange,
    Chunk,
    Collected,
    Diff,
    Document,
    KnowledgeBase,
    NewDocument,
    Overtaken,
    Pin,
    Read,
    ReadyChunk,
    ReadySection,
    Staging,
    Version,
    Written,
)
from retrieval.scope import Scope


class Bases(Protocol):
    """The knowledge bases of a tenant. Those of spaces that the key is not for are as if they were not there."""

    async def create(self, scope: Scope, base: KnowledgeBase) -> None:
        """Raises ``AlreadyExists``."""

    async def get(self, scope: Scope, name: str) -> KnowledgeBase:
        """Raises ``NotFound``."""

    async def page(self, scope: Scope, *, after: str | None, limit: int) -> list[KnowledgeBase]:
        """By name, those after ``after``."""

    async def update(self, scope: Scope, name: str, change: BaseChange, now: datetime) -> KnowledgeBase:
        """As it is then; another change made meanwhile stands, where it was of other fields or settings. Raises ``NotFound``, and
        ``InvalidRequest`` for settings that do not go together with those that stay."""

    async def to_delete(self, scope: Scope, name: str) -> UUID:
        """The id, also of one whose deletion was begun. Raises ``NotFound``."""

    async def interrupted(self, scope: Scope, *, quiet_s: float) -> list[UUID]:
        """Those whose deletion was begun, and last gone on with so long ago."""

    async def delete(self, scope: Scope, kb_id: UUID, *, emptied: Callable[[], Awaitable[None]] | None = None) -> list[str]:
        """Everything of it, in every version; the keys of its originals in object storage. Deleting twice is no error.

        From its beginning on the knowledge base is as if it was not there, but for its name. Interrupted, it keeps that until
        it is deleted again. ``emptied`` is awaited when nothing but the name is left: what has to be gone before the name is,
        for nobody would find it then.
        """


class Drafts(Protocol):
    """Staging changes into the draft, which is begun by the first of them. Nothing staged can be read before it is published."""

    async def begin(
        self, scope: Scope, kb_id: UUID, document: NewDocument, now: datetime, *, by: UUID | None = None
    ) -> Staging | Overtaken | None:
        """Begin to write a document, or go on with what an earlier attempt at the same content wrote.

        ``None``: the draft has exactly this document already (content and settings are the same), or has it again as it was
        before the draft changed it; nothing is to be done but for the title, URI and metadata, which were updated in the draft
        (those that are ``None`` stay). A title that is in the chunks' prefixes belongs into ``settings_hash``.

        ``by``, the job that brings it: ``Overtaken`` where one that was ordered later has brought or removed it, and ``NotYet``
        is raised while such a one is at it, or one that was ordered earlier writes the same.
        Raises ``NotFound`` without the knowledge base, ``Collision`` while the draft is being discarded or published.
        """

    async def overtaken(self, scope: Scope, kb_id: UUID, document_id: str, now: datetime, *, by: UUID) -> Overtaken | None:
        """What ``begin`` would say now of a document that ``by`` brings, whatever it is. Raises ``NotYet``, also while a job that
        was ordered earlier is at it: that may be the same."""

    async def known(
        self, scope: Scope, generations: Collection[int], hashes: Sequence[bytes]
    ) -> Mapping[int, Mapping[bytes, NDArray[np.float32]]]:
        """Vectors that chunks of this tenant with these contents have already, by generation; shape ``(dimension,)`` each."""

    async def add(
        self, scope: Scope, staging: Staging, sections: Sequence[ReadySection], chunks: Sequence[ReadyChunk]
    ) -> Staging:
        """Write a batch, all or none; the staging with the new count. Sections that are there already are left as they are.

        Raises ``Conflict`` when the draft is gone (published or discarded meanwhile), or another attempt writes the same, and
        ``GenerationsChanged`` when chunks have no vectors for a generation that is there by now.
        """

    async def finish(
        self,
        scope: Scope,
        staging: Staging,
        read: Read,
        now: datetime,
        *,
        sections: Sequence[ReadySection] = (),
        chunks: Sequence[ReadyChunk] = (),
    ) -> int:
        """The document is whole, with these, which are written first as ``add`` does: it takes the place of its former revision
        in the draft. The tokens of all its chunks. Raises as ``add``.
        """

    async def written(self, scope: Scope, kb_id: UUID, document_id: str, since: datetime) -> Written | None:
        """What was written of a document into the draft since then; ``None``: it has it from before, or has it not."""

    async def remove(
        self, scope: Scope, kb_id: UUID, document_id: str, now: datetime, *, by: UUID | None = None
    ) -> bool | Overtaken:
        """Stage a removal; false when the draft has no such document, which begins none. What is being written of it is gone too.

        ``by``, the job that asks: as for ``begin``. Without one it is ordered now, and ``Conflict`` is raised where a job has
        still to come to the document. Raises ``Collision`` as ``begin``.
        """

    async def removed(self, scope: Scope, kb_id: UUID, document_id: str) -> bool:
        """Whether the draft has not got a document because it takes it out: it was in the version that the draft is based on.
        Asked of one that it has not got."""

    async def discard(self, scope: Scope, kb_id: UUID, *, unchanged_by: UUID | None = None) -> bool:
        """Drop the draft with all that was staged; false when there is none. Raises ``NotFound``.

        ``unchanged_by``, a job: only one that adds, removes and changes no document, else false; nothing can slip in between.
        Raises ``NotYet`` and ``Conflict`` for it as ``publish`` does.
        Interrupted, the draft takes nothing more until this is asked again or garbage is collected.
        """

    async def hashes(self, scope: Scope, kb_id: UUID, document_ids: Sequence[str]) -> Mapping[str, str | None]:
        """SHA-256 (hex) of the originals, by document id, of those that the draft, or without one the live version, has; ``None``
        of those that a job has still to bring or remove."""


class Versions(Protocol):
    """Publishing, and moving the pointer."""

    async def resolve(self, scope: Scope, name: str, selector: str) -> Pin:
        """``selector``: ``live``, a number, or a tag. Raises ``NotFound`` and for a collected version ``VersionGone``."""

    async def page(self, scope: Scope, kb_id: UUID, *, before: int | None, limit: int) -> list[Version]:
        """Newest first, the draft among them."""

    async def publish(self, scope: Scope, kb_id: UUID, *, note: str | None, now: datetime, job_id: UUID | None = None) -> Version:
        """Verify the draft in every index, make it the next version, and move the pointer to it by compare-and-swap.

        ``job_id``, the job that does it: raises ``NotYet`` while other jobs are half way with what they write to the draft, and
        ``Conflict`` where one of them is paused.
        Raises ``Conflict``: there is no draft, another publish is under way, or what was live when the draft was begun is not
        live any more; ``StoreUnavailable`` when verification finds rows missing or changed.
        """

    async def rollback(self, scope: Scope, kb_id: UUID, seq: int, now: datetime) -> Version:
        """Make a published version live. Moves one pointer. Raises ``NotFound``, ``VersionGone``."""

    async def tag(self, scope: Scope, kb_id: UUID, tag: str, seq: int | None, now: datetime) -> None:
        """Name a published version, or with ``None`` remove the name. Raises ``NotFound``, ``VersionGone``."""

    async def diff(self, scope: Scope, kb_id: UUID, before: int, after: int, *, cursor: str | None, limit: int) -> Diff:
        """``before`` 0 is the empty version; either may be the draft's number. Changes after document id ``cursor``."""

    async def collect(
        self, scope: Scope, kb_id: UUID, *, now: datetime, grace_s: float, erase: Callable[[Sequence[str]], Awaitable[None]]
    ) -> Collected:
        """Give up the versions beyond the retention that are neither live nor tagged nor the base of the draft, and delete
        the rows of those given up for more than ``grace_s`` (nobody who pinned one is still reading).

        ``erase``: objects that nothing has named for an hour. Those that it fails of are given to it again in a later round.
        """


class DocumentReader(Protocol):
    """Reading a pinned version."""

    async def documents(self, scope: Scope, pin: Pin, *, after: str | None, limit: int) -> list[Document]:
        """By document id."""

    async def document(self, scope: Scope, pin: Pin, document_id: str) -> Document:
        """Raises ``NotFound``."""

    async def chunks(self, scope: Scope, pin: Pin, document_id: str, *, after: int, limit: int) -> list[Chunk]:
        """In order, those with an ordinal above ``after``."""

    async def section(self, scope: Scope, pin: Pin, chunk_id: UUID) -> tuple[Chunk, ReadySection, Document]:
        """A chunk with the section it is of. Raises ``NotFound``."""

    async def object_key(self, scope: Scope, pin: Pin, document_id: str) -> str | None:
        """Where its original lies. Raises ``NotFound``."""


class ActiveJobs(Protocol):
    """The jobs of a knowledge base."""

    async def active(self, scope: Scope, kb_id: UUID) -> int:
        """How many are queued, running or paused."""


class Originals(Protocol):
    """Documents as they came, in object storage, addressed by their content. Raises ``StoreUnavailable``."""

    async def wanted(self, scope: Scope, kb_id: UUID, sha256s: Sequence[str]) -> None:
        """Said of contents before they are kept or held: garbage collection then erases none of them, and whatever it was just
        erasing is gone when this returns."""

    async def keep(self, scope: Scope, kb_id: UUID, path: Path, sha256: str) -> str:
        """Store a file; its key. Storing the same again is no error, and nothing is read into memory whole."""

    async def keep_texts(self, scope: Scope, kb_id: UUID, texts: Mapping[str, str]) -> Mapping[str, str]:
        """The same for a few texts by their digests, one after the other; the key of each."""

    async def fetch(self, key: str, path: Path) -> bool:
        """Copy an object into a file; false when there is none."""

    async def read(self, key: str) -> AsyncGenerator[bytes, None] | None:
        """In pieces; ``None`` when there is none."""

    async def held(self, scope: Scope, kb_id: UUID, sha256: str) -> str | None:
        """The key of an original that is kept already."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Those that are not there are gone already."""

    async def clear(self, scope: Scope, kb_id: UUID) -> None:
        """Everything of one knowledge base."""
