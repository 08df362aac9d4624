"""Folders and archives: what is sent, what is not, and what cannot be."""

import gc
import json
import tarfile
import zipfile
from pathlib import Path
from typing import BinaryIO

import pytest

from memoryd.client import InvalidRequest, Local, Options, Progress, Refused, SourceUnreadable, Walk, Which, bulk
from memoryd.client.sources import Hashed
from memoryd.client.uploads import batches
from tests.client.conftest import Side
from tests.client.service import Service, parts

COMPARE = "/v1/knowledge-bases/handbook/compare"
UPLOADS = "/v1/knowledge-bases/handbook/uploads"
JOBS = "/v1/knowledge-bases/handbook/jobs"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "guide").mkdir(parents=True)
    (folder / "readme.md").write_text("# Read me")
    (folder / "guide" / "leave.md").write_text("# Leave\r\n--x\r\n")
    (folder / "guide" / "logo.png").write_bytes(b"\x89PNG")
    return folder


def test_a_folder_and_the_same_again(side: Side, service: Service, docs: Path) -> None:
    begun = side.value(side.knowledge.ingest_folder("handbook", docs, which=Which(exclude=["*.png"])))
    assert (begun.sent, begun.unchanged, begun.removed, begun.refused) == (2, 0, 0, ())
    assert set(service.staged) == {"readme.md", "guide/leave.md"}
    assert sorted(service.uploads.values()) == [b"# Leave\r\n--x\r\n", b"# Read me"]
    (order,) = service.of("POST", JOBS)
    asked = {one["document_id"]: one for one in json.loads(order.content)["documents"]}
    assert asked["guide/leave.md"]["file_name"] == "leave.md"

    seen = len(service.asked)
    again = side.value(side.knowledge.ingest_folder("handbook", docs, which=Which(exclude=["*.png"])))
    assert (again.sent, again.unchanged, again.jobs, again.bytes) == (0, 2, (), 0)
    assert [one.url.path for one in service.asked[seen:]] == [COMPARE]

    (docs / "readme.md").write_text("# Read me twice")
    changed = side.value(side.knowledge.ingest_folder("handbook", docs, which=Which(exclude=["*.png"])))
    assert (changed.sent, changed.unchanged) == (1, 1)

    everything = side.value(
        side.knowledge.ingest_folder("handbook", docs, which=Which(exclude=["*.png"]), options=Options(everything=True))
    )
    assert (everything.sent, everything.unchanged) == (2, 0)


def test_contents_that_are_alike_go_once(side: Side, service: Service, docs: Path) -> None:
    (docs / "copy.md").write_text("# Read me")
    begun = side.value(side.knowledge.ingest_folder("handbook", docs))
    assert begun.sent == 4
    assert sum(len(parts(one)) for one in service.of("POST", UPLOADS)) == 3
    assert service.staged["copy.md"] == service.staged["readme.md"]


def test_pruning_takes_out_what_is_below_the_prefix_only(side: Side, service: Service, docs: Path) -> None:
    service.staged = {"a/old.md": "0", "b/old.md": "1", "a/readme.md": "2"}
    service.versions = 1
    begun = side.value(side.knowledge.ingest_folder("handbook", docs, which=Which("a/"), options=Options(prune="a/")))
    assert begun.removed == 1
    (order,) = service.of("POST", JOBS)
    assert json.loads(order.content)["remove"] == ["a/old.md"]
    assert "b/old.md" in service.staged


def test_pruning_by_nothing_is_refused(side: Side, service: Service, tmp_path: Path) -> None:
    service.staged = {"a": "0"}
    with pytest.raises(SourceUnreadable, match="remove everything"):
        side.value(side.knowledge.ingest_folder("handbook", tmp_path, options=Options(prune="")))
    assert service.asked == []


def test_what_cannot_be_read_is_neither_removed_nor_published_over(side: Side, service: Service, docs: Path) -> None:
    service.staged, service.versions = {"gone.md": "0"}, 1

    def gone() -> BinaryIO:
        raise PermissionError("permission denied")

    files = [Local("gone.md", "gone.md", gone), _local(docs / "readme.md")]
    begun = side.value(side.knowledge.ingest_local("handbook", files, options=Options(prune="", publish=True)))
    assert [(one.document_id, one.reason) for one in begun.refused] == [("gone.md", "unreadable")]
    assert begun.removed == 0
    assert not begun.publish
    (order,) = service.of("POST", JOBS)
    assert json.loads(order.content)["publish"] is False
    finished = side.value(side.knowledge.finish("handbook", begun))
    assert finished.live is None
    assert not finished.good


