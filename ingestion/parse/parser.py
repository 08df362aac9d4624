"""Documents to blocks, in processes that can do nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

import ingestion
from ingestion.document import SEPARATOR, Block, Parsed, render
from ingestion.parse.failures import FailureReason, ParseFailed
from ingestion.parse.forks import IDLE, Forked, Forks
from ingestion.parse.limits import SMALL_BYTES, ParseLimits
from ingestion.parse.pieces import Piece
from ingestion.parse.wire import MAX_LINE, REQUEST, Done, Titled, read_line

Process = asyncio.subprocess.Process | Forked

_ROOT = Path(ingestion.__file__).parents[1]
_PATIENCE_S = 5.0
# Of a name or a media type, which a server on the web may have chosen: all that tells formats apart, and a message that fits.
_HINT_CHARS = 500
# Who belongs to a family waits so long for a process that parses another of it, and is about to be through with that.
_TURN_S = 0.5
# Of small files so many are parsed at once; larger ones are their caller's to count.
_SMALL_ONES = 16
# What may be the fault of what a process parsed before.
_OF_THE_PROCESS = {FailureReason.CRASHED, FailureReason.OUT_OF_MEMORY, FailureReason.TIMED_OUT}
_KILLED = {
    signal.SIGXCPU: (FailureReason.TIMED_OUT, "the processor time of a document was used up"),
    signal.SIGKILL: (FailureReason.OUT_OF_MEMORY, "the system ended the parser, as it does when memory is short"),
}


class Reading:
    """The blocks of one document, in order. ``title`` is there once the first was read, ``parsed`` once the last was."""

    def __init__(self, process: Process, limits: ParseLimits, size: int) -> None:
        if process.stdout is None:
            raise ValueError("the parser's output is not a pipe")
        self._process, self._lines = process, process.stdout
        self._room, self._blocks = limits.output_of(size), limits.blocks
        self._wait_s = self._left_s = limits.wait_s + limits.more_s(size)
        self._position = 0
        self._title: str | None = None
        self._parsed: Parsed | None = None

    @property
    def title(self) -> str | None:
        """What the document is called, as far as it had said before its first block."""
        return self._title

    @property
    def parsed(self) -> Parsed:
        """Raises ``RuntimeError`` before the end."""
        if self._parsed is None:
            raise RuntimeError("the document was not read to its end")
        return self._parsed

    @property
    def whole(self) -> bool:
        """The document was read to its end."""
        return self._parsed is not None

    @property
    def process_id(self) -> int:
        """Of the parsing process, for whoever watches what it uses."""
        return self._process.pid

    def __aiter__(self) -> AsyncIterator[Block]:
        return self

    async def __anext__(self) -> Block:
        """The next block. Raises ``ParseFailed``; blocks that were given before it belong to no document then.

        Raises ``OSError`` when the process was ended for no fault of the document, or failed behind others of its family.
        """
        if self._parsed is not None:
            raise StopAsyncIteration
        try:
            return await self._next()
        except ParseFailed as failure:
            if failure.reason in _OF_THE_PROCESS and isinstance(self._process, Forked) and self._process.had:
                raise OSError("the parser failed behind other documents: this one is to be parsed by itself") from failure
            raise

    async def _next(self) -> Block:
        message = await self._message()
        if isinstance(message, Titled) and not self._position and self._title is None:
            self._title, message = message.title, await self._message()
        match message:
            case Titled():
                raise ParseFailed(FailureReason.CRASHED, "the parser wrote a title behind a block")
            case Piece() as piece:
                return self._placed(piece)
            case Done() as done:
                characters = max(self._position - len(SEPARATOR), 0)
                self._parsed = Parsed(done.media_type, done.title, done.pages, characters, done.warnings)
                raise StopAsyncIteration
            case failure:
                raise failure

    async def _message(self) -> Titled | Piece | Done | ParseFailed:
        waiting = time.monotonic()
        try:
            async with asyncio.timeout(max(self._left_s, 0)):
                line = await self._lines.readline()
        except TimeoutError as error:
            raise ParseFailed(FailureReason.TIMED_OUT, f"nothing came for {self._wait_s:g} s in all") from error
        except ValueError as error:
            raise ParseFailed(FailureReason.CRASHED, "the parser wrote a line that is too long") from error
        self._left_s -= time.monotonic() - waiting
        if not line.endswith(b"\n"):
            raise await self._ended()
        try:
            return read_line(line)
        except ValueError as error:
            raise ParseFailed(FailureReason.CRASHED, "the parser wrote what is not a block") from error

    def _placed(self, piece: Piece) -> Block:
        self._room -= len(piece.text)
        self._blocks -= 1
        if self._room < 0 or self._blocks < 0:
            raise ParseFailed(FailureReason.TOO_LARGE, "the parser wrote more than it may")
        start = self._position
        end = start + len(render(piece.kind, piece.text, level=piece.level, language=piece.language))
        self._position = end + len(SEPARATOR)
        return Block(piece.kind, piece.text, start, end, piece.level, piece.page, piece.language)

    async def _ended(self) -> ParseFailed:
        """Why there is no last line. Raises ``OSError``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await self._process.wait()
        if isinstance(self._process, Forked) and self._process.lost:
            raise OSError("the process that starts parsers is gone, and the parser with it")
        code = self._process.returncode
        number = -code if code is not None and code < 0 else None
        if number in _KILLED:
            return ParseFailed(*_KILLED[signal.Signals(number)])
        how = f"ended by {signal.Signals(number).name}" if number is not None else f"ended with status {code}"
        return ParseFailed(FailureReason.CRASHED, f"the parser {how}")


