"""Staging, publishing, reading and rolling back."""

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest

from memoryd.errors import Collision, Conflict, NotFound, VersionGone
from memoryd.knowledge.model import VersionState, Written
from retrieval.bm25 import CorpusStatistics
from tests.stores.knowledge.shelf import TITLE, Shelf, erased, words

ALPHA = ["the alpha goes first", "the beta goes second", "the gamma goes third"]
OMEGA = ["omega is last", "psi is before it"]


async def test_a_draft_is_read_by_nobody_until_it_is_published(shelf: Shelf) -> None:
    with pytest.raises(NotFound, match="nothing was published"):
        await shelf.pin()
    with pytest.raises(Conflict, match="no draft"):
        await shelf.publish()
    await shelf.stage("a", ALPHA)
    with pytest.raises(NotFound):
        await shelf.pin()
    with pytest.raises(NotFound, match="not published"):
        await shelf.pin("1")
    (draft,) = await shelf.versions.page(shelf.scope, shelf.kb, before=None, limit=5)
    assert (draft.state, draft.documents, draft.chunks, draft.live) == (VersionState.DRAFT, 1, 3, False)
    version = await shelf.publish("the first")
    assert (version.seq, version.documents, version.chunks, version.live) == (1, 1, 3, True)
    assert version.tokens == sum(map(len, ALPHA))
    assert (version.note, version.published_by, version.base_seq) == ("the first", "test", None)
    assert await shelf.read() == {"a": ALPHA} == await shelf.read("1")


async def test_versions_stay_as_they_were(shelf: Shelf) -> None:
    await shelf.release(a=ALPHA, b=OMEGA)
    await shelf.remove("b")
    await shelf.release(a=ALPHA[:1])
    await shelf.release(c=OMEGA)
    first, second = {"a": ALPHA, "b": OMEGA}, {"a": ALPHA[:1]}
    assert await shelf.read("1") == first
    assert await shelf.read("2") == second
    assert await shelf.read("3") == await shelf.read() == second | {"c": OMEGA}
    with pytest.raises(NotFound):
        await shelf.pin("4")


async def test_statistics_of_a_version_are_those_of_its_chunks(shelf: Shelf) -> None:
    await shelf.release(a=ALPHA, b=OMEGA)
    await shelf.release(a=ALPHA[1:])
    sql = "SELECT seq, total_length, mean_idf FROM kb_versions WHERE tenant_id = %(tenant)s ORDER BY seq"
    rows = await shelf.database.read(shelf.scope, sql, {"tenant": shelf.scope.tenant_id})
    for lines, (_, total, mean) in zip((ALPHA + OMEGA, ALPHA[1:] + OMEGA), rows, strict=True):
        expected = CorpusStatistics.of([list(words(line).elements()) for line in lines])
        assert total == expected.total_length
        assert mean == pytest.approx(expected.mean_idf, abs=1e-12)


async def test_an_unchanged_document_costs_nothing(shelf: Shelf) -> None:
    await shelf.release(a=ALPHA, b=OMEGA)
    chunks, version = await shelf.count("kb_chunks"), (await shelf.versions.page(shelf.scope, shelf.kb, before=None, limit=1))[0]
    assert await shelf.begin("a", ALPHA) is None
    assert await shelf.begin("b", OMEGA) is None
    assert await shelf.versions.page(shelf.scope, shelf.kb, before=None, limit=9) == [version], "it makes no draft either"
    await shelf.stage("a", ALPHA[:1])
    assert not await shelf.stage("a", ALPHA)
    assert not await shelf.stage("b", OMEGA)
    again = await shelf.publish()
    assert await shelf.count("kb_chunks") == chunks
    assert (again.seq, again.manifest, again.documents, again.chunks, again.tokens) == (
        2,
        version.manifest,
        version.documents,
        version.chunks,
        version.tokens,
    )
    assert await shelf.read("1") == await shelf.read("2")
    assert await shelf.begin("a", ALPHA, settings_hash=bytes(32)) is not None, "other settings make other chunks"