@pytest.mark.parametrize(
    ("refused", "gone"),
    [
        ("a/hr", ["a/hr-old.md", "a/old.md"]),
        ("a/hr/", ["a/hr-old.md", "a/old.md"]),
        ("a/hr/de", ["a/hr-old.md", "a/hr/leave.md", "a/old.md"]),
        ("a/", []),
        ("", []),
    ],
)
def test_what_is_below_a_folder_that_cannot_be_read_is_not_pruned(
    side: Side, service: Service, docs: Path, refused: str, gone: list[str]
) -> None:
    staged = ["a/hr-old.md", "a/hr/leave.md", "a/hr/de/leave.md", "a/old.md"]
    service.staged, service.versions = dict.fromkeys(staged, "0"), 1
    files: list[Local | Refused] = [Refused(refused, "unreadable", ""), _local(docs / "readme.md")]
    begun = side.value(side.knowledge.ingest_local("handbook", files, options=Options(prune="a/")))
    assert begun.removed == len(gone)
    (order,) = service.of("POST", JOBS)
    assert json.loads(order.content).get("remove", []) == gone


def test_a_file_that_goes_while_it_is_sent(side: Side, service: Service, docs: Path) -> None:
    fickle = docs / "fickle.md"
    fickle.write_text("here")

    def remove(progress: Progress) -> None:
        if progress.phase == "read" and progress.files == 4:
            fickle.unlink()

    begun = side.value(side.knowledge.ingest_folder("handbook", docs, report=remove))
    assert [(one.document_id, one.reason) for one in begun.refused] == [("fickle.md", "unreadable")]
    assert begun.sent == 3
    assert len(service.staged) == 3


def test_a_file_that_changes_while_it_is_sent_is_what_was_sent(side: Side, service: Service, docs: Path) -> None:
    def change(progress: Progress) -> None:
        if progress.phase == "read" and progress.files == 3:
            (docs / "readme.md").write_text("# Longer than it was")

    side.value(side.knowledge.ingest_folder("handbook", docs, report=change))
    assert service.uploads[service.staged["readme.md"]] == b"# Longer than it was"


def test_files_that_are_too_large_together_or_alone(side: Side, service: Service, docs: Path) -> None:
    service.most_bytes = 16
    (docs / "large.bin").write_bytes(bytes(17))
    begun = side.value(side.knowledge.ingest_folder("handbook", docs))
    assert [(one.document_id, one.reason) for one in begun.refused] == [("large.bin", "payload_too_large")]
    assert set(service.staged) == {"readme.md", "guide/leave.md", "guide/logo.png"}


def test_progress(side: Side, service: Service, docs: Path) -> None:
    told: list[Progress] = []
    side.value(side.knowledge.ingest_folder("handbook", docs, report=told.append))
    size = sum(one.stat().st_size for one in docs.rglob("*") if one.is_file())
    assert told[2] == Progress("read", 3, size)
    assert told[-1] == Progress("upload", 3, size, 3, size)
    sent = [one.bytes for one in told if one.phase == "upload"]
    assert sent == sorted(sent)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive(side: Side, service: Service, docs: Path, tmp_path: Path, kind: str) -> None:
    archive = tmp_path / f"docs.{kind}"
    names = ("readme.md", "guide/leave.md", "guide/logo.png")
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            for name in names:
                zipped.write(docs / name, name)
            zipped.writestr("../evil.md", "x")
    else:
        with tarfile.open(archive, "w:gz") as tarred:
            for name in names:
                tarred.add(docs / name, name)
            tarred.add(docs / "readme.md", "../evil.md")
    begun = side.value(side.knowledge.ingest_folder("handbook", archive, which=Which("a/", exclude=["guide/*.png"])))
    assert set(service.staged) == {"a/readme.md", "a/guide/leave.md"}
    assert [one.reason for one in begun.refused] == ["unsafe_name"]
    assert begun.sent == 2


def test_names_of_people(side: Side, service: Service, tmp_path: Path) -> None:
    good = ["Bildschirmfoto\u202f9.41.txt", "نامه\u200cها.txt", "日本\u3000語.txt"]
    for name in [*good, "two\nlines.txt"]:
        (tmp_path / name).write_text(name)
    begun = side.value(side.knowledge.ingest_folder("handbook", tmp_path))
    assert set(service.staged) == set(good)
    assert [(one.document_id, one.reason) for one in begun.refused] == [("two?lines.txt", "unsafe_name")]


def test_two_sources_with_one_id(side: Side, docs: Path) -> None:
    with pytest.raises(SourceUnreadable, match="document id readme"):
        side.value(side.knowledge.ingest_local("handbook", [_local(docs / "readme.md")] * 2))


