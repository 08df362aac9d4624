"""Nothing stays in the temporary folder, whoever is killed."""

import asyncio
import os
import shutil
import threading
from pathlib import Path

import obstore
import pytest
from obstore.store import ObjectStore

from memoryd.knowledge.folders import Purpose, Scratch, remove_abandoned
from memoryd.stores.objects import ObstoreObjects
from tests.embedded.running import until

LONG_AGO = (0, 0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def names(place: Path) -> set[str]:
    return {one.name for one in place.iterdir()}


@pytest.mark.parametrize("size", [0, 100_000])
async def test_a_file_goes_with_its_user_and_the_folder_with_the_last(place: Path, size: int) -> None:
    scratch = Scratch(Purpose.INGEST)
    async with scratch.file() as one:
        one.write_bytes(bytes(size))
        async with scratch.file() as other, scratch.file():
            assert one.parent == other.parent
            assert one != other
            other.write_bytes(bytes(size))
            assert names(place) == {one.parent.name}
        assert names(one.parent) == {one.name}
    assert names(place) == set()
    async with scratch.file() as again:
        again.write_text("x")
        assert again.parent != one.parent
    assert names(place) == set()


async def test_a_file_goes_also_when_its_user_is_cancelled(place: Path) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        async with Scratch(Purpose.UPLOAD).file() as path:
            path.write_text("x")
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(place) == set()


async def test_a_folder_that_somebody_removed_is_made_again(place: Path) -> None:
    scratch = Scratch(Purpose.INGEST)
    async with scratch.file() as lost:
        lost.write_text("x")
        shutil.rmtree(lost.parent)
        async with scratch.file() as path:
            path.write_text("x")
            assert path.parent != lost.parent
    assert names(place) == set()


async def test_what_was_made_behind_its_user_goes_with_the_folder(place: Path) -> None:
    async with Scratch(Purpose.INGEST).file() as one:
        (one.parent / "late").write_text("x")
    await until(lambda: names(place) == set())


async def test_a_fetch_that_was_given_up_makes_no_file_behind_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects, scratch, asked, answer = ObstoreObjects(str(place / "objects"), timeout_s=30), Scratch(Purpose.INGEST), *events(2)
    await objects.put("k", b"x" * 1_000)
    get = obstore.get

    def slow(store: ObjectStore, key: str) -> object:
        asked.set()
        answer.wait(5)
        return get(store, key)

    async def fetch() -> None:
        async with scratch.file() as path:
            await objects.get_file("k", path)

    monkeypatch.setattr(obstore, "get", slow)
    async with scratch.file() as other:
        other.write_text("x")
        fetching = asyncio.create_task(fetch())
        await asyncio.to_thread(asked.wait, 5)
        fetching.cancel()
        await asyncio.wait([fetching])
        answer.set()
        await objects.exists("k")
        assert names(other.parent) == {other.name}


def events(number: int) -> list[threading.Event]:
    return [threading.Event() for _ in range(number)]


async def test_what_the_killed_have_left_is_removed(place: Path) -> None:
    """Not what somebody uses, what was just made, or what is another's."""
    for name in ("memoryd-ingest-killed", "memoryd-upload-killed", "memoryd-ingest-young", "memoryd-archive-other"):
        (place / name).mkdir()
        (place / name / "file").write_text("x")
        if "young" not in name:
            os.utime(place / name, LONG_AGO)
    (place / "memoryd-ingest-link").symlink_to(place / "memoryd-archive-other")
    async with Scratch(Purpose.INGEST).file() as used:
        used.write_text("x")
        os.utime(used.parent, LONG_AGO)
        remove_abandoned()
        assert used.exists()
        left = names(place) - {used.parent.name}
    assert left == {"memoryd-ingest-young", "memoryd-archive-other", "memoryd-ingest-link"}
    assert (place / "memoryd-archive-other/file").exists()