class DocumentParser:
    """A process a document, or a family of short ones. How many at a time is the caller's to bound, but for small files; each
    takes a core and up to its limit of memory.

    Each is started anew, or with ``forking`` forked from one that has loaded what all documents need, which saves 50 ms a
    document; then close the parser in the end. ``child`` is the module to run; only tests name another.
    """

    def __init__(self, limits: ParseLimits | None = None, *, forking: bool = False, child: str = "ingestion.parse.child") -> None:
        self._limits = limits or ParseLimits()
        self._said_limits = asdict(self._limits)
        self._child = child
        # Forking is safe where a process has one thread, and passing descriptors is for Linux here.
        able = forking and sys.platform == "linux"
        self._forks = Forks([*_command("ingestion.parse.nursery"), child], _environment()) if able else None
        self._turns = asyncio.Semaphore(IDLE)
        self._small = asyncio.Semaphore(_SMALL_ONES)

    async def close(self) -> None:
        """End what is being parsed, and the process that others are forked from."""
        if self._forks is not None:
            await self._forks.close()

    @asynccontextmanager
    async def open(
        self,
        path: Path,
        *,
        name: str | None = None,
        media_type: str | None = None,
        encoding: str | None = None,
        family: Hashable | None = None,
    ) -> AsyncIterator[Reading]:
        """Reads the file at ``path``; ``name`` and ``media_type`` are what the sender calls it, and mere hints. ``encoding`` is
        for what was sent as text, and is not looked at for anything else.

        Leaving the context ends the process, whether the document was read or not. Where it forks, documents of a ``family`` may
        have one after the other, each when the one before was read to its end: short ones of one author, who gains nothing by
        what one of them does to the next.

        Raises ``ParseFailed`` for a file that is too large, and ``OSError`` when the file cannot be opened, no process started,
        or the one that starts them ended: that is no fault of the document.
        """
        # Opened here: a thread would take ten times as long to be told of it.
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > self._limits.file_bytes:
                raise ParseFailed(FailureReason.TOO_LARGE, f"{size} bytes, of at most {self._limits.file_bytes}")
            hints = {"name": name and name[-_HINT_CHARS:], "media_type": media_type and media_type[:_HINT_CHARS]}
            async with self._turn(family), self._small if size <= SMALL_BYTES else contextlib.nullcontext():
                process = await self._start(file.fileno(), {**hints, "encoding": encoding}, family)
                file.close()
                reading = Reading(process, self._limits, size)
                try:
                    yield reading
                finally:
                    await _end(process, whole=reading.whole)

    @asynccontextmanager
    async def _turn(self, family: Hashable | None) -> AsyncIterator[None]:
        """Where processes are kept, no more documents of families are parsed at once than there are such processes, while they
        are as short as they should be: another process would be started for each."""
        if family is None or self._forks is None:
            yield
            return
        try:
            async with asyncio.timeout(_TURN_S):
                await self._turns.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            self._turns.release()

    async def _start(self, file: int, said: dict[str, str | None], family: Hashable | None) -> Process:
        """The process has an environment of its own, without the worker's secrets, and no open file but its three; that of a
        family also the socket that brings the next document."""
        request = {"limits": self._said_limits, **said}
        if self._forks is not None:
            return await self._forks.start(file, request, family=family)
        return await asyncio.create_subprocess_exec(
            *_command(self._child),
            stdin=file,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            cwd="/",
            env=_environment() | {REQUEST: json.dumps(request)},
            start_new_session=True,
            limit=MAX_LINE,
        )


def _command(module: str) -> list[str]:
    return [sys.executable, "-s", "-P", "-W", "ignore", "-X", "utf8", "-m", module]


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}


async def _end(process: Process, *, whole: bool) -> None:
    """Kills the process and its group, unless it has ended: its number may be another's by now. ``whole``: it has written all."""
    if isinstance(process, Forked):
        await process.end(whole=whole)
        return
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            # What was written and not read would keep the pipe open.
            while process.stdout is not None and await process.stdout.read(MAX_LINE):
                pass
            await process.wait()