async def test_what_changes_nothing_does_not_stand_in_the_way_after_a_rollback(shelf: Shelf) -> None:
    await shelf.release(a=ALPHA[:1])
    await shelf.release(a=ALPHA)
    assert not await shelf.stage("a", ALPHA)
    assert not await shelf.remove("b")
    await shelf.rollback(1)
    assert not await shelf.stage("a", ALPHA[:1]), "as the live version has it, not the newest"
    await shelf.release(b=OMEGA)
    assert await shelf.read() == {"a": ALPHA[:1], "b": OMEGA}
    await shelf.rollback(1)
    await shelf.stage("a", ALPHA)
    assert (await shelf.publish()).base_seq == 1


async def test_manifests_tell_versions_apart(shelf: Shelf) -> None:
    manifests = []
    for documents in ({"a": ALPHA}, {"a": ALPHA[::-1]}, {"a": ALPHA}, {"b": OMEGA}):
        seq = await shelf.release(**documents)
        (version,) = await shelf.versions.page(shelf.scope, shelf.kb, before=seq + 1, limit=1)
        manifests.append(version.manifest)
    assert len(set(manifests)) == 3
    assert manifests[0] == manifests[2], "the same content again"


async def test_titles_and_metadata_change_without_a_chunk_and_not_in_what_was_published(shelf: Shelf) -> None:
    await shelf.stage("a", ALPHA, metadata={"by": "x"}, source_uri="u:1")
    await shelf.publish()
    for _ in range(2):
        assert await shelf.begin("a", ALPHA, title="Other", metadata={"by": "y"}) is None
    await shelf.publish()
    old = await shelf.reader.document(shelf.scope, await shelf.pin("1"), "a")
    new = await shelf.reader.document(shelf.scope, await shelf.pin("2"), "a")
    assert (old.title, old.metadata, old.source_uri) == (TITLE, {"by": "x"}, "u:1")
    assert (new.title, new.metadata, new.source_uri) == ("Other", {"by": "y"}, "u:1")
    assert await shelf.read("1") == await shelf.read("2") == {"a": ALPHA}
    found = await shelf.versions.diff(shelf.scope, shelf.kb, 1, 2, cursor=None, limit=5)
    assert (found.documents.changed, found.chunks.unchanged, found.chunks.added) == (1, 3, 0)


async def test_a_rollback_moves_the_pointer_and_back(shelf: Shelf) -> None:
    await shelf.release(a=ALPHA)
    await shelf.release(a=OMEGA)
    version = await shelf.rollback(1)
    assert (version.seq, version.live) == (1, True)
    assert await shelf.read() == {"a": ALPHA}
    await shelf.rollback(2)
    assert await shelf.read() == {"a": OMEGA}
    with pytest.raises(NotFound):
        await shelf.rollback(3)
    assert await shelf.begin("a", ALPHA) is not None
    with pytest.raises(NotFound, match="not published"):
        await shelf.rollback(3)
    assert [one for one in await shelf.actions() if one == "kb.rollback"] == ["kb.rollback"] * 2


async def test_a_draft_after_a_rollback_is_based_on_what_is_live(shelf: Shelf) -> None:
    first, second = {"a": ALPHA, "b": OMEGA, "c": ["same"]}, {"a": OMEGA, "c": ["same"], "d": ["new"]}
    await shelf.release(**first)
    await shelf.remove("b")
    await shelf.release(a=OMEGA, d=["new"])
    await shelf.rollback(1)
    before = await shelf.rows()
    await shelf.stage("e", ["more"])
    diff = await shelf.versions.diff(shelf.scope, shelf.kb, 1, 3, cursor=None, limit=10)
    assert [(one.document_id, one.change) for one in diff.changes] == [("e", "added")]
    assert diff.documents.unchanged == 3
    assert diff.chunks.unchanged == 6
    await shelf.discard()
    assert await shelf.rows() == before
    assert await shelf.release(e=["more"]) == 3
    assert await shelf.read() == first | {"e": ["more"]}
    assert await shelf.read("2") == second
    await shelf.rollback(2)
    assert await shelf.read() == second


async def test_content_of_after_a_rollback_comes_back_without_being_written(shelf: Shelf) -> None:
    await shelf.release(a=ALPHA)
    await shelf.release(a=OMEGA)
    await shelf.rollback(1)
    assert await shelf.begin("a", OMEGA) is None
    await shelf.publish()
    assert await shelf.read() == {"a": OMEGA}
    await shelf.rollback(1)
    assert await shelf.read() == {"a": ALPHA}


