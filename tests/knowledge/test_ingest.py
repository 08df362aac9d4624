"""The handler of ingest jobs: what it says of sources, and that it gives signs of life."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray

from ingestion.sources import Fetched, Reason, SourceRefused
from memoryd.errors import NotFound, StoreUnavailable
from memoryd.jobs.model import ItemState
from memoryd.jobs.retry import failure_of
from memoryd.knowledge.model import NewDocument, ReadyChunk, ReadySection, Staging, Written
from retrieval.errors import MemorydError
from retrieval.filters import JsonValue
from retrieval.scope import Scope
from tests.embedded.running import until
from tests.ingestion.parse.made import docx, paragraph
from tests.knowledge.bench import BASE, NOW, SCOPE, Bases, Control, Drafts, Worker, item, job

URL = {"url": "https://example.org/handbook.html"}


class Refusing:
    """A web on which nothing can be had."""

    def __init__(self, refusal: SourceRefused) -> None:
        self._refusal = refusal

    async def fetch(self, url: str, into: Path) -> Fetched:
        raise self._refusal


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    made = Worker(tmp_path)
    yield made
    await made.close()


async def upload(worker: Worker, folder: Path, content: str | bytes) -> dict[str, str]:
    path = folder / "upload.md"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"key": await worker.originals.keep(SCOPE, BASE.kb_id, path, digest), "file_name": "upload.md"}


async def test_a_worker_that_fetches_nothing_says_so_at_once(worker: Worker) -> None:
    outcome = await worker.ingest(URL, drafts=Drafts(), control=Control())
    assert (outcome.state, outcome.reason) == (ItemState.FAILED, "fetching_off")


@pytest.mark.parametrize("retryable", [False, True])
async def test_a_source_that_is_refused_has_one_reason_now_and_later(tmp_path: Path, retryable: bool) -> None:
    worker = Worker(tmp_path, fetcher=Refusing(SourceRefused(Reason.DNS_FAILED, "no such host", retryable=retryable)))
    try:
        if not retryable:
            assert (await worker.ingest(URL, drafts=Drafts(), control=Control())).reason == "dns_failed"
            return
        with pytest.raises(MemorydError) as raised:
            await worker.ingest(URL, drafts=Drafts(), control=Control())
        failure, again = failure_of(raised.value)
        assert (failure.code, failure.detail, again) == ("dns_failed", "no such host", True)
    finally:
        await worker.close()


async def test_an_original_that_is_gone_fails_for_good(worker: Worker) -> None:
    with pytest.raises(MemorydError) as raised:
        await worker.ingest({"key": f"{SCOPE.tenant_id}/kb/{BASE.kb_id}/{'0' * 64}"}, drafts=Drafts(), control=Control())
    assert failure_of(raised.value)[0].code == "not_found"
    assert not failure_of(raised.value)[1]


async def test_a_knowledge_base_that_took_the_name_of_another_is_not_published(worker: Worker) -> None:
    with pytest.raises(NotFound, match="another one has its name"):
        await worker.handler(Drafts()).finished(SCOPE, job(kb_id=UUID(int=9), publish=True))


async def test_passing_over_what_is_stored_is_a_sign_of_life(worker: Worker, tmp_path: Path) -> None:
    """A document that was nearly through when its worker died takes minutes to come to its first new chunk."""
    source = await upload(worker, tmp_path, "\n\n".join(f"# Heading {n}\n\nParagraph {n}." for n in range(3_000)))
    drafts, control = Drafts(stored=2_500), Control()
    outcome = await worker.ingest(source, drafts=drafts, control=control)
    assert (outcome.state, outcome.chunks) == (ItemState.SUCCEEDED, 3_000)
    first = next(place for place, chunks in enumerate(control.signs) if chunks)
    assert first == 2
    assert set(control.signs[first:]) == {64}
    assert sum(control.signs) == 500 - 500 % 64, "the last batch is told by the outcome"


@pytest.mark.parametrize(("stored", "told"), [(0, [-100, 64]), (64, [])])
async def test_what_was_counted_of_chunks_that_are_gone_is_taken_back(
    worker: Worker, tmp_path: Path, stored: int, told: list[int]
) -> None:
    control = Control()
    one = replace(item(await upload(worker, tmp_path, "\n\n".join(f"# Part {n}\n\nText {n}." for n in range(100)))), chunks=100)
    outcome = await worker.handler(Drafts(stored)).process(SCOPE, job(), one, control)
    assert (outcome.chunks, [sign for sign in control.signs if sign]) == (100, told)


class Web:
    """One page."""

    def __init__(self, content: bytes = b"# A page\n\nSomebody wrote it.", charset: str | None = None) -> None:
        self._content, self._charset = content, charset

    async def fetch(self, url: str, into: Path) -> Fetched:
        await asyncio.to_thread(into.write_bytes, self._content)
        digest = hashlib.sha256(self._content).hexdigest()
        return Fetched(url, "text/markdown", self._charset, "page.md", len(self._content), digest)


async def test_only_short_documents_of_one_author_share_a_parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(tmp_path, fetcher=Web())
    families: list[object] = []
    opened = worker._parser.open

    def noted(*given: Any, family: object, **named: Any) -> Any:
        families.append(family)
        return opened(*given, family=family, **named)

    monkeypatch.setattr(worker._parser, "open", noted)
    short = await upload(worker, tmp_path, "# Short\n\nA document.")
    large = await upload(worker, tmp_path, "A document.\n\n" * 10_000)
    packed = await upload(worker, tmp_path, docx(paragraph("A document.")))
    handler = worker.handler(Drafts())
    for source, attempts in ((short, 1), (short, 2), (large, 1), (packed, 1), ({"url": "https://example.org/"}, 1)):
        given = replace(item(source), attempts=attempts)
        assert (await handler.process(SCOPE, job(), given, Control())).state is ItemState.SUCCEEDED
    assert families == [job().job_id, None, None, None, None]
    await worker.close()


async def test_nothing_is_left_in_the_temporary_folder(worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = await upload(worker, tmp_path, "# Leave\n\nThirty days.")
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    await worker.ingest(source, drafts=Drafts(), control=Control())
    await worker.ingest(await upload(worker, tmp_path, " \n"), drafts=Drafts(), control=Control())
    assert [*folder.iterdir()] == []


async def test_documents_that_begin_together_look_for_their_knowledge_base_together(worker: Worker, tmp_path: Path) -> None:
    bases, source = Bases(), await upload(worker, tmp_path, "# Leave\n\nThirty days.")
    handler = worker.handler(Drafts(), bases)
    outcomes = await asyncio.gather(*(handler.process(SCOPE, job(), item(source), Control()) for _ in range(20)))
    assert {one.state for one in outcomes} == {ItemState.SUCCEEDED}
    assert bases.asked == 1
    await handler.process(SCOPE, replace(job(), job_id=UUID(int=4)), item(source), Control())
    assert bases.asked == 2
    bases.raises = StoreUnavailable("not now")
    both = [handler.process(SCOPE, replace(job(), job_id=UUID(int=5)), item(source), Control()) for _ in range(2)]
    assert all(isinstance(one, StoreUnavailable) for one in await asyncio.gather(*both, return_exceptions=True))
    assert bases.asked == 3


class Noting(Drafts):
    """Notes the settings that documents come with."""

    def __init__(self) -> None:
        super().__init__()
        self.settings: list[bytes] = []

    async def begin(self, scope: Scope, kb_id: UUID, document: NewDocument, now: datetime, *, by: UUID | None = None) -> Staging:
        self.settings.append(document.settings_hash)
        return await super().begin(scope, kb_id, document, now)


async def test_a_name_counts_as_a_change_where_it_changes_how_bytes_are_parsed(worker: Worker, tmp_path: Path) -> None:
    async def settings(content: str | bytes, **said: JsonValue) -> bytes:
        drafts, source = Noting(), {"key": (await upload(worker, tmp_path, content))["key"]}
        assert (await worker.ingest(source | said, drafts=drafts, control=Control())).state is ItemState.SUCCEEDED
        return drafts.settings[0]

    text, office = "city,seats\nBonn,12\n", docx(paragraph("A short document."))
    named = [await settings(text, file_name=name) for name in ("a.txt", "a.csv", "a.tsv", "a.py", "a.md")]
    assert len({*named, await settings(text)}) == 6
    assert await settings(text, file_name="b.csv") == named[1]
    assert named[-1] == await settings(text, text=True)
    assert await settings(office) == await settings(office, file_name="a.docx")


async def test_the_title_that_a_document_gives_itself_situates_its_chunks(worker: Worker, tmp_path: Path) -> None:
    class Written(Drafts):
        async def finish(self, *given: Any, chunks: Sequence[ReadyChunk] = (), **named: Any) -> None:
            prefixes.extend(one.prefix for one in chunks)
            await super().finish(*given, chunks=chunks, **named)

    prefixes: list[str] = []
    page = "<html><head><title>The handbook</title></head><body><p>Thirty days.</p></body></html>"
    source = await upload(worker, tmp_path, page)
    for said in ({}, {"title": "Leave"}):
        assert (await worker.ingest(source | said, drafts=Written(), control=Control())).state is ItemState.SUCCEEDED
    assert prefixes == ["The handbook\n", "Leave\n"]


class Telling(Drafts):
    """Keeps the text of all chunks."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    async def finish(self, *given: Any, chunks: Sequence[ReadyChunk] = (), **named: Any) -> None:
        self.texts.extend(one.text for one in chunks)
        await super().finish(*given, chunks=chunks, **named)


