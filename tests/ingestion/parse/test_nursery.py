"""The process that others are forked from: what becomes of documents, processes and descriptors when it ends in the middle."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import uvloop

from ingestion.parse.forks import IDLE, Forks
from ingestion.parse.limits import SMALL_BYTES, ParseLimits
from ingestion.parse.nursery import Nursery
from ingestion.parse.parser import DocumentParser
from tests.ingestion.parse.reading import read

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="parsers are forked on Linux only")
PATIENCE_S = 10.0


@pytest.fixture
async def parser() -> AsyncIterator[DocumentParser]:
    made = DocumentParser(ParseLimits(cpu_s=20, wait_s=20), forking=True, child="tests.ingestion.parse.misbehaving")
    yield made
    await made.close()


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "document"
    path.write_text("x")
    return path


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def children(process: int) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and parent(int(entry.name)) == process:
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def descriptors() -> set[str]:
    return {one.name for one in Path("/proc/self/fd").iterdir()}


def is_there(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def childless(process: int) -> bool:
    return not children(process)


async def eventually(ask: Callable[[int], bool], process: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        for _ in count():
            if ask(process):
                return
            await asyncio.sleep(0.02)


async def test_a_start_that_is_given_up_leaves_nothing(parser: DocumentParser, document: Path) -> None:
    """Cancelled between the message and the answer: what is forked then would wait for ever for somebody to read."""
    async with parser.open(document, name="sleep") as reading:
        await anext(reading)
        nursery = parent(reading.process_id)
    await eventually(childless, nursery)
    before = descriptors()

    async def work() -> None:
        async with parser.open(document, name="sleep"):
            raise AssertionError("it does not come that far")

    os.kill(nursery, signal.SIGSTOP)
    try:
        task = asyncio.create_task(work())
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        os.kill(nursery, signal.SIGCONT)
    assert (await read(document, name="environment", parser=parser)).text
    await eventually(childless, nursery)
    # The loop closes what it has read to the end a little later.
    await eventually(lambda _: descriptors() <= before, nursery)


async def test_the_end_of_the_nursery_is_no_fault_of_a_document(parser: DocumentParser, document: Path) -> None:
    async with parser.open(document, name="sleep") as reading:
        await anext(reading)
        process = reading.process_id
        os.kill(parent(process), signal.SIGKILL)
        with pytest.raises(OSError, match="gone"):
            await anext(reading)
    await eventually(lambda one: not is_there(one), process)
    assert (await read(document, name="environment", parser=parser)).text


async def process_of(parser: DocumentParser, document: Path, family: str | None, name: str = "environment") -> int:
    """Of a document that is read to its end."""
    async with parser.open(document, name=name, family=family) as reading:
        assert [block async for block in reading]
        return reading.process_id


async def test_short_documents_that_belong_together_share_a_process(
    parser: DocumentParser, document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.parse.forks._DOCUMENTS", 4)
    monkeypatch.setattr("ingestion.parse.forks._IDLE_S", 60.0)
    first = [await process_of(parser, document, "a") for _ in range(2)]
    other = [await process_of(parser, document, "b") for _ in range(2)]
    alone = [await process_of(parser, document, None) for _ in range(2)]
    assert (len(set(first)), len(set(other)), len(set(alone)), len({*first, *other, *alone})) == (1, 1, 2, 4)
    nursery = parent(first[0])
    await eventually(lambda one: children(one) == {first[0], other[0]}, nursery)
    # Two at once are two processes.
    async with parser.open(document, name="environment", family="a") as one, parser.open(document, family="a") as two:
        assert (one.process_id == first[0], two.process_id == first[0]) == (True, False)
    rest = [await process_of(parser, document, "b") for _ in range(3)]
    assert (rest[:2], rest[2] == other[0]) == (other, False), "four documents, and then a new one"
    await eventually(lambda one: other[0] not in children(one), nursery)


async def test_processes_that_wait_for_documents_are_few_and_wait_for_a_while(
    parser: DocumentParser, document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.parse.forks.IDLE", 2)
    monkeypatch.setattr("ingestion.parse.forks._IDLE_S", 1.0)
    some = [await process_of(parser, document, family) for family in "abc"]
    before = descriptors()
    nursery = parent(some[-1])
    await eventually(lambda one: children(one) <= {*some[1:]}, nursery)
    await eventually(childless, nursery)
    assert len(descriptors()) < len(before), "what led to them is closed"
    last = await process_of(parser, document, "a")
    assert is_there(last)
    await parser.close()
    await eventually(lambda one: not is_there(one), last)


async def test_documents_of_a_family_wait_for_a_process_that_is_nearly_free(
    parser: DocumentParser, document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.parse.parser._TURN_S", 60.0)
    some = await asyncio.gather(*(process_of(parser, document, "a") for _ in range(3 * IDLE)))
    assert len(set(some)) <= IDLE
    monkeypatch.setattr("ingestion.parse.parser._TURN_S", 0.05)
    async with AsyncExitStack() as stack:
        for _ in range(IDLE):
            await anext(await stack.enter_async_context(parser.open(document, name="sleep", family="a")))
        assert await process_of(parser, document, "a") not in some, "not for one that takes long"
    monkeypatch.setattr("ingestion.parse.parser._TURN_S", 60.0)
    assert len({await process_of(parser, document, "a") for _ in range(IDLE + 1)}) == 1, "all turns were given back"


async def test_of_small_documents_only_some_are_parsed_at_once(parser: DocumentParser, document: Path, tmp_path: Path) -> None:
    parser._small = asyncio.Semaphore(2)
    large = tmp_path / "large"
    large.write_bytes(b"x" * (SMALL_BYTES + 1))
    async with parser.open(document, name="sleep"), parser.open(document, name="sleep", family="a"):
        waiting = asyncio.create_task(process_of(parser, document, None))
        assert await process_of(parser, large, None)
        assert not waiting.done()
    assert await waiting


@pytest.mark.parametrize("name", ["sleep", "nonsense", "quit", "segfault"])
async def test_a_process_that_failed_or_was_left_has_no_other_document(parser: DocumentParser, document: Path, name: str) -> None:
    first = await process_of(parser, document, "a")
    with suppress(OSError):
        async with parser.open(document, name=name, family="a") as reading:
            assert reading.process_id == first
            await anext(reading)
    assert await process_of(parser, document, "a") != first
    await eventually(lambda one: not is_there(one), first)


async def test_a_process_that_died_waiting_fails_no_document(parser: DocumentParser, document: Path) -> None:
    assert parser._forks is not None
    for _ in range(3):
        first = await process_of(parser, document, "a")
        (waiting,) = parser._forks._idle
        os.kill(first, signal.SIGKILL)
        assert await waiting.wait() == -signal.SIGKILL
        assert await process_of(parser, document, "a") != first
    first = await process_of(parser, document, "a")
    (waiting,) = parser._forks._idle
    os.kill(parent(first), signal.SIGKILL)
    await waiting.wait()
    assert await process_of(parser, document, "a") != first


async def test_a_process_that_dies_with_the_next_document_in_hand_is_no_fault_of_that(
    parser: DocumentParser, document: Path
) -> None:
    first = await process_of(parser, document, "a")
    async with parser.open(document, name="sleep", family="a") as reading:
        assert reading.process_id == first
        await anext(reading)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(OSError, match="behind other documents"):
            await anext(reading)
    assert await process_of(parser, document, "a") != first


async def test_what_a_server_says_of_a_document_harms_no_other(parser: DocumentParser, document: Path) -> None:
    """A media type may be as long as a header; the message about it may not."""
    async with parser.open(document, name="sleep") as reading:
        await anext(reading)
        document_of_another = await read(document, name="é" * 70_000 + "environment", media_type="é" * 70_000, parser=parser)
        assert document_of_another.text
        os.kill(reading.process_id, 0)


def refusing() -> int:
    raise BlockingIOError("no room for another process")


@contextmanager
def same_signals() -> Iterator[None]:
    handler, wakeup = signal.getsignal(signal.SIGCHLD), signal.set_wakeup_fd(-1)
    yield
    signal.signal(signal.SIGCHLD, handler)
    signal.set_wakeup_fd(wakeup)


def test_without_room_for_a_process_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(request: dict[str, Any], descriptor: int, /, *, enclosed: bool, limited: bool) -> int:
        raise AssertionError("there is no process for it")

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = descriptors()
    with ours, theirs, same_signals():
        nursery = Nursery(theirs, work)
        monkeypatch.setattr(os, "fork", refusing)
        read_end, write_end = os.pipe()
        for number in (1, 2):
            socket.send_fds(ours, [json.dumps({"number": number, "request": {}}).encode()], [read_end, write_end])
        os.close(read_end)
        os.close(write_end)
        ours.shutdown(socket.SHUT_WR)
        nursery.serve()
        said = [json.loads(ours.recv(1_000)) for _ in range(2)]
    assert said == [{"number": 1, "code": 1}, {"number": 2, "code": 1}]
    assert len(descriptors()) == len(before)  # less two ends of the socket, and the nursery keeps two of its own


async def test_a_process_that_cannot_be_started_is_no_fault_of_a_document(document: Path) -> None:
    """The command ends at once, and so does its end of the socket."""
    forks = Forks([sys.executable, "-c", ""], {})
    before = descriptors()
    with document.open("rb") as file:
        for _ in range(3):
            with pytest.raises(OSError, match="start"):
                await forks.start(file.fileno(), {})
    await forks.close()
    assert descriptors() <= before


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_every_loop_closes_a_descriptor_once(
    document: Path, monkeypatch: pytest.MonkeyPatch, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Closed twice, it may be another thread's file by the second time."""
    again: list[int] = []

    class Noted(FileIO):
        def close(self) -> None:
            if self.closefd and not self.closed:
                try:
                    os.fstat(self.fileno())
                except OSError:
                    again.append(self.fileno())
            super().close()

    async def some() -> None:
        parser = DocumentParser(ParseLimits(cpu_s=20, wait_s=20), forking=True)
        try:
            await read(document, parser=parser)
            before = len(descriptors())
            for _ in range(3):
                await read(document, parser=parser)
            await eventually(lambda _: len(descriptors()) <= before, os.getpid())
        finally:
            await parser.close()

    monkeypatch.setattr("ingestion.parse.forks.FileIO", Noted)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(some())
    assert again == []
