"""The embedded memoryd that ``memoryd mcp`` starts: whenever it is told to end, nothing is left behind."""

import asyncio
from asyncio.subprocess import Process
from pathlib import Path

import pytest

from memoryd.errors import StoreUnavailable
from memoryd.mcp.installation import Embedded

spawn = asyncio.create_subprocess_exec


class Spawning:
    """Makes a process of its own at once, and tells of it when it may."""

    def __init__(self) -> None:
        self.begun, self.told = asyncio.Event(), asyncio.Event()
        self.made: list[Process] = []

    async def __call__(self, *command: str, **options: object) -> Process:
        self.made.append(await spawn("sleep", "60", stdout=asyncio.subprocess.PIPE))
        self.begun.set()
        await self.told.wait()
        return self.made[-1]


@pytest.mark.parametrize("gone", [False, True], ids=["asked for", "given up"])
async def test_what_is_just_being_started_is_ended_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool) -> None:
    spawning, where = Spawning(), Embedded(tmp_path / "data")
    monkeypatch.setattr(asyncio, "create_subprocess_exec", spawning)
    finding = asyncio.create_task(where.find(None))
    await spawning.begun.wait()
    if gone:
        finding.cancel()
    closings = [asyncio.create_task(where.close()) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert not any(one.done() for one in closings)
    spawning.told.set()
    await asyncio.gather(*closings)
    (child,) = spawning.made
    assert child.returncode == -15
    with pytest.raises(asyncio.CancelledError if gone else StoreUnavailable):
        await finding
    with pytest.raises(StoreUnavailable, match="ending"):
        await where.find(None)
    assert len(spawning.made) == 1


async def test_what_could_not_be_started_is_nothing_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*command: str, **options: object) -> Process:
        raise FileNotFoundError("no such program")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", fails)
    where = Embedded(tmp_path / "data")
    with pytest.raises(FileNotFoundError):
        await where.find(None)
    await where.close()