@pytest.mark.parametrize(
    "text", ["The mark %PDF-1.7 begins a PDF.", "%PDF-1.7 begins a PDF.", "{\\rtf1 begins RTF.", "%!PS begins PostScript."]
)
async def test_what_is_sent_as_text_is_text_whatever_it_speaks_of(worker: Worker, tmp_path: Path, text: str) -> None:
    drafts = Telling()
    source = await upload(worker, tmp_path, text) | {"text": True, "file_name": None}
    assert (await worker.ingest(source, drafts=drafts, control=Control())).state is ItemState.SUCCEEDED
    assert drafts.texts == [text]


@pytest.mark.parametrize(("text", "read"), [("# Title\n\nword", "# Title\n\nword"), ("<!doctype html><p>word", "word")])
async def test_a_mark_in_front_of_what_is_sent_as_text_is_none_of_it(
    worker: Worker, tmp_path: Path, text: str, read: str
) -> None:
    drafts = Telling()
    source = await upload(worker, tmp_path, f"\ufeff{text}") | {"text": True, "file_name": None}
    assert (await worker.ingest(source, drafts=drafts, control=Control())).state is ItemState.SUCCEEDED
    assert drafts.texts == [read]


async def test_the_charset_that_came_with_a_document_is_heard_and_is_a_change(worker: Worker, tmp_path: Path) -> None:
    class Both(Telling, Noting):
        pass

    found: dict[bytes, list[str]] = {}
    for charset in (None, "utf-8", "koi8-r", "windows-1251"):
        drafts = Both()
        source = await upload(worker, tmp_path, "Да, нет.".encode("koi8-r")) | {"charset": charset}
        assert (await worker.ingest(source, drafts=drafts, control=Control())).state is ItemState.SUCCEEDED
        found.setdefault(drafts.settings[0], drafts.texts)
    assert len(found) == 3
    assert ["Да, нет."] in found.values()