def test_two_archives_with_one_id(side: Side, tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as zipped:
            zipped.writestr("readme.md", name)
    sources = [tmp_path / "one.zip", tmp_path / "two.zip"]
    with pytest.raises(SourceUnreadable, match=r"readme\.md, in .*one\.zip and in .*two\.zip"), Walk(sources) as walk:
        side.value(side.knowledge.ingest_local("handbook", walk))
    gc.collect()  # what the walk had open was closed, before the folder that it was in went


def test_paths_may_be_texts(side: Side, service: Service, docs: Path, tmp_path: Path) -> None:
    side.value(side.knowledge.ingest_folder("handbook", str(docs)))
    assert set(service.staged) == {"readme.md", "guide/leave.md", "guide/logo.png"}
    assert len(side.value(side.knowledge.upload("handbook", [str(docs / "readme.md")]))) == 1


def test_no_such_source(side: Side, tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="nowhere"):
        side.value(side.knowledge.ingest_folder("handbook", tmp_path / "nowhere"))
    (tmp_path / "no.zip").write_text("no archive")
    with pytest.raises(SourceUnreadable, match=r"no\.zip"):
        side.value(side.knowledge.ingest_folder("handbook", tmp_path / "no.zip"))


def test_links_are_counted_and_no_failure(side: Side, service: Service, docs: Path) -> None:
    files: list[Local | Refused] = [Refused("socket", "not_a_file", "neither"), _local(docs / "readme.md")]
    begun = side.value(side.knowledge.ingest_local("handbook", files, options=Options(publish=True)))
    assert (begun.passed, begun.refused, begun.publish, begun.by_job) == (1, (), True, True)


def test_publishing_with_one_job_is_the_jobs(side: Side, service: Service, docs: Path) -> None:
    begun = side.value(side.knowledge.ingest_folder("handbook", docs, options=Options(publish=True, note="first")))
    assert begun.by_job
    finished = side.value(side.knowledge.finish("handbook", begun))
    assert finished.good
    assert finished.live == 1
    assert not service.of("POST", ".*/publish")


def test_publishing_with_several_jobs_waits_for_all(
    side: Side, service: Service, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_ITEMS", 2)
    begun = side.value(side.knowledge.ingest_folder("handbook", docs, options=Options(publish=True, note="first")))
    assert len(begun.jobs) == 2
    assert [json.loads(one.content)["publish"] for one in service.of("POST", JOBS)] == [False, False]
    assert service.versions == 0
    finished = side.value(side.knowledge.finish("handbook", begun))
    assert finished.live == 1
    said = json.loads(service.of("POST", JOBS)[-1].content)
    assert (said["documents"], said["publish"], said["note"]) == ([], True, "first")
    assert len(finished.ingestion.jobs) == 3
    assert not service.of("POST", ".*/publish")  # in a request it might take too long


def test_publishing_what_an_earlier_run_has_staged(side: Side, service: Service, docs: Path) -> None:
    side.value(side.knowledge.ingest_folder("handbook", docs))
    begun = side.value(side.knowledge.ingest_folder("handbook", docs, options=Options(publish=True)))
    assert begun.jobs == ()
    assert side.value(side.knowledge.finish("handbook", begun)).live == 1
    again = side.value(side.knowledge.ingest_folder("handbook", docs, options=Options(publish=True)))
    assert side.value(side.knowledge.finish("handbook", again)).live == 1
    assert service.versions == 1


def test_uploads_are_of_a_hundred_files_and_32_mib() -> None:
    def files(*sizes: int) -> list[Hashed]:
        return [Hashed(_local(Path(str(number))), "0", size) for number, size in enumerate(sizes)]

    mib = 2**20
    assert [len(one) for one in batches(files(*[1] * 205))] == [100, 100, 5]
    assert [[it.size // mib for it in one] for one in batches(files(20 * mib, 12 * mib, 1 * mib, 50 * mib, 2 * mib))] == [
        [20, 12],
        [1],
        [50],
        [2],
    ]
    assert list(batches([])) == []


def test_upload_by_itself(side: Side, service: Service, docs: Path) -> None:
    kept = side.value(side.knowledge.upload("handbook", [docs / "readme.md", docs / "guide" / "leave.md"]))
    assert [service.uploads[one.upload] for one in kept] == [b"# Read me", b"# Leave\r\n--x\r\n"]
    with pytest.raises(SourceUnreadable):
        side.value(side.knowledge.upload("handbook", [docs / "nowhere"]))
    service.most_bytes = 1
    with pytest.raises(InvalidRequest):
        side.value(side.knowledge.upload("handbook", [docs / "readme.md"]))


def _local(path: Path) -> Local:
    return Local(path.name, path.name, lambda: path.open("rb"))
