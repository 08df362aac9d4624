"""The embedded Valkey: its configuration, its command line, its readiness."""

import asyncio
import contextlib
import os
import signal

from memoryd.embedded import programs
from memoryd.embedded.datadir import DataDir
from memoryd.embedded.files import own_file
from memoryd.embedded.spec import ChildSpec, StopStep

_CONFIGURATION = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir "{folder}"
daemonize no
# The append-only file alone: after kill -9 at most the last second is lost, after a power cut too, and a file whose end
# was cut off is read up to there.
appendonly yes
appendfsync everysec
aof-load-truncated yes
save ""
maxmemory-policy noeviction
# No content in logs: a crash report would quote arguments of commands.
logfile ""
loglevel notice
hide-user-data-from-log yes
crash-log-enabled no
slowlog-log-slower-than -1
"""
_ANSWER_TIMEOUT_S = 1.0


class ValkeyServer:
    """One server on 127.0.0.1:``port``, with a password."""

    def __init__(self, data: DataDir, *, port: int) -> None:
        self._data, self._port = data, port
        self._program = programs.valkey_server(data.programs, data.account)
        self._file = data.valkey / "valkey.conf"

    @property
    def url(self) -> str:
        """A Redis URL with the password in it."""
        return f"redis://:{self._data.credentials.valkey}@127.0.0.1:{self._port}/0"

    def spec(self) -> ChildSpec:
        """For the supervisor."""
        return ChildSpec(
            "valkey",
            (str(self._program), str(self._file)),
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            account=self._data.account,
            folder=self._data.valkey,
            prepare=self.prepare,
            probe=self._ready,
            stop=(StopStep(signal.SIGTERM, 5.0),),
            orphan_signal=signal.SIGTERM,
            start_timeout_s=300.0,  # reading a large append-only file
        )

    def prepare(self) -> None:
        """Write the configuration anew, readable by the server alone: on a command line everyone could read the password."""
        folder = str(self._data.valkey).replace("\\", "\\\\").replace('"', '\\"')
        text = _CONFIGURATION.format(port=self._port, password=self._data.credentials.valkey, folder=folder)
        own_file(self._file, text, self._data.account)

    async def _ready(self) -> bool:
        """Whether it answers PING; it does not while it reads its append-only file."""
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                return await self._ping()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return False

    async def _ping(self) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(f"AUTH {self._data.credentials.valkey}\r\nPING\r\n".encode())
            await writer.drain()
            return await reader.readuntil(b"\r\n") == b"+OK\r\n" and await reader.readuntil(b"\r\n") == b"+PONG\r\n"
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