async def test_the_charset_that_a_server_tells_is_heard(tmp_path: Path) -> None:
    worker, drafts = Worker(tmp_path, fetcher=Web("Да, нет.".encode("koi8-r"), "koi8-r")), Telling()
    assert (await worker.ingest(URL, drafts=drafts, control=Control())).state is ItemState.SUCCEEDED
    assert drafts.texts == ["Да, нет."]
    await worker.close()


class Crowd(Drafts):
    """Of many documents; each is held before its first batch is written until all may go."""

    def __init__(self) -> None:
        super().__init__()
        self.inside: set[bytes] = set()
        self.go = asyncio.Event()

    async def known(
        self, scope: Scope, generations: Collection[int], hashes: Sequence[bytes]
    ) -> Mapping[int, Mapping[bytes, NDArray[np.float32]]]:
        self.inside.add(hashes[0])
        await self.go.wait()
        return await super().known(scope, generations, hashes)

    async def add(
        self, scope: Scope, staging: Staging, sections: Sequence[ReadySection], chunks: Sequence[ReadyChunk]
    ) -> Staging:
        return replace(staging, stored=staging.stored + len(chunks))


def short(document: int) -> str:
    return f"A short document, number {document}."


def long(document: int) -> str:
    return "\n\n".join(f"Paragraph {n} of document {document}." for n in range(6_000))


