"""What a parser that was taken over can do: nothing that lasts."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.limits import ParseLimits
from ingestion.parse.parser import DocumentParser, Reading
from tests.ingestion.parse.reading import read

MISBEHAVING = "tests.ingestion.parse.misbehaving"
LIMITS = ParseLimits(cpu_s=20, wait_s=20)


@dataclass(frozen=True)
class Taken:
    """Parsers whose processes were taken over, each with a document in a folder of its own. ``stays``: behind a harmless one."""

    folder: Path
    forking: bool
    stays: bool

    async def does(self, what: str, *, limits: ParseLimits = LIMITS, content: str = "x") -> str:
        """What the process says after it has tried."""
        async with self._parser(limits) as parser:
            return (await read(self._document(content), name=what, parser=parser, family=self._family)).text

    async def fails(self, what: str, *, limits: ParseLimits = LIMITS) -> FailureReason:
        """Why there is no document."""
        with pytest.raises((ParseFailed, OSError)) as failed:
            await self.does(what, limits=limits)
        failure: BaseException | None = failed.value
        if behind_another := isinstance(failure, OSError):
            failure = failure.__cause__
        assert isinstance(failure, ParseFailed)
        # Behind another document it may be the fault of that.
        assert behind_another is (self.stays and failure.reason is not FailureReason.TOO_LARGE)
        return failure.reason

    @asynccontextmanager
    async def opened(self, what: str) -> AsyncIterator[Reading]:
        """A document that is being read."""
        document = self._document("x")
        async with self._parser(LIMITS) as parser, parser.open(document, name=what, family=self._family) as reading:
            yield reading

    @property
    def _family(self) -> str | None:
        return "theirs" if self.stays else None

    @asynccontextmanager
    async def _parser(self, limits: ParseLimits) -> AsyncIterator[DocumentParser]:
        parser = DocumentParser(limits, forking=self.forking, child=MISBEHAVING)
        try:
            if self.stays:
                await read(self._document("x"), name="environment", parser=parser, family=self._family)
            yield parser
        finally:
            await parser.close()

    def _document(self, content: str) -> Path:
        path = self.folder / "document"
        path.write_text(content)
        return path


@pytest.fixture(params=["started", "forked", "stayed"])
def taken(tmp_path: Path, request: pytest.FixtureRequest) -> Taken:
    return Taken(tmp_path, forking=request.param != "started", stays=request.param == "stayed")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server


@pytest.mark.parametrize("what", ["socket", "process", "write"])
async def test_python_is_refused(what: str, taken: Taken) -> None:
    assert (await taken.does(what)).startswith("refused")


async def test_code_past_python_has_no_network(taken: Taken, listening: socket.socket) -> None:
    """Landlock or a network namespace; both come with Linux and neither needs privileges everywhere."""
    port = listening.getsockname()[1]
    with contextlib.closing(socket.create_connection(("127.0.0.1", port))):
        pass
    said = await taken.does("libc socket", content=str(port))
    assert said.startswith("refused")


async def test_other_files_are_out_of_reach(taken: Taken) -> None:
    assert (await taken.does("read")).startswith("refused")


async def test_no_secret_is_in_its_environment(taken: Taken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMORYD_DATABASE_URL", "postgresql://user:secret@db/memoryd")
    names = (await taken.does("environment")).split()
    assert set(names) <= {"LC_ALL", "LC_CTYPE", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"}


async def test_a_loop_is_ended_by_its_processor_time(taken: Taken) -> None:
    assert await taken.fails("loop", limits=ParseLimits(cpu_s=1, wait_s=60)) is FailureReason.TIMED_OUT


async def test_silence_is_ended_by_the_clock(taken: Taken) -> None:
    assert await taken.fails("sleep", limits=ParseLimits(wait_s=1.0)) is FailureReason.TIMED_OUT


async def test_memory_is_bounded(taken: Taken) -> None:
    limits = ParseLimits(memory_bytes=512 * 1024 * 1024)
    assert await taken.fails("memory", limits=limits) is FailureReason.OUT_OF_MEMORY


async def test_a_flood_is_cut_off(taken: Taken) -> None:
    limits = ParseLimits(characters=5_000_000, expansion_floor=5_000_000)
    assert await taken.fails("flood", limits=limits) is FailureReason.TOO_LARGE


@pytest.mark.parametrize("what", ["long line", "nonsense", "nesting", "segfault", "quit"])
async def test_what_is_no_result_is_a_crash(what: str, taken: Taken) -> None:
    assert await taken.fails(what) is FailureReason.CRASHED


async def test_leaving_ends_the_process(taken: Taken) -> None:
    async with taken.opened("sleep") as reading:
        block = await anext(reading)
        assert block.text == "first"
        process = reading.process_id
        os.kill(process, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


async def test_cancelling_ends_the_process(taken: Taken) -> None:
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        async with taken.opened("sleep") as reading:
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


async def test_what_was_not_read_to_its_end_has_no_end(taken: Taken) -> None:
    async with taken.opened("sleep") as reading:
        await anext(reading)
        with pytest.raises(RuntimeError, match="not read to its end"):
            _ = reading.parsed
