"""Nothing stays in the temporary folder, whoever is killed."""

import asyncio
import os
from pathlib import Path

import pytest

from memoryd.knowledge.folders import Purpose, remove_abandoned, temporary_folder

LONG_AGO = (0, 0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def names(place: Path) -> set[str]:
    return {one.name for one in place.iterdir()}


async def test_a_folder_goes_with_what_is_in_it(place: Path) -> None:
    async with temporary_folder(Purpose.INGEST) as folder:
        (folder / "document").write_text("x")
        assert names(place) == {folder.name}
    assert names(place) == set()


async def test_a_folder_goes_also_when_its_user_is_cancelled(place: Path) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        async with temporary_folder(Purpose.UPLOAD) as folder:
            (folder / "file").write_text("x")
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names(place) == set()


async def test_what_the_killed_have_left_is_removed(place: Path) -> None:
    """Not what somebody uses, what was just made, or what is another's."""
    for name in ("memoryd-ingest-killed", "memoryd-upload-killed", "memoryd-ingest-young", "memoryd-archive-other"):
        (place / name).mkdir()
        (place / name / "file").write_text("x")
        if "young" not in name:
            os.utime(place / name, LONG_AGO)
    (place / "memoryd-ingest-link").symlink_to(place / "memoryd-archive-other")
    async with temporary_folder(Purpose.INGEST) as used:
        (used / "document").write_text("x")
        os.utime(used, LONG_AGO)
        remove_abandoned()
        assert (used / "document").exists()
        left = names(place) - {used.name}
    assert left == {"memoryd-ingest-young", "memoryd-archive-other", "memoryd-ingest-link"}
    assert (place / "memoryd-archive-other/file").exists()
