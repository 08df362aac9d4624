"""The other end of :mod:`ingestion.parse.nursery`: processes that parse, as the parser wants them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from io import FileIO
from typing import Any

from ingestion.parse.nursery import MESSAGE_BYTES
from ingestion.parse.wire import MAX_LINE

_PATIENCE_S = 5.0
_RETRY_S = 0.01
# Of documents that belong together, one process parses so many; and so many processes wait for the next, so long.
_DOCUMENTS = 32
IDLE = 4
_IDLE_S = 2.0


@dataclass(frozen=True, slots=True)
class _Stay:
    """Of a process that parses some documents: which of them, how to give it the next, and how many it had before this one."""

    family: Hashable
    line: socket.socket
    had: int = 0


class Forked:
    """A parsing process: as much of :class:`asyncio.subprocess.Process` as is needed. ``stdout`` is what it writes.

    ``lost``: it ended because the nursery did, which says nothing of the document. ``stay``: it can have other documents later.
    """

    def __init__(
        self,
        number: int,
        stdout: asyncio.StreamReader,
        pipe: asyncio.ReadTransport,
        forks: Forks,
        stay: _Stay | None,
    ) -> None:
        self.stdout = stdout
        self.number = number
        self.stay = stay
        self.pid = 0
        self.returncode: int | None = None
        self.lost = False
        self._pipe = pipe
        self._forks = forks
        self._started = asyncio.Event()
        self._ended = asyncio.Event()

    @property
    def had(self) -> int:
        """How many documents it had before this one."""
        return self.stay.had if self.stay is not None else 0

    def hear(self, message: Mapping[str, int]) -> None:
        """What the nursery says of it."""
        if "pid" in message:
            self.pid = message["pid"]
            self._started.set()
        if "code" in message:
            self.returncode = message["code"]
            self._started.set()
            self._ended.set()

    def lose(self) -> None:
        """The nursery is gone, and it with that."""
        self.lost = True
        self.hear({"code": 1})

    def forget(self) -> None:
        """Nobody waits for it: kill it, or it would wait for somebody to read what it writes, or for the next document."""
        self._forks.kill(self.number)
        self._pipe.close()
        if self.stay is not None:
            self.stay.line.close()

    async def started(self) -> None:
        """Raises ``OSError`` when it does not begin, or not in time."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._started.wait()
        except TimeoutError as error:
            raise OSError("the process that starts parsers does not answer") from error
        if not self.pid:
            raise OSError("no process could be started")

    async def wait(self) -> int | None:
        """Its end."""
        await self._ended.wait()
        return self.returncode

    async def end(self, *, whole: bool = False) -> None:
        """Kill it, unless it has ended, or is kept for the next document: ``whole`` says that it has written all of this one."""
        if whole and self._forks.keep(self):
            self._pipe.close()
            return
        if self.returncode is None:
            self._forks.kill(self.number)
        self._pipe.close()
        if self.stay is not None:
            self.stay.line.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                await self.wait()