async def test_a_draft_of_before_a_rollback_is_refused(shelf: Shelf) -> None:
    await shelf.release(a=ALPHA)
    await shelf.release(a=OMEGA)
    await shelf.stage("b", ["b"])
    await shelf.rollback(1)
    with pytest.raises(Conflict, match="discard"):
        await shelf.publish()
    assert await shelf.read() == {"a": ALPHA}
    await shelf.rollback(2)
    assert (await shelf.publish()).seq == 3, "based on what is live again"
    assert await shelf.read() == {"a": OMEGA, "b": ["b"]}


async def test_staged_again_and_again(shelf: Shelf) -> None:
    await shelf.release(a=ALPHA, b=OMEGA)
    before = await shelf.rows()
    assert await shelf.remove("a")
    assert not await shelf.remove("a")
    assert not await shelf.stage("a", ALPHA), "it had this before: nothing is written"
    assert await shelf.stage("a", OMEGA)
    assert await shelf.stage("a", ["third"])
    assert not await shelf.stage("a", ["third"])
    assert not await shelf.stage("a", ALPHA)
    assert await shelf.stage("c", ["new"])
    assert await shelf.remove("c")
    assert not await shelf.remove("nobody")
    await shelf.discard()
    assert await shelf.rows() == before
    assert not await shelf.discard()
    assert not await shelf.remove("nobody"), "begins no draft"
    assert await shelf.rows() == before


@pytest.mark.parametrize("drafted", [False, True])
async def test_who_begins_a_new_document_at_once_with_others_goes_on_with_theirs(shelf: Shelf, drafted: bool) -> None:
    if drafted:
        await shelf.stage("other", OMEGA)
    begun = await asyncio.gather(*(shelf.begin("a", OMEGA) for _ in range(4)))
    (staging,) = {one for one in begun if one is not None}
    assert (staging.stored, staging.replaces, len(begun)) == (0, False, 4)
    await shelf.finish(staging, OMEGA)
    # Of other content the last one is left, and the others learn that theirs is gone.
    some = await asyncio.gather(*(shelf.begin("b", [line]) for line in ALPHA))
    written = await asyncio.gather(
        *(shelf.finish(one, [line]) for one, line in zip(some, ALPHA, strict=True) if one), return_exceptions=True
    )
    assert sorted(map(type, written), key=str) == sorted([type(None), Collision, Collision], key=str)
    await shelf.publish()
    assert await shelf.read() == {"a": OMEGA, "b": [ALPHA[written.index(None)]]} | ({"other": OMEGA} if drafted else {})


async def test_nothing_is_begun_where_the_key_may_not_or_nobody_takes_it(shelf: Shelf) -> None:
    await shelf.stage("a", ALPHA)
    before = await shelf.rows()
    elsewhere = replace(shelf.scope, spaces=frozenset({"elsewhere"}))
    with pytest.raises(NotFound):
        await shelf.drafts.begin(elsewhere, shelf.kb, shelf.new("b", OMEGA), shelf.now())
    assert await shelf.rows() == before
    async with shelf.database.transaction(shelf.scope) as connection:
        sql = "UPDATE kb_versions SET discarding = true WHERE tenant_id = %s AND state = 'draft'"
        await connection.execute(sql, (shelf.scope.tenant_id,))
    before = await shelf.rows()
    with pytest.raises(Collision, match="discarded"):
        await shelf.begin("b", OMEGA)
    assert await shelf.rows() == before


