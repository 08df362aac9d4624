"""From sections to chunks that can be written: batches, hashes, terms, vectors."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from ingestion.chunk import Chunk, Section
from memoryd.generations.model import Generation
from memoryd.generations.ports import WriteEmbedders
from memoryd.knowledge.model import ReadyChunk, ReadySection
from memoryd.threads import BULK
from retrieval.analysis import Analyzer, Indexed
from retrieval.ports import Lane
from retrieval.scope import Scope

# So many chunks are embedded and written together: some seconds of work, which is what a crash repeats.
_CHUNKS = 64
# So many that are written already are passed over in a second or two, which is when somebody should hear of it.
_PASSED = 1_024
_SHORT_CHARS = 4_096


@dataclass(slots=True)
class Batch:
    """Some sections in order, and their chunks that are not written yet; ``hashes`` are those of the chunks. Of ``last`` it is
    known that nothing comes behind it."""

    sections: list[ReadySection]
    chunks: list[Chunk]
    hashes: list[bytes]
    ready: list[ReadyChunk]
    last: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of the chunks."""
        return sum(one.tokens for one in self.chunks)


async def batched(
    sections: AsyncIterator[Section], *, behind: int, passing: Callable[[], Awaitable[None]]
) -> AsyncIterator[Batch]:
    """Batches of about 64 chunks, without the first ``behind`` chunks of the document: those are written already.

    To pass over these takes long in a long document: ``passing`` is called now and then meanwhile.
    """
    batch = Batch([], [], [], [])
    passed = 0
    async for section in sections:
        chunks = [chunk for chunk in section.chunks if chunk.ordinal >= behind]
        passed += len(section.chunks) - len(chunks)
        if passed >= _PASSED:
            await passing()
            passed = 0
        if not chunks:
            continue
        batch.sections.append(_ready(section))
        for chunk in chunks:
            batch.chunks.append(chunk)
            batch.hashes.append(content_hash(chunk))
            if len(batch.chunks) >= _CHUNKS:
                yield batch
                batch = Batch([], [], [], [])
                if chunk is not chunks[-1]:
                    batch.sections.append(_ready(section))
    if batch.chunks:
        batch.last = True
        yield batch


def content_hash(chunk: Chunk) -> bytes:
    """The address of a chunk's content: SHA-256 of what is embedded."""
    return hashlib.sha256(chunk.content.encode()).digest()


Vectors = Mapping[bytes, NDArray[np.float32]]
"""By the hash of the content; shape ``(dimension,)`` each."""


async def prepared(
    batch: Batch,
    known: Mapping[int, Vectors],
    generations: Sequence[Generation],
    scope: Scope,
    kb_id: UUID,
    embedders: WriteEmbedders,
    analyzer: Analyzer,
) -> Batch:
    """The batch with its chunks ready to be written: embedded for ``generations``, of which the first serves.

    A content that has a vector already is not embedded again, nor twice.
    """
    texts = {digest: chunk.content for digest, chunk in zip(batch.hashes, batch.chunks, strict=True)}
    vectors, indexed = await asyncio.gather(
        asyncio.gather(
            *(
                _vectors(one, texts, known.get(one.number, {}), scope, embedders, needed=one is generations[0])
                for one in generations
            )
        ),
        _indexed(batch.chunks, kb_id, analyzer),
    )
    found = embedders.made(generations, vectors)
    batch.ready = [
        ReadyChunk(
            section=chunk.section,
            ordinal=chunk.ordinal,
            hash=digest,
            prefix=chunk.prefix,
            text=chunk.text,
            kind=chunk.kind,
            start=chunk.start,
            end=chunk.end,
            page_first=chunk.page_first,
            page_last=chunk.page_last,
            tokens=chunk.tokens,
            length=terms.length,
            terms=terms.terms,
            tfs=terms.tfs,
            vectors={number: made[digest] for number, made in found.items()},
        )
        for chunk, digest, terms in zip(batch.chunks, batch.hashes, indexed, strict=True)
    ]
    return batch


async def _vectors(
    generation: Generation, texts: Mapping[bytes, str], known: Vectors, scope: Scope, embedders: WriteEmbedders, *, needed: bool
) -> Vectors | None:
    new = {digest: text for digest, text in texts.items() if digest not in known}
    if not new:
        return known
    made = await embedders.embed(generation, list(new.values()), tenant_id=scope.tenant_id, lane=Lane.BULK, needed=needed)
    return None if made is None else {**known, **dict(zip(new, np.asarray(made), strict=True))}


async def _indexed(chunks: Sequence[Chunk], kb_id: UUID, analyzer: Analyzer) -> list[Indexed]:
    def made() -> list[Indexed]:
        return [analyzer.indexed(kb_id, chunk.content) for chunk in chunks]

    # What is short is analysed as soon as a thread is told of it.
    return made() if sum(len(one.text) for one in chunks) <= _SHORT_CHARS else await BULK.run(made)


def _ready(section: Section) -> ReadySection:
    return ReadySection(
        ordinal=section.ordinal,
        path=section.path,
        text=section.text,
        start=section.start,
        end=section.end,
        page_first=section.page_first,
        page_last=section.page_last,
        tokens=section.tokens,
    )
