"""What a parser that was taken over can do: nothing that lasts."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.limits import ParseLimits
from ingestion.parse.parser import DocumentParser, Reading
from tests.ingestion.parse.reading import read

MISBEHAVING = "tests.ingestion.parse.misbehaving"
LIMITS = ParseLimits(cpu_s=20, wait_s=20)


async def does(what: str, folder: Path, *, limits: ParseLimits = LIMITS, content: str = "x") -> str:
    """What the taken-over process says after it has tried."""
    path = folder / "document"
    path.write_text(content)
    document = await read(path, name=what, parser=DocumentParser(limits, child=MISBEHAVING))
    return document.text


async def fails(what: str, folder: Path, *, limits: ParseLimits = LIMITS) -> FailureReason:
    with pytest.raises(ParseFailed) as failed:
        await does(what, folder, limits=limits)
    return failed.value.reason


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server


@pytest.mark.parametrize("what", ["socket", "process", "write"])
async def test_python_is_refused(what: str, tmp_path: Path) -> None:
    assert (await does(what, tmp_path)).startswith("refused")


async def test_code_past_python_has_no_network(tmp_path: Path, listening: socket.socket) -> None:
    """Landlock or a network namespace; both come with Linux and neither needs privileges everywhere."""
    port = listening.getsockname()[1]
    with contextlib.closing(socket.create_connection(("127.0.0.1", port))):
        pass
    said = await does("libc socket", tmp_path, content=str(port))
    assert said.startswith("refused")


async def test_other_files_are_out_of_reach(tmp_path: Path) -> None:
    assert (await does("read", tmp_path)).startswith("refused")


async def test_no_secret_is_in_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMORYD_DATABASE_URL", "postgresql://user:secret@db/memoryd")
    names = (await does("environment", tmp_path)).split()
    assert set(names) <= {"LC_ALL", "LC_CTYPE", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}


async def test_a_loop_is_ended_by_its_processor_time(tmp_path: Path) -> None:
    assert await fails("loop", tmp_path, limits=ParseLimits(cpu_s=1, wait_s=60)) is FailureReason.TIMED_OUT


async def test_silence_is_ended_by_the_clock(tmp_path: Path) -> None:
    assert await fails("sleep", tmp_path, limits=ParseLimits(wait_s=1.0)) is FailureReason.TIMED_OUT


async def test_memory_is_bounded(tmp_path: Path) -> None:
    limits = ParseLimits(memory_bytes=512 * 1024 * 1024)
    assert await fails("memory", tmp_path, limits=limits) is FailureReason.OUT_OF_MEMORY


async def test_a_flood_is_cut_off(tmp_path: Path) -> None:
    limits = ParseLimits(characters=5_000_000, expansion_floor=5_000_000)
    assert await fails("flood", tmp_path, limits=limits) is FailureReason.TOO_LARGE


@pytest.mark.parametrize("what", ["long line", "nonsense", "nesting", "segfault", "quit"])
async def test_what_is_no_result_is_a_crash(what: str, tmp_path: Path) -> None:
    assert await fails(what, tmp_path) is FailureReason.CRASHED


async def test_leaving_ends_the_process(tmp_path: Path) -> None:
    async with _opened("sleep", tmp_path) as reading:
        block = await anext(reading)
        assert block.text == "first"
        process = reading.process_id
        os.kill(process, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


async def test_cancelling_ends_the_process(tmp_path: Path) -> None:
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        async with _opened("sleep", tmp_path) as reading:
            await anext(reading)
            started.set_result(reading.process_id)
            await anext(reading)

    task = asyncio.create_task(work())
    process = await started
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


async def test_what_was_not_read_to_its_end_has_no_end(tmp_path: Path) -> None:
    async with _opened("sleep", tmp_path) as reading:
        await anext(reading)
        with pytest.raises(RuntimeError, match="not read to its end"):
            _ = reading.parsed


def _opened(what: str, folder: Path) -> contextlib.AbstractAsyncContextManager[Reading]:
    path = folder / "document"
    path.write_text("x")
    return DocumentParser(LIMITS, child=MISBEHAVING).open(path, name=what)