async def test_tags_name_versions(shelf: Shelf) -> None:
    await shelf.release(a=ALPHA)
    await shelf.release(a=OMEGA)
    await shelf.versions.tag(shelf.scope, shelf.kb, "good", 1, shelf.now())
    await shelf.versions.tag(shelf.scope, shelf.kb, "best", 1, shelf.now())
    assert await shelf.read("good") == {"a": ALPHA}
    await shelf.versions.tag(shelf.scope, shelf.kb, "good", 2, shelf.now())
    assert await shelf.read("good") == {"a": OMEGA}
    page = await shelf.versions.page(shelf.scope, shelf.kb, before=None, limit=10)
    assert [(one.seq, one.tags) for one in page] == [(2, ("good",)), (1, ("best",))]
    await shelf.versions.tag(shelf.scope, shelf.kb, "good", None, shelf.now())
    for selector in ("good", "Good", "", "9" * 30, "٣", "-1"):
        with pytest.raises(NotFound):
            await shelf.pin(selector)
    with pytest.raises(NotFound):
        await shelf.versions.tag(shelf.scope, shelf.kb, "good", None, shelf.now())
    with pytest.raises(NotFound):
        await shelf.versions.tag(shelf.scope, shelf.kb, "next", 3, shelf.now())


async def test_versions_come_in_pages(shelf: Shelf) -> None:
    for n in range(4):
        await shelf.release(a=[f"line {n}"])
    await shelf.stage("b", ["b"])
    page = await shelf.versions.page(shelf.scope, shelf.kb, before=None, limit=2)
    assert [one.seq for one in page] == [5, 4]
    assert [one.seq for one in await shelf.versions.page(shelf.scope, shelf.kb, before=4, limit=9)] == [3, 2, 1]


async def test_a_difference_is_told_by_documents_and_chunks(shelf: Shelf) -> None:
    await shelf.release(a=ALPHA, b=OMEGA, c=["twice", "twice", "once"], d=["stays"])
    await shelf.remove("b")
    await shelf.release(a=[ALPHA[2], ALPHA[0], "new"], c=["twice", "once", "once"], e=["e"])
    found = await shelf.versions.diff(shelf.scope, shelf.kb, 1, 2, cursor=None, limit=10)
    told = [(one.document_id, one.change.value, one.chunks_added, one.chunks_removed) for one in found.changes]
    assert told == [("a", "changed", 1, 1), ("b", "removed", 0, 2), ("c", "changed", 1, 1), ("e", "added", 1, 0)]
    documents, chunks = found.documents, found.chunks
    assert (documents.added, documents.removed, documents.changed, documents.unchanged) == (1, 1, 2, 1)
    assert (chunks.added, chunks.removed, chunks.changed, chunks.unchanged) == (3, 4, 0, 5)
    page = await shelf.versions.diff(shelf.scope, shelf.kb, 1, 2, cursor="a", limit=2)
    assert [one.document_id for one in page.changes] == ["b", "c"]
    assert page.more
    assert not (await shelf.versions.diff(shelf.scope, shelf.kb, 1, 2, cursor="c", limit=2)).more
    back = await shelf.versions.diff(shelf.scope, shelf.kb, 2, 1, cursor=None, limit=10)
    assert (back.documents.added, back.documents.removed, back.chunks.added, back.chunks.removed) == (1, 1, 4, 3)
    whole = await shelf.versions.diff(shelf.scope, shelf.kb, 0, 2, cursor=None, limit=10)
    assert (whole.documents.added, whole.chunks.added, whole.documents.unchanged) == (4, 8, 0)
    with pytest.raises(NotFound):
        await shelf.versions.diff(shelf.scope, shelf.kb, 1, 3, cursor=None, limit=10)


async def test_a_chunk_keeps_its_id_from_version_to_version(shelf: Shelf) -> None:
    await shelf.release(a=["twice", "twice", *ALPHA], b=["twice"])
    await shelf.release(a=[*ALPHA, "twice", "twice"])

    async def ids(selector: str) -> dict[str, set[object]]:
        pin = await shelf.pin(selector)
        chunks = await shelf.reader.chunks(shelf.scope, pin, "a", after=-1, limit=10)
        assert len({chunk.chunk_id for chunk in chunks}) == len(chunks)
        return {text: {one.chunk_id for one in chunks if one.text == text} for text in ("twice", *ALPHA)}

    assert await ids("1") == await ids("2")
    pin = await shelf.pin()
    (other,) = await shelf.reader.chunks(shelf.scope, pin, "b", after=-1, limit=10)
    assert other.chunk_id not in (await ids("2"))["twice"]
    chunk, section, document = await shelf.reader.section(shelf.scope, pin, other.chunk_id)
    assert (chunk, section.text, section.path, document.document_id) == (other, "twice", (TITLE, "Section 0"), "b")


