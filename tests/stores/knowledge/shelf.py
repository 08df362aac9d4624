"""A tenant with a knowledge base whose documents are lists of lines: a chunk a line, two chunks a section and a batch."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

from ingestion.chunk import Chunking
from memoryd.access.tenants import TenantService
from memoryd.clock import SystemClock
from memoryd.ids import uuid7
from memoryd.knowledge.model import (
    BaseChange,
    Collected,
    KnowledgeBase,
    NewDocument,
    Overtaken,
    Pin,
    Read,
    ReadyChunk,
    ReadySection,
    Staging,
    Version,
)
from memoryd.stores.database import Database
from memoryd.stores.generations import Generation
from memoryd.stores.knowledge.bases import PgBases
from memoryd.stores.knowledge.documents import PgDocuments
from memoryd.stores.knowledge.drafts import PgDrafts
from memoryd.stores.knowledge.versions import PgVersions
from memoryd.stores.tenants import PgTenants
from retrieval.analysis import Analyzer
from retrieval.scope import Action, Scope

PART = 2
TITLE = "On things"
PREFIX = f"{TITLE} > Section\n"
START = datetime(2026, 1, 1, tzinfo=UTC)
_VISIBLE = "from_seq <= %(seq)s AND (to_seq IS NULL OR to_seq > %(seq)s)"
_IN = "tenant_id = %(tenant)s AND kb_id = %(kb)s AND " + _VISIBLE
_CHUNKS = "SELECT pid, text FROM kb_chunks WHERE visible".replace("visible", _IN)
_VECTORS = """
SELECT pid, halfvec_send(embedding) FROM kb_vectors WHERE visible AND generation = %(generation)s
""".replace("visible", _IN)
_POSTINGS = """
SELECT pid, term, tf, length FROM kb_postings WHERE tenant_id = %(tenant)s AND pid = ANY(%(pids)s) AND visible
""".replace("visible", _VISIBLE)
_ROWS = "SELECT * FROM {} WHERE tenant_id = %(tenant)s ORDER BY {}"


@dataclass
class Shelf:
    """One knowledge base of one tenant. Its clock goes on by a second with every reading."""

    database: Database
    generation: Generation
    scope: Scope
    base: KnowledgeBase
    bases: PgBases
    drafts: PgDrafts
    versions: PgVersions
    reader: PgDocuments
    ticks: int = field(default=0)

    @property
    def kb(self) -> UUID:
        return self.base.kb_id

    def now(self) -> datetime:
        self.ticks += 1
        return START + timedelta(seconds=self.ticks)

    def new(self, document_id: str, lines: Sequence[str], **said: object) -> NewDocument:
        return document(document_id, lines, **said)

    async def begin(self, document_id: str, lines: Sequence[str], **said: object) -> Staging | None:
        begun = await self.drafts.begin(self.scope, self.kb, document(document_id, lines, **said), self.now())
        assert not isinstance(begun, Overtaken)
        return begun

    async def part(self, staging: Staging, lines: Sequence[str]) -> Staging:
        """The next batch: a section with its chunks."""
        return await self.drafts.add(self.scope, staging, *self.batch(staging.stored, lines))

    def batch(self, start: int, lines: Sequence[str]) -> tuple[list[ReadySection], list[ReadyChunk]]:
        section, some = start // PART, lines[start : start + PART]
        text = "\n".join(some)
        sections = [ReadySection(section, (TITLE, f"Section {section}"), text, 0, len(text), 1, 1, len(text))]
        return sections, [self.chunk(start + n, section, line) for n, line in enumerate(some)]

    def chunk(self, ordinal: int, section: int, line: str) -> ReadyChunk:
        content = digest(PREFIX + line)
        said = words(line)
        return ReadyChunk(
            section=section,
            ordinal=ordinal,
            hash=content,
            prefix=PREFIX,
            text=line,
            kind="text",
            start=0,
            end=len(line),
            page_first=1,
            page_last=1,
            tokens=len(line),
            length=said.total(),
            terms=np.array([self.term(word) for word in said], dtype=np.int64),
            tfs=np.array(list(said.values()), dtype=np.int16),
            vectors={self.generation.number: vector(content, self.generation.dimension)},
        )

    def term(self, word: str) -> int:
        return Analyzer.term_id(self.kb.bytes, word)

    async def finish(self, staging: Staging, lines: Sequence[str] = ()) -> None:
        """The document is whole, with the batch of ``lines`` that is not written yet, if there is one."""
        sections, chunks = self.batch(staging.stored, lines) if staging.stored < len(lines) else ([], [])
        read = Read(TITLE, "text/plain", 1, 100, ("odd",))
        await self.drafts.finish(self.scope, staging, read, self.now(), sections=sections, chunks=chunks)

    async def stage(self, document_id: str, lines: Sequence[str], **said: object) -> bool:
        """Write a document from where it stands to its end; false when there was nothing to do."""
        staging = await self.begin(document_id, lines, **said)
        if staging is None:
            return False
        while len(lines) - staging.stored > PART:
            staging = await self.part(staging, lines)
        await self.finish(staging, lines)
        return True

    async def remove(self, document_id: str) -> bool:
        removed = await self.drafts.remove(self.scope, self.kb, document_id, self.now())
        assert isinstance(removed, bool)
        return removed

    async def discard(self) -> bool:
        return await self.drafts.discard(self.scope, self.kb)

    async def collect(self, grace_s: float = 0) -> Collected:
        return await self.versions.collect(self.scope, self.kb, now=self.now(), grace_s=grace_s, erase=erased)

    async def publish(self, note: str | None = None) -> Version:
        return await self.versions.publish(self.scope, self.kb, note=note, now=self.now())

    async def release(self, **documents: Sequence[str]) -> int:
        """Publish a version with these documents changed or added; its number."""
        for name, lines in documents.items():
            await self.stage(name, lines)
        return (await self.publish()).seq

    async def rollback(self, seq: int) -> Version:
        return await self.versions.rollback(self.scope, self.kb, seq, self.now())

    async def retain(self, number: int | None) -> None:
        await self.bases.update(self.scope, self.base.name, BaseChange(retain=number), self.now())

    async def pin(self, selector: str = "live") -> Pin:
        return await self.versions.resolve(self.scope, self.base.name, selector)

    async def read(self, selector: str = "live") -> dict[str, list[str]]:
        """Lines by document, as a version has them; what every index holds of it is checked on the way."""
        return await self.at(await self.pin(selector))

    async def at(self, pin: Pin) -> dict[str, list[str]]:
        found = {}
        for one in await self.reader.documents(self.scope, pin, after=None, limit=1000):
            chunks = await self.reader.chunks(self.scope, pin, one.document_id, after=-1, limit=1000)
            assert [chunk.ordinal for chunk in chunks] == list(range(one.chunks))
            assert sum(chunk.tokens for chunk in chunks) == one.tokens
            found[one.document_id] = [chunk.text for chunk in chunks]
        await self.indexed(pin, [line for lines in found.values() for line in lines])
        return found

    async def indexed(self, pin: Pin, lines: Sequence[str]) -> None:
        """Every index has these chunks at this version, and no others."""
        params = {"tenant": self.scope.tenant_id, "kb": self.kb, "seq": pin.seq, "generation": self.generation.number}
        chunks, vectors = await self.database.read_all(self.scope, [(_CHUNKS, params), (_VECTORS, params)])
        mine = "SELECT pid FROM kb_chunks WHERE tenant_id = %(tenant)s AND kb_id = %(kb)s"
        pids = [pid for (pid,) in await self.database.read(self.scope, mine, params)]
        postings = await self.database.read(self.scope, _POSTINGS, params | {"pids": pids})
        assert Counter(text for _, text in chunks) == Counter(lines)
        said = {pid: words(text) for pid, text in chunks}
        assert Counter(postings) == Counter(
            (pid, self.term(word), tf, count.total()) for pid, count in said.items() for word, tf in count.items()
        )
        right = {pid: half(vector(digest(PREFIX + text), self.generation.dimension)) for pid, text in chunks}
        assert {pid: bytes(sent)[4:] for pid, sent in vectors} == right

    async def rows(self) -> dict[str, list[tuple[object, ...]]]:
        """Every row of the tenant's knowledge bases but the log, to see that nothing changed."""
        tables = {"kb_versions": "seq", "kb_tags": "tag", "kb_documents": "document_pid", "kb_chunks": "pid", "kb_vectors": "pid"}
        tables |= {"kb_sections": "document_pid, ordinal", "kb_postings": "term, pid", "knowledge_bases": "name"}
        params = {"tenant": self.scope.tenant_id}
        statements = [(_ROWS.format(table, key), params) for table, key in tables.items()]
        found = await self.database.read_all(self.scope, statements)
        return dict(zip(tables, [list(rows) for rows in found], strict=True))

    async def count(self, table: str) -> int:
        params = {"tenant": self.scope.tenant_id}
        return len(await self.database.read(self.scope, _ROWS.format(table, "1"), params))

    async def actions(self) -> list[str]:
        sql = "SELECT action FROM audit_log WHERE tenant_id = %(tenant)s AND action LIKE 'kb.%%' ORDER BY audit_id"
        return [action for (action,) in await self.database.read(self.scope, sql, {"tenant": self.scope.tenant_id})]

    async def another(self, name: str, space: str = "default") -> "Shelf":
        """One more knowledge base of the tenant."""
        return await shelf_of(self.database, self.generation, self.scope, name, space)