class Forks:
    """Starts the nursery with the first document, and again when it is gone. Of one event loop; close it in the end."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = dict(environment)
        self._numbers = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._alive: dict[int, Forked] = {}
        self._idle: list[Forked] = []

    async def start(self, document: int, request: Mapping[str, Any], *, family: Hashable | None = None) -> Forked:
        """A process that parses the file behind the descriptor ``document``. With a ``family`` it may have parsed others of that,
        and go on to parse more. Raises ``OSError``."""
        if family is not None and (again := await self._again(document, request, family)) is not None:
            return again
        if self._control is None:
            # On this thread: what it starts is to die with its parent, which to the kernel is a thread.
            self._begin()
            asyncio.get_running_loop().add_reader(self._opened(), self._receive)
        number = next(self._numbers)
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            stay = None
            if family is not None:
                line, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                line.setblocking(False)
                stay = _Stay(family, ours.enter_context(line))
                theirs.enter_context(other)
            read, write = os.pipe()
            theirs.callback(os.close, write)
            forked = await self._listen(number, read, stay)
            self._alive[number] = forked
            try:
                given = [document, write] if stay is None else [document, write, other.fileno()]
                await self._send({"number": number, "request": request}, given)
                await forked.started()
            except BaseException:
                self._alive.pop(number, None)
                forked.forget()
                raise
            ours.pop_all()
        return forked

    def keep(self, forked: Forked) -> bool:
        """Keep a process for the next document of its family; false when it is not to have another."""
        if forked.stay is None or forked.returncode is not None or forked.had + 1 >= _DOCUMENTS:
            return False
        self._idle.append(forked)
        asyncio.get_running_loop().call_later(_IDLE_S, self._dismiss, forked)
        if len(self._idle) > IDLE:
            self._dismiss(self._idle[0])
        return True

    async def close(self) -> None:
        """End the nursery, and what it has started."""
        process, self._process = self._process, None
        self._lost()
        if process is not None:
            await asyncio.to_thread(_ended, process)

    def _begin(self) -> None:
        if self._process is not None:  # it has gone, or is about to
            self._process.kill()
            self._process.wait()
            self._process = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=self._environment,
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        self._control = ours

    def _opened(self) -> socket.socket:
        if self._control is None:
            raise OSError("the process that starts parsers is gone")
        return self._control

    async def _again(self, document: int, request: Mapping[str, Any], family: Hashable) -> Forked | None:
        """One that waits for a document of this family, with this one; ``None``: there is none."""
        data = json.dumps(request).encode()
        while waiting := [one for one in self._idle if one.stay is not None and one.stay.family == family]:
            last = waiting[-1]
            self._idle.remove(last)
            if last.stay is None or last.returncode is not None:
                last.forget()
                continue
            try:
                read, write = os.pipe()
            except OSError:
                last.forget()
                raise
            try:
                forked = await self._listen(last.number, read, replace(last.stay, had=last.had + 1))
                if last.returncode is None:
                    self._alive[last.number] = forked
                    forked.hear({"pid": last.pid})
                    try:
                        socket.send_fds(last.stay.line, [data], [document, write])
                    except OSError:
                        pass
                    else:
                        return forked
                forked.forget()
            except BaseException:
                last.forget()
                raise
            finally:
                os.close(write)
        return None

    def _dismiss(self, forked: Forked) -> None:
        if forked in self._idle:
            self._idle.remove(forked)
            forked.forget()

    async def _listen(self, number: int, read: int, stay: _Stay | None) -> Forked:
        reader = asyncio.StreamReader(limit=MAX_LINE)
        protocol = asyncio.StreamReaderProtocol(reader)
        loop = asyncio.get_running_loop()
        # uvloop closes the descriptor and then what it was given, when the number may be another file's already.
        file = FileIO(read, "rb", closefd=isinstance(loop, asyncio.BaseEventLoop))
        pipe, _ = await loop.connect_read_pipe(lambda: protocol, file)
        return Forked(number, reader, pipe, self, stay)

    async def _send(self, message: Mapping[str, Any], descriptors: list[int]) -> None:
        data = json.dumps(message).encode()
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                try:
                    socket.send_fds(self._opened(), [data], descriptors)
                except BlockingIOError:
                    await asyncio.sleep(_RETRY_S)
                else:
                    return

    def kill(self, number: int) -> None:
        """End a process, if it is there."""
        with contextlib.suppress(OSError):
            self._opened().send(json.dumps({"number": number, "kill": True}).encode())

    def _receive(self) -> None:
        try:
            data = self._opened().recv(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        message = json.loads(data)
        forked = self._alive.get(message["number"])
        if forked is not None:
            forked.hear(message)
            if "code" in message:
                del self._alive[message["number"]]

    def _lost(self) -> None:
        """The nursery is gone, and its children with it."""
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
            self._control = None
        for forked in self._alive.values():
            forked.lose()
        self._alive.clear()
        for forked in self._idle:
            forked.forget()
        self._idle.clear()


def _ended(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
