"""The embedded PostgreSQL: its data directory, its command line, its readiness. Roles and databases are the stores' business."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlencode

from memoryd.embedded import process, programs
from memoryd.embedded.datadir import DataDir
from memoryd.embedded.errors import DataDirTooNew, EmbeddedError
from memoryd.embedded.files import own_file, sync_folder
from memoryd.embedded.spec import ChildSpec, StopStep, trampoline

_INITDB_TIMEOUT_S = 300.0
_SUPERUSER = "postgres"
_FAST_STOP = (StopStep(signal.SIGINT, 8.0), StopStep(signal.SIGQUIT, 2.0))
_SHM_WANTED = 512 * 2**20
_PROC = Path("/proc")
_STATUS_LINE = 8


class PostgresServer:
    """One server on 127.0.0.1:``port`` and on a Unix socket that only this user and root can reach; passwords on both."""

    def __init__(self, data: DataDir, *, port: int, max_connections: int = 60) -> None:
        self._data, self._port, self._max_connections = data, port, max_connections
        self._programs = programs.postgres_folder(data.programs, data.account) / "bin"
        self._sockets = data.socket_folder()
        self._major = programs.postgres_major()
        self._pgdata = data.postgres / str(self._major)

    @property
    def superuser_url(self) -> str:
        """For the stores' bootstrap only."""
        return self.url(_SUPERUSER, self._data.credentials.postgres_superuser, "postgres")

    def url(self, role: str, password: str, database: str) -> str:
        """A libpq URL over the Unix socket."""
        where = urlencode({"host": str(self._sockets), "port": self._port})
        return f"postgresql://{quote(role, safe='')}:{quote(password, safe='')}@/{quote(database, safe='')}?{where}"

    def tcp_url(self, role: str, password: str, database: str) -> str:
        """A libpq URL over loopback TCP, for tools that know no sockets."""
        user = f"{quote(role, safe='')}:{quote(password, safe='')}"
        return f"postgresql://{user}@127.0.0.1:{self._port}/{quote(database, safe='')}?sslmode=disable"

    def spec(self) -> ChildSpec:
        """For the supervisor."""
        settings = (f"-c{name}={value}" for name, value in self._settings().items())
        return ChildSpec(
            "postgres",
            (str(self._programs / "postgres"), "-D", str(self._pgdata), *settings),
            env=self._env(),
            account=self._data.account,
            prepare=self.prepare,
            probe=self._ready,
            stop=_FAST_STOP,
            orphan_signal=signal.SIGINT,
            start_timeout_s=600.0,  # crash recovery replays up to max_wal_size; on a slow disk that takes minutes
        )

    def prepare(self) -> None:
        """Blocks. Leave nothing running on the data directory, and create it if there is none.

        Call with the data directory locked. A postmaster found alive was orphaned by a killed supervisor; it is stopped
        rather than adopted, since only a parent learns of its death. Raises :class:`EmbeddedError`,
        :class:`DataDirTooNew`.
        """
        if (self._pgdata / "PG_VERSION").exists():
            self._end_orphans()
            return
        others = [int(path.name) for path in self._data.postgres.iterdir() if path.name.isdecimal()]
        if any(other > self._major for other in others):
            raise DataDirTooNew(
                f"{self._data.path} was written by PostgreSQL {max(others)}, this memoryd brings {self._major}: upgrade"
            )
        if others:
            raise EmbeddedError(
                f"{self._data.path} was written by PostgreSQL {max(others)}, this memoryd brings {self._major}: "
                "dump it with the older memoryd and restore it into a new --data-dir"
            )
        self._initialise()

    def _initialise(self) -> None:
        """``initdb`` aside, then one rename: a start that was killed half-way leaves nothing that looks like a database."""
        for leftover in self._data.postgres.glob(".new-*"):
            shutil.rmtree(leftover)
        aside = self._data.postgres / f".new-{secrets.token_hex(4)}"
        password = own_file(self._data.postgres / ".password", self._data.credentials.postgres_superuser, self._data.account)
        argv = [
            str(self._programs / "initdb"), "-D", str(aside), "-U", _SUPERUSER, "--encoding=UTF8", "--data-checksums",
            "--locale-provider=builtin", "--locale=C.UTF-8", "--auth-local=scram-sha-256", "--auth-host=scram-sha-256",
            f"--pwfile={password}",
        ]  # fmt: skip
        command = trampoline(argv, account=self._data.account, folder=self._data.postgres, orphan_signal=signal.SIGKILL)
        try:
            done = subprocess.run(
                command, env=self._env(), capture_output=True, text=True, timeout=_INITDB_TIMEOUT_S, check=False
            )
            if done.returncode != 0:
                raise EmbeddedError(f"initdb failed: {done.stderr.strip()[-1000:]}")
            aside.rename(self._pgdata)
            sync_folder(self._data.postgres)
        except subprocess.TimeoutExpired as error:
            raise EmbeddedError(f"initdb did not finish in {_INITDB_TIMEOUT_S:.0f} s: is the disk too slow?") from error
        finally:
            password.unlink(missing_ok=True)
            shutil.rmtree(aside, ignore_errors=True)

    def _end_orphans(self) -> None:
        pid = self._recorded_postmaster()
        if pid is not None:
            seen = process.identity(pid)
            if seen is not None and self._is_ours(pid):
                process.end(pid, seen, tuple((step.signal, step.patience_s) for step in _FAST_STOP))
            elif seen is not None:
                # The number now belongs to another program; PostgreSQL would take that for a living postmaster.
                (self._pgdata / "postmaster.pid").unlink(missing_ok=True)
                for lock in self._sockets.glob(".s.PGSQL.*.lock"):
                    lock.unlink(missing_ok=True)
        # Backends of a postmaster that was killed go by themselves at their next wait, but a long computation (an index
        # build) may first take minutes, and no server can start while one is attached to the shared memory.
        for backend in self._processes():
            seen = process.identity(backend)
            if seen is not None:
                process.end(backend, seen, ((signal.SIGQUIT, 2.0),))

    def _recorded_postmaster(self) -> int | None:
        lines = self._pid_file()
        return int(lines[0]) if lines and lines[0].isdecimal() else None

    def _pid_file(self) -> list[str]:
        try:
            return (self._pgdata / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _is_ours(self, pid: int) -> bool:
        if _PROC.joinpath("self/cwd").exists():
            return self._works_here(pid)
        shown = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return str(self._pgdata) in shown.stdout

    def _works_here(self, pid: int) -> bool:
        # Every PostgreSQL process has its data directory as working directory.
        try:
            name = (_PROC / str(pid) / "comm").read_text().strip()
            folder = (_PROC / str(pid) / "cwd").readlink()
        except OSError:
            return False
        return name.startswith("postgres") and folder == self._pgdata.resolve()

    def _processes(self) -> list[int]:
        if not _PROC.joinpath("self/cwd").exists():
            return []
        pids = [int(path.name) for path in _PROC.iterdir() if path.name.isdecimal()]
        return [pid for pid in pids if self._works_here(pid)]

    async def _ready(self) -> bool:
        """Whether it accepts connections.

        Its pid file says so first (the eighth line, as ``pg_ctl --wait`` reads it): asking a server in crash recovery
        over and over would only fill its log. Then one question through the socket, so that this server answers it.
        """
        pid, lines = self._recorded_postmaster(), self._pid_file()
        if pid is None or len(lines) < _STATUS_LINE or lines[_STATUS_LINE - 1].strip() != "ready" or not self._is_ours(pid):
            return False
        asking = await asyncio.create_subprocess_exec(
            str(self._programs / "pg_isready"), "-q", "-t", "2", "-h", str(self._sockets), "-p", str(self._port),
            env=self._env(), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return await asking.wait() == 0
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                asking.kill()
            await asking.wait()
            raise

    def _env(self) -> dict[str, str]:
        # Nothing of the caller's: a PGDATA or PGOPTIONS in it would reach the server.
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def _settings(self) -> dict[str, str]:
        """For a laptop: durable, small, and silent about what is stored."""
        shm = Path("/dev/shm")  # noqa: S108 - only its size is read
        roomy = shm.is_dir() and shutil.disk_usage(shm).total >= _SHM_WANTED
        return {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": f'"{self._sockets}"',  # a list: quoted, for commas in the path
            "unix_socket_permissions": "0700",
            "max_connections": str(self._max_connections),
            # Acknowledged means durable.
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            # One call before crash recovery instead of one for each of a thousand files: 0.1 s for 3 s on a slow disk.
            **({"recovery_init_sync_method": "syncfs"} if sys.platform == "linux" else {}),
            "shared_buffers": "192MB",
            "effective_cache_size": "1GB",
            "maintenance_work_mem": "256MB",  # an HNSW graph of 100k 384-d vectors in half precision, in memory
            "work_mem": "16MB",
            "max_wal_size": "1GB",
            "wal_compression": "pglz",
            "checkpoint_completion_target": "0.9",
            "random_page_cost": "1.1",  # solid-state disks
            "jit": "off",  # compiling costs more than our short queries
            "autovacuum_naptime": "15s",  # a bulk load changes what the planner should know, and each look costs
            # Parallel index builds fail in containers, whose /dev/shm is 64 MB, unless this is a file.
            "dynamic_shared_memory_type": "posix" if roomy else "mmap",
            "timezone": "UTC",
            "log_timezone": "UTC",
            # No content in logs: statements, parameters and details never; and not the text of errors either, which
            # quotes values ("invalid input syntax for type …"). The client gets them all the same. In this setting's
            # order, "log" lies between error and fatal.
            "log_destination": "stderr",
            "logging_collector": "off",
            "log_min_messages": "log",
            "log_error_verbosity": "terse",
            "log_statement": "none",
            "log_min_error_statement": "panic",
            "log_min_duration_statement": "-1",
            "log_parameter_max_length": "0",
            "log_parameter_max_length_on_error": "0",
            "log_checkpoints": "off",
            "log_lock_waits": "off",
            "log_line_prefix": "%m [%p] ",
        }