async def erased(keys: Sequence[str]) -> None:
    """Of originals: none was kept."""


async def new_shelf(database: Database, generation: Generation, name: str = "handbook", retain: int | None = None) -> Shelf:
    """A fresh tenant with an empty knowledge base."""
    tenants = TenantService(PgTenants(database, idempotency_ttl=timedelta(days=1)), SystemClock())
    tenant, _ = await tenants.create(f"shelf-{uuid4().hex[:12]}", tenants.operation("test"))
    return await shelf_of(database, generation, Scope(tenant.tenant_id, "test", frozenset(Action)), name, "default", retain)


async def shelf_of(
    database: Database,
    generation: Generation,
    scope: Scope,
    name: str = "handbook",
    space: str = "default",
    retain: int | None = None,
) -> Shelf:
    """A new knowledge base of a tenant that is there."""
    base = KnowledgeBase(uuid7(), name, space, None, Chunking(), retain, None, 0, START, START)
    bases = PgBases(database)
    await bases.create(scope, base)
    return Shelf(
        database,
        generation,
        scope,
        base,
        bases,
        PgDrafts(database),
        PgVersions(database),
        PgDocuments(database),
    )


def document(document_id: str, lines: Sequence[str], **said: object) -> NewDocument:
    """Its bytes are its lines."""
    data = "\n".join(lines).encode()
    plain = NewDocument(
        document_id, digest("\n".join(lines)), digest("settings"), len(data), object_key=digest("\n".join(lines)).hex()
    )
    return replace(plain, **said)  # type: ignore[arg-type]


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def words(line: str) -> Counter[str]:
    return Counter(line.split())


def vector(content: bytes, dimension: int) -> NDArray[np.float32]:
    """A unit vector of its own for each content."""
    drawn = np.random.default_rng(int.from_bytes(content[:8], "big")).normal(size=dimension)
    unit: NDArray[np.float32] = (drawn / np.linalg.norm(drawn)).astype(np.float32)
    return unit


def half(floats: NDArray[np.float32]) -> bytes:
    """As stored."""
    return floats.astype(">f2").tobytes()