async def test_pages_of_documents_and_chunks(shelf: Shelf) -> None:
    names = ["B", "a", "b", "ä"]
    for name in names:
        await shelf.stage(name, ALPHA)
    await shelf.publish()
    pin = await shelf.pin()
    first = await shelf.reader.documents(shelf.scope, pin, after=None, limit=3)
    assert [one.document_id for one in first] == names[:3], "in the order of code points"
    assert [one.document_id for one in await shelf.reader.documents(shelf.scope, pin, after="b", limit=3)] == ["ä"]
    assert (first[0].warnings, first[0].pages, first[0].media_type) == (("odd",), 1, "text/plain")
    chunks = await shelf.reader.chunks(shelf.scope, pin, "a", after=0, limit=1)
    assert [(one.ordinal, one.text, one.pages) for one in chunks] == [(1, ALPHA[1], (1, 1))]
    assert await shelf.reader.object_key(shelf.scope, pin, "a") == shelf.new("a", ALPHA).object_key
    for missing in (shelf.reader.document(shelf.scope, pin, "x"), shelf.reader.object_key(shelf.scope, pin, "x")):
        with pytest.raises(NotFound):
            await missing
    with pytest.raises(NotFound):
        await shelf.reader.section(shelf.scope, pin, shelf.kb)


async def test_hashes_are_those_of_the_next_version(shelf: Shelf) -> None:
    async def hashes() -> set[str]:
        return set(await shelf.drafts.hashes(shelf.scope, shelf.kb, ["a", "b"]))

    assert await hashes() == set()
    await shelf.release(a=ALPHA)
    await shelf.release(b=OMEGA)
    assert await shelf.drafts.hashes(shelf.scope, shelf.kb, ["a"]) == {"a": shelf.new("a", ALPHA).content_hash.hex()}
    await shelf.rollback(1)
    assert await hashes() == {"a"}
    await shelf.stage("b", ["other"])
    assert await hashes() == {"a", "b"}
    await shelf.remove("a")
    assert await hashes() == {"b"}


async def test_what_is_collected_is_gone(shelf: Shelf) -> None:
    await shelf.release(a=ALPHA)
    await shelf.release(a=OMEGA)
    base = await shelf.bases.get(shelf.scope, "handbook")
    assert (base.live_seq, base.newest_seq) == (2, 2)
    await shelf.retain(1)
    done = await shelf.versions.collect(shelf.scope, shelf.kb, now=shelf.now(), grace_s=0, erase=erased)
    assert done.versions == (1,)
    for gone in (
        shelf.pin("1"),
        shelf.rollback(1),
        shelf.versions.tag(shelf.scope, shelf.kb, "old", 1, shelf.now()),
        shelf.versions.diff(shelf.scope, shelf.kb, 1, 2, cursor=None, limit=1),
    ):
        with pytest.raises(VersionGone):
            await gone


async def test_what_was_written_to_the_draft_since_is_known(shelf: Shelf) -> None:
    async def written(since: datetime) -> Written | None:
        return await shelf.drafts.written(shelf.scope, shelf.kb, "a", since)

    before, lines = shelf.now(), ["one line", "and another"]
    assert await written(before) is None
    await shelf.begin("a", lines)
    assert await written(before) is None, "not whole"
    await shelf.stage("a", lines)
    assert await written(before) == Written(2, len("".join(lines)), 1)
    assert await written(shelf.now()) is None
    await shelf.publish()
    assert await written(before) is None


async def test_what_the_draft_takes_out_is_known(shelf: Shelf) -> None:
    async def removed(document_id: str) -> bool:
        return await shelf.drafts.removed(shelf.scope, shelf.kb, document_id)

    await shelf.release(a=ALPHA)
    assert not await removed("a")
    await shelf.stage("b", ALPHA)
    for name in ("a", "b"):
        assert await shelf.remove(name)
        assert not await shelf.remove(name)
    assert [await removed(name) for name in ("a", "b", "c")] == [True, False, False]
    await shelf.discard()
    assert not await removed("a")
    await shelf.remove("a")
    await shelf.publish()
    assert not await removed("a")
