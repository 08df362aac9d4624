"""``python -m ingestion.parse.nursery MODULE``: forks confined processes for the documents that its socket brings.

Starting Python takes some 50 ms of processor time, about what a short document takes to be embedded; a fork takes a few. What is
loaded here is what all documents need; this process reads none of them. What a child does is ``work`` of the module. Without its
other end (of standard input) this process ends, and its children with it.

Messages (``SOCK_SEQPACKET``, JSON): ``{"number", "request"}`` with two descriptors (the document, where to write) is answered by
``{"number", "pid"}`` and, when the child has ended, ``{"number", "code"}`` as in :attr:`subprocess.Popen.returncode`;
``{"number", "kill": true}`` ends a child that has not. A code without a pid: there was no room for another process. With a
third descriptor, a socket, the child stays for what comes by that: requests with two descriptors each, until it is closed.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from importlib import import_module
from typing import Any, Protocol

from ingestion.parse.confine import enclose

MESSAGE_BYTES = 65_536
_WARM = ("plain", "markdown", "records", "delimited", "sourcecode")


class Work(Protocol):
    """Parses the file on standard input, and writes to a descriptor; the exit status. See :func:`ingestion.parse.child.work`."""

    def __call__(self, request: dict[str, Any], descriptor: int, /, *, enclosed: bool, limited: bool) -> int: ...


class Nursery:
    """The children of this process, by the number that the other end gave them."""

    def __init__(self, control: socket.socket, work: Work) -> None:
        self._control = control
        self._work = work
        self._pids: dict[int, int] = {}
        self._news, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Until the other end is closed."""
        while True:
            ready, _, _ = select.select([self._control.fileno(), self._news], [], [])
            if self._news in ready:
                os.read(self._news, 4_096)
                self._reap()
            if self._control.fileno() in ready and not self._message():
                return

    def _message(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES, 3)
        if not data:
            return False
        message: dict[str, Any] = json.loads(data)
        number: int = message["number"]
        if message.get("kill"):
            pid = self._pids.get(number)
            if pid is not None:
                os.killpg(pid, signal.SIGKILL)
            return True
        self._fork(number, message["request"], *descriptors)
        return True

    def _fork(self, number: int, request: dict[str, Any], document: int, result: int, *line: int) -> None:
        try:
            pid = os.fork()
        except OSError:
            _close(document, result, *line)
            self._say({"number": number, "code": 1})
            return
        if pid == 0:
            self._become(request, document, result, *line)
        # Here too, so that a kill that comes at once meets a group.
        os.setpgid(pid, pid)
        _close(document, result, *line)
        self._pids[number] = pid
        self._say({"number": number, "pid": pid})

    def _become(self, request: dict[str, Any], document: int, result: int, *line: int) -> None:
        """The child: it never returns."""
        code = 1
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._control.close()
            os.close(self._news)
            # Before the first document: then it may make no sockets.
            more = [socket.socket(fileno=one) for one in line]
            _read(document)
            code = self._work(request, result, enclosed=True, limited=False)
            while code == 0 and more and (given := _another(more[0])):
                code = self._work(*given, enclosed=True, limited=True)
        finally:
            os._exit(code)

    def _reap(self) -> None:
        while self._pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            number = next(number for number, one in self._pids.items() if one == pid)
            del self._pids[number]
            self._say({"number": number, "code": os.waitstatus_to_exitcode(status)})

    def _say(self, message: dict[str, int]) -> None:
        self._control.send(json.dumps(message).encode())


def _another(line: socket.socket) -> tuple[dict[str, Any], int] | None:
    """The next request, its document on standard input, and where to write; ``None``: there is none."""
    data, descriptors, _, _ = socket.recv_fds(line, MESSAGE_BYTES, 2)
    if not data:
        return None
    document, result = descriptors
    _read(document)
    return json.loads(data), result


def _read(document: int) -> None:
    """From standard input."""
    os.dup2(document, 0)
    os.close(document)


def _close(*descriptors: int) -> None:
    for one in descriptors:
        os.close(one)


def main() -> int:
    """0 when the other end was closed."""
    control = socket.socket(fileno=os.dup(0))
    work: Work = import_module(sys.argv[1]).work
    enclose()
    for name in _WARM:
        import_module(f"ingestion.parse.formats.{name}")
    # What is loaded stays: children share its pages as long as nobody counts in them.
    gc.collect()
    gc.freeze()
    Nursery(control, work).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