def packed(document: int) -> bytes:
    return docx(paragraph(f"A short document, number {document}."))


@pytest.mark.parametrize(("made", "inside"), [(short, 5), (long, 3), (packed, 3)])
async def test_few_large_documents_at_a_time_and_who_waits_is_still_there(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Callable[[int], str | bytes], inside: int
) -> None:
    monkeypatch.setattr("memoryd.knowledge.places._LOOK_S", 0.01)
    sources = [await upload(worker, tmp_path, made(document)) for document in range(5)]
    drafts, control = Crowd(), Control()
    handler = worker.handler(drafts)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(handler.process(SCOPE, job(), item(source), control)) for source in sources]
        await until(lambda: len(drafts.inside) == inside and (inside == 5 or bool(control.signs)), 30.0)
        assert len(drafts.inside) == inside
        drafts.go.set()
    assert {task.result().state for task in tasks} == {ItemState.SUCCEEDED}


async def test_a_tenants_large_documents_keep_no_other_tenant_waiting(worker: Worker, tmp_path: Path) -> None:
    sources = [await upload(worker, tmp_path, packed(document)) for document in range(5)]
    other = replace(SCOPE, tenant_id=UUID(int=9))
    drafts, control = Crowd(), Control()
    handler = worker.handler(drafts)
    async with asyncio.TaskGroup() as group:
        for source in sources[:4]:
            group.create_task(handler.process(SCOPE, job(), item(source), control))
        await until(lambda: len(drafts.inside) == 3, 30.0)
        group.create_task(handler.process(other, job(), item(sources[4]), control))
        await until(lambda: len(drafts.inside) == 4, 30.0)
        drafts.go.set()


class Having(Drafts):
    """It has every document, written at ``NOW``."""

    async def begin(self, *given: object, **said: object) -> None:  # type: ignore[override]
        return None

    async def written(self, scope: Scope, kb_id: UUID, document_id: str, since: datetime) -> Written | None:
        return Written(3, 30, 2) if since <= NOW else None


@pytest.mark.parametrize(
    ("changed", "state", "chunks"),
    [
        ({}, ItemState.UNCHANGED, 0),
        ({"attempts": 2}, ItemState.SUCCEEDED, 3),
        ({"chunks": 2}, ItemState.SUCCEEDED, 3),
        ({"not_before": NOW + timedelta(seconds=1)}, ItemState.SUCCEEDED, 3),
        ({"attempts": 2, "started_at": NOW + timedelta(seconds=1)}, ItemState.UNCHANGED, 0),
    ],
)
async def test_what_an_earlier_attempt_had_written_is_told_as_done(
    worker: Worker, tmp_path: Path, changed: dict[str, Any], state: ItemState, chunks: int
) -> None:
    one = replace(item(await upload(worker, tmp_path, "# Rules")), started_at=NOW)
    outcome = await worker.handler(Having()).process(SCOPE, job(), replace(one, **changed), Control())
    assert (outcome.state, outcome.chunks, outcome.size) == (state, chunks, 7)


class Removing(Drafts):
    """The document was taken out already."""

    async def remove(self, *_: object, **said: object) -> bool:
        return False

    async def removed(self, *_: object) -> bool:
        return True


@pytest.mark.parametrize(("attempts", "state"), [(1, ItemState.UNCHANGED), (2, ItemState.SUCCEEDED)])
async def test_what_an_earlier_attempt_had_taken_out_is_told_as_done(worker: Worker, attempts: int, state: ItemState) -> None:
    one = replace(item({"remove": True}), attempts=attempts)
    assert (await worker.handler(Removing()).process(SCOPE, job(), one, Control())).state is state
