"""Ports: the HTTP one is asked for and must be free; the servers' ones are ours to pick, and are remembered."""

import errno
import json
import secrets
import socket
from pathlib import Path

from memoryd.embedded.errors import DataDirUnusable, PortTaken

_LOOPBACK = "127.0.0.1"
_BACKLOG = 2048
# Below every platform's ephemeral range (Linux from 32768, macOS from 49152): an outgoing connection never takes one.
_FIRST, _COUNT = 27_000, 4_000
_ATTEMPTS = 200


def listen(host: str, port: int) -> socket.socket:
    """A listening, non-blocking TCP socket; port 0 picks a free one. Raises :class:`PortTaken`, :class:`DataDirUnusable`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise PortTaken(f"cannot listen on {host}: {error.strerror or error}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise PortTaken(_refusal(host, port, error)) from error
    return listener


def _refusal(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is taken by another program: choose another with --port, or 0 for any free one"
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights than this user has: choose one above 1023 with --port"
    return f"cannot listen on {host} port {port}: {error.strerror}"


def free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True


class Ports:
    """Loopback ports of the embedded servers, by name, remembered in one JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pick(self, name: str, wanted: int | None = None) -> int:
        """``wanted`` if given (or :class:`PortTaken`), else the one of last time, else the next free one."""
        known = self._read()
        if wanted:
            if not free(wanted):
                raise PortTaken(f"port {wanted}, asked for {name}, is taken by another program")
            port = wanted
        elif name in known and free(known[name]):
            port = known[name]
        else:
            port = self._search(set(known.values()))
        if known.get(name) != port:
            aside = self._path.with_suffix(".tmp")
            aside.write_text(json.dumps(known | {name: port}) + "\n")
            aside.replace(self._path)
        return port

    def _search(self, used: set[int]) -> int:
        # From a random place, so that two installations starting together do not race for the same number.
        start = secrets.randbelow(_COUNT)
        for step in range(_ATTEMPTS):
            port = _FIRST + (start + step) % _COUNT
            if port not in used and free(port):
                return port
        raise DataDirUnusable(f"no free loopback port among {_ATTEMPTS} tried from {_FIRST + start}")

    def _read(self) -> dict[str, int]:
        try:
            raw = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(raw, dict):
            return {}
        return {str(name): port for name, port in raw.items() if isinstance(port, int) and 0 < port < 2**16}
