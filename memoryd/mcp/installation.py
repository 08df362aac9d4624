"""Where the server is that stdio speaks for: at an address that was given, or embedded on this machine."""

import asyncio
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from memoryd.embedded import datadir
from memoryd.errors import StoreUnavailable

FIRST_KEY = "first_tenant_key"
_START_S = 180.0
_STOP_S = 20.0
_PAUSE_S = 0.25
# One may be lost to another that started at the same moment, and another to one that was just stopping.
_FAILURES = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and the key to use there."""

    url: str
    key: str = field(repr=False)


class Where(Protocol):
    """Knows the server's address."""

    async def find(self, lost: Address | None) -> Address:
        """The address; another than ``lost``, where there is one. Raises ``StoreUnavailable``."""

    async def close(self) -> None:
        """Stop what was started for it."""


class Given:
    """A server elsewhere: whether it runs is not our business."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def find(self, lost: Address | None) -> Address:
        """Always the same."""
        return self._address

    async def close(self) -> None:
        """Nothing was started."""


class Embedded:
    """What ``memoryd up`` runs on a data directory: found there, or started.

    Several programs may each have their own ``memoryd mcp`` on one directory: the first starts it, the others find it. When
    the first ends it stops what it started, and the next call of any other starts it again. Without a ``key`` of its own it
    asks with the first one, which may do everything.
    """

    def __init__(self, path: Path, key: str | None = None) -> None:
        self._path = path
        self._key = key
        self._lock = asyncio.Lock()
        self._known: Address | None = None
        self._spawning: asyncio.Task[Process] | None = None
        self._closing = False

    async def find(self, lost: Address | None) -> Address:
        """Within three minutes: a first start also unpacks the model and initialises the database."""
        async with self._lock:
            if self._known is None or self._known == lost:
                try:
                    async with asyncio.timeout(_START_S):
                        self._known = await self._found_or_started()
                except TimeoutError as error:
                    raise StoreUnavailable(f"memoryd did not start on {self._path}: see its logs folder") from error
            return self._known

    async def close(self) -> None:
        """End the child that this process started, as Ctrl-C would; also one that is just being made. No other is started."""
        self._closing = True
        spawning = self._spawning
        if spawning is None:
            return
        try:
            child = await asyncio.shield(spawning)
        except OSError:  # there is none; who asked for it is told
            return
        if self._spawning is not spawning or child.returncode is not None:  # another call is ending it, or it has ended
            return
        self._spawning = None
        with suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_S):
                await child.wait()
        except TimeoutError:
            log.warning("memoryd up is still stopping")

    async def _found_or_started(self) -> Address:
        failures = 0
        while True:
            state = await asyncio.to_thread(datadir.read_state, self._path)
            if state is None or not state.alive:
                if self._closing:
                    raise StoreUnavailable("memoryd mcp is ending")
                started = await self._start()
                if started is not None:
                    return started
                failures += 1
                if failures == _FAILURES:
                    raise StoreUnavailable(f"memoryd does not start on {self._path}: `memoryd up` says why")
            elif state.state == "running" and state.url is not None:
                key = self._key or await asyncio.to_thread(_read, self._path / "secrets" / FIRST_KEY)
                if key:
                    return Address(state.url, key)
            await asyncio.sleep(_PAUSE_S)

    async def _start(self) -> Address | None:
        """Its address once it is ready; ``None`` when it ended, as it does when another was faster."""
        command = (sys.executable, "-m", "memoryd", "up", "--data-dir", str(self._path), "--port", "0", "--print-json")
        # Its standard output is not ours, which carries the protocol. A session of its own: Ctrl-C in the agent's terminal
        # reaches this process, which then stops it in order.
        # Nobody else would end it, so it is known from before it begins, and made to the end whatever becomes of who asked.
        spawning = asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, start_new_session=True, env=os.environ)
        self._spawning = asyncio.create_task(spawning)
        child = await asyncio.shield(self._spawning)
        if child.stdout is None:
            raise AssertionError("asked for a pipe")
        line = await child.stdout.readline()
        if not line:
            await child.wait()
            return None
        ready = json.loads(line)
        return Address(str(ready["url"]), self._key or str(ready["api_key"]))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
